"""DuckDB as we use it: bounded memory, two threads, UTC, spilling to the home."""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from programme.files import sync_file, sync_folder
from programme.settings import Settings

_opened: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()


@contextmanager
def connect(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory engine that respects the machine's limits.

    Yields
    ------
    a connection whose session timezone is UTC; what exceeds `memory_limit_mb` spills to the home
    """
    spill = settings.home / "tmp"
    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "threads": settings.threads,
            "memory_limit": f"{settings.memory_limit_mb}MB",
            "temp_directory": str(spill),
            "autoinstall_known_extensions": False,
        }
    )
    _opened.add(connection)
    try:
        connection.execute("set timezone = 'UTC'")
        yield connection
    finally:
        _opened.discard(connection)
        connection.close()


def interrupt() -> None:
    """Stop the query of every open engine, whichever thread waits for it.

    DuckDB looks for a Ctrl-C only while the waiting thread has a piece of the query to work on:
    where the other threads took them all, it is not seen before the query ends.
    """
    for connection in tuple(_opened):
        with suppress(duckdb.ConnectionException):  # closed since
            connection.interrupt()


def text(value: object) -> str:
    """Quote a value as an SQL text literal."""
    return "'" + str(value).replace("'", "''") + "'"


def instant(moment: datetime) -> str:
    """Return a zoned moment as SQL, in UTC as everything is stored."""
    return f"timestamp {text(moment.astimezone(UTC).replace(tzinfo=None))}"


def name(identifier: str) -> str:
    """Quote an SQL identifier, for example a column of somebody's file."""
    return '"' + identifier.replace('"', '""') + '"'


def parquet(paths: list[Path], columns: str) -> str:
    """Return a SELECT over Parquet files, or one with no rows when there are none.

    Parameters
    ----------
    paths : files of one table
    columns : `name type, ...`, the shape to give when `paths` is empty
    """
    if paths:
        files = ", ".join(text(path) for path in paths)
        return f"select * from read_parquet([{files}])"
    nothing = ", ".join(
        f"cast(null as {kind}) as {column}"
        for column, kind in (pair.strip().split(" ", 1) for pair in columns.split(","))
    )
    return f"select {nothing} where false"


def copy_to_parquet(connection: duckdb.DuckDBPyConnection, sql: str, path: Path) -> int:
    """Write the rows of `sql` to one Parquet file; return how many there were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = connection.execute(
        f"copy ({sql}) to {text(path)} (format parquet, compression zstd)"
    ).fetchone()
    return int(done[0]) if done else 0


def replace_parquet(
    connection: duckdb.DuckDBPyConnection, sql: str, path: Path, note: str = ""
) -> int:
    """Write the rows of `sql` to `path` so that a reader sees the old file or the new one.

    Parameters
    ----------
    note : kept in the file itself; `note_of` reads it
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        done = connection.execute(
            f"copy ({sql}) to {text(unfinished)} (format parquet, compression zstd, "
            f"kv_metadata {{note: {text(note)}}})"
        ).fetchone()
        sync_file(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)
    return int(done[0]) if done else 0


def note_of(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Return the note `replace_parquet` left in a file; empty where there is none."""
    found = connection.execute(
        f"select decode(value) from parquet_kv_metadata({text(path)}) where decode(key) = 'note'"
    ).fetchone()
    return str(found[0]) if found else ""
