"""Delimited text, record by record: each with the line it began on, or why it is none.

A reader written for speed gives up on the rest of a file at the first stray quote, and counts
records where people count lines. Here nothing is lost and every line number can be looked up.
"""

import codecs
import csv
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.sources.mapping import FileFormat
from features.sources.staging import refuse_missing_columns
from programme.errors import InputRefused

# A quote that is never closed would otherwise swallow the file.
LINES_PER_RECORD_MAX = 1_000
_RECORDS_PER_TABLE = 50_000
# Stands in for a delimiter of several characters, which the csv module does not know.
_UNIT_SEPARATOR = "\x1f"

# Line number, cells (None: the line is malformed), the text as it came.
Record = tuple[int, list[str] | None, str]


def write_records(path: Path, form: FileFormat, columns: list[str], place: Path) -> None:
    """Write the named columns of a delimited file as Parquet.

    Parameters
    ----------
    columns : headers that must be there, in the order to keep
    place : the Parquet file: `columns` as text, then `line`, and `malformed`, which holds a
        line that has another number of cells than the header and is null on every other row

    Raises
    ------
    InputRefused : on a missing or repeated column, no header, an unknown encoding, or bytes that
        the encoding does not allow.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    records = _records(_lines(path, form.encoding), form.delimiter, form.quote)
    header = _header(path, records)
    refuse_missing_columns(path, header, columns)
    picked = [header.index(column) for column in columns]
    schema = pa.schema(
        [*((f"c{i}", pa.string()) for i in range(len(columns))), ("line", pa.int64()),
         ("malformed", pa.string())]
    )  # fmt: skip
    with pq.ParquetWriter(place, schema, use_dictionary=False, compression="none") as writer:
        while (table := _table(islice(records, _RECORDS_PER_TABLE), picked, schema)).num_rows:
            writer.write_table(table)


def _table(records: Iterator[Record], picked: list[int], schema: pa.Schema) -> pa.Table:
    """Return records as a table; a malformed line keeps its text instead of cells."""
    # One flat list: a list per record would keep the garbage collector busier than the parser.
    cells_in_turn: list[str | None] = []
    lines: list[int] = []
    malformed: list[str | None] = []
    nothing = (None,) * len(picked)
    for line, cells, text in records:
        cells_in_turn.extend(nothing if cells is None else [cells[place] for place in picked])
        lines.append(line)
        malformed.append(text if cells is None else None)
    columns = [cells_in_turn[start :: len(picked)] for start in range(len(picked))]
    arrays = [
        pa.array(values, field.type)
        for values, field in zip([*columns, lines, malformed], schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a file with their line ends, whichever they are."""
    number = 0
    try:
        # Spreadsheets mark UTF-8 with three bytes that belong to no column name.
        strict = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        with path.open(encoding=strict, newline="") as file:
            for line in file:
                number += 1
                yield line
    except LookupError as error:
        raise InputRefused(
            f"There is no encoding {encoding!r}. Nothing was read. Use utf-8, gb18030, latin-1..."
        ) from error
    except UnicodeError as error:
        what = str(error)
        if isinstance(error, UnicodeDecodeError):
            what = f"the byte 0x{error.object[error.start]:02x} has no meaning there"
        raise InputRefused(
            f"{path} is not {encoding}: on line {number + 1} or soon after, {what}. Nothing was "
            "read. Name the real encoding in [file] of the mapping, for example gb18030 or latin-1."
        ) from error


def _records(lines: Iterator[str], delimiter: str, quote: str) -> Iterator[Record]:
    """Yield the header, then every record; empty lines are none.

    A quoted cell may hold line ends. Where quotes do not match, or the record they make has
    another width than the header, the first line alone is malformed, and reading goes on with
    the next: one bad line costs one line.
    """
    ahead: deque[str] = deque()
    number, width = 1, 0
    while (line := _next(ahead, lines)) is not None:
        text, more = line.rstrip("\r\n"), list[str]()
        if not quote or quote not in text:
            cells: list[str] | None = text.split(delimiter)
        else:
            cells = _cells([line], delimiter, quote)
            if cells is None:
                more = _until_quotes_match(line, ahead, lines, quote)
                cells = _cells([line, *more], delimiter, quote)
        width = width or len(cells or ())
        if cells is not None and len(cells) != width:
            cells = None
        if cells is None:
            ahead.extendleft(reversed(more))
            more = []
        if text:
            yield number, cells, text
        number += 1 + len(more)


def _until_quotes_match(
    line: str, ahead: deque[str], lines: Iterator[str], quote: str
) -> list[str]:
    """Take the lines after `line` up to the one that makes the number of quotes even."""
    more: list[str] = []
    quotes = line.count(quote)
    while quotes % 2 and len(more) < LINES_PER_RECORD_MAX:
        following = _next(ahead, lines)
        if following is None:
            break
        more.append(following)
        quotes += following.count(quote)
    return more


def _cells(lines: list[str], delimiter: str, quote: str) -> list[str] | None:
    """Split one record; None where its quotes do not match."""
    if len(delimiter) > 1:
        lines = [line.replace(delimiter, _UNIT_SEPARATOR) for line in lines]
        found = _cells(lines, _UNIT_SEPARATOR, quote)
        return found and [cell.replace(_UNIT_SEPARATOR, delimiter) for cell in found]
    try:
        records = list(csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True))
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None


def _header(path: Path, records: Iterator[Record]) -> list[str]:
    first = next(records, None)
    if first is None or first[0] != 1 or first[1] is None:
        raise InputRefused(f"{path} has no header line. Nothing was read. Export it with one.")
    header = first[1]
    repeated = sorted({column for column in header if column and header.count(column) > 1})
    if repeated:
        raise InputRefused(
            f"{path} names the column {repeated[0]!r} twice. Nothing was read. Rename one."
        )
    return header


def _next(ahead: deque[str], lines: Iterator[str]) -> str | None:
    return ahead.popleft() if ahead else next(lines, None)
