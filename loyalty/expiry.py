"""What the clock does to points: the job that posts it, and who is about to lose some.

Whether a point can be spent is decided by the clock when it is spent; the job only writes it down
for members who do nothing. It can be stopped anywhere and started again: whatever it did is done.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, case, func, select

from loyalty.book import Book
from loyalty.tables import ACCOUNTS, LOTS, OPEN_LOTS
from loyalty.terms import Terms
from programme.database import Database

MEMBERS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Settled:
    """For how many members how many postings were made."""

    members: int
    postings: int


@dataclass(frozen=True)
class Expiring:
    """Points of one member that expire at one moment, as she is told, unless she spends them."""

    member_id: str
    expires_at: datetime
    points: int


def settle_due(
    database: Database,
    terms: Terms,
    *,
    now: datetime,
    tell: Callable[[str], None] = lambda _: None,
    members_at_once: int = MEMBERS_AT_ONCE,
) -> Settled:
    """Post every activation and expiry that is due, some members in each transaction.

    Parameters
    ----------
    tell : is told how far it is
    """
    due = (
        select(ACCOUNTS.c.member_id)
        .where(ACCOUNTS.c.due_at <= now)
        .order_by(ACCOUNTS.c.due_at)
        .limit(members_at_once)
    )

    def some(connection: Connection) -> Settled:
        members = list(connection.execute(due).scalars())
        book = Book(connection, terms, now)
        book.lock(members)
        book.load_lots(members)
        postings = sum(book.settle(member_id) for member_id in members)
        book.write()
        return Settled(len(members), postings)

    members = postings = 0
    while (done := database.write(some)).members:
        members, postings = members + done.members, postings + done.postings
        tell(f"{members:,} members, {postings:,} postings")
    return Settled(members, postings)


def expiring(database: Database, *, now: datetime, within_days: int) -> Iterator[Expiring]:
    """Yield what expires in the next days, by member and day: whom to remind.

    Points in their days of grace are listed too, with the day she was told.
    """
    until = now + timedelta(days=within_days)
    told = case((LOTS.c.idle, ACCOUNTS.c.idle_at), else_=LOTS.c.expires_at).label("told")
    end = case((LOTS.c.idle, ACCOUNTS.c.idle_at), else_=LOTS.c.ends_at)
    query = (
        select(LOTS.c.member_id, told, func.sum(LOTS.c.remaining).label("points"))
        .join(ACCOUNTS, ACCOUNTS.c.member_id == LOTS.c.member_id)
        .where(
            # Nothing of the others' is due by then: their lots are not read.
            ACCOUNTS.c.due_at < until,
            and_(OPEN_LOTS, LOTS.c.remaining > 0, end >= now, told < until),
        )
        .group_by(LOTS.c.member_id, told)
        .order_by(LOTS.c.member_id, told)
    )
    with database.read() as connection:
        for row in connection.execution_options(yield_per=1_000).execute(query):
            yield Expiring(row.member_id, row.told, int(row.points))
