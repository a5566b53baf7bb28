"""From the ledger to the lake: postings become the `points` table that features read."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import duckdb

from features import contracts, engine
from features.sources.staging import Notes, Staged, contract_columns
from loyalty.feed import FeedRow, rows
from loyalty.intake import position
from programme.database import Database
from programme.settings import Programme

FEED = "points to the lake"
COLUMNS = ("posting_id", "occurred_at", "member_id", "kind", "points", "expires_at", "tier",
           "known_at")  # fmt: skip


class LedgerFeed:
    """The ledger of a home as a source of rows; what came before is known and changes nothing."""

    name = "ledger"
    notes = Notes(historical_load=False)

    def __init__(
        self, database: Database, *, since: datetime | None = None, until: datetime | None = None
    ) -> None:
        self._database = database
        self._since = since
        self._until = until

    @classmethod
    def since_last(cls, database: Database, now: datetime) -> Self:
        """Return what was recorded between the last time it was read, as remembered, and now."""
        last = position(database, FEED)
        return cls(
            database, since=None if last is None else datetime.fromisoformat(last), until=now
        )

    @property
    def programme(self) -> Programme | None:
        """Return None: the programme is the home's own."""
        return None

    def files(self) -> list[Path]:
        """Return nothing: rows come from a database."""
        return []

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - nothing to look up first
        scratch: Path,
        programme: Programme,  # noqa: ARG002 - instants and points have no zone or currency
    ) -> Iterator[Staged]:
        """Yield the postings, written down as text first: the ledger may not fit in memory."""
        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / "ledger.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in rows(self._database, since=self._since, until=self._until):
                writer.writerow(_cells(row))
        read = (
            f"select *, row_number() over () as line from read_csv({engine.text(path)}, "
            "header = true, all_varchar = true, nullstr = '\\N')"
        )
        typed = contract_columns(contracts.POINTS, {name: name for name in COLUMNS})
        yield Staged(
            contracts.POINTS,
            f"select {typed}, 'ledger' as file, line, cast(null as varchar) as problem, "
            f"cast(null as varchar) as raw from ({read})",
        )


def _cells(row: FeedRow) -> list[str]:
    def moment(instant: datetime | None) -> str:
        if instant is None:
            return "\\N"
        return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")

    return [
        row.posting_id, moment(row.occurred_at), row.member_id, row.kind, str(row.points),
        moment(row.expires_at), "\\N" if row.tier is None else row.tier, moment(row.known_at),
    ]  # fmt: skip
