"""The open pages of the ledger within one transaction: lock, look, work out, append.

A book locks the accounts of every member it is asked about, in the order of their ids, before it
looks at anything; what it decides is therefore still true when it is written. Many requests share
one book: their accounts are read together and their rows are written together.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from loyalty.account import (
    DESTINATION,
    ORIGIN,
    Account,
    Draft,
    Entry,
    Kind,
    Qualifying,
)
from loyalty.errors import (
    InsufficientPoints,
    NotReversible,
    PostingConflict,
    UnknownMember,
    UnknownPosting,
)
from loyalty.lasting import Life, idle_end, life
from loyalty.pages import Pages
from loyalty.postings import Posting, Request, check, check_limits
from loyalty.rows import posting_row
from loyalty.tables import ALLOCATIONS, ENTRIES, POSTINGS
from loyalty.tiers import TierPolicy, level_on
from programme.calendar import local_date

# Accounts that a grant opens; whoever never had points has none to give.
OPENS: tuple[Kind, ...] = ("EARN", "OPENING", "ADJUST")
ACTIVITY: tuple[Kind, ...] = ("EARN", "REDEEM")
RECEIVED = "#to"


class Book(Pages):
    """Post requests against locked accounts, then `write` what came of them."""

    def prepare(self, requests: Sequence[Request]) -> None:
        """Lock and read what a batch needs, in a few statements."""
        self.lock(
            (member for request in requests for member in request.members),
            (request.member_id for request in requests if _opens(request)),
        )
        self.look_up([request.posting_id for request in requests])

    def post(self, request: Request, *, ours: bool = False) -> Posting:
        """Carry out one request, or return what came of it the first time.

        Parameters
        ----------
        ours : whether we made it ourselves, for an order: its id holds a "#" and is known to be
            new, and it may earn no points and yet count for tiers

        Raises
        ------
        PostingRefused : naming why; nothing of the request is posted.
        """
        if not ours:
            check(request)
        opens = [request.member_id] if _opens(request) else ()
        self.lock(request.members, opens, None if ours else request.posting_id)
        if not ours and (posted := self.find(request.posting_id)):
            if posted.fingerprint != request.fingerprint:
                raise PostingConflict(
                    f"{request.posting_id} was posted before with other content. Nothing was "
                    "posted. Use a new posting_id for a new posting; to repeat one, send it "
                    "unchanged."
                )
            return posted
        if not (ours and (request.kind == "REVERSE" or not request.points)):
            # Whatever takes back what we posted was judged when that was earned.
            check_limits(request, self.terms, self.now)
        for member_id in request.members:
            if member_id not in self._accounts:
                raise UnknownMember(
                    f"{member_id!r} has no points account. Nothing was posted. An account opens "
                    "with the first points a member earns."
                )
            self.settle(member_id)
        carry_out = {
            "REDEEM": self._spend, "TRANSFER": self._transfer, "REVERSE": self._reverse,
            "ADJUST": self._adjust,
        }.get(request.kind, self._grant)  # fmt: skip
        posting = carry_out(request)
        for member_id in request.members:
            # What was granted or returned may be worth nothing by the clock.
            self.settle(member_id)
        return posting

    def settle(self, member_id: str) -> int:
        """Post what the clock did to a member's lots by now; return how many postings."""
        account = self._accounts[member_id]
        now = max(self.now, account.recorded_at)
        if account.due_at is None or account.due_at > now:
            return 0
        self.load_lots([account.member_id])
        before = account.postings
        for moment, kind, lots in account.due(now):
            draft = self._draft(kind, moment)
            (account.activate if kind == "ACTIVATE" else account.expire)(draft, lots)
            self._append(account, draft, _made_by_clock(account, draft))
        return account.postings - before

    def qualifying(self, member_id: str, day: date) -> Qualifying:
        """Return what a member's day counted so far."""
        self._load_days([member_id])
        return self._days[member_id].get(day, Qualifying())

    def tier(
        self,
        member_id: str,
        day: date,
        policy: TierPolicy | None,
        *,
        without: tuple[date, Qualifying] | None = None,
    ) -> str | None:
        """Return the name of a member's tier on `day`, by a policy; None where there is none.

        Parameters
        ----------
        without : what to leave out of what a day counted
        """
        if policy is None:
            return None
        self._load_days([member_id])
        days = self._days[member_id]
        if without is not None and without[0] in days:
            days = {**days, without[0]: days[without[0]] + -without[1]}
        counted = [
            (then, getattr(qualifying, policy.measure)) for then, qualifying in sorted(days.items())
        ]
        return policy.levels[level_on(policy, counted, day)].name

    def left_of(self, posting_id: str) -> int:
        """Return how much of a posting can still be reversed; nought where there is none."""
        self.write()
        posting = self.find(posting_id)
        if posting is None or posting.kind == "REVERSE":
            return 0
        return abs(posting.active + posting.pending) - self._reversed_so_far(posting)

    def birthday(self, member_id: str) -> str | None:
        """Return a member's birthday as MM-DD, if she told it."""
        return self._accounts[member_id].birthday

    # --- what each kind does

    def _grant(self, request: Request) -> Posting:
        account, draft = self._accounts[request.member_id], self._draft_of(request)
        assert request.points is not None
        granted = life(
            request.lasting or self.terms.lasting, draft.occurred_at, self.terms.timezone
        )
        self._touch_idle(account, draft, granted)
        if account.owed:
            self.load_lots([account.member_id])
        if request.points:
            account.grant(draft, request.points, granted, now=self._recorded_at(account))
        return self._append(account, draft, request)

    def _adjust(self, request: Request) -> Posting:
        assert request.points is not None
        if request.points > 0:
            return self._grant(request)
        return self._spend(replace(request, points=-request.points), asked=request)

    def _spend(self, request: Request, asked: Request | None = None) -> Posting:
        account, draft = self._accounts[request.member_id], self._draft_of(request)
        points = self._can_spend(account, request)
        self._touch_idle(account, draft)
        account.take(draft, points)
        return self._append(account, draft, asked or request)

    def _transfer(self, request: Request) -> Posting:
        assert request.to_member_id is not None
        giver, receiver = (self._accounts[member] for member in request.members)
        points = self._can_spend(giver, request)
        out, into = self._draft_of(request), self._draft_of(request)
        if receiver.owed:
            self.load_lots([receiver.member_id])
        for allocation in giver.take(out, points):
            lot = giver.lots[allocation.lot_no]
            # Points keep their end: giving them away does not make them younger.
            kept = Life(self._recorded_at(receiver), lot.expires_at, lot.ends_at, idle=lot.idle)
            self._touch_idle(receiver, into, kept)
            receiver.grant(into, allocation.points, kept, now=self._recorded_at(receiver))
        posting = self._append(giver, out, request)
        self._append(
            receiver, into,
            replace(request, member_id=receiver.member_id, to_member_id=giver.member_id,
                    posting_id=request.posting_id + RECEIVED, qualifying=None),
        )  # fmt: skip
        return posting

    def _reverse(self, request: Request) -> Posting:
        assert request.reverses is not None
        self.write()
        original = self._original(request)
        left = abs(original.active + original.pending) - self._reversed_so_far(original)
        points = left if request.points is None else request.points
        if not 0 < points <= left:
            raise NotReversible(
                f"{request.posting_id} takes back {self.terms.written(points)} points of "
                f"{original.posting_id}, of which {self.terms.written(left)} are left. Nothing "
                "was posted."
            )
        account = self._accounts[request.member_id]
        qualifying = self._taken_away(request, original, points, left)
        if original.kind == "TRANSFER":
            self._reverse_receipt(request, original, points)
        draft = self._draft_of(request)
        draft.day = original.day
        if original.active + original.pending > 0:
            self._take_back(account, draft, original, points)
        else:
            self._give_back(account, draft, original, points)
        return self._append(account, draft, replace(request, qualifying=qualifying), asked=request)

    def _reverse_receipt(self, request: Request, original: Posting, points: int) -> None:
        receipt = self.find(original.posting_id + RECEIVED)
        assert receipt is not None, f"{original.posting_id} has two sides"
        self.lock([receipt.member_id])
        self.settle(receipt.member_id)
        receiver, draft = self._accounts[receipt.member_id], self._draft_of(request)
        self._take_back(receiver, draft, receipt, points)
        self._append(
            receiver, draft,
            replace(request, member_id=receipt.member_id, posting_id=request.posting_id + RECEIVED,
                    reverses=receipt.posting_id, qualifying=None),
        )  # fmt: skip

    def _take_back(self, account: Account, draft: Draft, original: Posting, points: int) -> None:
        self.load_lots([account.member_id])
        granted = self._granted_by(account, original)
        account.take_back(
            draft, granted, points, ORIGIN[original.kind],
            forgive=self.terms.spent_points == "forgiven",
        )  # fmt: skip

    def _give_back(self, account: Account, draft: Draft, original: Posting, points: int) -> None:
        self.load_lots([account.member_id])
        outstanding = self._taken_by(account, original)
        account.give_back(draft, outstanding, points, DESTINATION[original.kind])

    def _can_spend(self, account: Account, request: Request) -> int:
        assert request.points is not None
        if account.active < request.points:
            raise InsufficientPoints(
                f"{request.member_id!r} has {self.terms.written(account.active)} points to spend, "
                f"{request.posting_id} asks for {self.terms.written(request.points)}. Nothing was "
                "posted."
            )
        self.load_lots([account.member_id])
        return request.points

    def _original(self, request: Request) -> Posting:
        assert request.reverses is not None
        original = self.find(request.reverses)
        if original is None or original.member_id != request.member_id:
            raise UnknownPosting(
                f"{request.member_id!r} has no posting {request.reverses!r:.130}. Nothing was "
                "posted."
            )
        received = original.posting_id.endswith(RECEIVED)
        if original.kind in ("EXPIRE", "ACTIVATE", "REVERSE") or received:
            raise NotReversible(
                f"{original.posting_id} is {original.kind}{' received' if received else ''}, "
                "which stands. Nothing was posted. Reverse what was posted first, or ADJUST."
            )
        return original

    def _taken_away(
        self, request: Request, original: Posting, points: int, left: int
    ) -> Qualifying:
        """Return what a reversal takes from the original's day: the whole of it with the last."""
        if request.qualifying is not None:
            return request.qualifying
        whole = abs(original.active + original.pending)
        gone = whole - left

        def share(amount: int) -> int:
            return amount * (gone + points) // whole - amount * gone // whole

        return -Qualifying(*(share(amount) for amount in original.qualifying.amounts))

    # --- one posting

    def _recorded_at(self, account: Account) -> datetime:
        return max(self.now, account.recorded_at)

    def _draft_of(self, request: Request) -> Draft:
        occurred_at = request.occurred_at or self._recorded_at(self._accounts[request.member_id])
        return self._draft(request.kind, occurred_at)

    def _draft(self, kind: Kind, occurred_at: datetime) -> Draft:
        return Draft(kind, occurred_at, local_date(occurred_at, self.terms.timezone))

    def _touch_idle(self, account: Account, draft: Draft, granted: Life | None = None) -> None:
        """Let points that last as long as she is active last longer, where she was."""
        lasting = self.terms.lasting
        if lasting.until != "idle":
            return
        first = granted is not None and granted.idle and account.idle_at is None
        if draft.kind in ACTIVITY or first:
            end = idle_end(lasting, draft.occurred_at, self.terms.timezone)
            account.idle_at = end if account.idle_at is None else max(account.idle_at, end)

    def _append(
        self, account: Account, draft: Draft, request: Request, asked: Request | None = None
    ) -> Posting:
        qualifying = request.qualifying or Qualifying()
        self._count(account.member_id, draft.day, qualifying)
        account.recorded_at = self._recorded_at(account)
        account.postings += 1
        today = local_date(account.recorded_at, self.terms.timezone)
        posting = Posting(
            request.posting_id, account.member_id, account.postings, draft.kind,
            _change(draft.entries, "active"), _change(draft.entries, "pending"), account.active,
            draft.occurred_at, account.recorded_at, draft.expires_at,
            account.idle_at, self.tier(account.member_id, today, self.terms.tiers),
            request.rule_version, request.order_key, request.reverses, request.reason, draft.day,
            qualifying, (asked or request).fingerprint,
        )  # fmt: skip
        chain = posting.chained(account.chain, draft.entries, draft.allocations)
        account.chain = chain
        posting = replace(posting, chain=chain)
        self._posted[posting.posting_id] = posting
        self._rows[POSTINGS].append(posting_row(posting))
        key = {"member_id": account.member_id, "posting_no": account.postings}
        self._rows[ENTRIES] += [
            {**key, "entry_no": n, **entry._asdict()} for n, entry in enumerate(draft.entries, 1)
        ]
        self._rows[ALLOCATIONS] += [
            {**key, "allocation_no": n, **allocation._asdict()}
            for n, allocation in enumerate(draft.allocations, 1)
        ]
        self._new_lots += [(account.member_id, lot) for lot in draft.new_lots]
        return posting

    def _count(self, member_id: str, day: date, qualifying: Qualifying) -> None:
        if not any(qualifying.amounts):
            return
        key = (member_id, day)
        self._counted[key] = self._counted.get(key, Qualifying()) + qualifying
        if member_id in self._days:
            days = self._days[member_id]
            days[day] = days.get(day, Qualifying()) + qualifying


def _opens(request: Request) -> bool:
    return request.kind in OPENS and (request.points or 0) >= 0


def _made_by_clock(account: Account, draft: Draft) -> Request:
    posting_no = account.postings + 1
    return Request(
        draft.kind, f"#{draft.kind.lower()}:{posting_no}:{account.member_id}",
        account.member_id, None, draft.occurred_at,
    )  # fmt: skip


def _change(entries: Sequence[Entry], purse: str) -> int:
    return sum(
        entry.points * ((entry.target == purse) - (entry.source == purse)) for entry in entries
    )
