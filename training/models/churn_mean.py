"""The mean of several churn models' log-odds: still a sum over columns, with less luck in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from training.models.parts import load_parts, plain_names, save_parts


class ChurnMean:
    """Mean of the log-odds of the named models.

    The parts may have learned from labels of different lengths: who is silent for two weeks tells
    much of who will be for four, happens more often, and is known sooner.

    Parameters
    ----------
    models : name -> churn model; already fitted ones may be given, `fit` is then not needed
    """

    kind = "churn_mean"

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.models = plain_names(models, "A mean")

    @property
    def columns(self) -> tuple[str, ...]:
        """Return every column a part reads, once, in the order of the parts."""
        names = (name for model in self.models.values() for name in model.columns)
        return tuple(dict.fromkeys(names))

    def fit(self, features: pd.DataFrame, churned: ArrayLike) -> Self:
        """Fit each model on the same rows."""
        for model in self.models.values():
            model.fit(features, churned)
        return self

    def raw_score(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Mean of the models' log-odds, shape (n,), in the order of the rows."""
        said = [model.raw_score(features) for model in self.models.values()]
        return np.asarray(np.mean(said, axis=0))

    def contributions(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Share of each column and, last, the base; shape (n, n_columns + 1).

        Shapley values of a mean are the means of the Shapley values, so each row sums to its
        `raw_score`.
        """
        columns = self.columns
        shares = np.zeros((len(features), len(columns) + 1))
        for model in self.models.values():
            where = [columns.index(name) for name in model.columns]
            shares[:, [*where, len(columns)]] += model.contributions(features)
        return shares / len(self.models)

    def save(self, path: Path) -> None:
        """Write each model into a folder of its name."""
        save_parts(path, self.kind, self.models)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read each model from the folder of its name."""
        return cls(load_parts(path, cls.kind)[0])
