"""When a member will need a category again: her own gap, drawn towards the category's."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import engine, table
from features.snapshot import Between, Snapshot
from programme.errors import InputRefused
from training.scores import DueCategory

# Fewer days with a purchase of the category, and there is no gap to speak of.
PURCHASE_DAYS_LEAST = 3
# How many gaps of the category's usual length a member is thought to have shown beforehand. On
# Complete Journey (3 July and 7 August 2017) 0 to 3 name equally good lists; more of them lose
# what tells a due category from others bought as often.
PRIOR_GAPS = 1
# What is due later is not news yet; who is overdue by more than half a gap has mostly moved on.
SOON_DAYS = 14
OVERDUE_GAPS_MAX = 0.5
DUE_LENGTH = 5
USUAL_GAPS = "usual_gaps.parquet"

# One row per member and category: days with a purchase, the last, and the mean of the gaps.
_HABITS = f"""
    select member_id, category, count(*) as purchase_days, min(days_ago) as last_days,
           cast(max(days_ago) - min(days_ago) as double) / (count(*) - 1) as own_gap_days
    from member_categories where lines > 0
    group by member_id, category having count(*) >= {PURCHASE_DAYS_LEAST}"""
HABIT_COLUMNS = ("member_id", "category", "purchase_days", "last_days", "own_gap_days")


def habits(taken: Snapshot, between: Between | None = None) -> pd.DataFrame:
    """Return how often every member bought every category of which she shows a rhythm.

    Parameters
    ----------
    between : first and last member_id; None: everybody

    Returns
    -------
    DataFrame with `HABIT_COLUMNS`, ordered by member_id and category; none where the programme
    knows no categories
    """
    with taken.prepared(between) as connection:
        return habits_of(connection)


def habits_of(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Return what `habits` does of the members whose relations are prepared."""
    parts = [
        connection.execute(f"{_HABITS} order by member_id, category").df()
        for _ in table.some_members_at_a_time(connection)
    ]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=HABIT_COLUMNS)
    return found.sort_values(["member_id", "category"], ignore_index=True)


def usual_gaps(taken: Snapshot) -> "pd.Series[float]":
    """Return the median of the members' mean gaps in each category, kept beside the snapshot.

    Returns
    -------
    Series by category, in days; none where the programme knows no categories
    """
    path = taken.path / USUAL_GAPS
    if not path.exists():
        with taken.prepared() as connection:
            connection.execute(f"create temp table shown as {_HABITS} limit 0")
            for _ in table.some_members_at_a_time(connection):
                connection.execute(f"insert into shown {_HABITS}")
            sql = """select category, median(own_gap_days) as gap_days from shown
                group by category order by category"""
            engine.replace_parquet(connection, sql, path)
    return pd.read_parquet(path).set_index("category")["gap_days"]


def due_dates(known: pd.DataFrame, usual_gap: "pd.Series[float] | None" = None) -> pd.DataFrame:
    """Return when each member is expected to need each category again.

    Parameters
    ----------
    known : DataFrame with `HABIT_COLUMNS`, one row per member and category
    usual_gap : of each category, as `usual_gaps`; None: the median of the rows given

    Returns
    -------
    the same rows in the same order, and `gap_days` (her own mean gap, drawn by `PRIOR_GAPS` gaps
    towards the median of the members' mean gaps in the category), `due_days` (from `as_of`; below
    0: she is overdue by so many days) and `soon` (worth telling now)
    """
    missing = [name for name in HABIT_COLUMNS if name not in known.columns]
    if missing:
        raise InputRefused(
            f"The habits lack {', '.join(missing)}. No due date was computed. Give "
            f"{', '.join(HABIT_COLUMNS)}, as `habits` returns them."
        )
    usual = (
        known.groupby("category")["own_gap_days"].transform("median")
        if usual_gap is None
        # A category in which nobody had a rhythm yesterday: her own is all there is.
        else known["category"].map(usual_gap).fillna(known["own_gap_days"])
    )
    gaps = known["purchase_days"] - 1
    gap = (gaps * known["own_gap_days"] + PRIOR_GAPS * usual) / (gaps + PRIOR_GAPS)
    due = np.round(gap - known["last_days"]).astype(int)
    soon = (due < SOON_DAYS) & (due >= -OVERDUE_GAPS_MAX * gap)
    return known.assign(gap_days=gap, due_days=due, soon=soon)


@dataclass(frozen=True, eq=False)
class DueLists:
    """What each member of a population will need soon, what she buys most first.

    Parameters
    ----------
    starts : array of shape (n_members + 1,); member i owns rows `starts[i]:starts[i + 1]`
    rows : DataFrame as `due_dates` returns it, in order of member, then rank
    """

    starts: NDArray[np.intp]
    rows: pd.DataFrame

    @classmethod
    def of(cls, dated: pd.DataFrame, members: pd.Index) -> Self:
        """Choose up to `DUE_LENGTH` categories a member, ties by how soon, then by name."""
        soon = dated[dated["soon"]]
        soon = soon.assign(owner=members.get_indexer(pd.Index(soon["member_id"])))
        soon = soon[soon["owner"] >= 0].sort_values(
            ["owner", "purchase_days", "due_days", "category"], ascending=[True, False, True, True]
        )
        kept = soon[soon.groupby("owner").cumcount() < DUE_LENGTH].reset_index(drop=True)
        starts = np.searchsorted(kept["owner"].to_numpy(), np.arange(len(members) + 1))
        return cls(starts, kept)

    def of_member(self, position: int) -> Iterator[DueCategory]:
        """Return the categories of the member at a position, the most bought first."""
        known = self._columns
        for row in range(int(self.starts[position]), int(self.starts[position + 1])):
            due_days = int(known["due_days"][row])
            yield DueCategory(
                category=str(known["category"][row]),
                due_days=due_days,
                overdue=due_days < 0,
                parameters={
                    "gap_days": round(float(known["gap_days"][row]), 1),
                    "last_days": float(known["last_days"][row]),
                    "purchase_days": float(known["purchase_days"][row]),
                },
            )

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        # A frame takes a millisecond to hand out a row, of which there are five a member.
        return {str(name): self.rows[name].to_numpy() for name in self.rows.columns}
