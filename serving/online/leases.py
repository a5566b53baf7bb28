"""Who does what: parts of the members that workers share out, for as long as they are alive.

A worker holds a part until a moment that it moves on while it works. One that was killed moves
nothing, and another takes its parts when their time is up. Clocks of machines may differ by some
seconds: a lease is long against that, and a row is never overwritten by an older one anyway.
"""

import zlib
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from programme.database import Database
from serving.online.tables import LEASES, PARTS

# Held by whoever writes everybody; no member is dealt to it.
PUBLISHING = -1
# Below it, a seat for each worker that is alive. Two that get the same one by chance are counted as
# one: the later takes what the earlier leaves.
_SEATS = 30_000
LASTS = timedelta(seconds=60)
# Twenty thousand members, the most between two looks at the clock, take minutes.
PUBLISHING_LASTS = timedelta(minutes=30)


def take(
    database: Database,
    parts: Collection[int],
    owner: str,
    now: datetime,
    lasts: timedelta = LASTS,
) -> frozenset[int]:
    """Take the parts that nobody else holds, or hold them longer; return those that are ours.

    Parameters
    ----------
    owner : a name that no other living worker has
    """
    if not parts:
        return frozenset()

    def taken(connection: Connection) -> frozenset[int]:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        new = dialect.insert(LEASES)
        free = or_(LEASES.c.owner == owner, LEASES.c.until < now)
        values = {"owner": new.excluded.owner, "until": new.excluded.until}
        connection.execute(
            new.on_conflict_do_update(index_elements=["part"], set_=values, where=free),
            [{"part": part, "owner": owner, "until": now + lasts} for part in sorted(parts)],
        )
        return held(connection, owner, now) & frozenset(parts)

    return database.write(taken)


def held(connection: Connection, owner: str, now: datetime) -> frozenset[int]:
    """Return the parts that are ours now; within a transaction they stay ours until it ends."""
    ours = select(LEASES.c.part).where(LEASES.c.owner == owner, LEASES.c.until > now)
    return frozenset(connection.execute(ours.with_for_update()).scalars())


def of(database: Database, owner: str, now: datetime) -> frozenset[int]:
    """Return the parts somebody holds, without holding them."""
    theirs = select(LEASES.c.part).where(LEASES.c.owner == owner, LEASES.c.until > now)
    with database.read() as connection:
        return frozenset(connection.execute(theirs).scalars())


def share_out(
    database: Database, parts: frozenset[int], owner: str, now: datetime
) -> frozenset[int]:
    """Hold a fair share of the parts, as a worker does from time to time; return what is ours.

    What is more than the share is given back, what is less is made up from what is free. Whoever
    holds nothing yet takes a seat first, by which those who hold everything know of it.

    Parameters
    ----------
    parts : that were ours the last time
    owner : as in `take`
    """
    seat = _seat(owner)
    ours = take(database, {seat, *parts}, owner, now) - {seat}
    theirs = select(LEASES.c.part, LEASES.c.owner).where(
        LEASES.c.until >= now, LEASES.c.owner != owner, LEASES.c.part != PUBLISHING
    )
    with database.read() as connection:
        others = connection.execute(theirs).all()
    share = -(-PARTS // (1 + len({row.owner for row in others})))
    if spare := frozenset(sorted(ours)[share:]):
        release(database, owner, spare)
        ours -= spare
    taken = {row.part for row in others} | ours
    free = [part for part in range(PARTS) if part not in taken]
    return ours | take(database, free[: share - len(ours)], owner, now)


def _seat(owner: str) -> int:
    """Return the number of a part that no member is dealt to, the same for the same worker."""
    return PUBLISHING - 1 - zlib.crc32(owner.encode()) % _SEATS


def release(database: Database, owner: str, parts: Collection[int] | None = None) -> None:
    """Give parts back, or all that are ours: the others need not wait until their time is up."""
    ours = delete(LEASES).where(LEASES.c.owner == owner)
    if parts is not None:
        ours = ours.where(LEASES.c.part.in_(sorted(parts)))
    database.write(lambda connection: connection.execute(ours))
