"""What a member will spend within the horizon: boosted trees, under one of two losses."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models import boosting, folder
from training.models.boosting import Trees
from training.models.inputs import matrix, value_labels
from training.rows import MemberRows

# Between Poisson (1) and gamma (2): a mass at zero and a long tail, in one distribution.
TWEEDIE_POWER = 1.5
# LightGBM sums the labels in single precision; whole units of currency keep them small.
CENTS_PER_UNIT = 100.0
LOG_VALUE_MAX = 30.0
LEAF_ROWS_LEAST = 20

# Small trees that see a third of the columns and three fifths of the rows: on both real data sets
# they rank better than larger ones (experiments/lstm_vs_btyd).
VALUE_TREES = Trees(
    n_trees=450,
    learning_rate=0.02,
    num_leaves=6,
    min_data_in_leaf=100,
    feature_fraction=0.3,
    bagging_fraction=0.6,
    l2=20.0,
)


_LOSSES: dict[str, dict[str, Any]] = {
    "tweedie": {"objective": "tweedie", "tweedie_variance_power": TWEEDIE_POWER},
    "l2": {"objective": "regression"},
}
Objective = Literal["tweedie", "l2"]


class ValueGBM:
    """Expected spend within the horizon, in cents.

    Parameters
    ----------
    objective : "tweedie" weighs errors as spend varies: more where more is expected; "l2" weighs
        every cent alike, and so looks at the largest spenders most
    seed : of the column and row samples
    trees : size and regularisation
    columns : names to read; None reads all feature columns of the rows it is fitted on
    num_threads : at most this many at once; the answer does not depend on it
    """

    kind = "value_gbm"

    def __init__(
        self,
        *,
        seed: int,
        objective: Objective = "tweedie",
        trees: Trees = VALUE_TREES,
        columns: Sequence[str] | None = None,
        num_threads: int = 2,
    ) -> None:
        if objective not in _LOSSES:
            raise InputRefused(
                f"There is no loss {objective!r} for value. No model was made. Known are "
                f"{', '.join(_LOSSES)}."
            )
        self.seed = seed
        self.objective = objective
        self.trees = trees
        self.num_threads = num_threads
        self.only_columns = tuple(columns or ())
        self.columns = self.only_columns

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:
        """Learn from past rows and the cents spent in the horizon after each, shape (n,).

        Raises
        ------
        InputRefused
            When there are no rows, a column is missing, or nobody spent anything.
        """
        values = value_labels(value_cents, len(rows), "The value model") / CENTS_PER_UNIT
        self.columns = self.only_columns or tuple(map(str, rows.features.columns))
        # A hundred rows a leaf would leave a small programme without a single split.
        leaf = min(self.trees.min_data_in_leaf, max(LEAF_ROWS_LEAST, len(rows) // 20))
        trees = replace(self.trees, min_data_in_leaf=leaf)
        parameters = {
            **trees.parameters(seed=self.seed, num_threads=self.num_threads),
            **_LOSSES[self.objective],
        }
        self.booster_ = boosting.train(
            matrix(rows.features, self.columns),
            values,
            self.columns,
            parameters,
            self.trees.n_trees,
        )
        return self

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        """Expected cents per row, shape (n,), never below 0, in the order of the rows."""
        values = matrix(rows.features, self.columns)
        raw = boosting.raw_predictions(self.booster_, values, self.num_threads)
        if self.objective == "l2":
            return np.maximum(raw, 0.0) * CENTS_PER_UNIT
        return np.exp(np.minimum(raw, LOG_VALUE_MAX)) * CENTS_PER_UNIT

    def save(self, path: Path) -> None:
        """Write the trees as text, and what is needed to read them."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "columns": self.columns,
            "seed": self.seed,
            "objective": self.objective,
            "trees": asdict(self.trees),
            "num_threads": self.num_threads,
        }
        folder.write(path, self.kind, facts, [boosting.save_booster(self.booster_, path)])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        model = cls(
            seed=facts["seed"],
            objective=facts["objective"],
            trees=Trees(**facts["trees"]),
            columns=facts["columns"],
            num_threads=facts["num_threads"],
        )
        model.booster_ = boosting.load_booster(path)
        return model
