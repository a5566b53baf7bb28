"""When a member buys next: the chance of a purchase on each day, given none came before it.

The hazard is learned on one row per member and day, as a logistic regression by boosted trees, so
a member who was followed for four weeks only teaches four weeks and no more. Multiplied up it
gives P(no purchase within h) for every h, never rising, for one-time buyers too.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from programme.calendar import DAYS_PER_WEEK, require_whole_weeks
from training.models import boosting, folder
from training.models.boosting import Trees
from training.models.inputs import matrix
from training.models.silence import Array, order_days
from training.rows import MemberRows

# Set on Complete Journey at as_of 22 May and 5 June 2017: 12 leaves lose 1 % of the score.
HAZARD_TREES = Trees(
    n_trees=100, learning_rate=0.06, num_leaves=6, min_data_in_leaf=150, feature_fraction=0.5
)
# Days are looked at one by one for so long, and a week at a time after that: by then nobody's
# weekday can be told from chance, and a third of the rows says the same.
DAYS_ONE_BY_ONE = 28
# Rows of a member and a day a fit takes at most; those without a purchase are thinned, and weigh
# more in return. 400,000 of them took five times as long and were no better.
CELLS_MAX = 80_000
MEMBERS_PER_CHUNK = 4_000
# No hazard is surer than this where a training sample held no purchase, or nothing else.
RATE_LEAST = 1e-6

SILENCE_COLUMN, GAP_COLUMN = "recency_days", "gap_days_shrunk"
WEEKDAY_COLUMNS = tuple(
    f"{name}_share_182d"
    for name in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
)
CELL_COLUMNS = ("week", "weekday", "silence_days", "overdue", "own_weekday_share")


class Hazard:
    """Silence curves by a discrete-time hazard.

    Parameters
    ----------
    horizon_days : whole weeks; how far the curve reaches
    seed : of the samples of rows and columns
    trees : size and regularisation
    columns : names to read; None reads all columns of the frame it is fitted on
    num_threads : at most this many at once; the answer does not depend on it
    cells_max : rows of a member and a day to learn from, at most
    one_by_one_days : whole weeks; how many days are looked at one by one, before whole weeks are

    Source
    ------
    Singer & Willett (1993), It's About Time, J. Educational Statistics 18(2): with one row per
    person and period, the logistic likelihood of "it happened in this period" is the likelihood of
    the discrete-time hazard, censoring included. Subsampled rows without the event are weighed by
    the inverse of their share: King & Zeng (2001), Political Analysis 9(2), eq. (8).
    """

    kind = "hazard"

    def __init__(
        self,
        horizon_days: int,
        *,
        seed: int,
        trees: Trees = HAZARD_TREES,
        columns: Sequence[str] | None = None,
        num_threads: int = 2,
        cells_max: int = CELLS_MAX,
        one_by_one_days: int = DAYS_ONE_BY_ONE,
    ) -> None:
        require_whole_weeks(horizon_days, "The horizon of a hazard")
        self.horizon_days = horizon_days
        self.seed = seed
        self.trees = trees
        self.num_threads = num_threads
        self.cells_max = cells_max
        self.one_by_one_days = one_by_one_days
        self.only_columns = tuple(columns or ())
        self.columns = self.only_columns

    def fit(
        self, rows: MemberRows, next_days: ArrayLike, followed_days: ArrayLike | None = None
    ) -> Self:
        """Learn from past rows.

        Parameters
        ----------
        next_days : array of shape (n,), days to the next purchase; the days followed where none
            came meanwhile
        followed_days : array of shape (n,) or number, whole weeks; None: the horizon

        Raises
        ------
        InputRefused : when there are no rows, a column is missing, or an outcome is impossible
        """
        followed = self.horizon_days if followed_days is None else followed_days
        days, until = order_days(next_days, followed, len(rows), "the hazard")
        self.columns = self.only_columns or tuple(map(str, rows.features.columns))
        static = matrix(rows.features, self._read())
        starts, ends = self._cells()
        member, cell = np.nonzero(
            (days[:, None] >= starts) & (np.minimum(until, self.horizon_days)[:, None] >= ends)
        )
        bought = (days[member] < ends[cell]).astype(np.float64)
        kept, weight = self._thinned(bought)
        member, cell, bought = member[kept], cell[kept], bought[kept]
        width = ends - starts
        rate = float(weight @ bought) / max(float(weight @ width[cell]), 1.0)
        self.base_ = float(logit(np.clip(rate, RATE_LEAST, 0.5)))
        values = self._values(static, _weekday(rows.as_of), member, cell)
        self.booster_ = self._grown(values, bought, weight, self.base_ + np.log(width[cell]))
        return self

    def silence(self, rows: MemberRows) -> Array:
        """Return P(no purchase on days 0 to d), shape (n, horizon_days), falling along a row."""
        static, weekday = matrix(rows.features, self._read()), _weekday(rows.as_of)
        curves = [np.empty((0, self.horizon_days))]
        for start in range(0, len(rows), MEMBERS_PER_CHUNK):
            part = slice(start, start + MEMBERS_PER_CHUNK)
            curves.append(self._curves(static[part], weekday[part]))
        return np.concatenate(curves)

    def _curves(self, static: Array, weekday: NDArray[np.int64]) -> Array:
        starts, ends = self._cells()
        n_cells, width = len(starts), ends - starts
        member, cell = np.divmod(np.arange(len(static) * n_cells), n_cells)
        values = self._values(static, weekday, member, cell)
        raw = boosting.raw_predictions(self.booster_, values, self.num_threads)
        hazard = expit(raw + self.base_ + np.log(width[cell])).reshape(len(static), n_cells)
        # Within a week the chance is spread evenly over its days.
        kept = np.log1p(-hazard) / width
        return np.asarray(np.exp(np.cumsum(np.repeat(kept, width.astype(int), axis=1), axis=1)))

    def _cells(self) -> tuple[Array, Array]:
        """Return the first day of each cell and the first day after it."""
        by_day = min(self.one_by_one_days, self.horizon_days)
        weeks = np.arange(by_day, self.horizon_days, DAYS_PER_WEEK)
        starts = np.concatenate([np.arange(by_day), weeks]).astype(np.float64)
        return starts, np.append(starts[1:], self.horizon_days)

    def _read(self) -> tuple[str, ...]:
        # The silence grows from day to day, whether or not the trees see where it began.
        return tuple(dict.fromkeys((*self.columns, SILENCE_COLUMN)))

    def _values(
        self,
        static: Array,
        weekday: NDArray[np.int64],
        member: NDArray[np.intp],
        cell: NDArray[np.intp],
    ) -> Array:
        """Lay out the rows of members and cells: what is known of her, then of the day."""
        starts, ends = self._cells()
        day, one_day = starts[cell], (ends - starts)[cell] == 1
        silence = self._column(static, SILENCE_COLUMN)[member] + day
        gap = self._column(static, GAP_COLUMN)[member]
        of_day = (weekday[member] + day.astype(int)) % DAYS_PER_WEEK
        shares = np.stack([self._column(static, name) for name in WEEKDAY_COLUMNS], axis=1)
        return np.column_stack([
            static[member],
            day // DAYS_PER_WEEK,
            np.where(one_day, of_day, np.nan),
            silence,
            np.divide(silence, gap, out=np.full(len(gap), np.nan), where=gap > 0),
            np.where(one_day, shares[member, of_day], np.nan),
        ])  # fmt: skip

    def _column(self, static: Array, name: str) -> Array:
        read = self._read()
        if name in read:
            return np.asarray(static[:, read.index(name)])
        return np.full(len(static), np.nan)

    def _thinned(self, bought: Array) -> tuple[NDArray[np.intp], Array]:
        """Return which rows to learn from, in their order, and how much each weighs."""
        if len(bought) <= self.cells_max:
            return np.arange(len(bought)), np.ones(len(bought))
        rng = np.random.default_rng(self.seed)
        happened, not_yet = np.flatnonzero(bought == 1), np.flatnonzero(bought == 0)
        parts, weights = [], []
        room = self.cells_max // 2
        for which, most in ((happened, room), (not_yet, self.cells_max - min(len(happened), room))):
            drawn = which if len(which) <= most else rng.choice(which, most, replace=False)
            parts.append(drawn)
            weights.append(np.full(len(drawn), len(which) / max(len(drawn), 1)))
        kept = np.concatenate(parts)
        order = np.argsort(kept)
        return kept[order], np.concatenate(weights)[order]

    def _grown(self, values: Array, bought: Array, weight: Array, offset: Array) -> lgb.Booster:
        parameters = boosting.worth_sharing(
            {
                **self.trees.parameters(seed=self.seed, num_threads=self.num_threads),
                "objective": "binary",
            },
            len(values),
        )
        names = [*self._read(), *CELL_COLUMNS]
        table = boosting.dataset(values, bought, names, parameters)
        table.set_weight(weight)
        table.set_init_score(offset)
        booster = lgb.train(parameters, table, num_boost_round=self.trees.n_trees)
        return lgb.Booster(model_str=booster.model_to_string())

    def save(self, path: Path) -> None:
        """Write the trees as text, and what is needed to read them."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "horizon_days": self.horizon_days,
            "columns": self.columns,
            "seed": self.seed,
            "trees": asdict(self.trees),
            "num_threads": self.num_threads,
            "cells_max": self.cells_max,
            "one_by_one_days": self.one_by_one_days,
            "base": self.base_,
        }
        folder.write(path, self.kind, facts, [boosting.save_booster(self.booster_, path)])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        model = cls(
            facts["horizon_days"],
            seed=facts["seed"],
            trees=Trees(**facts["trees"]),
            columns=facts["columns"],
            num_threads=facts["num_threads"],
            cells_max=facts["cells_max"],
            one_by_one_days=facts["one_by_one_days"],
        )
        model.base_ = facts["base"]
        model.booster_ = boosting.load_booster(path)
        return model


class HazardChurn(Hazard):
    """Log-odds of no purchase within the horizon, read off the curve's end.

    It learns when the next purchase came, a week at a time, and answers like any churn model; its
    log-odds are no sum over columns, so it stands on the board as a reference.
    """

    kind = "hazard_churn"

    def __init__(self, horizon_days: int, *, one_by_one_days: int = 0, **recipe: Any) -> None:
        super().__init__(horizon_days, one_by_one_days=one_by_one_days, **recipe)

    def fit(  # type: ignore[override] # churn models read features alone
        self, features: pd.DataFrame, next_days: ArrayLike
    ) -> Self:
        """Learn from past rows; `next_days` as in `Hazard.fit`, of shape (n,)."""
        return super().fit(_rows(features), next_days)

    def raw_score(self, features: pd.DataFrame) -> Array:
        """Log-odds of no purchase within the horizon, shape (n,), in the order of the rows."""
        last = self.silence(_rows(features))[:, -1]
        return np.asarray(logit(np.clip(last, RATE_LEAST, 1 - RATE_LEAST)))


def _rows(features: pd.DataFrame) -> MemberRows:
    """Give features a day: over whole weeks it does not matter which weekday comes first."""
    n_rows = len(features)
    return MemberRows(
        member_id=np.arange(n_rows).astype(str).astype(object),
        as_of=np.full(n_rows, np.datetime64("1970-01-05", "D")),
        features=features.reset_index(drop=True),
    )


def _weekday(as_of: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the weekday of each day, Monday 0; 1970-01-01 was a Thursday."""
    days = as_of.astype("datetime64[D]").astype(np.int64)
    return np.asarray((days + 3) % DAYS_PER_WEEK)
