"""From the inbox to the lake: accepted rows as a source like any other.

A row keeps its own source and the moment at which we knew it, which is when it was accepted and not
when it gets here. Rows that files brought too are judged as the contract says: unchanged, or a
version.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import duckdb

from features import engine
from features.contracts import Table
from features.lake import Lake
from features.sources.staging import FromDatabase, Notes, Staged, contract_columns
from programme.database import Database
from programme.settings import Programme, Settings
from serving.online.inbox import InboxRow, rows_between
from serving.online.rows import TABLE_OF, Kind

NAME = "inbox"
# JSON text that DuckDB may read as one value: a row of thirteen texts, each of the longest.
_ROW_BYTES_MAX = 1 << 20


class InboxFeed(FromDatabase):
    """The rows of an inbox that the lake does not hold yet, up to a fixed one.

    Parameters
    ----------
    last : the last row to read; nothing below it may still be on its way into the inbox
    """

    name = NAME
    notes = Notes(historical_load=False)

    def __init__(self, database: Database, settings: Settings, last: int) -> None:
        self._database = database
        self._settings = settings
        self.last = last

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - nothing to look up first
        scratch: Path,
        programme: Programme,  # noqa: ARG002 - rows carry UTC and minor units already
    ) -> Iterator[Staged]:
        """Yield the rows of each kind, written down first: they may not fit in memory.

        Where to begin is read from the lake under its lock: of two who flush at once, the second
        begins where the first ended.
        """
        lake = Lake(self._settings)
        after = lake.inbox_position(lake.manifest())
        scratch.mkdir(parents=True, exist_ok=True)
        written: dict[Kind, Path] = {}
        files: dict[Kind, TextIO] = {}
        try:
            for row in rows_between(self._database, after, self.last):
                if row.kind not in files:
                    written[row.kind] = scratch / f"{NAME}-{row.kind}.jsonl"
                    files[row.kind] = written[row.kind].open("w", encoding="utf-8")
                files[row.kind].write(_line(row))
        finally:
            for file in files.values():
                file.close()
        for kind, path in sorted(written.items(), reverse=True):
            yield Staged(TABLE_OF[kind], _staged_sql(TABLE_OF[kind], path))


def _line(row: InboxRow) -> str:
    """Return a row as a line of JSON: its number, when we knew it, and its content as it is."""
    known = row.accepted_at.replace(tzinfo=None).isoformat(" ", "microseconds")
    return f'{{"seq":{row.seq},"known_at":"{known}",{row.content[1:]}\n'


def _staged_sql(table: Table, path: Path) -> str:
    columns = ", ".join(
        ["seq: 'bigint'", *(f"{f.name}: {engine.text(f.sql_type)}" for f in table.fields)]
    )
    read = (
        f"select * from read_json({engine.text(path)}, format = 'newline_delimited', "
        f"columns = {{{columns}}}, maximum_object_size = {_ROW_BYTES_MAX})"
    )
    typed = contract_columns(table, {column: column for column in table.column_names})
    return (
        f"select {typed}, {engine.text(NAME)} as file, seq as line, "
        f"cast(null as varchar) as problem, cast(null as varchar) as raw from ({read})"
    )
