"""Members as points: logs of a few measures, brought to one scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What members are alike in.
MEASURES = ("recency_days", "purchase_days_364d", "spend_cents_364d")


@dataclass(frozen=True)
class Scale:
    """Logs brought to mean 0 and standard deviation 1, as the members of one day have them."""

    measures: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def of(cls, features: pd.DataFrame, measures: Sequence[str]) -> "Scale":
        """Measure the scale of some members."""
        logs = _logs(features, measures)
        # Rounded first: a measure all members have alike may leave a last digit of spread.
        sd = logs.std(axis=0).round(9)
        return cls(
            tuple(measures),
            tuple(logs.mean(axis=0).round(9).tolist()),
            tuple(np.where(sd > 0, sd, 1.0).tolist()),
        )

    def __call__(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Return points of shape (n_members, n_measures)."""
        return np.asarray((_logs(features, self.measures) - self.mean) / self.sd)


def some(points: NDArray[np.float64], most: int, seed: int) -> NDArray[np.float64]:
    """Return the points, or a draw of `most` of them in the order they have."""
    if len(points) <= most:
        return points
    drawn = np.random.default_rng(seed).choice(len(points), most, replace=False)
    return points[np.sort(drawn)]


def _logs(features: pd.DataFrame, measures: Sequence[str]) -> NDArray[np.float64]:
    values = features[list(measures)].to_numpy(dtype=np.float64, na_value=0.0)
    return np.asarray(np.log1p(np.maximum(np.nan_to_num(values), 0.0)))
