"""The naive rivals for the next order: last date plus a gap, and a steady pace."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from programme.calendar import require_whole_weeks
from training.models import folder
from training.models.classical import COUNTING, known_counting, some_members
from training.models.histories import COLUMNS, DAYS_PER_WEEK, Histories
from training.models.inputs import matrix
from training.models.silence import Array, order_days
from training.rows import MemberRows

SILENCE_COLUMN, TENURE_COLUMN = "recency_days", "tenure_days"
GAP_COLUMNS = ("gap_days_mean", "gap_days_median")
RECENT_COLUMN, RECENT_DAYS = "purchase_days_84d", 84


class GapRule:
    """Expects the next order one gap after the last; a date, with no doubt about it.

    Parameters
    ----------
    horizon_days : whole weeks; how far the curve reaches
    gap_column : the member's own gap; None takes the programme's for everybody
        A member who bought once has no gap of her own, and gets the programme's: the median of
        the members' median gaps. Who is overdue already is expected on `as_of` itself.
    """

    kind = "gap_rule"

    def __init__(self, horizon_days: int, gap_column: str | None = None) -> None:
        require_whole_weeks(horizon_days, "The horizon of a rule on gaps")
        self.horizon_days = horizon_days
        self.gap_column = gap_column
        self.columns = tuple(dict.fromkeys((SILENCE_COLUMN, gap_column or GAP_COLUMNS[1],
                                            GAP_COLUMNS[1])))  # fmt: skip

    def fit(
        self, rows: MemberRows, next_days: ArrayLike, followed_days: ArrayLike | None = None
    ) -> Self:
        """Measure the programme's gap; outcomes are checked, not learned from.

        Raises
        ------
        InputRefused : when there are no rows, a column is missing, or an outcome is impossible
        """
        _checked(self, rows, next_days, followed_days)
        self.usual_gap_ = _usual_gap(rows, self.horizon_days)
        return self

    def silence(self, rows: MemberRows) -> Array:
        """Return 1 before the expected day and 0 from it on, shape (n, horizon_days)."""
        values = matrix(rows.features, self.columns)
        gap = values[:, 1] if self.gap_column else np.full(len(values), np.nan)
        gap = np.where(np.isnan(gap), self.usual_gap_, gap)
        due = np.maximum(np.round(gap - np.nan_to_num(values[:, 0])), 0.0)
        return np.asarray(np.arange(self.horizon_days) < due[:, None], dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write the column and the programme's gap as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "horizon_days": self.horizon_days, "gap_column": self.gap_column,
            "usual_gap": self.usual_gap_,
        }  # fmt: skip
        folder.write(path, self.kind, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved rule."""
        facts = folder.read(path, cls.kind)
        rule = cls(facts["horizon_days"], facts["gap_column"])
        rule.usual_gap_ = facts["usual_gap"]
        return rule


class PaceRule:
    """Expects purchases at the pace of the last 84 days, whatever the day and the silence.

    Her days with a purchase and one more, over the days they took and the programme's usual gap:
    the mean of a gamma posterior whose prior is one purchase in a usual gap.

    Parameters
    ----------
    horizon_days : whole weeks; how far the curve reaches
    """

    kind = "pace_rule"
    columns = (RECENT_COLUMN, TENURE_COLUMN, GAP_COLUMNS[1])

    def __init__(self, horizon_days: int) -> None:
        require_whole_weeks(horizon_days, "The horizon of a rule on pace")
        self.horizon_days = horizon_days

    def fit(
        self, rows: MemberRows, next_days: ArrayLike, followed_days: ArrayLike | None = None
    ) -> Self:
        """Measure the programme's usual gap; outcomes are checked, not learned from.

        Raises
        ------
        InputRefused : when there are no rows, a column is missing, or an outcome is impossible
        """
        _checked(self, rows, next_days, followed_days)
        self.usual_gap_ = _usual_gap(rows, self.horizon_days)
        return self

    def silence(self, rows: MemberRows) -> Array:
        """Return curves that fall by the same share every day, shape (n, horizon_days)."""
        bought, tenure, _ = np.nan_to_num(matrix(rows.features, self.columns)).T
        watched = np.clip(tenure, 1.0, RECENT_DAYS)
        pace = (bought + 1) / (watched + self.usual_gap_)
        return np.asarray(np.exp(-pace[:, None] * np.arange(1, self.horizon_days + 1)))

    def save(self, path: Path) -> None:
        """Write the programme's gap as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {"horizon_days": self.horizon_days, "usual_gap": self.usual_gap_}
        folder.write(path, self.kind, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved rule."""
        facts = folder.read(path, cls.kind)
        rule = cls(facts["horizon_days"])
        rule.usual_gap_ = facts["usual_gap"]
        return rule


class ClassicOrder:
    """Silence curves by BG/NBD or Pareto/NBD: the classical rival.

    Parameters
    ----------
    counting : "bgnbd" or "pareto_nbd"
    horizon_days : whole weeks; how far the curve reaches
    seed : of the members it is fitted on, where there are many
    """

    kind = "classic_order"
    columns = COLUMNS

    def __init__(self, counting: str, horizon_days: int, *, seed: int) -> None:
        require_whole_weeks(horizon_days, "The horizon of a model of counts")
        self.counting = known_counting(counting)
        self.horizon_days = horizon_days
        self.seed = seed

    def fit(
        self, rows: MemberRows, next_days: ArrayLike, followed_days: ArrayLike | None = None
    ) -> Self:
        """Fit purchase histories; outcomes are checked, not learned from.

        Raises
        ------
        InputRefused : when there are no rows, a column is missing, or an outcome is impossible
        """
        _checked(self, rows, next_days, followed_days)
        chosen = some_members(rows.features, self.seed)
        self.counting_: Any = COUNTING[self.counting].fit(Histories.of(chosen))
        return self

    def silence(self, rows: MemberRows) -> Array:
        """Return P(no purchase on days 0 to d), shape (n, horizon_days)."""
        histories = Histories.of(rows.features)
        curves = np.empty((len(rows), self.horizon_days))
        for day in range(self.horizon_days):
            weeks = (day + 1) / DAYS_PER_WEEK
            curves[:, day] = self.counting_.no_purchase_probability(histories, weeks)
        # Far in the tail a difference of probabilities may rise by its rounding.
        return np.asarray(np.minimum.accumulate(np.clip(curves, 0.0, 1.0), axis=1))

    def save(self, path: Path) -> None:
        """Write the parameters as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "counting": self.counting, "horizon_days": self.horizon_days, "seed": self.seed,
            "parameters": self.counting_.as_dict(),
        }  # fmt: skip
        folder.write(path, self.kind, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read saved parameters."""
        facts = folder.read(path, cls.kind)
        model = cls(facts["counting"], facts["horizon_days"], seed=facts["seed"])
        model.counting_ = COUNTING[model.counting](**facts["parameters"])
        return model


def _usual_gap(rows: MemberRows, horizon_days: int) -> float:
    """Return the median of the members' median gaps; the horizon where nobody ever came back."""
    gaps = matrix(rows.features, GAP_COLUMNS[1:])[:, 0]
    known = gaps[np.isfinite(gaps)]
    return float(np.median(known)) if len(known) else float(horizon_days)


def _checked(
    model: "GapRule | PaceRule | ClassicOrder",
    rows: MemberRows,
    next_days: ArrayLike,
    followed_days: ArrayLike | None,
) -> None:
    followed = model.horizon_days if followed_days is None else followed_days
    order_days(next_days, followed, len(rows), f"the {model.kind}")
    matrix(rows.features, model.columns)
