"""The programme's wall clock in SQL: UTC offsets as a few comparisons.

Asking the calendar library for every row costs five times as much as the rest of a rollup, and
a timezone changes its offset only a few times in the span of a programme's data.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import duckdb

from features import engine
from programme.calendar import zone

Clock = Callable[[str], str]


def local_clock(timezone: str, first: datetime, last: datetime) -> Clock:
    """Return a function from SQL of a UTC instant to SQL of the local wall clock.

    Parameters
    ----------
    timezone : IANA name
    first, last : UTC, naive; every instant it is applied to lies between them

    Returns
    -------
    function of an SQL timestamp expression; exact between `first` and `last`
    """
    changes = _offset_changes(timezone, first.replace(tzinfo=UTC), last.replace(tzinfo=UTC))

    def local(instant: str) -> str:
        *later, (_, earliest) = reversed(changes)
        shift = _interval(earliest)
        if later:
            whens = " ".join(
                f"when {instant} >= timestamp {engine.text(since.replace(tzinfo=None))} "
                f"then {_interval(offset)}"
                for since, offset in later
            )
            shift = f"case {whens} else {shift} end"
        return f"({instant} + {shift})"

    return local


def clock_of(connection: duckdb.DuckDBPyConnection, timezone: str, rows: str) -> Clock:
    """Return the local clock for the instants of some rows.

    Parameters
    ----------
    rows : a SELECT with occurred_at and known_at; Parquet answers from its statistics
    """
    first, last = connection.execute(
        f"""select least(min(occurred_at), min(known_at)),
            greatest(max(occurred_at), max(known_at)) from ({rows})"""
    ).fetchall()[0]
    if first is None:
        first = last = datetime(1970, 1, 1)  # noqa: DTZ001 - stored instants are naive UTC
    # The moment before the first of them is asked for, too: see `rollups.hour_sql`.
    return local_clock(timezone, first - timedelta(seconds=1), last)


def _offset_changes(
    timezone: str, first: datetime, last: datetime
) -> list[tuple[datetime, timedelta]]:
    """Return (since, offset) pairs, oldest first; the first reaches back before `first`."""
    local = zone(timezone)

    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(local).utcoffset() or timedelta()

    changes = [(first, offset(first))]
    day, step = first, timedelta(days=1)
    while day < last:
        following = min(day + step, last)
        if offset(following) != offset(day):
            before, after = day, following
            while after - before > timedelta(seconds=1):
                middle = before + (after - before) // 2
                middle = middle.replace(microsecond=0)
                if middle <= before:
                    break
                before, after = (
                    (middle, after) if offset(middle) == offset(before) else (before, middle)
                )
            changes.append((after.replace(microsecond=0), offset(following)))
        day = following
    return changes


def _interval(offset: timedelta) -> str:
    return f"interval '{int(offset.total_seconds())} seconds'"
