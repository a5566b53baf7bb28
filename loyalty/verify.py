"""Add the whole ledger up again from what was appended, and say where it disagrees with itself.

The sums that change (accounts, lots, days) are rebuilt from the rows that never do, so this is
also the proof that they can be. `perennial points verify` runs it; every test of the ledger ends
with it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, Table, case, func, select, text

from loyalty.account import Account, Allocation, Entry, Lot, Qualifying
from loyalty.postings import Posting
from loyalty.rows import account_of, lot_of, posting_of, qualifying_of
from loyalty.tables import ACCOUNTS, ALLOCATIONS, ENTRIES, LOTS, MEMBER_DAYS, POSTINGS
from programme.database import Database

MEMBERS_AT_ONCE = 200
BY_CLOCK = ("EXPIRE", "ACTIVATE")


@dataclass(frozen=True)
class Violation:
    """One law of the ledger that does not hold, and for whom."""

    member_id: str
    law: str


@dataclass(frozen=True)
class Verified:
    """How much was added up, and what did not agree."""

    members: int
    postings: int
    violations: tuple[Violation, ...]


def verify(
    database: Database,
    *,
    only: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Verified:
    """Check every law of the ledger for every member; memory does not grow with members.

    Parameters
    ----------
    only : members to check; None means all, and the books as a whole
    tell : is told how far it is
    """
    members = postings = 0
    violations: list[Violation] = []
    with database.read() as connection:
        if only is None:
            violations += _whole(connection)
        for accounts in _accounts(connection, only):
            pages = _Pages(connection, [account.member_id for account in accounts])
            for account in accounts:
                members, postings = members + 1, postings + account.postings
                violations += (
                    Violation(account.member_id, law) for law in _broken_laws(pages, account)
                )
            tell(f"{members:,} members, {postings:,} postings")
    return Verified(members, postings, tuple(violations))


def _whole(connection: Connection) -> Iterator[Violation]:
    """Yield what is wrong with the books as a whole."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("pragma quick_check(1)")).scalar()
        if found != "ok":
            yield Violation("", f"the file is damaged: {found}")
    sign = case(
        (ENTRIES.c.target == "transfers", 1), (ENTRIES.c.source == "transfers", -1), else_=0
    )
    between = connection.execute(select(func.sum(ENTRIES.c.points * sign))).scalar() or 0
    if between:
        yield Violation("", f"transfers: {between} points were given and not received")
    orphans = select(func.count()).where(POSTINGS.c.member_id.not_in(select(ACCOUNTS.c.member_id)))
    if lost := connection.execute(orphans.select_from(POSTINGS)).scalar():
        yield Violation("", f"{lost} postings have no account")


def _accounts(connection: Connection, only: Sequence[str] | None) -> Iterator[list[Account]]:
    """Yield the accounts in order, some at a time."""
    wanted = select(ACCOUNTS).order_by(ACCOUNTS.c.member_id).limit(MEMBERS_AT_ONCE)
    if only is not None:
        wanted = wanted.where(ACCOUNTS.c.member_id.in_(only))
    last = ""
    while rows := connection.execute(wanted.where(ACCOUNTS.c.member_id > last)).all():
        yield [account_of(row) for row in rows]
        last = rows[-1].member_id


class _Pages:
    """All rows of some members, by table and member."""

    def __init__(self, connection: Connection, members: Sequence[str]) -> None:
        self._rows: dict[tuple[Table, str], list[Row[Any]]] = defaultdict(list)
        for table in (POSTINGS, ENTRIES, LOTS, ALLOCATIONS, MEMBER_DAYS):
            query = select(table).where(table.c.member_id.in_(members))
            for row in connection.execute(query.order_by(*table.primary_key)):
                self._rows[table, row.member_id].append(row)

    def of(self, table: Table, member_id: str) -> list[Row[Any]]:
        return self._rows[table, member_id]


class _Replay:
    """A member's sums, rebuilt posting by posting."""

    def __init__(self, lots: dict[int, Lot]) -> None:
        self.lots = lots
        self.purses: dict[str, int] = defaultdict(int)
        self.days: dict[date, Qualifying] = defaultdict(Qualifying)
        self.reversed: dict[str, int] = defaultdict(int)
        self.granted: set[int] = set()

    def order_of(self, lot: Lot, idle_at: datetime | None) -> tuple[bool, datetime, int]:
        end = idle_at if lot.idle else lot.ends_at
        return end is None, end or lot.available_at, lot.lot_no


def _broken_laws(pages: _Pages, account: Account) -> Iterator[str]:
    """Yield each law that does not hold for one member."""
    stored = {lot.lot_no: lot for lot in map(lot_of, pages.of(LOTS, account.member_id))}
    entries = _by_posting(pages.of(ENTRIES, account.member_id))
    allocations = _by_posting(pages.of(ALLOCATIONS, account.member_id))
    replay = _Replay({number: replace(lot) for number, lot in stored.items()})
    chain, last = "", None
    postings: dict[str, Posting] = {}
    number = 0
    for number, row in enumerate(pages.of(POSTINGS, account.member_id), 1):
        posting = posting_of(row)
        postings[posting.posting_id] = posting
        moved = [Entry(e.source, e.target, e.points) for e in entries.get(number, ())]
        parts = [
            Allocation(a.lot_no, a.source, a.target, a.points) for a in allocations.get(number, ())
        ]
        if posting.posting_no != number:
            yield f"posting {number} is missing"
            return
        if last is not None and posting.recorded_at < last:
            yield f"posting {number} was recorded before the one it follows"
        last = posting.recorded_at
        if posting.chained(chain, moved, parts) != posting.chain:
            yield f"posting {number} is not what was written"
        chain = posting.chain
        yield from _replayed(replay, posting, moved, parts)
    if number != account.postings or chain != account.chain:
        yield f"the account counts {account.postings} postings, {number} are there"
    yield from _reversed_too_much(postings, replay)
    yield from _sums(pages, account, replay, stored)


def _replayed(
    replay: _Replay, posting: Posting, moved: Sequence[Entry], parts: Sequence[Allocation]
) -> Iterator[str]:
    """Carry one posting out on the rebuilt sums; yield what it breaks."""
    number = posting.posting_no
    before = dict(replay.purses)
    for entry in moved:
        replay.purses[entry.source] -= entry.points
        replay.purses[entry.target] += entry.points
    for purse in ("active", "pending"):
        change = replay.purses[purse] - before.get(purse, 0)
        if change != getattr(posting, purse):
            yield f"posting {number} says {purse} {getattr(posting, purse)}, its entries {change}"
    if replay.purses["active"] != posting.balance:
        yield f"after posting {number} the balance is not {posting.balance}"
    for lot in list(replay.lots.values()):
        if lot.posting_no == number:
            replay.lots[lot.lot_no] = lot.as_granted(posting.recorded_at)
            replay.granted.add(lot.lot_no)
    for part in parts:
        lot = replay.lots[part.lot_no]
        if part.lot_no not in replay.granted:
            yield f"posting {number} moves lot {lot.lot_no}, which was granted later"
        yield from _wrong_lot(replay, posting, lot, part)
        if getattr(lot, part.source) < part.points:
            yield f"posting {number} takes more from lot {lot.lot_no} than it had"
            return
        lot.move(part.source, part.target, part.points)
    replay.days[posting.day] += posting.qualifying
    if posting.reverses is not None:
        replay.reversed[posting.reverses] += sum(entry.points for entry in moved)


def _wrong_lot(replay: _Replay, posting: Posting, lot: Lot, part: Allocation) -> Iterator[str]:
    """Yield whether points were taken out of turn: pending, worth nothing, or not the soonest."""
    number, end = posting.posting_no, posting.idle_at if lot.idle else lot.ends_at
    if posting.kind == "EXPIRE" and (end is None or end > posting.recorded_at):
        yield f"posting {number} lets lot {lot.lot_no} expire before its time"
    if posting.kind not in ("REDEEM", "TRANSFER") or part.source != "remaining":
        return
    if posting.active > 0:
        return  # what was received paid what was owed
    if end is not None and end <= posting.recorded_at:
        yield f"posting {number} spends lot {lot.lot_no} outside its life"
    mine = replay.order_of(lot, posting.idle_at)
    for other in replay.lots.values():
        there = other.lot_no in replay.granted and other.remaining
        if there and replay.order_of(other, posting.idle_at) < mine:
            yield f"posting {number} spends lot {lot.lot_no} before {other.lot_no}"


def _reversed_too_much(postings: dict[str, Posting], replay: _Replay) -> Iterator[str]:
    for posting_id, points in replay.reversed.items():
        original = postings.get(posting_id)
        if original is None or points > abs(original.active + original.pending):
            yield f"{points} points of {posting_id} were reversed, more than it had"


def _sums(
    pages: _Pages, account: Account, replay: _Replay, stored: dict[int, Lot]
) -> Iterator[str]:
    """Yield where the sums that change are not those of the rows that never do."""
    for purse, kept in (
        ("active", account.active), ("pending", account.pending), ("redeemed", account.spent),
        ("breakage", account.expired),
    ):  # fmt: skip
        if replay.purses[purse] != kept:
            yield f"the account has {purse} {kept}, its entries {replay.purses[purse]}"
    for number, lot in stored.items():
        if lot != replay.lots[number]:
            yield f"lot {number} is {lot}, its allocations make it {replay.lots[number]}"
    spendable = sum(lot.remaining for lot in stored.values())
    waiting = sum(lot.waiting for lot in stored.values())
    if spendable - account.owed != account.active or (spendable and account.owed):
        yield f"lots have {spendable} points to spend, the account {account.active}"
    if waiting != account.pending:
        yield f"lots have {waiting} points that wait, the account {account.pending}"
    if len(stored) != account.lots_made:
        yield f"{len(stored)} lots are there, {account.lots_made} were made"
    for lot in stored.values():
        moment = lot.available_at if lot.waiting else account.end_of(lot)
        left = lot.remaining or lot.waiting
        if left and moment and (account.due_at is None or account.due_at > moment):
            yield f"lot {lot.lot_no} is due at {moment}, the account waits for {account.due_at}"
    days = {row.day: qualifying_of(row) for row in pages.of(MEMBER_DAYS, account.member_id)}
    rebuilt = {day: counted for day, counted in replay.days.items() if any(counted.amounts)}
    if {day: counted for day, counted in days.items() if any(counted.amounts)} != rebuilt:
        yield "what days counted for tiers is not what postings say"


def _by_posting(rows: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    return {
        number: list(some) for number, some in groupby(rows, key=lambda row: int(row.posting_no))
    }
