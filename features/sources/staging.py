"""What an adapter hands over: contract columns, where each row stood, what is wrong with it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import duckdb

from features import contracts, engine
from programme.errors import InputRefused
from programme.settings import Programme

Progress = Callable[[str], None]

# Columns beside the contract's: where the row stood, the first thing wrong, the row as it came.
TRACE_COLUMNS = ("file", "line", "problem", "raw")


@dataclass(frozen=True)
class Staged:
    """Rows of one table, still unchecked.

    `sql` selects the contract's columns in their types, then `file` (text), `line` (bigint),
    `problem` ('reason:column' or null) and `raw` (the row as it came, JSON text). With
    `hash_identity`, numbers that rows should have may be null: identity comes from the content,
    and equal rows of a file are rows of their own unless `drop_equal_rows` says they are mistakes.
    Rows `on_lines` are facts found on the rows of another table, which may hold none.
    """

    table: contracts.Table
    sql: str
    hash_identity: bool = False
    drop_equal_rows: bool = False
    on_lines: bool = False


@dataclass(frozen=True)
class Notes:
    """What an adapter assumed about a source, for the usability report."""

    historical_load: bool = True
    assumptions: tuple[str, ...] = field(default_factory=tuple)


class Source(Protocol):
    """One place rows come from."""

    name: str
    notes: Notes

    @property
    def programme(self) -> Programme | None:
        """The programme the source declares; None: the home's own."""

    def files(self) -> list[Path]:
        """Return the files to be read, all of them there."""

    def stage(
        self, connection: duckdb.DuckDBPyConnection, scratch: Path, programme: Programme
    ) -> Iterator[Staged]:
        """Yield one or more `Staged` per table, in the order in which they must be ingested."""


class FromDatabase:
    """What holds of a source that reads rows of our own database."""

    @property
    def programme(self) -> Programme | None:
        """Return None: the programme is the home's own."""
        return None

    def files(self) -> list[Path]:
        """Return nothing: there are none."""
        return []


def contract_columns(table: contracts.Table, given: Mapping[str, str]) -> str:
    """Return the SELECT list of a contract: the given expressions, typed nulls elsewhere.

    What does not fit the type becomes null: the adapter says so in `problem`.

    Raises
    ------
    InputRefused : if `given` names a column the contract lacks.
    """
    unknown = sorted(set(given) - set(table.column_names))
    if unknown:
        raise InputRefused(
            f"The table {table.name} has no column {', '.join(unknown)}. Nothing was read. "
            f"It has {', '.join(table.column_names)}."
        )
    return ",\n".join(
        f"try_cast({given.get(column.name, 'null')} as {column.sql_type}) as {column.name}"
        for column in table.fields
    )


def existing_files(paths: Iterable[Path]) -> list[Path]:
    """Return the paths, sorted and without repetition.

    Raises
    ------
    InputRefused : if there are none, or one is absent or empty.
    """
    found = sorted({path.expanduser().resolve() for path in paths})
    if not found:
        raise InputRefused("No file was named. Nothing was read. Give at least one path.")
    for path in found:
        if not path.is_file():
            raise InputRefused(
                f"{path} is not a file. Nothing was read. Check the name; quote patterns only "
                "if your shell does not expand them."
            )
        if path.stat().st_size == 0:
            raise InputRefused(f"{path} is empty (0 bytes). Nothing was read. Export it again.")
    return found


def file_names(paths: list[Path]) -> dict[Path, str]:
    """Return what each file is called in reports: its name, or its path where names repeat."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return dict(zip(paths, names, strict=True))
    common = Path(os.path.commonpath(paths))
    return {path: str(path.relative_to(common)) for path in paths}


def packaged_file(distribution: str, inside: str) -> Path:
    """Return the path of a file that came with an installed distribution.

    The package is located, not imported: its code never runs.

    Raises
    ------
    InputRefused : if the distribution or the file is not installed.
    """
    from importlib import metadata

    advice = "Nothing was read. Install the demonstration data: pip install -e '.[demo]'"
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError as error:
        raise InputRefused(f"{distribution} is not installed. {advice}") from error
    path = Path(str(found.locate_file(inside)))
    if not path.is_file():
        raise InputRefused(f"{distribution} has no file {inside}. {advice}")
    return path


def require_columns(
    connection: duckdb.DuckDBPyConnection, path: Path, columns: Iterable[str]
) -> None:
    """Refuse a Parquet file that lacks a column an adapter reads."""
    try:
        described = connection.execute(
            f"select column_name from (describe select * from read_parquet({engine.text(path)}))"
        ).fetchall()
    except duckdb.Error as error:
        raise InputRefused(
            f"{path} cannot be read as Parquet ({error}). Nothing was read. Export it again."
        ) from error
    present = [str(row[0]) for row in described]
    refuse_missing_columns(path, present, columns)


def refuse_damaged(connection: duckdb.DuckDBPyConnection, files: Iterable[Path]) -> None:
    """Read Parquet files to their end, to tell a damaged one from a fault of ours.

    Raises
    ------
    InputRefused : naming the first file that cannot be read.
    """
    for path in files:
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                continue
        try:
            connection.execute(
                f"select max(hash(t)) from read_parquet({engine.text(path)}) t"
            ).fetchall()
        except duckdb.Error as error:
            raise InputRefused(
                f"{path} is damaged: it cannot be read as Parquet to its end ({error}). Nothing "
                "was ingested. Export it again."
            ) from error


def refuse_missing_columns(path: Path, present: list[str], wanted: Iterable[str]) -> None:
    """Refuse a file without the columns that were asked for.

    Raises
    ------
    InputRefused : naming what is missing and what is there.
    """
    missing = [column for column in wanted if column not in present]
    if missing:
        raise InputRefused(
            f"{path} has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, present))}. Nothing was read. Correct the mapping or the file."
        )
