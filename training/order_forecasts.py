"""What every candidate says of the next orders at each judged as_of, each learned from its past."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from programme.calendar import DAYS_PER_WEEK
from programme.settings import Settings
from training import labels
from training.dataset import Dataset, Labelled
from training.forecasts import Candidate, Forecasts, Progress
from training.models.next_order import NextOrder
from training.models.silence import covered, levels_by_group
from training.order_metrics import share_right
from training.rows import MemberRows
from training.splits import Plan

# Members are followed at least so long, or their next order says little of when it comes.
FOLLOWED_LEAST_DAYS = 14


@dataclass(frozen=True, eq=False)
class Followed:
    """Rows to learn from, each followed up to the same day.

    Parameters
    ----------
    rows : n members at several as_ofs
    next_days : array of shape (n,), days to the next purchase, or as many as she was followed
    followed_days : array of shape (n,), whole weeks, the horizon at most
    """

    rows: MemberRows
    next_days: npt.NDArray[np.float64]
    followed_days: npt.NDArray[np.float64]


class OrderHistory:
    """The members of one programme and when they bought next; every as_of is read once.

    Parameters
    ----------
    settings : names the home
    horizon_days : how far a next purchase is looked for
    members_max : at most so many members of an as_of are read; None: all of them
    """

    def __init__(
        self, settings: Settings, horizon_days: int, *, members_max: int | None = None
    ) -> None:
        self.settings = settings
        self.horizon_days = horizon_days
        self.members_max = members_max
        self._ends = labels.data_ends(settings)
        self._labelled: dict[date, Labelled] = {}

    def at(self, as_of: date) -> Labelled:
        """Return the members of one as_of, followed for the horizon or to the end of the data."""
        if as_of not in self._labelled:
            followed = self._followed(as_of, self._ends)
            self._labelled[as_of] = Dataset(
                self.settings, followed, members_max=self.members_max
            ).at(as_of)
        return self._labelled[as_of]

    def past(self, as_ofs: tuple[date, ...], until: date) -> Followed:
        """Return the rows of several as_ofs, of whom nothing later than `until` is told."""
        rows, days, limits = [], [], []
        for as_of in as_ofs:
            labelled, limit = self.at(as_of), self._followed(as_of, until)
            rows.append(labelled.rows)
            days.append(np.minimum(labelled.next_days, limit))
            limits.append(np.full(len(labelled), float(limit)))
        return Followed(MemberRows.concat(rows), np.concatenate(days), np.concatenate(limits))

    def _followed(self, as_of: date, until: date) -> int:
        weeks = (until - as_of).days // DAYS_PER_WEEK
        return min(self.horizon_days, weeks * DAYS_PER_WEEK)


def train_as_ofs(plan: Plan, judged_at: date) -> tuple[date, ...]:
    """Return the as_ofs to learn from at `judged_at`, newest first.

    Unlike other targets, a member need not have been followed for the whole horizon: she teaches
    the days she was followed. So the newest as_ofs lie only `FOLLOWED_LEAST_DAYS` back, and what
    is learned is not a quarter old.
    """
    newest = judged_at - timedelta(days=min(FOLLOWED_LEAST_DAYS, plan.horizon_days))
    oldest = plan.begins + timedelta(days=plan.warmup_days)
    steps = (newest - timedelta(days=plan.step_days * k) for k in range(plan.train_max))
    return tuple(day for day in steps if day >= oldest)


def next_order_forecasts(
    candidates: tuple[Candidate, ...], history: OrderHistory, plan: Plan, progress: Progress
) -> tuple[Forecasts, Mapping[tuple[date, str], tuple[float, ...]]]:
    """Return what candidates say at every judged as_of, and the levels of their intervals.

    Returns
    -------
    forecasts : a candidate's column is `share_right` of each member, whose best is the truth, 1;
        beside it stand its `:median` and `:mean` day, and whether its interval `:covered` the
        outcome, and how many days its `:width` was, an open end counting as the horizon
    levels : per as_of and candidate, from the curves and outcomes of the judged as_of a horizon
        earlier; where there was none, the nominal one
    """
    frames = []
    levels: dict[tuple[date, str], tuple[float, ...]] = {}
    for as_of in plan.judged:
        past, present = history.past(train_as_ofs(plan, as_of), as_of), history.at(as_of)
        columns: dict[str, Any] = {
            "as_of": np.full(len(present), np.datetime64(as_of, "D")),
            "member_id": present.rows.member_id,
            "active": present.active,
            "truth": np.ones(len(present)),
            "next_days": present.next_days,
        }
        following = as_of + timedelta(days=plan.horizon_days)
        for candidate in candidates:
            progress(f"next_order: learning {candidate.name} for {as_of}")
            model = NextOrder(candidate.make(), levels.get((as_of, candidate.name)))
            model.fit(past.rows, past.next_days, past.followed_days)
            told = model.expect(present.rows)
            columns |= _columns(candidate.name, told, present.next_days)
            levels[following, candidate.name] = levels_by_group(told.silence, present.next_days)
        frames.append(pd.DataFrame(columns))
    return Forecasts(pd.concat(frames, ignore_index=True), {}), levels


def fit_next_order(
    candidate: Candidate, history: OrderHistory, plan: Plan, levels: tuple[float, ...]
) -> Any:
    """Fit a candidate on everything there is, to be served with the levels it has earned."""
    past = history.past(train_as_ofs(plan, plan.serve), plan.serve)
    model = NextOrder(candidate.make(), levels)
    return model.fit(past.rows, past.next_days, past.followed_days)


def _columns(name: str, told: Any, next_days: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        name: share_right(told.silence, next_days),
        f"{name}:median": told.median,
        f"{name}:mean": told.silence.sum(axis=1),
        f"{name}:covered": covered(told.earliest, told.latest, next_days),
        f"{name}:width": told.latest - told.earliest,
    }
