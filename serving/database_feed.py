"""From the database to the lake: rows of ours become a table that features read, each once."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import duckdb

from features import engine
from features.contracts import Table
from features.ingest import Ingested, ingest
from features.sources.staging import FromDatabase, Notes, Staged, contract_columns
from loyalty.intake import position, remember
from programme.database import Database
from programme.settings import Programme, Settings


class DatabaseFeed(FromDatabase, ABC):
    """Rows of a database as a source; what came before is known and changes nothing.

    Attributes
    ----------
    name : of the source, in the lake
    feed : under which it is remembered how far it was read
    table : the contract that its rows fulfil; a row has the attributes that `columns` name
    """

    name: str
    feed: ClassVar[str]
    table: ClassVar[Table]
    columns: ClassVar[tuple[str, ...]]
    notes = Notes(historical_load=False)

    def __init__(
        self, database: Database, *, since: datetime | None = None, until: datetime | None = None
    ) -> None:
        self._database = database
        self._since = since
        self._until = until

    @classmethod
    def since_last(cls, database: Database, now: datetime) -> Self:
        """Return what came between the last time it was read, as remembered, and now."""
        last = position(database, cls.feed)
        return cls(
            database, since=None if last is None else datetime.fromisoformat(last), until=now
        )

    @abstractmethod
    def rows(self) -> Iterator[Any]:
        """Yield the rows of the time it was asked for."""

    @property
    def is_empty(self) -> bool:
        """Return whether there is none."""
        return next(self.rows(), None) is None

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - nothing to look up first
        scratch: Path,
        programme: Programme,  # noqa: ARG002 - instants and points have no zone or currency
    ) -> Iterator[Staged]:
        """Yield the rows, written down as text first: they may not fit in memory."""
        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / f"{self.name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            for row in self.rows():
                writer.writerow([_cell(getattr(row, column)) for column in self.columns])
        read = (
            f"select *, row_number() over () as line from read_csv({engine.text(path)}, "
            "header = true, all_varchar = true, nullstr = '\\N')"
        )
        typed = contract_columns(self.table, {column: column for column in self.columns})
        yield Staged(
            self.table,
            f"select {typed}, {engine.text(self.name)} as file, line, "
            f"cast(null as varchar) as problem, cast(null as varchar) as raw from ({read})",
        )


def bring(
    kind: type[DatabaseFeed],
    database: Database,
    settings: Settings,
    *,
    now: datetime,
    tell: Callable[[str], None],
    everything: bool = False,
) -> Ingested | None:
    """Bring new rows into the lake and remember how far; None: there was none.

    Parameters
    ----------
    everything : from the beginning; what is known changes nothing
    """
    source = kind(database, until=now) if everything else kind.since_last(database, now)
    done = None if source.is_empty else ingest(source, settings, now, tell)
    remember(database, kind.feed, now.isoformat())
    return done


def _cell(value: object) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return str(value)
