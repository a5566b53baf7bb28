"""Everybody at once, for other systems: the latest scores, and where each member stands.

Rows are handed over some at a time, so that memory does not grow with the programme. In CSV (RFC
4180) text that a spreadsheet would run as a formula gets an apostrophe in front, and lists are
JSON; in Parquet everything stays as it is.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import select

from features.exports import FORMULA_STARTS
from features.tags.scored import PREFIX
from programme.database import Database
from programme.errors import NotReady
from programme.settings import Settings
from serving.online import changes
from serving.online.tables import ONLINE_MEMBERS

ROWS_AT_ONCE = 2_000
BYTES_AT_ONCE = 256 * 1024
MEMBER_COLUMNS = pa.schema(
    [
        ("member_id", pa.string()), ("population", pa.string()), ("as_of", pa.date32()),
        ("data_as_of", pa.timestamp("us", tz="UTC")), ("risk_band", pa.string()),
        ("churn_probability", pa.float64()), ("stage", pa.string()), ("segments", pa.string()),
        ("tags", pa.list_(pa.string())), ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)  # fmt: skip
_COMMA, _MARK, _NONE = (pa.scalar(sign, pa.large_string()) for sign in (",", '"', ""))
_STARTS = "".join(f"\\x{{{ord(sign):x}}}" for sign in f"{FORMULA_STARTS}\0")


@dataclass(frozen=True)
class Exported:
    """A file to hand over, open: it stays readable when another takes its place.

    Parameters
    ----------
    written_at : None: just now, for whoever asked
    tag : another wherever the content is another
    position : changes after it bring a reader of the file up to date; None: some of those are
        kept no longer
    """

    file: IO[bytes]
    as_of: date
    written_at: datetime | None
    tag: str
    size: int
    position: int | None


def latest_scores(settings: Settings, database: Database) -> Exported | None:
    """Open the scores of everybody as the last batch wrote them; None: there are none yet."""
    found = sorted((settings.home / "scores").glob("????-??-??_*.parquet"), key=_day_and_age)
    while found:
        path = found.pop()
        if path.name.startswith(PREFIX):
            continue
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue  # removed between two looks
        told = Path(f"/dev/fd/{file.fileno()}").stat()
        tag = sha256(f"{path.name} {told.st_ino} {told.st_size} {told.st_mtime_ns}".encode())
        known = _known_until(pq.ParquetFile(file).metadata)
        return Exported(
            file, date.fromisoformat(path.name[:10]),
            datetime.fromtimestamp(told.st_mtime, UTC).replace(microsecond=0),
            tag.hexdigest()[:32], told.st_size,
            None if known is None else changes.last_before(database, known),
        )  # fmt: skip
    return None


def members_now(settings: Settings, database: Database) -> Exported:
    """Write where every member stands, all seen at one moment, to a file without a name.

    Raises
    ------
    NotReady : if nobody was ever written to the online store.
    """
    file = tempfile.TemporaryFile(dir=settings.home)  # noqa: SIM115 - who hands it over closes it
    try:
        with database.read() as connection:
            position = changes.last_position(connection)
            with pq.ParquetWriter(file, MEMBER_COLUMNS, compression="zstd") as writer:
                as_of, last = None, ""
                while rows := _members_after(connection, last):
                    writer.write_table(pa.Table.from_pylist(rows, MEMBER_COLUMNS))
                    last, as_of = rows[-1]["member_id"], max(as_of or date.min, rows[-1]["as_of"])
    except BaseException:
        file.close()
        raise
    if as_of is None:
        file.close()
        raise NotReady(
            "Nobody was written to the online store yet. Nothing was exported. Fill it: perennial "
            "score, or perennial worker."
        )
    size = file.tell()
    file.seek(0)
    tag = file_digest(file, "sha256").hexdigest()[:32]
    return Exported(file, as_of, None, tag, size, position)


def as_parquet(exported: Exported) -> Iterator[bytes]:
    """Yield the file as it is, and close it."""
    with exported.file as file:
        file.seek(0)
        while part := file.read(BYTES_AT_ONCE):
            yield part


def as_csv(exported: Exported) -> Iterator[bytes]:
    """Yield the file as CSV, and close it: a line of names, then a line per member."""
    with exported.file as file:
        table = pq.ParquetFile(file)
        yield csv_lines([pa.array([name]) for name in table.schema_arrow.names])
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            yield csv_lines(batch.columns)


def csv_lines(columns: Sequence[pa.Array]) -> bytes:
    """Return rows as lines of RFC 4180 that no spreadsheet runs."""
    cells = [_cells(column) for column in columns]
    lines = pc.binary_join_element_wise(*cells, _COMMA)
    return "".join(f"{line}\r\n" for line in lines.to_pylist()).encode()


def _cells(column: pa.Array) -> pa.Array:
    """Return a column as text: numbers as they are, text made harmless, what is absent empty."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        told = [
            None if one is None else json.dumps(one, ensure_ascii=False)
            for one in column.to_pylist()
        ]
        text = pa.array(told, pa.large_string())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.replace_substring_regex(
            column.cast(pa.large_string()), f"\\A([{_STARTS}])", "'\\1"
        )
    elif pa.types.is_timestamp(kind):
        text = pc.replace_substring(column.cast(pa.large_string()), " ", "T")
    elif pa.types.is_floating(kind):
        known = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
        text = known.cast(pa.large_string())
    else:
        text = column.cast(pa.large_string())
    text = pc.fill_null(text, "")
    quoted = pc.binary_join_element_wise(_MARK, pc.replace_substring(text, '"', '""'), _MARK, _NONE)
    return pc.if_else(pc.match_substring_regex(text, '[",\r\n]'), quoted, text)


def _members_after(connection: Any, last: str) -> list[dict[str, Any]]:
    table = ONLINE_MEMBERS.c
    sought = select(
        table.member_id, table.population, table.as_of, table.data_as_of, table.traits,
        table.updated_at,
    )  # fmt: skip
    page = sought.where(table.member_id > last).order_by(table.member_id).limit(ROWS_AT_ONCE)
    return [_member(row) for row in connection.execute(page)]


def _member(row: Any) -> dict[str, Any]:
    traits = json.loads(row.traits)
    return {
        "member_id": row.member_id, "population": row.population, "as_of": row.as_of,
        "data_as_of": row.data_as_of, "risk_band": traits.get("risk_band"),
        "churn_probability": traits.get("churn_probability"), "stage": traits.get("stage"),
        "segments": json.dumps(traits.get("segments") or {}, ensure_ascii=False),
        "tags": traits.get("tags") or [], "updated_at": row.updated_at,
    }  # fmt: skip


def _known_until(meta: Any) -> datetime | None:
    """Return the instant before which everything that was known is in a file of scores."""
    found = []
    for part in range(meta.num_row_groups):
        group = meta.row_group(part)
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema == "data_as_of":
                if column.statistics is None or not column.statistics.has_min_max:
                    return None
                found.append(column.statistics.min)
    return min(found, default=None)


def _day_and_age(path: Path) -> tuple[str, int]:
    try:
        return path.name[:10], path.stat().st_mtime_ns
    except FileNotFoundError:
        return path.name[:10], 0
