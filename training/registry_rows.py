"""Rows of the registry's database, read without MLflow, which is slow to import.

MLflow keeps its registry in SQLite or PostgreSQL. What is neither, or is laid out in another way
than MLflow's tables were when this was written, is left to MLflow's own client.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlparse

from sqlalchemy import Connection, Engine, NullPool, RowMapping, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from programme.errors import NotReady, PerennialError

# Whoever writes to the registry holds it for milliseconds.
LOCKED_SECONDS_MAX = 2.0
SETTLED_SECONDS = 2.0


class RegistryFailed(PerennialError):
    """A registry whose database cannot be read."""


class _NoTables(Exception):
    """The database holds no registry, or one that is only being made."""


class _OtherTables(Exception):
    """The database is not laid out as the MLflow this was written against lays it out."""


def select(
    uri: str, statement: str, values: Mapping[str, object] | None = None
) -> list[RowMapping] | None:
    """Return what the registry's database says; None: MLflow's client alone can ask it.

    Parameters
    ----------
    uri : MLflow's tracking address
    values : of the statement's parameters

    Raises
    ------
    NotReady : if the registry is busy or away.
    RegistryFailed : if its database is damaged or is none.
    """
    address = _address(uri)
    if address is None:
        return None
    try:
        with _connected(address) as connection:
            if connection is None:
                return []
            return list(connection.execute(text(statement), values or {}).mappings())
    except _NoTables:
        return []
    except _OtherTables:
        return None


def state(uri: str) -> object:
    """Return what changes when the registry's file is written to; None: it must be asked."""
    address = _address(uri)
    if address is None or address.get_backend_name() != "sqlite":
        return None
    found = []
    for ending in ("", "-wal"):
        try:
            facts = Path(f"{address.database}{ending}").stat()
        except OSError:
            continue
        # Another write may follow within the same tick of the file system's clock.
        if time.time() - facts.st_mtime < SETTLED_SECONDS:
            return None
        found.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(found) or None


def said(uri: str) -> str:
    """Return an address without its password."""
    try:
        return make_url(uri).render_as_string(hide_password=True)
    except ArgumentError:
        return urlparse(uri)._replace(netloc=urlparse(uri).hostname or "").geturl()


def _address(uri: str) -> URL | None:
    """Return the database behind a tracking address; None if it is a server or a folder."""
    try:
        address = make_url(uri)
    except ArgumentError:
        return None
    backend = address.get_backend_name()
    if backend == "sqlite" and address.database and address.database != ":memory:":
        return address
    return address.set(drivername="postgresql+psycopg") if backend == "postgresql" else None


@contextmanager
def _connected(address: URL) -> Iterator[Connection | None]:
    """Open the registry's database as it lies there now; None if there is none yet."""
    if address.get_backend_name() == "sqlite" and not Path(str(address.database)).exists():
        yield None
        return
    try:
        with _engine(address).connect() as connection:
            yield connection
    except DBAPIError as error:
        raise _judged(error, address) from error


@lru_cache(maxsize=8)
def _engine(address: URL) -> Engine:
    """Return what makes connections, each a new one: the file may be another by the next look."""
    if address.get_backend_name() != "sqlite":
        return create_engine(address, poolclass=NullPool, connect_args={"connect_timeout": 3})
    # Not made if it is gone; able to undo what a killed writer left half done.
    place = f"{Path(str(address.database)).absolute().as_uri()}?mode=rw"
    return create_engine(
        "sqlite://",
        poolclass=NullPool,
        creator=lambda: sqlite3.connect(place, uri=True, timeout=LOCKED_SECONDS_MAX),
    )


def _judged(error: DBAPIError, address: URL) -> Exception:
    fault = " ".join(str(error.orig).split())
    sqlstate = getattr(error.orig, "sqlstate", None)
    if "no such table" in fault or sqlstate == "42P01":
        return _NoTables()
    if "no such column" in fault or sqlstate == "42703":
        return _OtherTables()
    where = said(str(address))
    if "not a database" in fault or "malformed" in fault:
        return RegistryFailed(
            f"The registry {where} is damaged: {fault}. Nothing was loaded. Restore its last "
            "backup."
        )
    return NotReady(
        f"The registry {where} is busy or away: {fault}. Nothing was loaded. It is asked again; "
        "if it stays so, look at the database."
    )
