"""Purchases become earnings, once, whichever way and however often they come.

The order is what earns. Its lines are kept: when a line comes late, or goods of it are returned,
the order is reckoned again with all its lines by the rules of its day, and the difference is
posted. So whatever a multiplier added is undone in proportion. A line that shows the order to be of
another day moves all of it there: what has come, not how it came, says what was earned.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fractions import Fraction
from hashlib import sha256
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from loyalty.account import Qualifying
from loyalty.book import Book
from loyalty.earning import Earned, Line, order_earns
from loyalty.errors import Malformed, PostingConflict, PostingRefused, WrongCurrency
from loyalty.intake import Refusal, Taken, check_instant, check_number, check_text, note
from loyalty.order import DatedLine, Order, line_fields, line_of, order_of, order_row
from loyalty.postings import Request, check_limits, check_member
from loyalty.rulebook import Rulebook
from loyalty.statements import Write, write
from loyalty.tables import (
    ORDER_ID_LENGTH_MAX,
    ORDER_LINES,
    ORDERS,
    SOURCE_LENGTH_MAX,
)
from programme.calendar import local_date
from programme.database import Database

NUMBERS_MAX = 50
CENTS_MAX = 10**12
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Purchase:
    """One line as it comes in: what was bought, by whom, in which order.

    Attributes
    ----------
    returns_order_id : the order whose goods come back; the line then counts for that order
    currency : of `net_cents`, where the caller says so; the programme's is the only one there is
    """

    source: str
    order_id: str
    member_id: str
    occurred_at: datetime
    line: Line
    returns_order_id: str | None = None
    currency: str | None = None

    @property
    def counts_for(self) -> tuple[str, str]:
        """Return the order, with its source, that the line earns or takes back for."""
        return self.source, self.returns_order_id or self.order_id


def take_purchases(
    database: Database,
    rulebook: Rulebook,
    purchases: Sequence[Purchase],
    *,
    now: datetime,
    watermark: tuple[str, str] | None = None,
) -> Taken:
    """Let purchases earn, in one transaction.

    Parameters
    ----------
    watermark : (feed, position) to remember with the postings, so that a job that is stopped goes
        on from there
    """

    def work(connection: Connection) -> Taken:
        taken = take_purchases_on(connection, rulebook, purchases, now=now)
        note(connection, watermark)
        return taken

    return database.write(work)


def take_purchases_on(
    connection: Connection, rulebook: Rulebook, purchases: Sequence[Purchase], *, now: datetime
) -> Taken:
    """Let purchases earn within a transaction of the caller's; see `take_purchases`."""
    book = Book(connection, rulebook.terms(now), now)
    taken = _Orders(connection, rulebook, book).take(purchases)
    book.write()
    return taken


def simulate(
    rulebook: Rulebook,
    lines: Sequence[Line],
    occurred_at: datetime,
    *,
    tier: str | None = None,
    birthday: str | None = None,
) -> Earned:
    """Return what an order would earn, and by which rules; nothing is posted.

    Raises
    ------
    Malformed : if the rules know no such tier.
    OutsideLimits : if it lies before the first rules, or comes to more than can be counted.
    """
    rulebook.check(occurred_at)
    rules = rulebook.at(occurred_at)
    if tier is not None and tier not in rules.tier_names:
        raise Malformed(
            f"Rules {rules.version} have no tier {tier!r:.60}. Nothing was posted. They have "
            f"{', '.join(rules.tier_names) or 'no tiers'}."
        )
    return order_earns(rules, lines, occurred_at, tier=tier, birthday=birthday)


class _Orders:
    """The orders a batch of purchases touches."""

    def __init__(self, connection: Connection, rulebook: Rulebook, book: Book) -> None:
        self._connection = connection
        self._rulebook = rulebook
        self._book = book
        self._timezone = rulebook.programme.timezone
        self._taken = Taken()

    def take(self, purchases: Sequence[Purchase]) -> Taken:
        readable = [(n, line) for n, line in enumerate(purchases) if self._is_sound(n, line)]
        late = {n: why for n, line in readable if (why := self._beyond(line)) is not None}
        numbered = [(n, line) for n, line in readable if n not in late]
        sound = [purchase for _, purchase in numbered]
        members = [purchase.member_id for purchase in sound]
        # First the locks: what is read below is then still true when it is written.
        self._book.lock(members, members)
        orders = self._load({purchase.counts_for for purchase in sound})
        known = self._known({(purchase.source, purchase.order_id) for _, purchase in readable})
        for index, why in late.items():
            self._too_late(index, purchases[index], known, why)
        # What each order gets, with the places in the batch.
        taken: dict[tuple[str, str], list[tuple[int, Purchase, dict[str, Any]]]] = {}
        for index, purchase in sorted(numbered, key=lambda pair: pair[1].occurred_at):
            line_key = (purchase.source, purchase.order_id, purchase.line.line_no)
            fingerprint = _fingerprint(purchase)
            if line_key in known:
                self._seen_before(index, purchase, known[line_key] == fingerprint)
                continue
            order = orders.get(purchase.counts_for) or Order(
                *purchase.counts_for, purchase.member_id, purchase.occurred_at
            )
            if order.member_id != purchase.member_id:
                self._refuse(index, purchase, Malformed(
                    f"{order.key} is the order of another member. Line "
                    f"{purchase.line.line_no!r:.80} was not taken. Send it with the order's "
                    "member_id."
                ))  # fmt: skip
                continue
            orders[purchase.counts_for] = order
            order.lines.append(_dated(purchase))
            known[line_key] = fingerprint
            row = _line_row(purchase, fingerprint)
            taken.setdefault(purchase.counts_for, []).append((index, purchase, row))
        for key in taken:
            orders[key].date(self._timezone)
        for key in sorted(taken, key=lambda key: (orders[key].occurred_at, orders[key].key)):
            try:
                self._reckon(orders[key])
            except PostingRefused as refused:
                for index, purchase, _ in taken.pop(key):
                    self._refuse(index, purchase, refused)
        write(
            self._connection,
            Write("append", ORDER_LINES, [row for its in taken.values() for *_, row in its]),
            Write("upsert", ORDERS, [order_row(orders[key]) for key in taken]),
        )
        return self._taken

    def _reckon(self, order: Order) -> None:
        """Post the difference between what all lines earn and what was posted so far."""
        was = replace(order)
        moved = self._settle(order)
        earned = self._earned(order)
        order.points, order.qualifying = earned.points, earned.qualifying
        if moved and (was.points or any(was.qualifying.amounts)):
            self._post_anew(order, was)
            return
        points, counted = earned.points - was.points, earned.qualifying + -was.qualifying
        if points < 0:
            taken = _reversal(was, "return", counted)
            self._take_back(order, range(order.postings, 0, -1), -points, taken)
        elif points or any(counted.amounts):
            self._earn(order, points, counted)

    def _settle(self, order: Order) -> bool:
        """Look up by what an order earns; return whether it had earned on another day."""
        settled_at = order.settled_at
        day = self._day(order.occurred_at)
        if settled_at is not None and self._day(settled_at) == day:
            return False
        rules = self._rulebook.on(day)
        order.rule_version = rules.version
        # By now the orders before it have been posted: this is the tier they brought her, in the
        # words of the rules it earns by. What it counted itself on another day is left out.
        its = None if settled_at is None else (self._day(settled_at), order.qualifying)
        order.tier = self._book.tier(order.member_id, day, rules.terms.tiers, without=its)
        if settled_at is None:
            order.birthday = self._book.birthday(order.member_id)
        order.settled_at = order.purchased_at(self._timezone)
        return settled_at is not None

    def _earned(self, order: Order) -> Earned:
        if order.settled_at is None or order.purchased_at(self._timezone) is None:
            return Earned(0, Fraction(0), (), Qualifying())  # returns wait for their order
        return order_earns(
            self._rulebook.named(order.rule_version), [kept.line for kept in order.lines],
            order.occurred_at, tier=order.tier, birthday=order.birthday,
        )  # fmt: skip

    def _post_anew(self, order: Order, was: Order) -> None:
        """Let an order earn on its right day, then take back what it earned on another.

        In this order what was spent meanwhile is paid by the same points, under every policy. What
        somebody had reversed by hand is taken from the new posting.
        """
        if order.points or any(order.qualifying.amounts):
            self._earn(order, order.points, order.qualifying)
        new = range(order.postings, was.postings, -1)
        numbers = (*range(was.postings, 0, -1), *new)
        taken = _reversal(was, "other day", -was.qualifying)
        if not self._take_back(order, numbers, was.points, taken):
            assert was.settled_at is not None, "what has earned was of some day"
            there = replace(was, occurred_at=was.settled_at, postings=order.postings)
            self._earn(there, 0, -was.qualifying)
            order.postings += 1

    def _earn(self, order: Order, points: int, counted: Qualifying) -> None:
        order.postings += 1
        self._taken.postings.append(self._book.post(
            Request(
                "EARN", order.posting_id(order.postings), order.member_id, points,
                order.occurred_at, reason="order", qualifying=counted, order_key=order.key,
                rule_version=order.rule_version,
            ),
            ours=True,
        ))  # fmt: skip

    def _take_back(self, order: Order, numbers: Iterable[int], points: int, taken: Request) -> bool:
        """Reverse what the order earned by its postings of some numbers; return whether it did.

        What somebody reversed by hand before is not there any more, and is not taken twice.

        Parameters
        ----------
        taken : the reversal, but for what it takes from which posting
        """
        done = False
        for number in numbers:
            part = min(points, self._book.left_of(order.posting_id(number)))
            if part <= 0:
                continue
            order.postings += 1
            request = replace(
                taken, posting_id=order.posting_id(order.postings), points=part,
                reverses=order.posting_id(number),
                qualifying=Qualifying() if done else taken.qualifying,
            )  # fmt: skip
            self._taken.postings.append(self._book.post(request, ours=True))
            points, done = points - part, True
        return done

    def _day(self, moment: datetime) -> date:
        return local_date(moment, self._timezone)

    def _is_sound(self, index: int, purchase: Purchase) -> bool:
        try:
            _check_purchase(purchase, self._rulebook.programme.currency)
            self._rulebook.check(purchase.occurred_at)
        except PostingRefused as refused:
            self._refuse(index, purchase, refused)
            return False
        return True

    def _beyond(self, purchase: Purchase) -> PostingRefused | None:
        """Return why a line is of a day that is not taken any more, or not yet."""
        probe = Request("EARN", "#", purchase.member_id, None, purchase.occurred_at,
                        order_key=f"{purchase.source}/{purchase.order_id}")  # fmt: skip
        try:
            check_limits(probe, self._book.terms, self._book.now)
        except PostingRefused as refused:
            return refused
        return None

    def _too_late(
        self,
        index: int,
        purchase: Purchase,
        known: dict[tuple[str, str, str], str],
        why: PostingRefused,
    ) -> None:
        """Refuse a line beyond the limits, unless it came in time once: then it is known."""
        line_key = (purchase.source, purchase.order_id, purchase.line.line_no)
        if line_key in known:
            self._seen_before(index, purchase, known[line_key] == _fingerprint(purchase))
        else:
            self._refuse(index, purchase, why)

    def _seen_before(self, index: int, purchase: Purchase, same: bool) -> None:
        if same:
            self._taken.known += 1
            return
        self._refuse(index, purchase, PostingConflict(
            f"Line {purchase.line.line_no!r:.80} of {purchase.source}/{purchase.order_id} came "
            "before with other content. It was not taken again. Send a correction as a line of "
            "its own."
        ))  # fmt: skip

    def _refuse(self, index: int, purchase: Purchase, refused: PostingRefused) -> None:
        key = f"{purchase.source}/{purchase.order_id}/{purchase.line.line_no}"
        self._taken.refusals.append(Refusal(index, key, refused))

    def _load(self, keys: set[tuple[str, str]]) -> dict[tuple[str, str], Order]:
        found: dict[tuple[str, str], Order] = {}
        for source, ids in _by_source(keys):
            its = (ORDERS.c.source == source) & ORDERS.c.order_id.in_(ids)
            for row in self._connection.execute(select(ORDERS).where(its)):
                found[row.source, row.order_id] = order_of(row)
            its = (ORDER_LINES.c.source == source) & ORDER_LINES.c.counts_for.in_(ids)
            for row in self._connection.execute(
                select(ORDER_LINES).where(its).order_by(*ORDER_LINES.primary_key)
            ):
                order = found[row.source, row.counts_for]
                order.lines.append(line_of(row, order))
        for order in found.values():
            if order.purchased_at(self._timezone) is not None:
                order.settled_at = order.occurred_at
        return found

    def _known(self, keys: set[tuple[str, str]]) -> dict[tuple[str, str, str], str]:
        """Return the fingerprints of the lines that came before, of some orders."""
        found = {}
        columns = (ORDER_LINES.c.source, ORDER_LINES.c.order_id, ORDER_LINES.c.line_no)
        query = select(*columns, ORDER_LINES.c.fingerprint)
        for source, ids in _by_source(keys):
            its = (ORDER_LINES.c.source == source) & ORDER_LINES.c.order_id.in_(ids)
            for row in self._connection.execute(query.where(its)):
                found[row.source, row.order_id, row.line_no] = str(row.fingerprint)
        return found


def _check_purchase(purchase: Purchase, currency: str) -> None:
    check_member(purchase.member_id)
    if purchase.currency not in (None, currency):
        raise WrongCurrency(
            f"The amount is in {purchase.currency!r:.12}; this programme counts {currency} only. "
            "It was not taken. Send it in that currency."
        )
    for name, text, longest in (
        ("source", purchase.source, SOURCE_LENGTH_MAX),
        ("order_id", purchase.order_id, ORDER_ID_LENGTH_MAX),
        ("line_no", purchase.line.line_no, ORDER_ID_LENGTH_MAX),
        ("returns_order_id", purchase.returns_order_id or "-", ORDER_ID_LENGTH_MAX),
        ("product_id", purchase.line.product_id or "-", ORDER_ID_LENGTH_MAX),
        ("category", purchase.line.category or "-", ORDER_ID_LENGTH_MAX),
        ("channel", purchase.line.channel or "-", ORDER_ID_LENGTH_MAX),
    ):
        check_text(name, text, longest)
    check_instant(purchase.occurred_at)
    line = purchase.line
    if isinstance(line.net_cents, bool) or not isinstance(line.net_cents, int):
        raise Malformed(f"net_cents is {line.net_cents!r:.40}, not a whole number of minor units.")
    if abs(line.net_cents) > CENTS_MAX:
        raise Malformed(f"net_cents is {line.net_cents}, beyond {CENTS_MAX}.")
    if len(line.numbers) > NUMBERS_MAX:
        raise Malformed(f"A line carries {len(line.numbers)} numbers; at most {NUMBERS_MAX}.")
    for name, number in {"quantity": line.quantity, **line.numbers}.items():
        check_number(name, number)


def _fingerprint(purchase: Purchase) -> str:
    """Return the SHA-256 of a line; written out by hand, because there are so many."""
    line = purchase.line
    content = (
        purchase.member_id, purchase.occurred_at.astimezone(UTC).isoformat(),
        purchase.returns_order_id, line.net_cents, float(line.quantity), line.product_id,
        line.category, line.channel, sorted(line.numbers.items()),
    )  # fmt: skip
    return sha256(repr(content).encode()).hexdigest()


def _dated(purchase: Purchase) -> DatedLine:
    own = purchase.returns_order_id in (None, purchase.order_id)
    return DatedLine(purchase.line, purchase.occurred_at, own)


def _reversal(order: Order, reason: str, counted: Qualifying) -> Request:
    return Request(
        "REVERSE", "", order.member_id, None, reason=reason, qualifying=counted,
        order_key=order.key, rule_version=order.rule_version,
    )  # fmt: skip


def _line_row(purchase: Purchase, fingerprint: str) -> dict[str, Any]:
    return {
        **line_fields(purchase.line), "source": purchase.source, "order_id": purchase.order_id,
        "counts_for": purchase.counts_for[1], "occurred_at": purchase.occurred_at,
        "fingerprint": fingerprint,
    }  # fmt: skip


def _by_source(keys: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield orders by source, some at a time.

    SQLite finds `source = ... and order_id in (...)` by the key; pairs in one IN it does not: it
    would read every order there ever was.
    """
    for source, pairs in groupby(sorted(keys), key=lambda pair: pair[0]):
        ids = [order_id for _, order_id in pairs]
        for start in range(0, len(ids), _AT_ONCE):
            yield source, ids[start : start + _AT_ONCE]
