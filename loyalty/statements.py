"""The statements every posting needs, built once: building one costs more than running it."""

import json
from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Result,
    Row,
    Select,
    Table,
    Text,
    Update,
    any_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from loyalty import straight
from loyalty.rows import How, Rows, keys_of
from loyalty.rows import Write as Write
from loyalty.tables import ACCOUNTS, LOTS, MEMBER_DAYS, OPEN_LOTS, POSTINGS

Texts = Sequence[str]


def lock_accounts(connection: Connection, members: Texts) -> Result[Any]:
    """Read accounts under their locks, and hold these until the transaction ends."""
    return _run(connection, _locking, members)


def lock_account(connection: Connection, member_id: str, posting_id: str) -> Any | None:
    """Read an account under its lock, and beside it what was read of her postings.

    Returns
    -------
    her row, with `last_read`, the number of her last posting, and whether `posting_id`
    `is_posted`: both as of the start of the statement, which may have waited for the lock since
    """
    facts = {"wanted": member_id, "posting_id": posting_id}
    if connection.dialect.name == "postgresql":
        row = straight.run(connection, _locking_text(), (member_id, posting_id)).fetchone()
        return None if row is None else _Locked._make(map(straight.in_utc, row))
    return connection.execute(_locking_one(), facts).one_or_none()


def days_of(connection: Connection, members: Texts) -> Result[Any]:
    """Read what the days of some members counted."""
    return _run(connection, _days, members)


def open_lots_of(connection: Connection, members: Texts) -> Result[Any]:
    """Read the lots of some members that have points left."""
    return _run(connection, _open_lots, members)


def postings_of(connection: Connection, posting_ids: Texts) -> Sequence[Row[Any]]:
    """Read the postings of some ids, those that there are."""
    # Almost always there are none, and to ask for nothing but the id costs half.
    known = _run(connection, _known, posting_ids).scalars().all()
    return _run(connection, _postings, known).all() if known else ()


def write(connection: Connection, *writes: Write) -> None:
    """Write rows, those of a table that is referred to before those that refer to it.

    PostgreSQL gets all tables in one statement: there, going back and forth is most of what a
    posting costs. It looks at foreign keys when the statement ends.
    """
    wanted = [each for each in writes if each.rows]
    if connection.dialect.name == "postgresql" and wanted:
        straight.run(connection, *straight.together(wanted))
        return
    for how, table, rows in wanted:
        connection.execute(_statement(how, table, tuple(rows[0])), _keyed(how, table, rows))


def open_accounts(connection: Connection, rows: Rows) -> None:
    """Add accounts, except those that another transaction opened meanwhile."""
    # One row as a statement of its own: the driver's way for many prepares more than it saves.
    connection.execute(_opening(connection.dialect.name), rows[0] if len(rows) == 1 else rows)


def close_accounts(connection: Connection, members: Texts) -> None:
    """Take back accounts that were opened in this transaction."""
    _run(connection, _closing, members)


# --- reading


def _run(connection: Connection, build: Callable[[str], Any], wanted: Texts) -> Result[Any]:
    """Run a statement about the rows of some ids, however many."""
    dialect = connection.dialect.name if len(wanted) > 1 else "single"
    return connection.execute(build(dialect), {"wanted": _bound(dialect, wanted)})


@cache
def _locking(dialect: str) -> Select[Any]:
    # Always in this order: two books that want the same accounts cannot block each other.
    mine = _is_wanted(dialect, ACCOUNTS.c.member_id)
    return select(ACCOUNTS).where(mine).order_by(ACCOUNTS.c.member_id).with_for_update()


@cache
def _locking_one() -> Select[Any]:
    last = select(func.max(POSTINGS.c.posting_no)).where(
        POSTINGS.c.member_id == ACCOUNTS.c.member_id
    )
    posted = exists().where(POSTINGS.c.posting_id == bindparam("posting_id"))
    query = select(ACCOUNTS, last.scalar_subquery().label("last_read"), posted.label("is_posted"))
    mine = _is_wanted("single", ACCOUNTS.c.member_id)
    return query.where(mine).with_for_update(of=ACCOUNTS)


# What `_locking_one` returns, as the driver hands it over.
_Locked = namedtuple("_Locked", [*ACCOUNTS.c.keys(), "last_read", "is_posted"])  # type: ignore[misc]


@cache
def _locking_text() -> str:
    """Return `_locking_one` as PostgreSQL reads it: first the member, then the posting."""
    dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    written = str(_locking_one().compile(dialect=dialect))
    return written.replace("%(wanted)s", "$1").replace("%(posting_id)s", "$2")


@cache
def _days(dialect: str) -> Select[Any]:
    return select(MEMBER_DAYS).where(_is_wanted(dialect, MEMBER_DAYS.c.member_id))


@cache
def _open_lots(dialect: str) -> Select[Any]:
    return select(LOTS).where(_is_wanted(dialect, LOTS.c.member_id), OPEN_LOTS)


@cache
def _known(dialect: str) -> Select[Any]:
    return select(POSTINGS.c.posting_id).where(_is_wanted(dialect, POSTINGS.c.posting_id))


@cache
def _postings(dialect: str) -> Select[Any]:
    return select(POSTINGS).where(_is_wanted(dialect, POSTINGS.c.posting_id))


@cache
def _closing(dialect: str) -> Delete:
    return delete(ACCOUNTS).where(_is_wanted(dialect, ACCOUNTS.c.member_id))


def _is_wanted(dialect: str, column: Column[str]) -> ColumnElement[bool]:
    """Say that a column is the one wanted, or among many: they are handed over as one value."""
    if dialect == "single":
        # PostgreSQL plans this once; about a list it thinks again each time.
        return column == bindparam("wanted")
    if dialect == "sqlite":
        values = func.json_each(bindparam("wanted", type_=Text())).table_valued("value")
        return column.in_(select(values.c.value))
    return column == any_(bindparam("wanted", type_=postgresql.ARRAY(Text())))


def _bound(dialect: str, wanted: Texts) -> object:
    if dialect == "single":
        return wanted[0]
    return json.dumps(list(wanted)) if dialect == "sqlite" else list(wanted)


# --- SQLite: a statement for each table


def _keyed(how: How, table: Table, rows: Rows) -> Rows:
    if how != "change":
        return rows
    keys = keys_of(table)
    return [
        {(f"its_{name}" if name in keys else name): value for name, value in row.items()}
        for row in rows
    ]


@cache
def _statement(how: How, table: Table, names: tuple[str, ...]) -> Insert | Update:
    keys = keys_of(table)
    values = [name for name in names if name not in keys]
    if how == "append":
        return insert(table)
    if how == "change":
        mine = (table.c[name] == bindparam(f"its_{name}") for name in keys)
        return update(table).where(*mine).values({name: bindparam(name) for name in values})
    fresh = sqlite.insert(table)
    return fresh.on_conflict_do_update(
        index_elements=keys,
        set_={
            name: table.c[name] + fresh.excluded[name] if how == "add_up" else fresh.excluded[name]
            for name in values
        },
    )


# --- opening


@cache
def _opening(dialect: str) -> Insert:
    module = sqlite if dialect == "sqlite" else postgresql
    statement: Insert = module.insert(ACCOUNTS).on_conflict_do_nothing()
    return statement
