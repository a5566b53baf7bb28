"""Reasons for a value no tree made: trees that imitate the model, and how far off they are."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from training.models import boosting, folder
from training.models.boosting import Trees
from training.models.inputs import matrix, value_labels

SURROGATE_TREES = Trees(
    n_trees=150,
    learning_rate=0.08,
    num_leaves=15,
    min_data_in_leaf=20,
    bagging_fraction=1.0,
    l2=1.0,
)


class ValueSurrogate:
    """Additive imitation of a value model, on the logarithm of 1 + cents.

    An LSTM or a mean of models has no exact contributions; these trees learn to give the same
    answers from the feature columns, and their own contributions are exact. What they miss is
    part of the answer, so that nobody takes the reasons for the model's own.

    Parameters
    ----------
    seed : of the column samples
    trees : size and regularisation
    columns : names to read; None reads all columns of the frame it is fitted on
    num_threads : at most this many at once; the answer does not depend on it
    """

    kind = "value_surrogate"

    def __init__(
        self,
        *,
        seed: int,
        trees: Trees = SURROGATE_TREES,
        columns: Sequence[str] | None = None,
        num_threads: int = 2,
    ) -> None:
        self.seed = seed
        self.trees = trees
        self.num_threads = num_threads
        self.columns: tuple[str, ...] = tuple(columns or ())

    def fit(self, features: pd.DataFrame, predicted_cents: ArrayLike) -> Self:
        """Learn to answer as the model did.

        Parameters
        ----------
        features : DataFrame of shape (n, n_columns), NaN = absent
        predicted_cents : array of shape (n,), what the model expects of the same rows, >= 0

        Raises
        ------
        InputRefused
            When there are no rows, a column is missing, or every prediction is 0.
        """
        values = value_labels(predicted_cents, len(features), "The value surrogate")
        self.columns = self.columns or tuple(map(str, features.columns))
        parameters = {
            **self.trees.parameters(seed=self.seed, num_threads=self.num_threads),
            "objective": "regression",
        }
        self.booster_ = boosting.train(
            matrix(features, self.columns),
            np.log1p(values),
            self.columns,
            parameters,
            self.trees.n_trees,
        )
        return self

    def raw_score(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Log of 1 + cents, shape (n,), in the order of the rows."""
        values = matrix(features, self.columns)
        return boosting.raw_predictions(self.booster_, values, self.num_threads)

    def contributions(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Share of each column and, last, the base; (n, n_columns + 1), rows sum to `raw_score`."""
        values = matrix(features, self.columns)
        return boosting.raw_predictions(self.booster_, values, self.num_threads, contributions=True)

    def save(self, path: Path) -> None:
        """Write the trees as text, and what is needed to read them."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "columns": self.columns,
            "seed": self.seed,
            "trees": asdict(self.trees),
            "num_threads": self.num_threads,
        }
        folder.write(path, self.kind, facts, [boosting.save_booster(self.booster_, path)])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved surrogate; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        surrogate = cls(
            seed=facts["seed"],
            trees=Trees(**facts["trees"]),
            columns=facts["columns"],
            num_threads=facts["num_threads"],
        )
        surrogate.booster_ = boosting.load_booster(path)
        return surrogate


def cents(raw_score: ArrayLike) -> NDArray[np.float64]:
    """Turn the surrogate's log of 1 + cents, shape (n,), back into cents, never negative."""
    return np.maximum(np.expm1(np.asarray(raw_score, dtype=np.float64)), 0.0)
