"""Snapshots and what followed them, as rows a model can learn from."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import snapshot, table
from programme.settings import Settings
from training.labels import Outcomes, bought_products, first_order_cents, outcomes
from training.rows import MemberRows


@dataclass(frozen=True)
class Labelled:
    """Rows, who they are, and what they did.

    Parameters
    ----------
    rows : n members at one or several as_ofs
    active : array of shape (n,), bool; bought lately, as the programme defines it
    churned, value_cents : arrays of shape (n,), what followed within the horizon
    """

    rows: MemberRows
    active: npt.NDArray[np.bool_]
    churned: npt.NDArray[np.float64]
    value_cents: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)


class Dataset:
    """The labelled rows of one programme and horizon; every as_of is read once.

    Parameters
    ----------
    settings : names the home
    horizon_days : of the labels
    n_weeks : weeks of history beside the columns; 0 for none
    """

    def __init__(self, settings: Settings, horizon_days: int, n_weeks: int = 0) -> None:
        self.settings = settings
        self.horizon_days = horizon_days
        self.n_weeks = n_weeks
        self._labelled: dict[date, Labelled] = {}
        self._others: dict[int, Dataset] = {}
        self._taken: dict[date, tuple[MemberRows, npt.NDArray[np.bool_], int]] = {}

    def labelled_for(self, days: int) -> "Dataset":
        """Return the same members with labels of another length, each as_of read once too."""
        if days == self.horizon_days:
            return self
        if days not in self._others:
            other = type(self)(self.settings, days, self.n_weeks)
            other._taken = self._taken  # the members are the same: their rows are kept once
            self._others[days] = other
        return self._others[days]

    def at(self, as_of: date) -> Labelled:
        """Return the members of one as_of and what they did next."""
        if as_of not in self._labelled:
            if as_of not in self._taken:
                taken = snapshot.build(self.settings, as_of)
                self._taken[as_of] = (*member_rows(taken, self.n_weeks), taken.lake_version)
            rows, active, lake_version = self._taken[as_of]
            followed: Outcomes = outcomes(
                self.settings, as_of, self.horizon_days, list(rows.member_id), lake_version
            )
            self._labelled[as_of] = Labelled(rows, active, followed.churned, followed.value_cents)
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
        )


class Baskets:
    """What members had bought at an as_of, and what they bought next."""

    def __init__(self, settings: Settings, horizon_days: int) -> None:
        self.settings = settings
        self.horizon_days = horizon_days

    def before(self, as_of: date) -> pd.DataFrame:
        """Return member_id, product_id, purchase_days, last_days: everything bought before."""
        return snapshot.build(self.settings, as_of).products()

    def after(self, as_of: date) -> pd.DataFrame:
        """Return member_id and product_id: everything bought within the horizon."""
        version = snapshot.build(self.settings, as_of).lake_version
        return bought_products(self.settings, as_of, self.horizon_days, version)

    def active(self, as_of: date) -> npt.NDArray[np.object_]:
        """Return the members who bought lately."""
        features = snapshot.build(self.settings, as_of).features()
        return np.asarray(features.index[features["population"] == "active"], dtype=object)


def member_rows(
    taken: snapshot.Snapshot, n_weeks: int = 0
) -> tuple[MemberRows, npt.NDArray[np.bool_]]:
    """Return the rows of a snapshot as models read them, and which members are active."""
    features = taken.features()
    weekly = taken.weekly(n_weeks)[1] if n_weeks else None
    rows = MemberRows(
        member_id=np.asarray(features.index, dtype=object),
        as_of=np.full(len(features), np.datetime64(taken.as_of, "D")),
        features=features[list(table.MODEL_COLUMNS)].reset_index(drop=True),
        weekly=weekly,
    )
    return rows, np.asarray(features["population"] == "active", dtype=np.bool_)
