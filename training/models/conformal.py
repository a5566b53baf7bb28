"""How far from the expected spend the real one may lie: intervals from errors made before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models.inputs import some_rows

LEVEL = 0.8
# A bin with fewer members than this has no quantile worth the name.
MEMBERS_PER_BIN = 50
BINS_MOST = 10


@dataclass(frozen=True)
class ValueIntervals:
    """Intervals around expected cents that hold for a known share of members of each value.

    Members are binned by what was expected of them, and each bin remembers the quantiles of what
    came over what was expected. A bin in which more than a tenth spent nothing has no lower
    quantile to speak of: its intervals begin at 0 and the whole error is above.

    Parameters
    ----------
    level : share of members whose spend the interval should hold
    edges : ascending, shape (n_bins - 1,): a bin ends below its edge
    low, high : times the expected cents, shape (n_bins,)
    coverage : share that held on a later window, as far as one was there to measure it on
    members : behind the quantiles

    Source
    ------
    Vovk (2012), Conditional Validity of Inductive Conformal Predictors, section 4 (label- and
    object-conditional, "Mondrian"): quantile ceil((n + 1) q) of n errors in each category.
    """

    level: float
    edges: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    members: int
    coverage: float | None = None

    @classmethod
    def fit(cls, expected_cents: ArrayLike, came_cents: ArrayLike, level: float = LEVEL) -> Self:
        """Learn from members of an earlier window the model had not learned from.

        Parameters
        ----------
        expected_cents, came_cents : shape (n,), >= 0

        Raises
        ------
        InputRefused
            When there are no members, a value is not finite, or the level is not in (0, 1).
        """
        expected, came = _pair(expected_cents, came_cents)
        if not 0 < level < 1:
            raise InputRefused(
                f"The level {level} of an interval is not a share between 0 and 1. No intervals "
                "were made. Give one like 0.8."
            )
        n_bins = int(np.clip(len(expected) // MEMBERS_PER_BIN, 1, BINS_MOST))
        edges = np.unique(np.quantile(expected, np.arange(1, n_bins) / n_bins))
        place = np.searchsorted(edges, expected, side="right")
        bounds = [
            _bounds(expected[place == bin_], came[place == bin_], level)
            for bin_ in range(len(edges) + 1)
        ]
        # Equal answers fill a bin and may leave the one below it empty: it takes its neighbour's.
        for bin_ in reversed(range(len(bounds) - 1)):
            bounds[bin_] = bounds[bin_] or bounds[bin_ + 1]
        known = [found or (0.0, 0.0) for found in bounds]
        low, high = zip(*known, strict=True)
        return cls(level, tuple(map(float, edges)), low, high, len(expected))

    def apply(self, expected_cents: ArrayLike) -> NDArray[np.float64]:
        """Return low and high in cents, shape (n, 2), `0 <= low <= high`.

        What is expected is an average and may lie above both: where nine in ten spend nothing and
        the tenth spends 20.00, the average is 2.00 and 80 of 100 spend nothing.
        """
        expected = np.maximum(np.asarray(expected_cents, dtype=np.float64), 0.0)
        place = np.searchsorted(np.array(self.edges), expected, side="right")
        ratios = np.stack([np.array(self.low)[place], np.array(self.high)[place]], axis=1)
        return ratios * np.maximum(expected, 1.0)[:, None]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; doubles survive the round trip exactly."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Make it again from `to_dict`."""
        lists = {name: tuple(facts[name]) for name in ("edges", "low", "high")}
        return cls(**{**facts, **lists})


def _bounds(
    expected: NDArray[np.float64], came: NDArray[np.float64], level: float
) -> tuple[float, float] | None:
    """Quantiles of what came over what was expected; None of nobody."""
    if not len(expected):
        return None
    ratio = came / np.maximum(expected, 1.0)  # of less than a cent, count from a cent
    tail = (1 - level) / 2
    if (came <= 0).mean() > tail:
        return 0.0, _quantile(ratio, level)
    return -_quantile(-ratio, 1 - tail), _quantile(ratio, 1 - tail)


def _quantile(values: NDArray[np.float64], level: float) -> float:
    """Return the value at rank ceil((n + 1) level) of n, the largest where that is beyond."""
    rank = min(int(np.ceil((len(values) + 1) * level - 1e-9)), len(values))
    return float(np.sort(values)[rank - 1])


def _pair(
    expected_cents: ArrayLike, came_cents: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    expected = np.asarray(expected_cents, dtype=np.float64)
    came = np.asarray(came_cents, dtype=np.float64)
    some_rows(expected.size, "intervals of value")
    if expected.shape != came.shape or expected.ndim != 1:
        raise InputRefused(
            f"Intervals compare {expected.shape} expected with {came.shape} real values. None "
            "were made. Give both for the same members."
        )
    if not (np.isfinite(expected).all() and np.isfinite(came).all()):
        raise InputRefused(
            "Some expected or real values are not finite. No intervals were made. Leave out the "
            "members whose window has not ended."
        )
    return np.maximum(expected, 0.0), np.maximum(came, 0.0)
