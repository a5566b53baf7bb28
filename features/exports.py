"""Tables for other programs: Parquet as it is, or CSV that a spreadsheet opens safely."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import duckdb

from features import engine
from programme.errors import InputRefused
from programme.files import sync_file, sync_folder

# A spreadsheet runs what a cell begins with; an apostrophe makes it text. A tab or a carriage
# return before such a sign is skipped by some, and the full-width signs count too.
FORMULA_STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
FORMATS = (".parquet", ".csv")


def write(sql: str, path: Path) -> int:
    """Write the rows of a SELECT where another program can read them; return how many.

    The file appears whole or not at all. In CSV, text that a spreadsheet would run as a formula
    gets an apostrophe in front; in Parquet it stays as it is.

    Raises
    ------
    InputRefused : see `check`
    """
    check(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with duckdb.connect() as connection:
            if path.suffix.lower() == ".parquet":
                rows = engine.copy_to_parquet(connection, sql, unfinished)
            else:
                rows = _copy_to_csv(connection, sql, unfinished)
        sync_file(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)
    return rows


def check(path: Path, formats: Sequence[str] = FORMATS) -> None:
    """Refuse a file that could not be written, before anything long is done for it.

    Parameters
    ----------
    formats : what its name may end in

    Raises
    ------
    InputRefused : if `path` is a folder, ends in none of `formats`, or lies where nothing can
        be written
    """
    if path.is_dir() or path.suffix.lower() not in formats:
        what = "is a folder" if path.is_dir() else f"ends in none of {', '.join(formats)}"
        raise InputRefused(
            f"{path} {what}. Nothing was exported. Name the file, for example "
            f"{path.with_name(f'members{formats[-1]}')}."
        )
    check_place(path)


def check_place(path: Path) -> None:
    """Refuse a place in which no file can be made; missing folders are made when it is written.

    Raises
    ------
    InputRefused : if what would hold the file is no folder, or may not be written to
    """
    place = next(one for one in path.absolute().parents if one.exists())
    try:
        # What may be written to is known for sure by doing it: rights do not tell of all places.
        with TemporaryFile(dir=place):
            pass
    except OSError as error:
        what = "cannot be written to" if place.is_dir() else "is not a folder"
        raise InputRefused(
            f"{path} cannot be written: {place} {what}. Nothing was exported. Name another place."
        ) from error


def _copy_to_csv(connection: duckdb.DuckDBPyConnection, sql: str, path: Path) -> int:
    starts = ", ".join(engine.text(sign) for sign in FORMULA_STARTS)
    columns = connection.execute(f"describe {sql}").fetchall()
    text = [engine.name(name) for name, kind, *_ in columns if kind == "VARCHAR"]
    safe = ", ".join(
        f"case when left({name}, 1) in ({starts}) then '''' || {name} else {name} end as {name}"
        for name in text
    )
    rows = f"select * {f'replace ({safe})' if text else ''} from ({sql})"
    # An order inside the SELECT is not kept around it: what is written must not depend on threads.
    rows = f"{rows} order by all"
    done = connection.execute(f"copy ({rows}) to {engine.text(path)} (format csv, header)")
    row = done.fetchone()
    return int(row[0]) if row else 0
