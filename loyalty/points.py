"""Points: post a change once, and say what a member has, now and at any instant before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, select

from loyalty.account import Account, Draft, Lot
from loyalty.book import Book
from loyalty.errors import Malformed, PostingRefused, UnknownMember
from loyalty.intake import check_instant
from loyalty.postings import Posting, Request, check_member
from loyalty.rows import account_of, lot_of, posting_of
from loyalty.statements import open_lots_of, postings_of
from loyalty.tables import ACCOUNTS, ALLOCATIONS, ENTRIES, LOTS, OPEN_LOTS, POSTINGS
from loyalty.terms import Terms
from programme.database import Database

PAGE_MAX = 500

_SPENDABLE = and_(LOTS.c.member_id == bindparam("member_id"), OPEN_LOTS, LOTS.c.remaining > 0)
_FIRST_END = select(func.min(LOTS.c.ends_at)).where(_SPENDABLE).scalar_subquery()
_ENDING_NEXT = (
    select(LOTS.c.ends_at, func.min(LOTS.c.expires_at), func.sum(LOTS.c.remaining))
    .where(_SPENDABLE, LOTS.c.ends_at == _FIRST_END)
    .group_by(LOTS.c.ends_at)
)
_IDLE = select(func.sum(LOTS.c.remaining)).where(_SPENDABLE, LOTS.c.idle)


@dataclass(frozen=True)
class Balance:
    """What a member has at one instant, in the smallest unit of points.

    Attributes
    ----------
    active : what she can spend; below nought she owes, where the programme shows it so
    owed : what is taken from her next earnings
    pending : granted and not spendable yet
    spent, expired : in all so far, less what was returned
    expires_at, expiring : when points next expire as she is told, and how many
    """

    member_id: str
    at: datetime
    active: int
    pending: int
    owed: int
    spent: int
    expired: int
    expires_at: datetime | None
    expiring: int


def post(database: Database, terms: Terms, request: Request, *, now: datetime) -> Posting:
    """Append one posting, once; posting it again returns the first.

    Raises
    ------
    PostingRefused : naming why; nothing was posted.
    Busy : if the database could not be had; send the same request again.
    """
    return database.write(lambda connection: post_on(connection, terms, request, now=now))


def post_on(connection: Connection, terms: Terms, request: Request, *, now: datetime) -> Posting:
    """Append one posting within a transaction of the caller's; see `post`."""
    book = Book(connection, terms, now)
    posting = book.post(request)
    book.write()
    return posting


def post_many(
    database: Database, terms: Terms, requests: Sequence[Request], *, now: datetime
) -> list[Posting | PostingRefused]:
    """Append many postings in one transaction; each is carried out or refused by itself.

    Returns
    -------
    for each request, in order, its posting or why there is none
    """

    def work(connection: Connection) -> list[Posting | PostingRefused]:
        book = Book(connection, terms, now)
        book.prepare([request for request in requests if _sound(request)])
        answers: list[Posting | PostingRefused] = []
        for request in requests:
            try:
                answers.append(book.post(request))
            except PostingRefused as refused:
                answers.append(refused)
        book.write()
        return answers

    return database.write(work)


def balance(
    database: Database, terms: Terms, member_id: str, *, now: datetime, at: datetime | None = None
) -> Balance:
    """Return what a member has now, or had `at` an instant: as it was then known.

    Raises
    ------
    UnknownMember : if she has, or had then, no account.
    Malformed : if `at` lies ahead, or is at an end of the calendar.
    """
    check_member(member_id)
    if at is not None:
        check_instant(at, "at")
    if at is not None and at > now:
        raise Malformed(f"{at} lies ahead of {now}. Nothing was read. Ask for a balance up to now.")
    with database.read() as connection:
        if at is None:
            return _balance_now(connection, terms, member_id, now)
        return _balance_then(connection, terms, member_id, at)


def ledger(
    database: Database, member_id: str, *, before: int | None = None, limit: int = 50
) -> list[Posting]:
    """Return a member's postings, the newest first, from the one before number `before`.

    Raises
    ------
    UnknownMember : if she has no account.
    """
    check_member(member_id)
    query = select(POSTINGS).where(POSTINGS.c.member_id == member_id)
    if before is not None:
        query = query.where(POSTINGS.c.posting_no < before)
    query = query.order_by(POSTINGS.c.posting_no.desc()).limit(min(limit, PAGE_MAX))
    with database.read() as connection:
        _account_row(connection, member_id)
        return [posting_of(row) for row in connection.execute(query)]


def find(database: Database, posting_id: str) -> Posting | None:
    """Return the posting of that id, if there is one."""
    with database.read() as connection:
        row = connection.execute(
            select(POSTINGS).where(POSTINGS.c.posting_id == posting_id)
        ).one_or_none()
    return None if row is None else posting_of(row)


def posted_ids(database: Database, posting_ids: Sequence[str]) -> set[str]:
    """Return which of some ids were posted."""
    if not posting_ids:
        return set()
    with database.read() as connection:
        return {row.posting_id for row in postings_of(connection, posting_ids)}


def _sound(request: Request) -> bool:
    """Say whether the ids of a request can be looked up at all."""
    try:
        for member_id in request.members:
            check_member(member_id)
    except PostingRefused:
        return False
    return isinstance(request.posting_id, str)


def _account_row(connection: Connection, member_id: str) -> Any:
    row = connection.execute(
        select(ACCOUNTS).where(ACCOUNTS.c.member_id == member_id)
    ).one_or_none()
    if row is None:
        raise UnknownMember(
            f"{member_id!r} has no points account. Nothing was read. An account opens with the "
            "first points a member earns."
        )
    return row


def _balance_now(connection: Connection, terms: Terms, member_id: str, now: datetime) -> Balance:
    row = _account_row(connection, member_id)
    now = max(now, row.recorded_at)
    account = account_of(row)
    if account.due_at is not None and account.due_at <= now:
        # The clock did something that is not posted yet.
        lots = open_lots_of(connection, [member_id])
        account.lots = {lot.lot_no: lot_of(lot) for lot in lots}
        return _shown(terms, _by_the_clock(account, now), now)
    mine = {"member_id": member_id}
    # Whatever else she has, only what expires next is read, and of it only the sum.
    ends = [
        (end, told or end, int(points))
        for end, told, points in connection.execute(_ENDING_NEXT, mine)
    ]
    if account.idle_at is not None:
        idle = connection.execute(_IDLE, mine).scalar()
        ends += [(account.idle_at, account.idle_at, int(idle))] if idle else []
    first = min((end for end, _, _ in ends), default=None)
    return _told(
        terms, account, now, [(told, points) for end, told, points in ends if end == first]
    )


def _balance_then(connection: Connection, terms: Terms, member_id: str, at: datetime) -> Balance:
    """Add up what was recorded by `at`; the clock of that instant decides what had expired."""
    _account_row(connection, member_id)
    recorded = and_(POSTINGS.c.member_id == member_id, POSTINGS.c.recorded_at <= at)
    last = connection.execute(
        select(POSTINGS).where(recorded).order_by(POSTINGS.c.posting_no.desc()).limit(1)
    ).one_or_none()
    if last is None:
        raise UnknownMember(
            f"{member_id!r} had no points account at {at}. Nothing was read. Ask for a later "
            "instant."
        )
    until = last.posting_no
    sums = connection.execute(
        select(func.sum(POSTINGS.c.active), func.sum(POSTINGS.c.pending)).where(recorded)
    ).one()
    purses = {
        purse: _moved(connection, member_id, until, purse) for purse in ("redeemed", "breakage")
    }
    account = Account(
        member_id, last.recorded_at, until, 0, int(sums[0]), int(sums[1]),
        purses["redeemed"], purses["breakage"], idle_at=last.idle_at,
    )  # fmt: skip
    account.lots = _lots_after(connection, member_id, until)
    return _shown(terms, _by_the_clock(account, at), at)


def _moved(connection: Connection, member_id: str, until: int, purse: str) -> int:
    """Return what her postings up to number `until` brought to an account of the books, net."""
    sign = case((ENTRIES.c.target == purse, 1), (ENTRIES.c.source == purse, -1), else_=0)
    found = connection.execute(
        select(func.sum(ENTRIES.c.points * sign)).where(
            ENTRIES.c.member_id == member_id, ENTRIES.c.posting_no <= until
        )
    ).scalar()
    return int(found or 0)


def _lots_after(connection: Connection, member_id: str, until: int) -> dict[int, Lot]:
    """Return a member's lots as they were after her posting number `until`."""
    granted = select(LOTS, POSTINGS.c.recorded_at).join(
        POSTINGS,
        and_(POSTINGS.c.member_id == LOTS.c.member_id, POSTINGS.c.posting_no == LOTS.c.posting_no),
    )
    lots = {}
    for row in connection.execute(
        granted.where(LOTS.c.member_id == member_id, LOTS.c.posting_no <= until)
    ):
        lots[row.lot_no] = lot_of(row).as_granted(row.recorded_at)
    moves = select(ALLOCATIONS).where(
        ALLOCATIONS.c.member_id == member_id, ALLOCATIONS.c.posting_no <= until
    )
    for move in connection.execute(
        moves.order_by(ALLOCATIONS.c.posting_no, ALLOCATIONS.c.allocation_no)
    ):
        lots[move.lot_no].move(move.source, move.target, move.points)
    return lots


def _by_the_clock(account: Account, at: datetime) -> Account:
    """Let the clock do to `account` what it has done by `at`; nothing of it is posted."""
    account.loaded = True
    for moment, kind, lots in account.due(at):
        draft = Draft(kind, moment, moment.date())
        (account.activate if kind == "ACTIVATE" else account.expire)(draft, lots)
    return account


def _shown(terms: Terms, account: Account, at: datetime) -> Balance:
    ending = [
        (end, lot) for lot in account.open_lots()
        if lot.remaining and (end := account.end_of(lot)) is not None
    ]  # fmt: skip
    soonest = [
        (end if lot.idle else lot.expires_at or end, lot.remaining)
        for end, lot in ending if end == ending[0][0]
    ]  # fmt: skip
    return _told(terms, account, at, soonest)


def _told(
    terms: Terms, account: Account, at: datetime, soonest: Sequence[tuple[datetime, int]]
) -> Balance:
    """Return what a member is told; `soonest` is what expires next: when, and how many."""
    active = account.active if terms.spent_points == "negative" else max(0, account.active)
    return Balance(
        account.member_id, at, active, account.pending, account.owed, account.spent,
        account.expired, min((told for told, _ in soonest), default=None),
        sum(points for _, points in soonest),
    )  # fmt: skip
