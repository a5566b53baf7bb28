"""From log-odds to a probability one can budget with: a line through the log-odds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from training.models.inputs import churn_labels

# A slope of 0 would make all members equal, and a negative one would turn the ranking round.
SLOPE_MIN = 1e-6


@dataclass(frozen=True)
class PlattCalibration:
    """`probability = sigmoid(slope * raw + intercept)`, slope > 0, so the order never changes.

    Source
    ------
    Platt (1999), Probabilistic Outputs for Support Vector Machines, with his smoothed targets:
    (n_churned + 1) / (n_churned + 2) in place of 1, 1 / (n_stayed + 2) in place of 0.
    """

    slope: float
    intercept: float

    kind = "platt"

    @classmethod
    def fit(cls, raw: ArrayLike, churned: ArrayLike) -> Self:
        """Fit slope and intercept by maximum likelihood on rows the model did not learn from.

        Parameters
        ----------
        raw : array of shape (n,), log-odds
        churned : array of shape (n,), 0 or 1

        Raises
        ------
        InputRefused
            When there are no rows or one class is empty.
        """
        scores = np.asarray(raw, dtype=np.float64)
        labels = churn_labels(churned, len(scores), "The calibration")
        n_churned = labels.sum()
        n_stayed = len(labels) - n_churned
        target = np.where(labels == 1, (n_churned + 1) / (n_churned + 2), 1 / (n_stayed + 2))
        slope, intercept = fit_line(scores, target, slope_min=SLOPE_MIN)
        return cls(slope=slope, intercept=intercept)

    def apply(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Turn log-odds of shape (n,) into probabilities of shape (n,)."""
        return np.asarray(expit(self.slope * np.asarray(raw, dtype=np.float64) + self.intercept))

    def to_dict(self) -> dict[str, float]:
        """Return the two numbers, for JSON."""
        return {"slope": self.slope, "intercept": self.intercept}

    @classmethod
    def from_dict(cls, facts: Mapping[str, float]) -> Self:
        """Make it again from `to_dict`."""
        return cls(slope=float(facts["slope"]), intercept=float(facts["intercept"]))


def fit_line(
    column: NDArray[np.float64],
    target: NDArray[np.float64],
    *,
    slope_min: float,
    ridge: float = 0.0,
) -> tuple[float, float]:
    """Logistic regression on one column by Newton's method, with `slope >= slope_min`.

    Parameters
    ----------
    column : array of shape (n,)
    target : array of shape (n,), in [0, 1], mean strictly between
    slope_min : the likelihood is concave, so if the free optimum lies below, this is the optimum
    ridge : weight of `slope ** 2 / 2`; keeps the slope finite when the column separates

    Returns
    -------
    slope, intercept
    """
    centre, spread = float(column.mean()), float(column.std())
    if spread < 1e-12 * max(1.0, abs(centre)):
        # A constant says nothing about the slope: keep it, and match the mean.
        return 1.0, _intercept(column, target, slope=1.0)
    standard = (column - centre) / spread
    design = np.column_stack([standard, np.ones_like(standard)])
    penalty = np.array([ridge, 0.0])
    beta = np.array([0.0, _intercept(np.zeros_like(standard), target, slope=0.0)])
    loss = _loss(design, target, beta, penalty)
    for _ in range(100):
        probability = expit(design @ beta)
        gradient = design.T @ (probability - target) + penalty * beta
        weight = probability * (1 - probability) + 1e-12
        step = np.linalg.solve((design * weight[:, None]).T @ design + np.diag(penalty), gradient)
        while (shorter := _loss(design, target, beta - step, penalty)) > loss and np.any(step):
            step = np.where(np.abs(step) > 1e-14, step / 2, 0.0)  # Newton may overshoot far out
        beta, improvement, loss = beta - step, loss - shorter, shorter
        if improvement <= 1e-12 * len(target):
            break
    slope = beta[0] / spread
    if slope < slope_min:
        return slope_min, _intercept(column, target, slope=slope_min)
    return float(slope), float(beta[1] - slope * centre)


def _loss(
    design: NDArray[np.float64],
    target: NDArray[np.float64],
    beta: NDArray[np.float64],
    penalty: NDArray[np.float64],
) -> float:
    log_odds = design @ beta
    return float(
        (np.logaddexp(0.0, log_odds) - target * log_odds).sum() + (penalty * beta**2 / 2).sum()
    )


def _intercept(column: NDArray[np.float64], target: NDArray[np.float64], *, slope: float) -> float:
    """Solve for the intercept at which the mean probability equals the mean target."""
    mean = float(target.mean())
    intercept = float(np.log(mean / (1 - mean)) - slope * column.mean())
    for _ in range(100):
        probability = expit(slope * column + intercept)
        step = float(
            (probability - target).sum() / ((probability * (1 - probability)).sum() + 1e-12)
        )
        intercept -= float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-12:
            break
    return intercept
