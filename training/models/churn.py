"""Who will not buy again within the horizon: boosted trees whose reasons add up exactly."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models import boosting, folder
from training.models.boosting import Trees
from training.models.inputs import churn_labels, matrix

# Members repeat from as_of to as_of, so there is less to learn than there are rows, and small trees
# on few columns rank best. Chosen on label windows of Complete Journey that end by 2017-09-11:
# experiments/churn_28d/README.md has what was tried.
CHURN_TREES = Trees(
    n_trees=300, learning_rate=0.03, num_leaves=4, min_data_in_leaf=100, feature_fraction=0.25
)

# What an analyst gets from LightGBM with little effort: the line every leaderboard also shows.
REFERENCE_TREES = Trees(
    n_trees=200,
    learning_rate=0.05,
    num_leaves=31,
    min_data_in_leaf=50,
    feature_fraction=0.8,
    bagging_fraction=1.0,
    l2=1.0,
)


class ChurnModel:
    """Log-odds of no purchase within the horizon, as a sum over columns.

    Parameters
    ----------
    seed : of the column and row samples
    monotone : columns of which a larger value may never lower the log-odds, such as recency
    trees : size and regularisation
    columns : names to read; None reads all columns of the frame it is fitted on
    n_seeds : boosters with seeds of their own; the answer is the mean of their log-odds, which
        keeps it a sum over columns and takes the luck of one draw out of it
    num_threads : at most this many at once; the answer does not depend on it
    """

    kind = "lightgbm"

    def __init__(
        self,
        *,
        seed: int,
        monotone: Sequence[str] = (),
        trees: Trees = CHURN_TREES,
        columns: Sequence[str] | None = None,
        n_seeds: int = 1,
        num_threads: int = 2,
    ) -> None:
        if n_seeds < 1:
            raise InputRefused(
                f"A churn model of {n_seeds} boosters answers nothing. No model was made. "
                "Give n_seeds of at least 1."
            )
        self.seed = seed
        self.n_seeds = n_seeds
        self.monotone = tuple(monotone)
        self.trees = trees
        self.num_threads = num_threads
        self.only_columns = tuple(columns or ())
        self.columns = self.only_columns

    def fit(self, features: pd.DataFrame, churned: ArrayLike) -> Self:
        """Learn from past rows.

        Parameters
        ----------
        features : DataFrame of shape (n, n_columns), NaN = absent
        churned : array of shape (n,); 1 where no purchase followed within the horizon

        Raises
        ------
        InputRefused
            When there are no rows, a column is missing or one class is empty.
        """
        labels = churn_labels(churned, len(features), "The churn model")
        self.columns = self.only_columns or tuple(map(str, features.columns))
        values = matrix(features, self.columns)
        self.boosters_ = tuple(
            boosting.train(
                values, labels, self.columns, self._parameters(number), self.trees.n_trees
            )
            for number in range(self.n_seeds)
        )
        return self

    def raw_score(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Log-odds of churn, shape (n,), in the order of the rows."""
        return self._mean(features)

    def contributions(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Share of each column in the log-odds, by Shapley values over the trees.

        Returns
        -------
        array of shape (n, n_columns + 1)
            The last is the base; each row sums to its `raw_score`.

        Source
        ------
        Lundberg et al. (2020), From local explanations to global understanding with explainable
        AI for trees, Nature Machine Intelligence 2, algorithm 2; LightGBM's `pred_contrib`.
        """
        return self._mean(features, contributions=True)

    def _mean(self, features: pd.DataFrame, *, contributions: bool = False) -> NDArray[np.float64]:
        values = matrix(features, self.columns)
        answers = [
            boosting.raw_predictions(booster, values, self.num_threads, contributions=contributions)
            for booster in self.boosters_
        ]
        return np.asarray(np.mean(answers, axis=0))

    def save(self, path: Path) -> None:
        """Write the trees as text, and what is needed to read them."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "columns": self.columns,
            "monotone": self.monotone,
            "seed": self.seed,
            "trees": asdict(self.trees),
            "n_seeds": self.n_seeds,
            "num_threads": self.num_threads,
        }
        files = [
            boosting.save_booster(booster, path, boosting.numbered_file(number))
            for number, booster in enumerate(self.boosters_)
        ]
        folder.write(path, self.kind, facts, files)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        model = cls(
            seed=facts["seed"],
            monotone=facts["monotone"],
            trees=Trees(**facts["trees"]),
            columns=facts["columns"],
            n_seeds=facts["n_seeds"],
            num_threads=facts["num_threads"],
        )
        model.boosters_ = tuple(
            boosting.load_booster(path, boosting.numbered_file(number))
            for number in range(model.n_seeds)
        )
        return model

    def _parameters(self, number: int = 0) -> dict[str, object]:
        absent = [name for name in self.monotone if name not in self.columns]
        if absent:
            raise InputRefused(
                f"Monotone columns {', '.join(absent)} are not among the {len(self.columns)} "
                "columns of the model. Nothing was fitted. Name columns that it reads."
            )
        return {
            **self.trees.parameters(seed=self.seed + number, num_threads=self.num_threads),
            "objective": "binary",
            "monotone_constraints": [int(name in self.monotone) for name in self.columns],
            "monotone_constraints_method": "intermediate",  # less bending than "basic"
        }


class ReferenceChurn(ChurnModel):
    """LightGBM as an analyst would fit it: near its defaults, no constraint."""

    kind = "lightgbm_reference"


def reference_churn(
    *, seed: int, columns: Sequence[str] | None = None, num_threads: int = 2
) -> ReferenceChurn:
    """Make the plain model that the served one is printed beside."""
    return ReferenceChurn(
        seed=seed, trees=REFERENCE_TREES, columns=columns, num_threads=num_threads
    )


def best_n_trees(
    model: ChurnModel,
    train: tuple[pd.DataFrame, ArrayLike],
    valid: tuple[pd.DataFrame, ArrayLike],
    *,
    n_trees_max: int = 800,
    patience: int = 60,
) -> int:
    """Count the trees after which log-loss on later rows stops falling.

    Parameters
    ----------
    model : gives columns, constraints and regularisation; it is not changed
    train, valid : features and outcomes; `valid` must lie a horizon later
    n_trees_max : where to give up
    patience : trees without improvement before stopping

    Returns
    -------
    number of trees, at least 1
    """
    columns = model.only_columns or tuple(map(str, train[0].columns))
    twin = ChurnModel(
        seed=model.seed,
        monotone=model.monotone,
        trees=model.trees,
        columns=columns,
        num_threads=model.num_threads,
    )
    parameters = boosting.worth_sharing(
        {**twin._parameters(), "metric": "binary_logloss"}, len(train[0])
    )
    past = boosting.dataset(
        matrix(train[0], columns),
        churn_labels(train[1], len(train[0]), "The churn model"),
        columns,
        parameters,
    )
    future = boosting.dataset(
        matrix(valid[0], columns),
        churn_labels(valid[1], len(valid[0]), "Its validation"),
        columns,
        parameters,
        like=past,
    )
    stop = lgb.early_stopping(patience, verbose=False)
    booster = lgb.train(
        parameters, past, num_boost_round=n_trees_max, valid_sets=[future], callbacks=[stop]
    )
    return max(1, booster.best_iteration)
