"""The classical models as rivals: who buys again, and for how much, from three numbers a member.

They read recency, frequency and age only, learn nothing from outcomes, and cannot see promotions,
trends or tastes. What they know they know from theory, which is why they are hard to beat where
histories are short.
"""

from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models import folder
from training.models.bgnbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.histories import COLUMNS, DAYS_PER_WEEK, Histories
from training.models.inputs import churn_labels, matrix, some_rows, value_labels
from training.models.pareto_nbd import ParetoNbd
from training.rows import MemberRows

Array = NDArray[np.float64]
COUNTING: dict[str, Any] = {"bgnbd": BgNbd, "pareto_nbd": ParetoNbd}
VALUE_COLUMN = "spend_cents_mean"
# Four parameters are known from this many members as well as from all.
MEMBERS_MOST = 2_000
# Log-odds of a probability no closer to 0 or 1 than this.
NEAREST = 1e-9


class ClassicChurn:
    """Log-odds that no purchase comes within the horizon, by BG/NBD or Pareto/NBD.

    Parameters
    ----------
    counting : "bgnbd" or "pareto_nbd"
    horizon_days : of the answer
    seed : of the members it is fitted on, where there are many
    """

    kind = "classic_churn"
    columns = COLUMNS

    def __init__(self, counting: str, horizon_days: int, *, seed: int) -> None:
        self.counting = known_counting(counting)
        self.horizon_days = horizon_days
        self.seed = seed

    def fit(self, features: pd.DataFrame, churned: ArrayLike) -> Self:
        """Fit purchase histories; outcomes are checked, not learned from.

        Raises
        ------
        InputRefused
            When there are no rows, a column is missing or one class is empty.
        """
        churn_labels(churned, len(features), f"The {self.counting} churn model")
        chosen = some_members(features, self.seed)
        self.counting_ = COUNTING[self.counting].fit(Histories.of(chosen))
        self.typical_ = [float(value) for value in np.median(_filled(features), axis=0)]
        return self

    def raw_score(self, features: pd.DataFrame) -> Array:
        """Log-odds of no purchase within the horizon, shape (n,), in the order of the rows."""
        return np.asarray(self.contributions(features).sum(axis=1))

    def contributions(self, features: pd.DataFrame) -> Array:
        """Share of each column and, last, the base; shape (n, 4), rows sum to `raw_score`.

        Shapley values over the three columns, exactly: each of the eight subsets is asked for,
        with the median member standing in for what is left out.
        """
        own = _filled(features)
        n = len(self.columns)
        said = {}
        for size in range(n + 1):
            for known in combinations(range(n), size):
                mixed = np.tile(self.typical_, (len(own), 1))
                mixed[:, list(known)] = own[:, list(known)]
                said[known] = self._log_odds(mixed)
        shares = np.zeros((len(own), n + 1))
        for column in range(n):
            for known in (k for k in said if column not in k):
                weight = factorial(len(known)) * factorial(n - len(known) - 1) / factorial(n)
                joined = tuple(sorted((*known, column)))
                shares[:, column] += weight * (said[joined] - said[known])
        shares[:, n] = said[()]
        return shares

    def _log_odds(self, values: Array) -> Array:
        bought, recency, tenure = values.T
        histories = Histories.made_of(bought, np.minimum(recency, tenure), tenure)
        weeks = self.horizon_days / DAYS_PER_WEEK
        silent = self.counting_.no_purchase_probability(histories, weeks)
        clipped = np.clip(silent, NEAREST, 1 - NEAREST)
        return np.asarray(np.log(clipped) - np.log1p(-clipped))

    def save(self, path: Path) -> None:
        """Write the parameters as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "counting": self.counting, "horizon_days": self.horizon_days, "seed": self.seed,
            "typical": self.typical_, "parameters": self.counting_.as_dict(),
        }  # fmt: skip
        folder.write(path, self.kind, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read saved parameters."""
        facts = folder.read(path, cls.kind)
        model = cls(facts["counting"], facts["horizon_days"], seed=facts["seed"])
        model.counting_ = COUNTING[model.counting](**facts["parameters"])
        model.typical_ = facts["typical"]
        return model


class ClassicValue:
    """Expected cents within the horizon: expected purchase days times what one brings.

    Parameters
    ----------
    counting : "bgnbd" or "pareto_nbd"; Gamma-Gamma values a purchase day
    horizon_days : of the answer
    seed : of the members it is fitted on, where there are many
    """

    kind = "classic_value"
    columns = (*COLUMNS, VALUE_COLUMN)

    def __init__(self, counting: str, horizon_days: int, *, seed: int) -> None:
        self.counting = known_counting(counting)
        self.horizon_days = horizon_days
        self.seed = seed

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:
        """Fit purchase histories and mean spends; outcomes are checked, not learned from.

        Raises
        ------
        InputRefused
            When there are no rows, a column is missing or nobody spent anything.
        """
        value_labels(value_cents, len(rows), f"The {self.counting} value model")
        chosen = some_members(rows.features, self.seed)
        bought, _, _, mean = matrix(chosen, self.columns).T
        self.counting_ = COUNTING[self.counting].fit(Histories.of(chosen))
        # All purchase days are of the gamma, the first one too: more is known of each member.
        self.value_ = GammaGamma.fit(np.nan_to_num(bought), np.nan_to_num(mean))
        return self

    def predict(self, rows: MemberRows) -> Array:
        """Expected cents per row, shape (n,), in the order of the rows."""
        weeks = self.horizon_days / DAYS_PER_WEEK
        bought, _, _, mean = matrix(rows.features, self.columns).T
        days = self.counting_.expected_purchases(Histories.of(rows.features), weeks)
        return np.asarray(days * self.value_.expected_value(np.nan_to_num(bought), mean))

    def save(self, path: Path) -> None:
        """Write the parameters as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "counting": self.counting, "horizon_days": self.horizon_days, "seed": self.seed,
            "parameters": self.counting_.as_dict(), "value": self.value_.as_dict(),
        }  # fmt: skip
        folder.write(path, self.kind, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read saved parameters."""
        facts = folder.read(path, cls.kind)
        model = cls(facts["counting"], facts["horizon_days"], seed=facts["seed"])
        model.counting_ = COUNTING[model.counting](**facts["parameters"])
        model.value_ = GammaGamma(**facts["value"])
        return model


def known_counting(counting: str) -> str:
    """Return the name of a model of counts, or refuse one that does not exist."""
    if counting not in COUNTING:
        raise InputRefused(
            f"There is no model of counts {counting!r}. No model was made. Known are "
            f"{', '.join(COUNTING)}."
        )
    return counting


def some_members(features: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the rows, or a draw of as many as the parameters need, in the order they have."""
    some_rows(len(features), "a classical model")
    if len(features) <= MEMBERS_MOST:
        return features
    drawn = np.random.default_rng(seed).choice(len(features), MEMBERS_MOST, replace=False)
    return features.iloc[np.sort(drawn)]


def _filled(features: pd.DataFrame) -> Array:
    """Return purchase days, recency and tenure of each member with nothing absent."""
    own = matrix(features, COLUMNS)
    bought = np.maximum(np.nan_to_num(own[:, 0], nan=1.0), 1.0)
    tenure = np.maximum(np.nan_to_num(own[:, 2]), 0.0)
    recency = np.where(np.isnan(own[:, 1]), tenure, own[:, 1])
    return np.stack([bought, recency, tenure], axis=1)
