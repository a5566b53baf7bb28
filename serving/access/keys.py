"""Keys: a public id and a secret. The secret is told once; what is kept is its hash."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from programme.database import Database
from programme.errors import InputRefused
from programme.settings import PROGRAMME_FILE, Settings
from serving.access import scopes as known
from serving.online.tables import API_KEYS

PREFIX = "pk_"
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that are read for one another
_ID_LETTERS, _SECRET_BYTES = 12, 32
NAME_LENGTH_MAX = 100
PER_SECOND, PER_SECOND_MAX = 50, 10_000

State = Literal["live", "expired", "revoked"]


@dataclass(frozen=True)
class Key:
    """One key as it is kept.

    Parameters
    ----------
    scopes : what it opens
    per_second : requests a second it may make, over time
    expires_at, revoked_at : from when on it opens nothing
    secret_hash : SHA-256 of the secret
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    per_second: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    secret_hash: bytes = field(repr=False)

    def state(self, now: datetime) -> State:
        """Return whether it opens anything at `now`, and if not, why."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "live"


def hash_of(secret: bytes) -> bytes:
    """Return what is kept of a secret; 256 random bits need neither salt nor a slow hash."""
    return hashlib.sha256(secret).digest()


def create(
    database: Database,
    name: str,
    scopes: Iterable[str],
    *,
    now: datetime,
    per_second: int = PER_SECOND,
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """Make a key; return it, and what its holder sends: it cannot be had again.

    Raises
    ------
    InputRefused : if a scope is unknown, the name cannot be one, the rate is out of range, or
        the key would never have opened anything.
    """
    key, sent = _made(name, scopes, per_second, expires_at, now)
    database.write(lambda connection: _insert(connection, key))
    return key, sent


def rotate(
    database: Database, which: str, *, keep: timedelta, now: datetime
) -> tuple[Key, str, Key]:
    """Make a key like another, which goes on for `keep` so that its holder can change over.

    Returns
    -------
    the new key, what its holder sends, and the old one with its end

    Raises
    ------
    InputRefused : if there is no such key, or it opens nothing any more.
    """

    def work(connection: Connection) -> tuple[Key, str, Key]:
        old = _find(connection, which, now)
        if old.state(now) != "live":
            raise InputRefused(
                f"{old.key_id} is {old.state(now)}. Nothing was changed. Make a new key: "
                f"perennial keys create {old.name}"
            )
        expires_at = old.expires_at and now + (old.expires_at - old.created_at)
        new, sent = _made(old.name, old.scopes, old.per_second, expires_at, now)
        _insert(connection, new)
        ends = min(now + keep, old.expires_at) if old.expires_at else now + keep
        ended = update(API_KEYS).where(API_KEYS.c.key_id == old.key_id).values(expires_at=ends)
        connection.execute(ended)
        return new, sent, _find(connection, old.key_id, now)

    return database.write(work)


def revoke(database: Database, which: str, *, now: datetime) -> Key:
    """End a key at once and for good; ending it again changes nothing.

    Raises
    ------
    InputRefused : if there is no such key, or several live ones have that name.
    """

    def work(connection: Connection) -> Key:
        found = _find(connection, which, now)
        here = (API_KEYS.c.key_id == found.key_id) & API_KEYS.c.revoked_at.is_(None)
        connection.execute(update(API_KEYS).where(here).values(revoked_at=now))
        return _find(connection, found.key_id, now)

    return database.write(work)


def every(database: Database) -> list[Key]:
    """Return all keys there ever were, the oldest first."""
    with database.read() as connection:
        return _every(connection)


def exist(settings: Settings, *, now: datetime) -> bool:
    """Return whether a home has a key that opens something; a home that is none yet has not.

    Raises
    ------
    Busy, StorageFailed : if the database cannot be asked.
    """
    if not (settings.home / PROGRAMME_FILE).exists():
        return False
    database = Database.open(settings)
    try:
        return any(key.state(now) == "live" for key in every(database))
    finally:
        database.close()


def _made(
    name: str,
    scopes: Iterable[str],
    per_second: int,
    expires_at: datetime | None,
    now: datetime,
) -> tuple[Key, str]:
    if not 0 < len(name) <= NAME_LENGTH_MAX or not name.isprintable() or name.startswith(PREFIX):
        raise InputRefused(
            f"{name!r:.120} is no name for a key. Nothing was made. Say whose it is, in at most "
            f"{NAME_LENGTH_MAX} characters that can be read, not beginning with {PREFIX}."
        )
    if not 1 <= per_second <= PER_SECOND_MAX:
        raise InputRefused(
            f"{per_second} requests a second is no rate for a key. No key was made. Say a number "
            f"from 1 to {PER_SECOND_MAX}."
        )
    if expires_at is not None and expires_at <= now:
        raise InputRefused(
            f"A key that ends at {expires_at:%Y-%m-%d %H:%M} UTC has ended already. No key was "
            "made. Name an instant to come, or none."
        )
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key_id = PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(_ID_LETTERS))
    key = Key(
        key_id, name, known.check(scopes), per_second, now, expires_at, None,
        hash_of(secret.encode()),
    )  # fmt: skip
    return key, f"{key_id}.{secret}"


def _insert(connection: Connection, key: Key) -> None:
    row = {
        "key_id": key.key_id, "secret_hash": key.secret_hash.hex(), "name": key.name,
        "scopes": " ".join(one for one in known.SCOPES if one in key.scopes),
        "per_second": key.per_second, "created_at": key.created_at,
        "expires_at": key.expires_at, "revoked_at": None,
    }  # fmt: skip
    connection.execute(insert(API_KEYS), row)


def _every(connection: Connection) -> list[Key]:
    ordered = select(API_KEYS).order_by(API_KEYS.c.created_at, API_KEYS.c.key_id)
    return [_key(row) for row in connection.execute(ordered)]


def _find(connection: Connection, which: str, now: datetime) -> Key:
    """Return the key of that id, or the only live one of that name."""
    all_keys = _every(connection)
    if by_id := [key for key in all_keys if key.key_id == which]:
        return by_id[0]
    named = [key for key in all_keys if key.name == which and key.state(now) == "live"]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(key.key_id for key in named)
        raise InputRefused(
            f"{len(named)} live keys have the name {which!r}: {ids}. Nothing was changed. Name "
            "one by its id."
        )
    # What was typed may be a secret put in the wrong place: it is not repeated.
    raise InputRefused(
        "No key has that id, and no live one that name. Nothing was changed. "
        "`perennial keys list --all` shows them."
    )


def _key(row: Any) -> Key:
    return Key(
        key_id=row.key_id,
        name=row.name,
        scopes=frozenset(row.scopes.split()),
        per_second=row.per_second,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        secret_hash=bytes.fromhex(row.secret_hash),
    )
