"""From the ledger to the lake: postings become the `points` table that features read."""

from collections.abc import Iterator
from dataclasses import fields

from features import contracts
from loyalty.feed import FeedRow, rows
from serving.database_feed import DatabaseFeed


class LedgerFeed(DatabaseFeed):
    """The ledger of a home as a source of rows."""

    name = "ledger"
    feed = "points to the lake"
    table = contracts.POINTS
    columns = tuple(field.name for field in fields(FeedRow))

    def rows(self) -> Iterator[FeedRow]:
        """Yield the postings of the time it was asked for."""
        return rows(self._database, since=self._since, until=self._until)
