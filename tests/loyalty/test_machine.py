"""Random histories on both databases, held to the naive ledger after every step."""

import copy
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from loyalty import book as books
from loyalty.account import Account, Lot
from loyalty.book import Book
from loyalty.errors import InsufficientPoints, NotReversible, PostingConflict, UnknownMember
from loyalty.expiry import settle_due
from loyalty.lasting import Lasting, Life, life
from loyalty.points import Balance, balance, ledger, post, post_many
from loyalty.postings import Posting, Request
from loyalty.terms import Terms
from loyalty.verify import verify
from programme.database import Database
from programme.settings import Settings
from tests.loyalty.naive import NaiveMember

MEMBERS = ("ann", "bob")
LASTINGS = (
    Lasting(), Lasting("days", 2), Lasting("days", 5, pending_days=2), Lasting("month"),
    Lasting("days", 1, grace_days=3),
)  # fmt: skip
_runs = count(1)
points = st.integers(1, 12)


class Ledger(RuleBasedStateMachine):
    """Two members, some grants, and a clock that mostly goes forward."""

    database: Database
    terms = Terms("America/New_York")

    def __init__(self) -> None:
        super().__init__()
        run = next(_runs)
        # One database for all runs: each has members of its own.
        self.names = {member: f"{member}-{run}" for member in MEMBERS}
        self.run = run
        self.now = datetime(2026, 3, 6, 12, tzinfo=UTC)  # two days before the clocks change
        self.naive: dict[str, NaiveMember] = {}
        self.recorded: dict[str, datetime] = {}
        self.asked: list[tuple[Request, Posting]] = []
        self.left: dict[str, int] = {}
        self.kind: dict[str, str] = {}
        self.seen: list[tuple[str, datetime, Balance]] = []
        self.ids = count(1)

    # --- what may happen

    @rule(member=st.sampled_from(MEMBERS), points=points, lasting=st.sampled_from(LASTINGS),
          days_ago=st.integers(0, 3))  # fmt: skip
    def earn(self, member: str, points: int, lasting: Lasting, days_ago: int) -> None:
        request = self.ask("EARN", member, points, lasting=lasting,
                           occurred_at=self.now - timedelta(days=days_ago))  # fmt: skip
        self.naive.setdefault(member, NaiveMember())
        self.tick(member)
        self.granted(member, request, points)
        self.carried_out(request)

    @precondition(lambda self: self.naive)
    @rule(data=st.data(), points=points)
    def redeem(self, data: st.DataObject, points: int) -> None:
        self.spend(data.draw(st.sampled_from(sorted(self.naive))), points, "REDEEM")

    @precondition(lambda self: self.naive)
    @rule(data=st.data(), points=points)
    def take_away(self, data: st.DataObject, points: int) -> None:
        self.spend(data.draw(st.sampled_from(sorted(self.naive))), -points, "ADJUST")

    @precondition(lambda self: len(self.naive) == len(MEMBERS))
    @rule(giver=st.sampled_from(MEMBERS), points=points)
    def transfer(self, giver: str, points: int) -> None:
        receiver = MEMBERS[1 - MEMBERS.index(giver)]
        request = self.ask("TRANSFER", giver, points, to_member_id=self.names[receiver])
        self.tick(giver)
        self.tick(receiver)
        taken = self.naive[giver].spend(request.posting_id, points)
        if taken is None:
            self.refused(request, InsufficientPoints)
            return
        moment = self.moment(receiver)
        for number in dict.fromkeys(counter.number for counter in taken):
            some = [counter for counter in taken if counter.number == number]
            self.naive[receiver].grant(
                request.posting_id + "#to", len(some), moment, some[0].ends_at, moment
            )
        self.carried_out(request)

    @precondition(lambda self: any(self.left.values()))
    @rule(data=st.data(), all_of_it=st.booleans())
    def reverse(self, data: st.DataObject, all_of_it: bool) -> None:
        original = data.draw(st.sampled_from([name for name, left in self.left.items() if left]))
        left = self.left[original]
        points = left if all_of_it else data.draw(st.integers(1, left))
        asked = next(request for request, _ in self.asked if request.posting_id == original)
        member = next(who for who, name in self.names.items() if name == asked.member_id)
        request = self.ask("REVERSE", member, None if all_of_it else points, reverses=original)
        self.tick(member)
        if self.kind[original] == "given":
            receiver = MEMBERS[1 - MEMBERS.index(member)]
            if asked.kind == "TRANSFER":
                self.tick(receiver)
                self.naive[receiver].take_back(original + "#to", points)
            self.naive[member].give_back(original, points)
        else:
            self.naive[member].take_back(original, points)
        self.left[original] -= points
        self.carried_out(request, kind=None)

    @precondition(lambda self: self.left)
    @rule(data=st.data(), more=points)
    def reverse_too_much(self, data: st.DataObject, more: int) -> None:
        original = data.draw(st.sampled_from(sorted(self.left)))
        asked = next(request for request, _ in self.asked if request.posting_id == original)
        member = next(who for who, name in self.names.items() if name == asked.member_id)
        request = self.ask("REVERSE", member, self.left[original] + more, reverses=original)
        self.refused(request, NotReversible)

    @rule(hours=st.sampled_from([1, 12, 24, 60]))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(minutes=st.integers(1, 90))
    def clock_goes_back(self, minutes: int) -> None:
        self.now -= timedelta(minutes=minutes)

    @rule(members_at_once=st.integers(1, 2))
    def expire(self, members_at_once: int) -> None:
        settle_due(self.database, self.terms, now=self.now, members_at_once=members_at_once)
        for member in self.naive:
            if self.now >= self.recorded.get(member, self.now):
                self.tick(member)
            self.note(member)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), times=st.integers(1, 3))
    def ask_again(self, data: st.DataObject, times: int) -> None:
        request, first = data.draw(st.sampled_from(self.asked))
        again = post_many(self.database, self.terms, [request] * times, now=self.now)
        assert again == [first] * times

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def ask_otherwise(self, data: st.DataObject) -> None:
        request, _ = data.draw(st.sampled_from(self.asked))
        self.refused(replace(request, reason="otherwise"), PostingConflict)

    @rule(points=points)
    def redeem_for_nobody(self, points: int) -> None:
        request = Request("REDEEM", self.new_id(), f"nobody-{self.run}", points)
        self.refused(request, UnknownMember)

    # --- what must hold

    @invariant()
    def balances_are_the_naive_ones(self) -> None:
        for member, naive in self.naive.items():
            by_now = copy.deepcopy(naive)
            moment = self.moment(member)
            by_now.clock(moment)
            shown = balance(self.database, self.terms, self.names[member], now=self.now)
            assert shown.active == by_now.active
            assert shown.owed == by_now.owed
            assert shown.pending == by_now.count("waiting")
            ending = [counter for counter in by_now.here() if counter.ends_at]
            soonest = [counter for counter in ending if counter.ends_at == ending[0].ends_at]
            assert shown.expiring == len(soonest)
            assert not (by_now.owed and by_now.count("here"))
            # A posting that is recorded at the same instant later would change the answer.
            self.seen = [s for s in self.seen if s[0] != member or s[1] < moment]
            self.seen.append((member, moment, shown))

    def teardown(self) -> None:
        later = max([self.now, *self.recorded.values()])
        for member, at, shown in self.seen:
            if at < later:
                then = balance(self.database, self.terms, self.names[member], now=later, at=at)
                assert then == shown
        found = verify(self.database, only=list(self.names.values()))
        assert not found.violations
        assert found.members == len(self.naive)

    # --- how it is told to both

    def new_id(self) -> str:
        return f"{self.run}/{next(self.ids)}"

    def ask(self, kind: Any, member: str, points: int | None, **more: Any) -> Request:
        reason = "as agreed" if kind == "ADJUST" else None
        return Request(kind, self.new_id(), self.names[member], points, reason=reason, **more)

    def moment(self, member: str) -> datetime:
        return max(self.now, self.recorded.get(member, self.now))

    def tick(self, member: str) -> None:
        self.naive[member].clock(self.moment(member))

    def granted(self, member: str, request: Request, points: int) -> None:
        assert request.occurred_at is not None
        assert request.lasting is not None
        granted = life(request.lasting, request.occurred_at, self.terms.timezone)
        moment = self.moment(member)
        self.naive[member].grant(
            request.posting_id, points, granted.available_at, granted.ends_at, moment
        )

    def spend(self, member: str, points: int, kind: str) -> None:
        request = self.ask(kind, member, points)
        self.tick(member)
        if self.naive[member].spend(request.posting_id, abs(points)) is None:
            self.refused(request, InsufficientPoints)
        else:
            self.carried_out(request)

    def carried_out(self, request: Request, kind: str | None = "") -> None:
        posting = post(self.database, self.terms, request, now=self.now)
        self.asked.append((request, posting))
        if kind is not None:
            self.left[request.posting_id] = abs(request.points or 0)
            self.kind[request.posting_id] = "granted" if request.kind == "EARN" else "given"
        for member, name in self.names.items():
            if name in request.members or (kind is None and member in self.naive):
                self.tick(member)
                self.note(member)

    def note(self, member: str) -> None:
        newest = ledger(self.database, self.names[member], limit=1)
        if newest:
            self.recorded[member] = newest[0].recorded_at

    def refused(self, request: Request, why: type[Exception]) -> None:
        with pytest.raises(why):
            post(self.database, self.terms, request, now=self.now)


def run(database: Database, *, examples: int, steps: int, **more: Any) -> None:
    if database.dialect == "postgresql":
        more["phases"] = [Phase.generate]  # shrinking takes hours there; SQLite shows the same
    machine = type("Machine", (Ledger,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None,
            suppress_health_check=list(HealthCheck),
            # A history that another version of these rules saved does not mean the same here.
            database=None, **more,
        ),
    )  # fmt: skip


def test_random_histories_end_as_the_naive_ledger_says(database: Database) -> None:
    run(database, examples=40 if database.dialect == "sqlite" else 15, steps=25)


@pytest.mark.slow
def test_many_random_histories_end_as_the_naive_ledger_says(database: Database) -> None:
    run(database, examples=150, steps=40)


def _latest_first(account: Account) -> list[Lot]:
    return list(reversed(OPEN_LOTS(account)))


def _returned_for_ever(account: Account, draft: Any, taken: Any, points: int, source: Any) -> None:
    for lot, _ in taken:
        lot.ends_at = None
    GIVE_BACK(account, draft, taken, points, source)


def _never_below_nought(account: Account, *given: Any, **named: Any) -> None:
    TAKE_BACK(account, *given, **{**named, "forgive": True})


def _debt_is_forgotten(account: Account, draft: Any, _: Lot, source: Any, points: int) -> None:
    account._enter(draft, source, "active", points)


def _expires_a_day_early(account: Account, lot: Lot) -> datetime | None:
    end = END_OF(account, lot)
    return None if end is None else end - timedelta(days=1)


def _posted_each_time(book: Book, posting_id: str) -> Posting | None:
    found = FIND(book, posting_id)
    return found if found is None or "/" not in posting_id else None


def _given_away_young(available_at: datetime, *_: Any, **__: Any) -> Life:
    return Life(available_at, None, None)


def _reversed_again(book: Book, original: Posting) -> int:
    return REVERSED_SO_FAR(book, original) // 2


OPEN_LOTS, GIVE_BACK, TAKE_BACK = Account.open_lots, Account.give_back, Account.take_back
END_OF, FIND, REVERSED_SO_FAR = Account.end_of, Book.find, Book._reversed_so_far
BUGS: dict[str, tuple[object, str, object]] = {
    "the lot that expires last is spent first": (Account, "open_lots", _latest_first),
    "points that return last for ever": (Account, "give_back", _returned_for_ever),
    "what she cannot pay is forgiven": (Account, "take_back", _never_below_nought),
    "what she owes is not paid": (Account, "_arrive", _debt_is_forgotten),
    "points expire a day early": (Account, "end_of", _expires_a_day_early),
    "a posting is made each time it is asked for": (Book, "find", _posted_each_time),
    "a transfer makes points young": (books, "Life", _given_away_young),
    "a posting is reversed more than once": (Book, "_reversed_so_far", _reversed_again),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_machine_finds_a_planted_bug(
    bug: str, templates: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(templates["sqlite"], tmp_path / "programme.db")
    database = Database.open(Settings(home=tmp_path))
    owner, name, broken = BUGS[bug]
    monkeypatch.setattr(owner, name, broken)

    with pytest.raises(Exception):  # noqa: B017 - whichever law it breaks first
        run(database, examples=200, steps=25, phases=[Phase.generate], derandomize=True)
    database.close()
