"""The one SQL database of a programme: SQLite in the home, or PostgreSQL by URL.

What must commit together lives in it: points, decisions, messages to be sent. A piece of work is a
function of a connection; `write` runs it in one transaction and may run it again, so work must be
safe to repeat: its rows carry ids that the caller made.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, DateTime, Dialect, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.types import TypeDecorator

from programme import migrations
from programme.errors import InputRefused, NotReady, PerennialError
from programme.settings import Settings

Result = TypeVar("Result")

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.05
# How long SQLite waits for another writer; DESIGN's readers never wait.
BUSY_SECONDS = 5.0
# PostgreSQL's codes for work that was undone whole and may be done again.
_SERIALIZATION, _DEADLOCK = "40001", "40P01"
_LOCKED = "55P03"
# Two transactions that write one new key: the second, done again, sees what the first wrote.
_UNIQUE = "23505"
# A writer that hangs must not hang the others: they give up, and so, later, does the server on it.
_POSTGRES_OPTIONS = (
    f"-c lock_timeout={int(BUSY_SECONDS * 1000)} -c idle_in_transaction_session_timeout=60000"
)
_DISK_FULL, _READ_ONLY = "53100", "25006"
# Starting up, shutting down, crashed, too many connections: the server will be back.
_AWAY = ("57P01", "57P02", "57P03", "53300")


class Busy(NotReady):
    """The database was busy or away for longer than we wait (HTTP 503); nothing was changed."""


class StorageFailed(PerennialError):
    """The database cannot be written to or cannot be trusted; nothing was changed."""


class Instant(TypeDecorator[datetime]):
    """A moment, zoned in Python, UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand the database UTC; SQLite keeps text and is handed no zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError(f"{value} has no timezone; instants are zoned")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime | None:
        """Return it in UTC, whatever zone the session of the database is in."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """Connections to one database whose tables are those this code expects."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(perennial_writes=True)

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Connect, and bring the tables up to date.

        Raises
        ------
        InputRefused : if the address is none, or the database is of newer code than this.
        StorageFailed : if the file is damaged or cannot be written to.
        Busy : if the server does not answer.
        """
        settings.home.mkdir(parents=True, exist_ok=True)
        database = cls(_engine(_address(settings.database_url)))
        try:
            with database.read() as connection:
                current = migrations.is_current(connection)
            if not current:
                database.write(migrations.upgrade)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def dialect(self) -> str:
        """Return "sqlite" or "postgresql"."""
        return self.engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection whose reads see one moment and wait for no writer."""
        try:
            with self.engine.connect() as connection:
                if self.dialect == "postgresql":
                    connection.execute(text("set transaction isolation level repeatable read"))
                yield connection
        except DBAPIError as error:
            raise _judged(error, "Nothing was read.") from error

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in one transaction: wholly done, or not at all.

        Work that the database undid because of another writer, or whose connection was lost, runs
        again, a bounded number of times.

        Raises
        ------
        Busy : if it never came through.
        StorageFailed : if the disk is full, the file read-only or damaged.
        """
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._writing.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                again = _passes(error) or _state(error) == _UNIQUE
                if attempt == ATTEMPTS or not again:
                    raise _judged(error, "Nothing was changed.") from error
            time.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text may hold a password: it is not repeated.
        raise InputRefused(
            "PERENNIAL_DB_URL is no database address. Nothing was done. Write for example "
            "postgresql://user:password@host/name, or leave it out: SQLite in the home."
        ) from error
    if address.drivername in ("postgresql", "postgres"):
        return address.set(drivername="postgresql+psycopg")
    if address.drivername not in ("sqlite", "postgresql+psycopg"):
        raise InputRefused(
            f"PERENNIAL_DB_URL asks for {address.drivername!r}. Nothing was done. Perennial keeps "
            "points in SQLite or PostgreSQL: write postgresql://user:password@host/name."
        )
    return address


def _engine(address: URL) -> Engine:
    arguments: dict[str, Any] = {"options": _POSTGRES_OPTIONS, "connect_timeout": 5}
    if address.get_backend_name() == "sqlite":
        arguments = {"isolation_level": None, "timeout": BUSY_SECONDS, "check_same_thread": False}
    try:
        engine = create_engine(address, connect_args=arguments)
    except NoSuchModuleError as error:
        raise InputRefused(f"PERENNIAL_DB_URL: {error}. Nothing was done.") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode = wal")
    # Points are money: what was acknowledged must survive a power cut.
    cursor.execute("pragma synchronous = full")
    cursor.execute("pragma foreign_keys = on")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once when another wrote between.
    writes = connection.get_execution_options().get("perennial_writes", False)
    connection.exec_driver_sql("begin immediate" if writes else "begin")


def _passes(error: DBAPIError) -> bool:
    """Say whether the same work may come through when it is tried again."""
    return _state(error) in (_SERIALIZATION, _DEADLOCK, *_AWAY) or _lost(error)


def _lost(error: DBAPIError) -> bool:
    """Say whether the server went away; a server that refuses to talk gives no code."""
    return error.connection_invalidated or (
        _state(error) is None and type(error.orig).__module__.startswith("psycopg")
    )


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _judged(error: DBAPIError, undone: str) -> Exception:
    """Return the error to raise in place of the driver's, in our own sentences."""
    said = str(error.orig).lower()
    if (
        _passes(error)
        or _state(error) == _LOCKED
        or "database is locked" in said
        or "database is busy" in said
    ):
        why = " ".join(str(error.orig).split())
        return Busy(
            f"The database is busy or away: {why}. {undone} Try again in a few seconds; "
            "a request with the same id is carried out once."
        )
    if _state(error) == _DISK_FULL or "disk is full" in said:
        return StorageFailed(
            f"The disk of the database is full. {undone} Free some space, then do it again."
        )
    if _state(error) == _READ_ONLY or "readonly" in said or "unable to open" in said:
        return StorageFailed(
            f"The database cannot be written to: {error.orig}. {undone} Give the file, its folder "
            "and the person who runs this the right to write, then do it again."
        )
    if "malformed" in said or "not a database" in said or "disk i/o" in said:
        return StorageFailed(
            f"The database is damaged: {error.orig}. {undone} Restore the last backup; nothing "
            "will be written to a file that cannot be trusted."
        )
    return error
