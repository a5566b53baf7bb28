"""Where a score stands among all members' scores, from 1 to 100, and what it is reckoned by."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def thresholds(scores: NDArray[np.float64]) -> list[float]:
    """Return 100 rising scores: at percentile p the p-th of them is reached, see `percentiles`."""
    if not len(scores):
        return []
    return [float(one) for one in np.sort(scores)[np.arange(100) * len(scores) // 100]]


def placed(scores: ArrayLike, reached: ArrayLike) -> NDArray[np.int64]:
    """Return the percentile of each score against thresholds, 1 .. 100.

    Of a score that the thresholds were made of it is what `percentiles` said. Where nobody was
    ever scored there is nobody to compare with: 100, as for a member alone.
    """
    asked, known = np.asarray(scores), np.asarray(reached)
    if not len(known):
        return np.full(asked.shape, 100, dtype=np.int64)
    return np.maximum(1, np.searchsorted(known, asked, side="right"))


def percentiles(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each score the share of scores not above it, in whole per cents from 1 to 100."""
    not_above = np.searchsorted(np.sort(scores), scores, side="right")
    return np.ceil(100 * not_above / max(len(scores), 1)).astype(np.int64)
