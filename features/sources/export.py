"""Any CSV or Parquet export, read through a mapping: each section feeds one table."""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from features import contracts, engine
from features.sources import delimited
from features.sources.cells import FILE, LINE, MALFORMED, cell
from features.sources.facts import CampaignColumns
from features.sources.feeds import Form, found_on_lines, staged_sql
from features.sources.happenings import EventColumns, PointsColumns, PurchaseColumns
from features.sources.lines import purchases_sql
from features.sources.mapping import Mapping
from features.sources.sections import Columns, Facts, Happenings
from features.sources.staging import (
    Notes,
    Staged,
    existing_files,
    file_names,
    require_columns,
)
from programme.errors import InputRefused
from programme.settings import Programme


class Export:
    """Rows of somebody's files; the mapping says what they mean."""

    def __init__(self, paths: list[Path], mapping: Mapping) -> None:
        self.mapping = mapping
        self.name = mapping.source
        self._paths = paths
        assumed = [
            _assumed(table, columns)
            for table, columns in mapping.sections().items()
            if columns.known_at is None
        ]
        self.notes = Notes(historical_load=bool(assumed), assumptions=tuple(assumed))

    @property
    def programme(self) -> Programme | None:
        """Return the programme the mapping declares, if it does."""
        return self.mapping.programme

    def files(self) -> list[Path]:
        """Return the files, each there and not empty."""
        return existing_files(self._paths)

    def stage(
        self, connection: duckdb.DuckDBPyConnection, scratch: Path, programme: Programme
    ) -> Iterator[Staged]:
        """Yield the mapped tables, each over all files: who and what, then what happened."""
        for table, columns in self.mapping.sections().items():
            _refuse_unknown_format(connection, table, columns)
        named = file_names(self.files())
        raw = " union all by name ".join(
            f"({self._rows(connection, path, name, scratch)})" for path, name in named.items()
        )
        for table, columns in self.mapping.sections().items():
            yield self._staged(table, columns, raw, programme)

    def _staged(self, table: str, columns: Columns, raw: str, programme: Programme) -> Staged:
        contract, decimal = contracts.TABLES[table], self.mapping.file.decimal
        if isinstance(columns, PurchaseColumns):
            return Staged(
                contract,
                purchases_sql(columns, raw, self.name, programme, decimal),
                hash_identity=columns.order is None or columns.line is None,
                drop_equal_rows=columns.exact_duplicates == "drop",
            )
        form = Form(self.name, programme, decimal)
        if isinstance(columns, Facts) and table != self.mapping.owner():
            rows = found_on_lines(table, columns, raw)
            return Staged(contract, staged_sql(table, columns, rows, form), on_lines=True)
        sql = staged_sql(table, columns, raw, form)
        if isinstance(columns, EventColumns | PointsColumns):
            number = columns.event if isinstance(columns, EventColumns) else columns.posting
            return Staged(
                contract,
                sql,
                hash_identity=number is None,
                drop_equal_rows=columns.exact_duplicates == "drop",
            )
        return Staged(contract, sql)

    def _rows(
        self, connection: duckdb.DuckDBPyConnection, path: Path, name: str, scratch: Path
    ) -> str:
        """Return a SELECT of one file: its mapped cells as text, file, line and malformed."""
        wanted = self.mapping.columns_read()
        if self.mapping.file.is_parquet(path):
            require_columns(connection, path, wanted)
            cells = ", ".join(f"cast({cell(c)} as varchar) as {cell(c)}" for c in wanted)
            return f"""select {cells}, {engine.text(name)} as {FILE},
                file_row_number + 1 as {LINE}, cast(null as varchar) as {MALFORMED}
                from read_parquet({engine.text(path)}, file_row_number = true)"""
        place = scratch / "records" / f"{name}.parquet"
        delimited.write_records(path, self.mapping.file, wanted, place)
        cells = ", ".join(f"c{i} as {cell(column)}" for i, column in enumerate(wanted))
        return f"""select {cells}, {engine.text(name)} as {FILE}, line as {LINE},
            malformed as {MALFORMED}
            from read_parquet({engine.text(place)})"""


def _assumed(table: str, columns: Columns) -> str:
    """Say when rows without `known_at` are taken to have been known."""
    if isinstance(columns, Happenings):
        return f"{table} were known when they happened"
    if isinstance(columns, CampaignColumns):
        return f"{table} were known when they began"
    return f"{table} carry no date: taken as known from the beginning"


def _refuse_unknown_format(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Columns
) -> None:
    if columns.written_as is None:
        return
    try:
        connection.execute(f"select try_strptime('', {engine.text(columns.written_as)})").fetchall()
    except duckdb.Error as error:
        raise InputRefused(
            f"{columns.time_key} {columns.written_as!r} of [{table}] cannot be read ({error}). "
            "Nothing was ingested. Write it as strptime does, for example %d.%m.%Y %H:%M."
        ) from error
