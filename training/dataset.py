"""Snapshots and what followed them, as rows a model can learn from.

Memory is bounded: of a larger programme the same `members_max` members are read at every as_of,
chosen by a hash of their id, so that neither rows nor runs depend on which others there are.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import snapshot, table
from programme.settings import Settings
from training.labels import Outcomes, first_order_cents, outcomes
from training.rows import MemberRows

_SAMPLE_KEY = "perennial:sample"  # sixteen bytes, as the hash wants them


@dataclass(frozen=True)
class Labelled:
    """Rows, who they are, and what they did.

    Parameters
    ----------
    rows : n members at one or several as_ofs
    active : array of shape (n,), bool; bought lately, as the programme defines it
    churned, value_cents : arrays of shape (n,), what followed within the horizon
    value_by_horizon : array of shape (n, n_horizons), spend by the end of each shorter horizon
        and, last, of the horizon itself; None stands for the horizon alone
    next_days : array of shape (n,), days until the next purchase, the horizon where none came;
        empty where nobody asked when
    """

    rows: MemberRows
    active: npt.NDArray[np.bool_]
    churned: npt.NDArray[np.float64]
    value_cents: npt.NDArray[np.float64]
    value_by_horizon: npt.NDArray[np.float64] | None = None
    next_days: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    @property
    def horizon_cents(self) -> npt.NDArray[np.float64]:
        """Return the spend by the end of each horizon, shape (n, n_horizons)."""
        if self.value_by_horizon is None:
            return self.value_cents[:, None]
        return self.value_by_horizon

    def take(self, which: npt.NDArray[Any]) -> "Labelled":
        """Select rows by a boolean mask or by positions, in the order of the positions."""
        return Labelled(
            self.rows.take(which),
            self.active[which],
            self.churned[which],
            self.value_cents[which],
            self.horizon_cents[which],
            self.next_days[which] if len(self.next_days) else self.next_days,
        )


class Dataset:
    """The labelled rows of one programme and horizon; every as_of is read once.

    Parameters
    ----------
    settings : names the home
    horizon_days : of the labels
    n_weeks : weeks of history beside the columns; 0 for none
    shorter_days : shorter horizons whose spend is wanted too, growing
    members_max : at most so many members of an as_of are read; None: all of them
    """

    def __init__(
        self,
        settings: Settings,
        horizon_days: int,
        n_weeks: int = 0,
        shorter_days: tuple[int, ...] = (),
        *,
        members_max: int | None = None,
    ) -> None:
        self.settings = settings
        self.horizon_days = horizon_days
        self.n_weeks = n_weeks
        self.shorter_days = shorter_days
        self.members_max = members_max
        self._labelled: dict[date, Labelled] = {}
        self._others: dict[int, Dataset] = {}
        self._taken: dict[date, tuple[MemberRows, npt.NDArray[np.bool_], int]] = {}

    def labelled_for(self, days: int) -> "Dataset":
        """Return the same members with labels of another length, each as_of read once too."""
        if days == self.horizon_days:
            return self
        if days not in self._others:
            other = type(self)(self.settings, days, self.n_weeks, members_max=self.members_max)
            other._taken = self._taken  # the members are the same: their rows are kept once
            self._others[days] = other
        return self._others[days]

    def at(self, as_of: date) -> Labelled:
        """Return the members of one as_of and what they did next."""
        if as_of not in self._labelled:
            if as_of not in self._taken:
                taken = snapshot.build(self.settings, as_of)
                own = member_rows(taken, self.n_weeks, self.members_max)
                self._taken[as_of] = (*own, taken.lake_version)
            rows, active, lake_version = self._taken[as_of]
            by_horizon = [
                outcomes(self.settings, as_of, days, list(rows.member_id), lake_version)
                for days in (*self.shorter_days, self.horizon_days)
            ]
            followed: Outcomes = by_horizon[-1]
            self._labelled[as_of] = Labelled(
                rows,
                active,
                followed.churned,
                followed.value_cents,
                np.stack([one.value_cents for one in by_horizon], axis=1),
                followed.next_days,
            )
        return self._labelled[as_of]

    def first_order_cents(self, as_of: date) -> npt.NDArray[np.float64]:
        """Return what the first order of each member of an as_of was worth, in their order."""
        taken = snapshot.build(self.settings, as_of)
        members = list(self.at(as_of).rows.member_id)
        return first_order_cents(self.settings, as_of, members, taken.lake_version)

    def past(self, as_ofs: tuple[date, ...]) -> Labelled:
        """Return the rows of several as_ofs below each other."""
        parts = [self.at(as_of) for as_of in as_ofs]
        return Labelled(
            MemberRows.concat([part.rows for part in parts]),
            np.concatenate([part.active for part in parts]),
            np.concatenate([part.churned for part in parts]),
            np.concatenate([part.value_cents for part in parts]),
            np.concatenate([part.horizon_cents for part in parts]),
            np.concatenate([part.next_days for part in parts]),
        )


def member_rows(
    taken: snapshot.Snapshot, n_weeks: int = 0, members_max: int | None = None
) -> tuple[MemberRows, npt.NDArray[np.bool_]]:
    """Return the rows of a snapshot as models read them, and which members are active.

    Parameters
    ----------
    members_max : beyond so many members, those that `sampled` chooses
    """
    kept = _kept(taken, members_max)
    features = taken.features() if kept is None else _features_of(taken, kept)
    weekly = taken.weekly(n_weeks)[1] if n_weeks else None
    rows = MemberRows(
        member_id=np.asarray(features.index, dtype=object),
        as_of=np.full(len(features), np.datetime64(taken.as_of, "D")),
        features=features[list(table.MODEL_COLUMNS)].reset_index(drop=True),
        weekly=weekly if weekly is None or kept is None else weekly[kept],
    )
    return rows, np.asarray(features["population"] == "active", dtype=np.bool_)


def sampled(member_ids: npt.ArrayLike, members_max: int) -> npt.NDArray[np.bool_]:
    """Choose at most so many members by a hash of their id: the same ones in every programme.

    Whoever is chosen among many is chosen among any part of them, so that an as_of with fewer
    members keeps those that a later one keeps.
    """
    drawn = pd.util.hash_array(np.asarray(member_ids, dtype=object), hash_key=_SAMPLE_KEY)
    chosen = np.zeros(len(drawn), dtype=np.bool_)
    chosen[np.argsort(drawn, kind="stable")[:members_max]] = True
    return chosen


def _kept(taken: snapshot.Snapshot, members_max: int | None) -> npt.NDArray[np.bool_] | None:
    """Return which rows of a snapshot are read; None: all."""
    if members_max is None:
        return None
    path = taken.path / snapshot.FEATURES
    if pq.read_metadata(path).num_rows <= members_max:
        return None
    return sampled(pq.read_table(path, columns=["member_id"])["member_id"].to_numpy(), members_max)


def _features_of(taken: snapshot.Snapshot, kept: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Read some rows of a snapshot, a batch at a time."""
    columns = ["member_id", "population", *table.MODEL_COLUMNS]
    parts, first = [], 0
    for batch in pq.ParquetFile(taken.path / snapshot.FEATURES).iter_batches(columns=columns):
        own = kept[first : first + len(batch)]
        parts.append(batch.filter(pa.array(own)))
        first += len(batch)
    features: pd.DataFrame = pa.Table.from_batches(parts).to_pandas()
    return features.set_index("member_id")
