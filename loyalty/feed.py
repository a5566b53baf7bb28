"""Postings as the `points` table of the feature store: one row for each change, with its end.

A posting that brings back points of several lots becomes a row for each of their ends, so that a
reader who is told "50 points until May" can add up what expires when.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, and_, select

from loyalty.account import Kind
from loyalty.rows import posting_of
from loyalty.tables import ALLOCATIONS, LOTS, POSTINGS
from programme.database import Database

# Two writers may record in one order and commit in the other, so a reader who goes on from where
# it ended looks back by more than any transaction lasts. Rows that come twice change nothing.
LOOK_BACK = timedelta(hours=1)
_AT_ONCE = 1_000


@dataclass(frozen=True)
class FeedRow:
    """One row of the contract `features.contracts.POINTS`; the two rooms meet in it only."""

    posting_id: str
    occurred_at: datetime
    member_id: str
    kind: Kind
    points: int
    expires_at: datetime | None
    tier: str | None
    known_at: datetime


def rows(
    database: Database, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[FeedRow]:
    """Yield what was recorded in `[since, until)`, with what could have been missed before.

    Parameters
    ----------
    since : up to where an earlier call read; None for everything
    """
    query = select(POSTINGS).order_by(POSTINGS.c.recorded_at)
    if since is not None:
        query = query.where(POSTINGS.c.recorded_at >= since - LOOK_BACK)
    if until is not None:
        query = query.where(POSTINGS.c.recorded_at < until)
    with database.read() as connection:
        streamed = connection.execution_options(yield_per=_AT_ONCE).execute(query)
        for row in streamed:
            yield from _rows_of(connection, row)


def _rows_of(connection: Connection, row: Row[tuple[object, ...]]) -> Iterator[FeedRow]:
    posting = posting_of(row)
    ends = [(posting.expires_at, posting.active)]
    if posting.active > 0 and posting.kind in ("REVERSE", "TRANSFER", "ACTIVATE"):
        ends = _arrivals(connection, row)
    for number, (end, points) in enumerate(ends, 1):
        name = posting.posting_id if number == 1 else f"{posting.posting_id}#{number}"
        yield FeedRow(
            name, posting.occurred_at, posting.member_id, posting.kind, points, end,
            posting.tier, posting.recorded_at,
        )  # fmt: skip


def _arrivals(
    connection: Connection, row: Row[tuple[object, ...]]
) -> list[tuple[datetime | None, int]]:
    """Return what a posting made spendable, by the end of the lots it belongs to."""
    mine = LOTS.c.member_id == row.member_id
    found: dict[datetime | None, int] = {}
    granted = select(LOTS.c.ends_at, LOTS.c.points).where(mine, LOTS.c.posting_no == row.posting_no)
    returned = (
        select(LOTS.c.ends_at, ALLOCATIONS.c.points)
        .join(
            LOTS,
            and_(
                LOTS.c.member_id == ALLOCATIONS.c.member_id, LOTS.c.lot_no == ALLOCATIONS.c.lot_no
            ),
        )
        .where(
            mine, ALLOCATIONS.c.posting_no == row.posting_no, ALLOCATIONS.c.target == "remaining"
        )
    )
    for query in (granted, returned):
        for end, points in connection.execute(query):
            found[end] = found.get(end, 0) + int(points)
    return list(found.items())
