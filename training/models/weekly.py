"""What the recurrent value model reads: each week, and what had been seen by then."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from training.models.inputs import matrix
from training.models.rules import signed_log

# A standardised input further out than this says no more than this.
CLIP = 5.0
SUMMARY_WEEKS = (4, 13)
# Weeks are laid out for so many rows at a time: memory does not grow with the members.
ROWS_PER_CHUNK = 4_096


def weekly_inputs(weekly: NDArray[np.float32]) -> NDArray[np.float64]:
    """Put recency, frequency and age beside the channels of every week.

    Without them a network must learn to count and to remember from sparse steps; with them it
    has the sufficient statistics of the classical models at each step.

    Parameters
    ----------
    weekly : array of shape (n, n_weeks, n_channels): orders, net, discount, returned cents, ...

    Returns
    -------
    array of shape (n, n_weeks, n_channels + 3)
        Signed logarithms of the channels; then of weeks since the last order (n_weeks before
        the first), orders so far and weeks since the first order.
    """
    n_weeks = weekly.shape[1]
    channels = signed_log(weekly.astype(np.float64))
    orders = np.maximum(weekly[:, :, 0].astype(np.float64), 0.0)
    week = np.arange(n_weeks)
    last = np.maximum.accumulate(np.where(orders > 0, week, -1), axis=1)
    since = np.where(last >= 0, week - last, n_weeks)
    begun = last >= 0
    age = np.where(begun, np.cumsum(begun, axis=1) - 1, 0)
    counts = np.stack([since, np.cumsum(orders, axis=1), age], axis=2)
    return np.concatenate([channels, np.log1p(counts)], axis=2)


def weekly_summary(weekly: NDArray[np.float32]) -> NDArray[np.float64]:
    """Orders and net cents of the last weeks and of all, as signed logarithms; shape (n, 6)."""
    spans = [*SUMMARY_WEEKS, weekly.shape[1]]
    sums = [weekly[:, -span:, :2].sum(axis=1, dtype=np.float64) for span in spans]
    return signed_log(np.concatenate(sums, axis=1))


@dataclass(frozen=True)
class Scaling:
    """Means and spreads of the training rows: what turns rows into inputs near 0 +- 1.

    Parameters
    ----------
    columns : static feature columns, in order
    median : of each static column, on the logarithmic scale; stands in for an absent value
    centre, spread : of each static column, then of each summary
    weekly_centre, weekly_spread : of each weekly input
    """

    columns: tuple[str, ...]
    median: NDArray[np.float64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    weekly_centre: NDArray[np.float64]
    weekly_spread: NDArray[np.float64]

    @classmethod
    def of(
        cls, features: pd.DataFrame, weekly: NDArray[np.float32], columns: tuple[str, ...]
    ) -> Self:
        """Measure the training rows."""
        static = signed_log(matrix(features, columns))
        known = ~np.isnan(static)
        median = np.array(
            [
                np.median(column[k]) if k.any() else 0.0
                for column, k in zip(static.T, known.T, strict=True)
            ]
        )
        side = _side_by_side(static, median, weekly)
        weekly_centre, weekly_spread = _measured(weekly)
        return cls(
            columns=columns,
            median=median,
            centre=side.mean(axis=0),
            spread=_never_zero(side.std(axis=0)),
            weekly_centre=weekly_centre,
            weekly_spread=weekly_spread,
        )

    def static(self, features: pd.DataFrame, weekly: NDArray[np.float32]) -> NDArray[np.float64]:
        """Standardise the inputs that do not change from week to week; (n, n_columns + 6)."""
        static = signed_log(matrix(features, self.columns))
        side = _side_by_side(static, self.median, weekly)
        return np.clip((side - self.centre) / self.spread, -CLIP, CLIP)

    def steps(self, weekly: NDArray[np.float32]) -> NDArray[np.float64]:
        """Standardise the weekly inputs; shape (n, n_weeks, n_channels + 3)."""
        steps = (weekly_inputs(weekly) - self.weekly_centre) / self.weekly_spread
        return np.clip(steps, -CLIP, CLIP)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; doubles survive the round trip exactly."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else list(value)
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Make it again from `to_dict`."""
        columns = tuple(facts["columns"])
        numbers = {name: np.array(facts[name], float) for name in facts if name != "columns"}
        return cls(columns=columns, **numbers)


class ScaledRows:
    """Rows as a network reads them; the weeks are laid out batch by batch.

    Parameters
    ----------
    scaling : measured on the training rows
    features, weekly : of the rows
    """

    def __init__(
        self, scaling: Scaling, features: pd.DataFrame, weekly: NDArray[np.float32]
    ) -> None:
        self.scaling = scaling
        self.weekly = weekly
        self.static = np.empty((len(weekly), len(scaling.centre)), dtype=np.float32)
        for rows in chunks(len(weekly)):
            self.static[rows] = scaling.static(features.iloc[rows], weekly[rows])
        self.n_weekly = len(scaling.weekly_centre)
        self.n_static = len(scaling.centre)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.weekly)

    def batch(self, rows: slice | NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weeks and statics of some rows, in single precision."""
        steps = self.scaling.steps(self.weekly[rows]).astype(np.float32)
        return torch.from_numpy(steps), torch.from_numpy(self.static[rows])


def chunks(n_rows: int) -> Iterator[slice]:
    """Cut rows into runs of bounded length."""
    return (slice(start, start + ROWS_PER_CHUNK) for start in range(0, n_rows, ROWS_PER_CHUNK))


def _side_by_side(
    static: NDArray[np.float64], median: NDArray[np.float64], weekly: NDArray[np.float32]
) -> NDArray[np.float64]:
    filled = np.where(np.isnan(static), median, static)
    return np.concatenate([filled, weekly_summary(weekly)], axis=1)


def _measured(weekly: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and spread of each weekly input over all rows and weeks."""
    n_steps = weekly.shape[0] * weekly.shape[1]
    centre, squares = np.zeros(1), np.zeros(1)
    for rows in chunks(len(weekly)):
        centre = centre + weekly_inputs(weekly[rows]).sum(axis=(0, 1)) / n_steps
    for rows in chunks(len(weekly)):
        distance = weekly_inputs(weekly[rows]) - centre
        squares = squares + (distance**2).sum(axis=(0, 1)) / n_steps
    return centre, _never_zero(np.sqrt(squares))


def _never_zero(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    # A column that never varies in training is divided by 1, not by rounding noise.
    return np.where(spread > 1e-9, spread, 1.0)
