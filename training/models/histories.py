"""What the classical models of buying know of a member: how often, until when, for how long."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from programme.errors import InputRefused
from training.models.inputs import matrix

DAYS_PER_WEEK = 7
COLUMNS = ("purchase_days", "recency_days", "tenure_days")
# Where the search for parameters starts: purchases every week or so, and every few weeks, both
# with some who leave.
_STARTS = (0.0, 1.5)
# Shapes beyond 100 and scales beyond 150 years say "all members alike", and nothing more.
SHAPE_MOST, SCALE_MOST = 4.6, 9.0
_LOG_LEAST = -12.0
# Relative gain in mean log-likelihood at which a search ends.
_ROUGHLY, _EXACTLY = 1e-7, 1e-13


@dataclass(frozen=True, eq=False)
class Histories:
    """Purchase histories in weeks, one per member.

    Parameters
    ----------
    x : purchase days after the first; count >= 0, shape (n,)
    t_x : from the first purchase day to the last; weeks, <= T
    T : from the first purchase day to `as_of`; weeks
    """

    x: NDArray[np.float64]
    t_x: NDArray[np.float64]
    T: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse histories that no member can have."""
        for name in ("x", "t_x", "T"):
            values = getattr(self, name)
            if values.shape != self.x.shape or not np.isfinite(values).all():
                raise InputRefused(
                    f"{name} of {len(self.x)} purchase histories is not one finite number each. "
                    "Nothing was computed. Give members who bought: a snapshot holds no others."
                )
        wrong = (
            (self.x < 0) | (self.t_x < 0) | (self.t_x > self.T) | ((self.x == 0) & (self.t_x > 0))
        )
        if wrong.any():
            n = int(np.flatnonzero(wrong)[0])
            raise InputRefused(
                f"{int(wrong.sum())} purchase histories are impossible, the first with x "
                f"{self.x[n]:g}, t_x {self.t_x[n]:g}, T {self.T[n]:g}. Nothing was computed. "
                "Need 0 <= t_x <= T, and t_x = 0 for whoever bought on one day only."
            )

    def __len__(self) -> int:
        """Count the members."""
        return len(self.x)

    @classmethod
    def of(cls, features: pd.DataFrame) -> "Histories":
        """Read them off feature rows; of a member whose dates are absent nothing is known.

        Raises
        ------
        InputRefused : when a column is missing or infinite
        """
        bought, recency, tenure = matrix(features, COLUMNS).T
        bought = np.maximum(np.nan_to_num(bought, nan=1.0), 1.0)
        tenure = np.maximum(np.nan_to_num(tenure), 0.0)
        return cls.made_of(bought, np.where(np.isnan(recency), tenure, recency), tenure)

    @classmethod
    def made_of(
        cls,
        purchase_days: NDArray[np.float64],
        recency_days: NDArray[np.float64],
        tenure_days: NDArray[np.float64],
    ) -> "Histories":
        """Make them of days; whoever bought on one day only has no time between purchases."""
        x = purchase_days - 1.0
        between = np.where(x > 0, np.maximum(tenure_days - recency_days, 0.0), 0.0)
        return cls(x, between / DAYS_PER_WEEK, tenure_days / DAYS_PER_WEEK)

    def counted(self) -> tuple["Histories", NDArray[np.float64]]:
        """Return the different histories, and how many members have each."""
        rows, counts = np.unique(np.stack([self.x, self.t_x, self.T], axis=1), axis=0,
                                 return_counts=True)  # fmt: skip
        return Histories(*rows.T), counts.astype(np.float64)


def maximise(
    histories: Histories,
    log_likelihood: Callable[[Histories, NDArray[np.float64]], NDArray[np.float64]],
    most: Sequence[float],
) -> NDArray[np.float64]:
    """Return the positive parameters under which the histories are most likely.

    Equal histories are weighed, not repeated, and the search runs in logs from several starts.

    Parameters
    ----------
    most : the largest log of each parameter
    """
    if not len(histories):
        raise InputRefused(
            "There are no purchase histories to learn from. Nothing was fitted. Choose as_ofs at "
            "which members had bought."
        )
    different, counts = histories.counted()

    def loss(logs: NDArray[np.float64]) -> float:
        # Far out a likelihood may leave the doubles; the search then turns back.
        with np.errstate(all="ignore"):
            value = log_likelihood(different, np.exp(logs))
        mean = float(counts @ value / counts.sum())
        return -mean if np.isfinite(mean) else 1e9

    def search(start: NDArray[np.float64], tolerance: float) -> OptimizeResult:
        return minimize(
            loss, start, method="L-BFGS-B",
            bounds=[(_LOG_LEAST, highest) for highest in most],
            options={"maxiter": 500, "ftol": tolerance, "gtol": 1e-8},
        )  # fmt: skip

    # From each start only as far as tells which hill is the highest; that one to its top.
    found = [search(np.minimum(start, most), _ROUGHLY) for start in _STARTS]
    best = search(min(found, key=lambda one: float(one.fun)).x, _EXACTLY)
    return np.asarray(np.exp(best.x))
