"""The naive rivals: one column a marketer would sort by."""

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models import folder
from training.models.calibration import fit_line
from training.models.inputs import churn_labels, matrix, some_rows
from training.rows import MemberRows

# The rule ranks in the direction it states, even where the data disagree.
SLOPE_MIN = 1e-6
# Keeps the slope finite when one column separates the classes.
RIDGE = 1e-3


class ColumnRule:
    """Log-odds of churn as a straight line in one column, on a logarithmic scale.

    Parameters
    ----------
    column : the one it reads
    sign : 1 if more of it means more churn (recency), -1 if less (purchase days)
    """

    kind = "column_rule"

    def __init__(self, column: str, sign: int) -> None:
        if sign not in (1, -1):
            raise InputRefused(
                f"The sign of the rule on {column} is {sign}; no rule was made. "
                "Give 1 if a larger value means more churn, -1 if it means less."
            )
        self.column = column
        self.sign = sign
        self.columns: tuple[str, ...] = (column,)

    def fit(self, features: pd.DataFrame, churned: ArrayLike) -> Self:
        """Fit the line by maximum likelihood; an absent value counts as the median.

        Raises
        ------
        InputRefused
            When there are no rows, the column is missing or one class is empty.
        """
        labels = churn_labels(churned, len(features), f"The rule on {self.column}")
        column = signed_log(matrix(features, self.columns)[:, 0])
        known = column[~np.isnan(column)]
        self.median_ = float(np.median(known)) if len(known) else 0.0
        filled = np.where(np.isnan(column), self.median_, column)
        self.centre_ = float(filled.mean())
        self.spread_ = float(filled.std()) or 1.0
        slope, self.intercept_ = fit_line(
            self.sign * self._standardised(features), labels, slope_min=SLOPE_MIN, ridge=RIDGE
        )
        self.slope_ = self.sign * slope
        return self

    def raw_score(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Log-odds of churn, shape (n,), in the order of the rows."""
        return np.asarray(self.contributions(features).sum(axis=1))

    def contributions(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Share of the column and, last, the base; shape (n, 2), rows sum to `raw_score`."""
        moved = self.slope_ * self._standardised(features)
        return np.column_stack([moved, np.full(len(moved), self.intercept_)])

    def save(self, path: Path) -> None:
        """Write the line as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        names = ("median_", "centre_", "spread_", "slope_", "intercept_")
        learned = {name: getattr(self, name) for name in names}
        facts = {"column": self.column, "sign": self.sign, "learned": learned}
        folder.write(path, self.kind, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved rule."""
        facts = folder.read(path, cls.kind)
        rule = cls(facts["column"], facts["sign"])
        for name, value in facts["learned"].items():
            setattr(rule, name, value)
        return rule

    def _standardised(self, features: pd.DataFrame) -> NDArray[np.float64]:
        column = signed_log(matrix(features, self.columns)[:, 0])
        filled = np.where(np.isnan(column), self.median_, column)
        return np.asarray((filled - self.centre_) / self.spread_)


class PastSpend:
    """Expects the next horizon to repeat the days before it.

    Parameters
    ----------
    column : spend of some last days, in cents; absent or negative counts as 0
    share : the horizon over those days, where they differ in length
    """

    kind = "past_spend"

    def __init__(self, column: str, *, share: float = 1.0) -> None:
        if not 0 < share < float("inf"):
            raise InputRefused(
                f"The share of {column} is {share}; no rule was made. Give the horizon over the "
                "days of the column, above 0."
            )
        self.column = column
        self.share = share
        self.columns: tuple[str, ...] = (column,)

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:  # noqa: ARG002
        """Check that the column is there; nothing is learned.

        Raises
        ------
        InputRefused
            When there are no rows or the column is missing.
        """
        some_rows(len(rows), "the past-spend rule")
        matrix(rows.features, self.columns)
        return self

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        """Expected cents per row, shape (n,), in the order of the rows."""
        spend = self.share * matrix(rows.features, self.columns)[:, 0]
        return np.maximum(np.nan_to_num(spend, nan=0.0), 0.0)

    def save(self, path: Path) -> None:
        """Write the column's name and share as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        folder.write(path, self.kind, {"column": self.column, "share": self.share})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved rule."""
        facts = folder.read(path, cls.kind)
        return cls(facts["column"], share=facts["share"])


def signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compress both tails, keep order and sign: `sign(v) * log(1 + |v|)`."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
