"""Rows of the online store for requests: by the driver itself, decoded no further than is asked.

SQLite answers in a few millionths of a second, so a row is read where the request is answered.
PostgreSQL is elsewhere, so it is asked in threads; `Reader.waits` tells which. Every thread has a
connection of its own, so there are as many as whoever asks has threads.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import psycopg
from numpy.typing import NDArray
from sqlalchemy import make_url

from features import table
from programme.database import Busy, StorageFailed
from programme.errors import NotReady
from programme.settings import Settings
from training.scores import PopulationName

# In WAL mode a reader waits for nobody, but for the instant in which a crashed writer is undone.
SQLITE_SECONDS, POSTGRES_SECONDS = 0.25, 2.0
# Another file may have been put in the place of the database, as when a backup is restored.
SAME_FILE_SECONDS = 1.0

_LIGHT = "member_id, feature_set, as_of, data_as_of, population, seq, features, texts"
_WHOLE = f"{_LIGHT}, scores, traits"
_ONE_OF = {
    whole: f"select {columns} from online_members where member_id = ?"
    for whole, columns in ((False, _LIGHT), (True, _WHOLE))
}
_ANY_OF = {
    whole: f"select {columns} from online_members where member_id = any(%s)"
    for whole, columns in ((False, _LIGHT), (True, _WHOLE))
}
_DOUBLES = np.dtype("<f8")


@dataclass(eq=False)
class Row:
    """One member as the store has her; what costs time to read is read when asked for.

    Parameters
    ----------
    as_of : ISO day
    data_as_of : ISO instant, UTC
    population : "active" or "dormant"
    seq : the last row of the inbox that is in it; 0: only the snapshot
    """

    member_id: str
    as_of: str
    data_as_of: str
    population: PopulationName
    seq: int
    raw_features: bytes
    _texts: str
    _scores: str | None = None
    _traits: str | None = None

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """Return her features in the order of `NUMBERS`; NaN: absent."""
        return np.frombuffer(self.raw_features, _DOUBLES)

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """Return the names she has, by column."""
        return _mapping(self._texts)

    @cached_property
    def scores(self) -> Mapping[str, Any]:
        """Return `value`, `next_products` and `next_order` as they were last worked out."""
        return _mapping(self._scores)

    @cached_property
    def traits(self) -> Mapping[str, Any]:
        """Return band, stage, segments and tags as they were last worked out."""
        return _mapping(self._traits)


class Reader:
    """Reads members of the store of this code's features.

    Parameters
    ----------
    settings : of the home; its database must have been brought up to date by who writes it
    """

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        self._feature_set = table.feature_set()
        address = make_url(settings.database_url)
        self.waits = address.get_backend_name() != "sqlite"
        if self.waits:
            url = address.set(drivername="postgresql").render_as_string(hide_password=False)
            self._make: Callable[[], _Connection] = lambda: _Postgres(url)
        else:
            path = Path(str(address.database)).absolute()
            self._make = lambda: _Sqlite(path)
        self._own = threading.local()
        self._all: list[_Connection] = []
        self._lock = threading.Lock()

    def read(self, member_ids: Sequence[str], *, whole: bool = True) -> dict[str, Row]:
        """Return those of the asked members who are in the store, all seen at one moment.

        Parameters
        ----------
        whole : False leaves `scores` and `traits` out, most of a row

        Raises
        ------
        NotReady : if the store is not there, or was written by code with other features.
        Busy : if the database is away.
        StorageFailed : if it is damaged.
        """
        asked = [one for one in dict.fromkeys(member_ids) if _storable(one)]
        connection: _Connection | None = getattr(self._own, "connection", None)
        if connection is not None:
            try:
                return self._rows(connection.select(asked, whole))
            except _Lost:
                self._forget(connection)
        connection = self._opened()
        try:
            return self._rows(connection.select(asked, whole))
        except _Lost as error:
            self._forget(connection)
            raise Busy(_AWAY) from error

    def close(self) -> None:
        """Give back every connection; nobody may be reading."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._own = threading.local()

    def _rows(self, found: Sequence[tuple[Any, ...]]) -> dict[str, Row]:
        rows = {}
        for member_id, feature_set, as_of, data_as_of, population, seq, features, *more in found:
            if feature_set != self._feature_set:
                raise NotReady(
                    f"The online store was written by code with other features (set {feature_set}; "
                    f"this code reads {self._feature_set}). Nothing was answered. Let the worker "
                    f"write it anew: perennial worker --home {self._home}"
                )
            rows[member_id] = Row(
                member_id, _day(as_of), _instant(data_as_of), population, seq, features, *more
            )
        return rows

    def _opened(self) -> "_Connection":
        try:
            connection = self._make()
        except _Lost as error:
            raise Busy(_AWAY) from error
        self._own.connection = connection
        with self._lock:
            self._all.append(connection)
        return connection

    def _forget(self, connection: "_Connection") -> None:
        self._own.connection = None
        with self._lock:
            if connection in self._all:
                self._all.remove(connection)
        connection.close()


_AWAY = "The database is busy or away. Nothing was read. Try again in a few seconds."
_EMPTY = (
    "The online store is empty: nobody was written to it yet, or everybody is being written for "
    "the first time. Nothing can be answered. Fill it: perennial score, or perennial worker."
)


class _Lost(Exception):
    """A connection that is of no more use; another one may be."""


class _Connection(Protocol):
    def select(self, member_ids: Sequence[str], whole: bool) -> Sequence[tuple[Any, ...]]: ...

    def close(self) -> None: ...


class _Sqlite:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Not made if it is gone; able to undo what a killed writer left half done.
            self._connection = sqlite3.connect(
                f"{path.as_uri()}?mode=rw", uri=True, timeout=SQLITE_SECONDS,
                isolation_level=None, check_same_thread=False,
            )  # fmt: skip
            self._connection.execute("pragma query_only = on")
        except sqlite3.Error as error:
            raise _judged(error) from error
        self._file = self._found()
        self._looked = time.monotonic()

    def select(self, member_ids: Sequence[str], whole: bool) -> Sequence[tuple[Any, ...]]:
        now = time.monotonic()
        if now - self._looked > SAME_FILE_SECONDS:
            if self._found() != self._file:
                raise _Lost
            self._looked = now
        execute, statement = self._connection.execute, _ONE_OF[whole]
        try:
            if len(member_ids) == 1:
                return execute(statement, (member_ids[0],)).fetchall()
            execute("begin")
            try:
                found = (execute(statement, (one,)).fetchone() for one in member_ids)
                return [row for row in found if row is not None]
            finally:
                execute("commit")
        except sqlite3.Error as error:
            raise _judged(error) from error

    def close(self) -> None:
        self._connection.close()

    def _found(self) -> tuple[int, int] | None:
        try:
            told = self._path.stat()
        except OSError:
            return None
        return told.st_dev, told.st_ino


class _Postgres:
    def __init__(self, url: str) -> None:
        options = (
            f"-c statement_timeout={int(POSTGRES_SECONDS * 1000)} -c timezone=UTC "
            "-c default_transaction_read_only=on"
        )
        try:
            self._connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
                url, autocommit=True, options=options, connect_timeout=3, prepare_threshold=0
            )
        except psycopg.Error as error:
            raise _Lost from error

    def select(self, member_ids: Sequence[str], whole: bool) -> Sequence[tuple[Any, ...]]:
        try:
            with self._connection.cursor(binary=True) as cursor:
                return cursor.execute(_ANY_OF[whole], (list(member_ids),)).fetchall()
        except psycopg.errors.UndefinedTable as error:
            raise NotReady(_EMPTY) from error
        except psycopg.errors.QueryCanceled as error:
            raise Busy(_AWAY) from error
        except psycopg.Error as error:
            raise _Lost from error

    def close(self) -> None:
        self._connection.close()


def _judged(error: sqlite3.Error) -> Exception:
    said = str(error).lower()
    if "no such table" in said or "unable to open" in said:
        return NotReady(_EMPTY)
    if "locked" in said or "busy" in said:
        return Busy(_AWAY)
    return StorageFailed(
        f"The database is damaged: {error}. Nothing was read. Restore the last backup; a file that "
        "cannot be trusted answers nothing."
    )


def _storable(member_id: str) -> bool:
    """Return whether a database could hold such an id at all; whom none can hold is not known."""
    if "\0" in member_id:
        return False
    if member_id.isascii():
        return True
    try:
        member_id.encode()
    except UnicodeEncodeError:
        return False
    return True


def _day(stored: str | date) -> str:
    return stored if isinstance(stored, str) else stored.isoformat()


def _instant(stored: str | datetime) -> str:
    """Return an instant as the answers write it; SQLite keeps text of UTC without a zone."""
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored.astimezone(UTC)
    return f"{moment.replace(tzinfo=None).isoformat()}Z"


def _mapping(text: str | None) -> Mapping[str, Any]:
    if text is None:
        raise ValueError("the row was read without it")
    found: Mapping[str, Any] = orjson.loads(text)
    return found
