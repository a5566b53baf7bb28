"""PostgreSQL's statements for a posting, handed straight to the driver.

Going back and forth, and what SQLAlchemy does for a statement, are most of what a posting costs. So
all tables are written in one statement, which is prepared once for each shape of rows. psycopg's
pipeline would save a trip and costs more processor time than that, so there is none.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import psycopg
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from loyalty.rows import How, Write, keys_of

# Of each part: how, into which table, of which columns, and whether it is a single row.
Shape = tuple[tuple[How, Table, tuple[str, ...], bool], ...]


def run(connection: Connection, statement: str, values: Sequence[object]) -> psycopg.RawCursor[Any]:
    """Run a statement of PostgreSQL's own, prepared, within the transaction that is open.

    Parameters
    ----------
    values : of $1, $2 and so on

    Raises
    ------
    DBAPIError : as if SQLAlchemy ran it: whoever undoes or repeats work need not know who did.
    """
    assert connection.in_transaction(), "what is written here is committed by who began"
    driver: Any = connection.connection.dbapi_connection
    dialect: Any = connection.dialect
    try:
        return psycopg.RawCursor(driver).execute(statement, values, prepare=True)
    except psycopg.Error as error:
        gone = dialect.is_disconnect(error, driver, None)
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, dialect=dialect, connection_invalidated=gone
        ) from error


def together(writes: Sequence[Write]) -> tuple[str, list[str | None]]:
    """Return one statement that writes rows of many tables, and its values."""
    shape = tuple((how, table, tuple(rows[0]), len(rows) == 1) for how, table, rows in writes)
    return _written(shape), list(_values(writes))


def in_utc(value: object) -> object:
    """Return what the driver read, instants in UTC, whatever zone the session is in."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@cache
def _written(shape: Shape) -> str:
    parts, first = [], 1
    for how, table, names, single in shape:
        parts.append(_part(first, how, table, names, single))
        first += len(names) if single else 1
    before = ", ".join(f"part_{n} as ({part})" for n, part in enumerate(parts[:-1]))
    return f"with {before} {parts[-1]}" if before else parts[-1]


def _part(first: int, how: How, table: Table, names: tuple[str, ...], single: bool) -> str:
    """Return SQL that writes one row or many; every name in it is one of our own.

    Parameters
    ----------
    first : number of its first value; it has one for each name, or one for all as JSON
    """
    its = {name: f"${first + n}" if single else f"its.{name}" for n, name in enumerate(names)}
    # Many rows are one value: how many there are changes nothing that is prepared.
    rows = f"jsonb_populate_recordset(null::{table.name}, ${first}::jsonb) as its"
    keys = keys_of(table)
    values = [name for name in names if name not in keys]
    if how == "change":
        sets = ", ".join(f"{name} = {its[name]}" for name in values)
        mine = " and ".join(f"{table.name}.{name} = {its[name]}" for name in keys)
        return f"update {table.name} set {sets} {'' if single else f'from {rows}'} where {mine}"
    listed = ", ".join(its.values())
    part = f"insert into {table.name} ({', '.join(names)}) " + (
        f"values ({listed})" if single else f"select {listed} from {rows}"
    )
    if how == "append":
        return part
    before = f"{table.name}.{{0}} + " if how == "add_up" else ""
    sets = ", ".join(f"{name} = {before.format(name)}excluded.{name}" for name in values)
    return f"{part} on conflict ({', '.join(keys)}) do update set {sets}"


def _values(writes: Sequence[Write]) -> Iterator[str | None]:
    """Yield the values of `_written`, as text: the server knows from the column what each is.

    As numbers they would be of two bytes or four or eight, each prepared as a new statement.
    """
    for _, _, rows in writes:
        if len(rows) > 1:
            yield _JSON.encode(rows)
            continue
        for value in rows[0].values():
            yield value if value is None or type(value) is str else _text(value)


def _text(value: object) -> str:
    return str(value) if isinstance(value, int | float) else _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise TypeError(f"{value} has no timezone; instants are zoned")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not plain content")


_JSON = json.JSONEncoder(default=_plain, separators=(",", ":"))
