"""The feature table of a few members, whose groups are joined here and not in SQL.

What a night's batch does in one statement over everybody costs more to plan than to run for a
hundred members. The groups' own SELECTs are the same, and so are the values.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import table
from features.group import Column, FeatureGroup

# The relation a feed is read from; where it is empty nothing is known of anybody by that feed.
_FEEDS = {"events": "known_events", "contacts": "known_contacts", "points": "known_points"}
_NOBODY = (np.empty(0, np.int64), np.empty(0, np.bool_))


def read(
    connection: duckdb.DuckDBPyConnection, active_days: int, tables: tuple[str, ...]
) -> pd.DataFrame:
    """Return what `table.select_sql` selects, by member_id, after `table.prepare`.

    Parameters
    ----------
    active_days, tables : as `table.select_sql` has them

    Returns
    -------
    population, then every column: doubles, and names as objects; in order of member_id
    """
    members = connection.execute(
        "select distinct member_id, member_no from member_days where bought > 0 order by member_id"
    ).fetchnumpy()
    ids = members["member_id"].tolist()
    places: dict[str, dict[Any, int]] = {
        "member_id": {one: place for place, one in enumerate(ids)},
        "member_no": {one: place for place, one in enumerate(members["member_no"].tolist())},
    }
    made = _made(connection, table.GROUPS, tables, places)
    recent = made["recency_days"] <= active_days
    population = np.where(recent, "active", "dormant").astype(object)
    return pd.DataFrame({"population": population, **made}, index=pd.Index(ids, name="member_id"))


def of_events(
    connection: duckdb.DuckDBPyConnection, ids: Sequence[str], tables: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    """Return the columns of the groups that read events alone, after `table.prepare_events`.

    Parameters
    ----------
    ids : member_ids of n members who ever bought

    Returns
    -------
    arrays of shape (n,) by column, as `read` has them for these members
    """
    places = {"member_id": {one: place for place, one in enumerate(ids)}}
    return _made(connection, table.OF_EVENTS, tables, places)


def _made(
    connection: duckdb.DuckDBPyConnection,
    groups: Sequence[FeatureGroup],
    tables: tuple[str, ...],
    places: Mapping[str, Mapping[Any, int]],
) -> dict[str, NDArray[Any]]:
    """Run the groups; return their columns, every member at her place.

    Parameters
    ----------
    places : by key of a group, the place of each member
    """
    n_members = len(places["member_id"])
    read = {feed for group in groups for feed in group.reads}
    known = [
        feed
        for feed, relation in _FEEDS.items()
        if feed in read and feed in tables and _any(connection, relation)
    ]
    made: dict[str, NDArray[Any]] = {}
    for group in groups:
        unknown = not set(group.reads) <= set(tables)
        silent = unknown or not set(group.reads) - set(known) <= {"purchases", "products"}
        rows = {} if silent else connection.execute(_typed_sql(group)).fetchnumpy()
        to, there = _places(rows[group.key], places[group.key]) if rows else _NOBODY
        for column in group.columns:
            values = _absent(column, None if unknown else column.absent, n_members)
            if rows:
                found = np.ma.asarray(rows[column.name])
                known_ones = there & ~np.ma.getmaskarray(found)
                values[to[known_ones]] = np.ma.getdata(found)[known_ones]
            made[column.name] = values
    return made


def _any(connection: duckdb.DuckDBPyConnection, relation: str) -> bool:
    return bool(connection.execute(f"select exists (from {relation})").fetchall()[0][0])


def _typed_sql(group: FeatureGroup) -> str:
    columns = ", ".join(
        f"cast({one.name} as {'varchar' if one.is_text else 'double'}) as {one.name}"
        for one in group.columns
    )
    return f"select {group.key}, {columns} from ({group.sql})"


def _absent(column: Column, absent: float | None, n: int) -> NDArray[Any]:
    if column.is_text:
        return np.full(n, None, dtype=object)
    return np.full(n, np.nan if absent is None else float(absent))


def _places(who: Any, places: Mapping[Any, int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the place of each, and whether there is one: who never bought has none."""
    to = np.fromiter((places.get(one, -1) for one in who.tolist()), np.int64, len(who))
    return to, to >= 0
