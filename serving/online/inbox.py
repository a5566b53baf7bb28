"""The inbox: what was accepted, kept before anybody is told so, each version of a thing once.

A row that says again what its key said last is known already. One that says something else is the
next version of its key, known from when we were told. Rows are numbered; on PostgreSQL a lower
number may be committed after a higher one, so whoever needs to know that nothing below a number is
still to come asks `last_row`, which waits for those who are writing.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Delete, delete, func, select, text

from programme.database import Database
from serving.online.rows import Kind, Row, content_of
from serving.online.store import part_of
from serving.online.tables import INBOX

# Whoever sends a row again does so within days; what came is known to the lake for ever.
KEPT = timedelta(days=30)
ROWS_AT_ONCE = 10_000
# Held together by all who write rows, alone by whoever asks which was the last.
_WRITING = 0x5045_5245_4E01
_COLUMNS = (
    "kind", "source", "key", "version", "digest", "source_key", "part", "occurred_at",
    "accepted_at", "content", "refreshed_at",
)  # fmt: skip
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a row: it is new, or the next version of its key, or was known.

    Parameters
    ----------
    seq : its number in the inbox; of one that was known, that of the version that said the same
    """

    seq: int
    what: Literal["new", "version", "known"]


class InboxRow(NamedTuple):
    """One row as it is kept."""

    seq: int
    kind: Kind
    accepted_at: datetime
    content: str


class Waiting(NamedTuple):
    """What the store does not show yet: how many rows, and since when the oldest waits."""

    rows: int
    since: datetime | None


class _Latest(NamedTuple):
    seq: int
    version: int
    digest: str
    accepted_at: datetime


class _New(NamedTuple):
    """A row to be written."""

    place: int
    kind: Kind
    key: str
    version: int
    values: tuple[Any, ...]


def accept(connection: Connection, rows: Sequence[Row], now: datetime) -> list[Accepted]:
    """Keep rows within the transaction that is open; the caller has looked for faults in them.

    Parameters
    ----------
    now : when we knew of them. A later version of a key is known later than the one before,
        whatever the clock says

    Returns
    -------
    one for each row, in their order
    """
    assert connection.in_transaction(), "what is kept here is committed by who began"
    postgres = connection.dialect.name == "postgresql"
    if postgres:
        connection.execute(text(f"select pg_advisory_xact_lock_shared({_WRITING})"))
    latest = _latest(connection, list(dict.fromkeys((row.kind, row.key) for row in rows)), postgres)
    found: list[Accepted | None] = [None] * len(rows)
    new: list[_New] = []
    again: list[tuple[int, tuple[Kind, str, int]]] = []
    for index, row in enumerate(rows):
        name = (row.kind, row.key)
        content = content_of(row)
        digest = sha256(content.encode()).hexdigest()
        last = latest.get(name)
        if last is not None and last.digest == digest:
            if last.seq:
                found[index] = Accepted(last.seq, "known")
            else:
                again.append((index, (*name, last.version)))  # it is among those to be written
            continue
        version = 1 if last is None else last.version + 1
        moment = now if last is None else max(now, last.accepted_at + _TICK)
        latest[name] = _Latest(0, version, digest, moment)
        values = _values(row, version, digest, moment, content)
        new.append(_New(index, *name, version, values))
    seqs = _write(connection, new, postgres)
    for one in new:
        seq = seqs[one.kind, one.key, one.version]
        found[one.place] = Accepted(seq, "new" if one.version == 1 else "version")
    for index, version_of in again:
        found[index] = Accepted(seqs[version_of], "known")
    return [one for one in found if one is not None]


def last_row(database: Database) -> int:
    """Return the number of the last row, with nothing below it still to come; 0: none is kept."""
    last = select(func.coalesce(func.max(INBOX.c.seq), 0))

    def alone(connection: Connection) -> int:
        connection.execute(text(f"select pg_advisory_xact_lock({_WRITING})"))
        return int(connection.execute(last).scalar_one())

    if database.dialect == "postgresql":
        return database.write(alone)
    with database.read() as connection:
        # SQLite has one writer at a time: rows are committed in the order of their numbers.
        return int(connection.execute(last).scalar_one())


def rows_between(database: Database, after: int, last: int) -> Iterator[InboxRow]:
    """Yield the rows numbered above `after` and up to `last`, in that order."""
    columns = (INBOX.c.seq, INBOX.c.kind, INBOX.c.accepted_at, INBOX.c.content)
    while after < last:
        some = (
            select(*columns)
            .where(INBOX.c.seq > after, INBOX.c.seq <= last)
            .order_by(INBOX.c.seq)
            .limit(ROWS_AT_ONCE)
        )
        with database.read() as connection:
            found = connection.execute(some).all()
        if not found:
            return
        for row in found:
            yield InboxRow(row.seq, row.kind, row.accepted_at, row.content)
        after = found[-1].seq


def waiting(database: Database) -> Waiting:
    """Return what the store does not show yet."""
    unseen = select(func.count(), func.min(INBOX.c.accepted_at)).where(
        INBOX.c.refreshed_at.is_(None)
    )
    with database.read() as connection:
        rows, since = connection.execute(unseen).one()
    return Waiting(rows, since)


def is_late(database: Database, before: datetime) -> bool:
    """Return whether a row that was accepted before an instant is not shown yet."""
    late = select(INBOX.c.seq).where(INBOX.c.refreshed_at.is_(None), INBOX.c.accepted_at < before)
    with database.read() as connection:
        return connection.execute(late.limit(1)).first() is not None


def forget(database: Database, position: int, *, now: datetime) -> int:
    """Drop rows that the lake holds, the store shows and nobody will send again; return how many.

    Parameters
    ----------
    position : the last row that the lake holds, with all before
    """
    old = (
        select(INBOX.c.seq)
        .where(
            INBOX.c.seq <= position,
            INBOX.c.accepted_at < now - KEPT,
            INBOX.c.refreshed_at.is_not(None),
        )
        .order_by(INBOX.c.seq)
        .limit(ROWS_AT_ONCE)
    )
    forgotten = 0
    while True:
        some = delete(INBOX).where(INBOX.c.seq.in_(old.scalar_subquery()))
        gone = database.write(_executed(some))
        forgotten += gone
        if gone < ROWS_AT_ONCE:
            return forgotten


def _executed(statement: Delete) -> Callable[[Connection], int]:
    return lambda connection: int(connection.execute(statement).rowcount)


def _values(row: Row, version: int, digest: str, moment: datetime, content: str) -> tuple[Any, ...]:
    """Return a row's values in the order of `_COLUMNS`."""
    member = row.source_key or ""
    # Nobody's features change with an anonymous line: there is nothing for the store to show.
    refreshed = None if member else _stored(moment)
    return (
        row.kind, row.source, row.key, version, digest, member, part_of(member),
        _stored(row.occurred_at), _stored(moment), content, refreshed,
    )  # fmt: skip


def _stored(moment: datetime) -> str:
    """Return an instant as `programme.database.Instant` keeps it in SQLite."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


_LATEST_SQLITE = """
    select i.kind, i.key, i.seq, i.version, i.digest, i.accepted_at
    from json_each(?) w cross join inbox i
    on i.kind = json_extract(w.value, '$[0]') and i.key = json_extract(w.value, '$[1]')
        and i.version = (select max(m.version) from inbox m
            where m.kind = json_extract(w.value, '$[0]')
                and m.key = json_extract(w.value, '$[1]'))"""
_LATEST_POSTGRES = text("""
    select i.kind, i.key, i.seq, i.version, i.digest, i.accepted_at
    from jsonb_array_elements(cast(:keys as jsonb)) w cross join lateral (
        select * from inbox where kind = w ->> 0 and key = w ->> 1
        order by version desc limit 1
    ) i""")


def _latest(
    connection: Connection, keys: list[tuple[Kind, str]], postgres: bool
) -> dict[tuple[Kind, str], _Latest]:
    """Return the last version of each key that has one."""
    listed = json.dumps(keys, ensure_ascii=False)
    if postgres:
        found = connection.execute(_LATEST_POSTGRES, {"keys": listed})
    else:
        found = connection.exec_driver_sql(_LATEST_SQLITE, (listed,))
    return {
        (kind, key): _Latest(seq, version, digest, _moment(accepted_at))
        for kind, key, seq, version, digest, accepted_at in found
    }


def _moment(stored: str | datetime) -> datetime:
    if isinstance(stored, str):
        return datetime.fromisoformat(stored).replace(tzinfo=UTC)
    return stored.astimezone(UTC)


_INSERT_SQLITE = (
    f"insert into inbox ({', '.join(_COLUMNS)}) values ({', '.join('?' * len(_COLUMNS))})"
)
# The session's zone may be any: what is kept is UTC and says so.
_INSERT_POSTGRES = text(f"""
    insert into inbox ({", ".join(_COLUMNS)})
    select kind, source, key, version, digest, source_key, part,
        occurred_at at time zone 'UTC', accepted_at at time zone 'UTC', content,
        refreshed_at at time zone 'UTC'
    from jsonb_to_recordset(cast(:rows as jsonb)) as its(
        kind text, source text, key text, version int, digest text, source_key text,
        part smallint, occurred_at timestamp, accepted_at timestamp, content text,
        refreshed_at timestamp)
    order by kind, key, version
    returning kind, key, version, seq""")


def _write(
    connection: Connection, new: list[_New], postgres: bool
) -> dict[tuple[Kind, str, int], int]:
    """Write rows; return the number that each got.

    Of two who write one new key at once, the second is undone whole and does it again. All write
    in the order of the keys, so that no two wait for each other.
    """
    if not new:
        return {}
    if postgres:
        listed = [dict(zip(_COLUMNS, one.values, strict=True)) for one in new]
        rows = json.dumps(listed, ensure_ascii=False)
        found = connection.execute(_INSERT_POSTGRES, {"rows": rows})
        return {(kind, key, version): seq for kind, key, version, seq in found}
    connection.exec_driver_sql(_INSERT_SQLITE, [one.values for one in new])
    last = connection.exec_driver_sql("select last_insert_rowid()").scalar_one()
    # One writer at a time, and every number is one above the highest there ever was.
    first = int(last) - len(new) + 1
    return {(one.kind, one.key, one.version): first + n for n, one in enumerate(new)}
