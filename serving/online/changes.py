"""What changed about members, in one order: who moved from which band, stage, segment or tag.

A change has a position, a number without gaps in the order in which transactions ended: whoever
has read up to a position never finds another change at or before it. Therefore one transaction at
a time writes changes, and holds the others up until it ends; it writes them last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, delete, func, insert, select, text

from programme.database import Database
from programme.errors import InputRefused
from serving.online.tables import CHANGES

What = Literal["risk_band", "stage", "segment", "tag"]
KINDS: tuple[What, ...] = get_args(What)
# What a change of a tag says: she holds it, or null.
HELD = "held"
# A CRM that asks once a night and was away for a holiday still finds its place.
KEPT_DAYS = 30
_LOCK = 771_004
_ROWS_AT_ONCE = 5_000

Traits = Mapping[str, Any]
# Who, and her traits before and after; None: she is new, or gone.
Moved = tuple[str, Traits | None, Traits | None]


@dataclass(frozen=True)
class Change:
    """One change of one member.

    Parameters
    ----------
    name : of the segment or the tag; "" for band and stage
    before, after : None: she had none, or has none now; of a tag "held" or None
    """

    position: int
    member_id: str
    what: What
    name: str
    before: str | None
    after: str | None
    changed_at: datetime


@dataclass(frozen=True)
class Page:
    """Changes in order.

    Parameters
    ----------
    position : go on from here; where there was more, it is that of the last change of the page
    more : whether the page was full before the changes ended
    """

    changes: tuple[Change, ...]
    position: int
    more: bool


class CursorTooOld(InputRefused):
    """Changes after the cursor are kept no longer: the reader would miss some."""

    def __init__(self) -> None:
        super().__init__(
            "Some changes after this cursor are kept no longer. Nothing was read. Take the "
            "cursor GET /v1/changes gives without `since`, then export everything, then go on "
            "from that cursor."
        )


class CursorUnknown(InputRefused):
    """The cursor lies beyond what happened: it is of another database, or of a lost one."""

    def __init__(self) -> None:
        super().__init__(
            "This cursor lies beyond the last change there is: it was given by another database. "
            "Nothing was read. Take the cursor GET /v1/changes gives without `since`, then "
            "export everything, then go on from that cursor."
        )


def record(
    connection: Connection,
    member_id: str,
    before: Traits | None,
    after: Traits | None,
    now: datetime,
) -> int:
    """Write what changed about one member; return how many changes that were.

    Parameters
    ----------
    before, after : `traits` as `serving.online.store.StoredMember` has them; None: she
        is new, or gone
    """
    return record_many(connection, [(member_id, before, after)], now)


def record_many(connection: Connection, moved: Iterable[Moved], now: datetime) -> int:
    """Write what changed about members, in their order; return how many changes that were.

    Everybody else who writes changes waits until the transaction ends: call it last, and leave
    out those whom nobody knew before when a store is filled for the first time, of whom an export
    tells everything.
    """
    rows = [row for member_id, before, after in moved for row in _rows(member_id, before, after)]
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))
    position = last_position(connection)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[first : first + _ROWS_AT_ONCE]
        numbered = [
            {**row, "seq": position + first + place, "changed_at": now}
            for place, row in enumerate(part, start=1)
        ]
        connection.execute(insert(CHANGES), numbered)
    return len(rows)


def head(database: Database) -> int:
    """Return the position of the last change; 0: there never was one."""
    with database.read() as connection:
        return last_position(connection)


def floor(connection: Connection) -> int:
    """Return the position after which every change is kept."""
    return (connection.execute(select(func.min(CHANGES.c.seq))).scalar() or 1) - 1


def since(
    database: Database, position: int, limit: int, what: Sequence[What] | None = None
) -> Page:
    """Return the changes after a position.

    Parameters
    ----------
    limit : the most to return
    what : kinds of change to return; None: all of them

    Raises
    ------
    CursorTooOld : if some of them are kept no longer.
    CursorUnknown : if nothing ever had that position.
    """
    with database.read() as connection:
        last = last_position(connection)
        if position > last:
            raise CursorUnknown
        if position < floor(connection):
            raise CursorTooOld
        return between(connection, position, last, limit, what)


def between(
    connection: Connection, first: int, last: int, limit: int, what: Sequence[What] | None = None
) -> Page:
    """Return the changes after `first` up to `last`, as `since` does."""
    asked = (CHANGES.c.seq > first) & (CHANGES.c.seq <= last)
    if what is not None:
        asked &= CHANGES.c.what.in_(what)
    found = connection.execute(
        select(CHANGES).where(asked).order_by(CHANGES.c.seq).limit(limit + 1)
    ).all()
    more = len(found) > limit
    page = tuple(Change(*row) for row in found[:limit])
    return Page(page, page[-1].position if more and page else last, more)


def last_before(database: Database, moment: datetime) -> int | None:
    """Return the position from which every change made after a moment is found; None: lost.

    Changes that were made before it may be found too: whoever applies them again gets to where
    she stands all the same.
    """
    earlier = select(func.max(CHANGES.c.seq)).where(CHANGES.c.changed_at <= moment)
    with database.read() as connection:
        found: int | None = connection.execute(earlier).scalar()
        if found is not None:
            return found
        return None if floor(connection) else 0


def forget(database: Database, older_than: datetime) -> int:
    """Drop changes that were made before a moment; return how many.

    The last change stays, so that positions go on from it. Few are dropped at a time: nobody who
    writes waits long.
    """
    dropped = 0
    while gone := database.write(lambda connection: _forget_some(connection, older_than)):
        dropped += gone
    return dropped


def _forget_some(connection: Connection, older_than: datetime) -> int:
    oldest = select(CHANGES.c.seq, CHANGES.c.changed_at).where(
        CHANGES.c.seq < last_position(connection)
    )
    last = 0
    for row in connection.execute(oldest.order_by(CHANGES.c.seq).limit(_ROWS_AT_ONCE)):
        if row.changed_at >= older_than:
            break
        last = row.seq
    if not last:
        return 0
    return connection.execute(delete(CHANGES).where(CHANGES.c.seq <= last)).rowcount


def last_position(connection: Connection) -> int:
    """Return the position of the last change; 0: there never was one."""
    return connection.execute(select(func.max(CHANGES.c.seq))).scalar() or 0


def _rows(member_id: str, before: Traits | None, after: Traits | None) -> Iterator[dict[str, Any]]:
    then, now = _said(before or {}), _said(after or {})
    # The names of now first, in their order; then those she is rid of.
    for what, name in dict.fromkeys((*now, *then)):
        old, new = then.get((what, name)), now.get((what, name))
        if old != new:
            yield {
                "member_id": member_id, "what": what, "name": name, "before": old, "after": new,
            }  # fmt: skip


def _said(traits: Traits) -> dict[tuple[What, str], str]:
    """Return what traits say that is told when it changes; what is not said is not there."""
    said: dict[tuple[What, str], Any] = {
        ("risk_band", ""): traits.get("risk_band"),
        ("stage", ""): traits.get("stage"),
        **{("segment", name): one for name, one in (traits.get("segments") or {}).items()},
        **{("tag", code): HELD for code in traits.get("tags") or ()},
    }
    return {name: str(one) for name, one in said.items() if one is not None}
