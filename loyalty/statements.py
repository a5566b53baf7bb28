"""The statements every posting needs, built once: building one costs more than running it."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Table, Update, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from loyalty.tables import ACCOUNTS, LOTS, MEMBER_DAYS, OPEN_LOTS, POSTINGS

Rows = Sequence[dict[str, Any]]

# Always in this order: two books that want the same accounts cannot block each other.
LOCKED_ACCOUNTS = (
    select(ACCOUNTS)
    .where(ACCOUNTS.c.member_id.in_(bindparam("members", expanding=True)))
    .order_by(ACCOUNTS.c.member_id)
    .with_for_update()
)
DAYS_OF = select(MEMBER_DAYS).where(
    MEMBER_DAYS.c.member_id.in_(bindparam("members", expanding=True))
)
POSTINGS_OF_IDS = select(POSTINGS).where(
    POSTINGS.c.posting_id.in_(bindparam("ids", expanding=True))
)
OPEN_LOTS_OF = select(LOTS).where(LOTS.c.member_id == bindparam("member_id"), OPEN_LOTS)


def append(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows to a table."""
    _run(connection, _insertion(table), rows)


def change(connection: Connection, table: Table, rows: Rows) -> None:
    """Write rows of known keys with what they hold now."""
    if rows:
        keys = _keys(table)
        values = [
            {(f"its_{name}" if name in keys else name): value for name, value in row.items()}
            for row in rows
        ]
        _run(connection, _change(table, tuple(rows[0])), values)


def upsert(connection: Connection, table: Table, rows: Rows) -> None:
    """Write rows of a table: new ones, and those of known keys with what they hold now."""
    if rows:
        _run(
            connection, _upsertion(table, tuple(rows[0]), connection.dialect.name, adds=False), rows
        )


def add_up(connection: Connection, table: Table, rows: Rows) -> None:
    """Write rows of a table: new ones, and to known keys what is to be added to their numbers."""
    if rows:
        _run(
            connection, _upsertion(table, tuple(rows[0]), connection.dialect.name, adds=True), rows
        )


def open_accounts(connection: Connection, rows: Rows) -> None:
    """Add accounts, except those that another transaction opened meanwhile."""
    _run(connection, _opening(connection.dialect.name), rows)


def _run(connection: Connection, statement: Insert | Update, rows: Rows) -> None:
    if rows:
        # One row as a statement of its own: the driver's way for many prepares more than it saves.
        connection.execute(statement, rows[0] if len(rows) == 1 else rows)


@cache
def _insertion(table: Table) -> Insert:
    return insert(table)


@cache
def _change(table: Table, names: tuple[str, ...]) -> Update:
    keys = _keys(table)
    return (
        update(table)
        .where(*(table.c[name] == bindparam(f"its_{name}") for name in keys))
        .values({name: bindparam(name) for name in names if name not in keys})
    )


@cache
def _upsertion(table: Table, names: tuple[str, ...], dialect: str, *, adds: bool) -> Insert:
    fresh = _dialect(dialect).insert(table)
    keys = _keys(table)
    statement: Insert = fresh.on_conflict_do_update(
        index_elements=keys,
        set_={
            name: table.c[name] + fresh.excluded[name] if adds else fresh.excluded[name]
            for name in names
            if name not in keys
        },
    )
    return statement


@cache
def _opening(dialect: str) -> Insert:
    statement: Insert = _dialect(dialect).insert(ACCOUNTS).on_conflict_do_nothing()
    return statement


def _dialect(name: str) -> Any:
    return sqlite if name == "sqlite" else postgresql


@cache
def _keys(table: Table) -> list[str]:
    return [column.name for column in table.primary_key]
