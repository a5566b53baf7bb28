"""Tables for other programs: Parquet as it is, or CSV that a spreadsheet opens safely."""

import csv
import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from programme.errors import InputRefused
from programme.files import write_durably

# A spreadsheet takes text that begins so for a formula and runs it.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
FORMATS = (".parquet", ".csv")


def write(rows: pd.DataFrame, path: Path) -> Path:
    """Write rows where another program can read them; the file appears whole or not at all.

    Parameters
    ----------
    rows : without an index that matters
    path : ending in .parquet, or in .csv: UTF-8 with a byte order mark, as spreadsheets expect;
        text that one would run as a formula gets an apostrophe before it, as one would type it

    Raises
    ------
    InputRefused : on another ending, or when `path` is a folder
    """
    check(path)
    if path.suffix == ".parquet":
        written: io.BytesIO = io.BytesIO()
        table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata()
        pq.write_table(table, written, compression="zstd")
        write_durably(path, written.getvalue())
        return path
    safe = rows.copy()
    for name in safe.select_dtypes(include=["object", "string"]):
        safe[name] = safe[name].map(_unformula)
    text = safe.to_csv(index=False, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    write_durably(path, text.encode("utf-8-sig"))
    return path


def check(path: Path) -> None:
    """Refuse a file that `write` could not write, before anything long is done for it."""
    if path.suffix not in FORMATS or path.is_dir():
        raise InputRefused(
            f"{path} is no file that ends in .parquet or .csv. Nothing was exported. Name one, "
            "for example: --out members.csv"
        )


def _unformula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
