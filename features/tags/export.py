"""Tags as a file for others: one row per member and tag, Parquet or CSV."""

import os
from pathlib import Path

import duckdb

from features import engine
from features.tags.store import Tagged
from programme.errors import InputRefused
from programme.files import sync_file, sync_folder

# A spreadsheet runs what a cell begins with; an apostrophe makes it text. A tab or a carriage
# return before such a sign is skipped by some, and the full-width signs count too.
FORMULA_STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_SUFFIXES = (".parquet", ".csv")


def write(tagged: Tagged, path: Path) -> int:
    """Write member_id, tag and since; return the number of rows.

    The file appears whole or not at all. In CSV, text that a spreadsheet would run as a formula
    gets an apostrophe in front; in Parquet it stays as it is.

    Raises
    ------
    InputRefused : if `path` is a folder or ends in neither .parquet nor .csv
    """
    if path.is_dir() or path.suffix.lower() not in _SUFFIXES:
        what = "is a folder" if path.is_dir() else "is neither .parquet nor .csv"
        raise InputRefused(
            f"{path} {what}. No tags were written. Name the file, for example "
            f"{path.with_name('tags.csv')}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with duckdb.connect() as connection:
            rows = _copy(connection, tagged.held_sql(), unfinished, path.suffix.lower())
        sync_file(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)
    return rows


def _copy(connection: duckdb.DuckDBPyConnection, sql: str, path: Path, suffix: str) -> int:
    if suffix == ".parquet":
        return engine.copy_to_parquet(connection, sql, path)
    starts = ", ".join(engine.text(sign) for sign in FORMULA_STARTS)
    safe = f"""select case when left(member_id, 1) in ({starts}) then '''' || member_id
            else member_id end as member_id, tag, since from ({sql})"""
    done = connection.execute(f"copy ({safe}) to {engine.text(path)} (format csv, header)")
    row = done.fetchone()
    return int(row[0]) if row else 0
