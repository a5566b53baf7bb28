"""The mean of several churn models' log-odds: still a sum over columns, with less luck in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models import folder, load_model


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
        odd = [name for name in models if not name.isidentifier()]
        if not models or odd:
            raise InputRefused(
                f"A mean needs at least one model, each under a plain name; got {list(models)}. "
                "No mean was made. Name them like lightgbm: the names become folders."
            )
        self.models = dict(models)

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
        path.mkdir(parents=True, exist_ok=True)
        for name, model in self.models.items():
            model.save(path / name)
        files = [f"{name}/{folder.MODEL_FILE}" for name in self.models]
        folder.write(path, self.kind, {"models": list(self.models)}, files)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read each model from the folder of its name."""
        names = folder.read(path, cls.kind)["models"]
        return cls({name: load_model(path / name) for name in names})
