"""One answer for one key: what was answered is kept in the transaction that did the work."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from loyalty.errors import Malformed, PostingConflict
from loyalty.tables import IDEMPOTENCY_KEYS
from programme.database import Database

KEY_LENGTH_MAX = 200
# Who sends a request again does so within minutes; what was posted is known by its id for ever.
KEPT = timedelta(days=30)
Answer = tuple[int, str]


def once(
    connection: Connection,
    route: str,
    key: str | None,
    fingerprint: str,
    work: Callable[[], Answer],
    *,
    now: datetime,
) -> Answer:
    """Return what `work` answers, or what it answered the first time this key came.

    Work that raises leaves nothing behind, its key neither: sent again, it is tried again.

    Parameters
    ----------
    route : a key of one route says nothing about another's
    key : None: every request is a new one
    fingerprint : of the request's content

    Raises
    ------
    PostingConflict : if the key came before with other content.
    """
    if key is None:
        return work()
    if not 0 < len(key) <= KEY_LENGTH_MAX:
        raise Malformed(
            f"An idempotency key has 1 to {KEY_LENGTH_MAX} characters. Nothing was posted."
        )
    mine = (IDEMPOTENCY_KEYS.c.route == route) & (IDEMPOTENCY_KEYS.c.key == key)
    row = connection.execute(select(IDEMPOTENCY_KEYS).where(mine)).one_or_none()
    if row is not None:
        if row.fingerprint != fingerprint:
            raise PostingConflict(
                "This idempotency key came before with other content. Nothing was posted. Use a "
                "new key for a new request."
            )
        return row.status, row.answer
    status, answer = work()
    connection.execute(
        insert(IDEMPOTENCY_KEYS).values(
            route=route, key=key, fingerprint=fingerprint, status=status, answer=answer,
            recorded_at=now,
        )
    )  # fmt: skip
    return status, answer


def forget(database: Database, *, now: datetime) -> int:
    """Drop the answers nobody will ask for again; return how many."""
    old = delete(IDEMPOTENCY_KEYS).where(IDEMPOTENCY_KEYS.c.recorded_at < now - KEPT)
    return database.write(lambda connection: connection.execute(old).rowcount)
