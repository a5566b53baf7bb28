"""LightGBM, trained the same way twice: the shared half of the boosted models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

BOOSTER_FILE = "booster.txt"
# Below these, a second thread costs more than it saves. Training waits for the slowest thread at
# every leaf: 22,000 rows take 1 s on one thread, and 3-7 s on two when the machine has other work.
ROWS_TO_SHARE_TRAINING = 50_000
ROWS_TO_SHARE_PREDICTION = 2_000
# Ridge penalty on the lines of leaves; next to the hundreds of rows of a leaf it only keeps columns
# that say the same from cancelling each other.
LINE_L2 = 1.0


@dataclass(frozen=True)
class Trees:
    """How many trees, how large, how strongly held back.

    Parameters
    ----------
    n_trees : boosting rounds
    learning_rate : shrinkage of each tree
    num_leaves : leaves per tree, at most
    min_data_in_leaf : rows per leaf, at least
    feature_fraction : share of the columns each tree may use, in (0, 1]
    bagging_fraction : share of the rows each tree sees, in (0, 1]
    l2 : ridge penalty on leaf values
    linear : a leaf answers with a line in the columns that lead to it, not with one number; where
        one of them is absent, with the number
    """

    n_trees: int = 300
    learning_rate: float = 0.03
    num_leaves: int = 15
    min_data_in_leaf: int = 80
    feature_fraction: float = 0.7
    bagging_fraction: float = 0.8
    l2: float = 5.0
    linear: bool = False

    def parameters(self, *, seed: int, num_threads: int) -> dict[str, Any]:
        """Translate to LightGBM's names, with everything that makes it repeatable."""
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_data_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1 if self.bagging_fraction < 1 else 0,
            "lambda_l2": self.l2,
            "seed": seed,
            "num_threads": num_threads,
            "deterministic": True,
            "force_row_wise": True,  # LightGBM asks for both to be reproducible
            "verbosity": -1,
            **({"linear_tree": True, "linear_lambda": LINE_L2} if self.linear else {}),
        }


def dataset(
    values: NDArray[np.float64],
    labels: NDArray[np.float64],
    columns: Sequence[str],
    parameters: Mapping[str, Any],
    *,
    like: lgb.Dataset | None = None,
) -> lgb.Dataset:
    """Bin a table for LightGBM; `like` shares the bins of another table."""
    return lgb.Dataset(
        values,
        label=labels,
        feature_name=list(columns),
        reference=like,
        params={**parameters, "feature_pre_filter": False},
    )


def train(
    values: NDArray[np.float64],
    labels: NDArray[np.float64],
    columns: Sequence[str],
    parameters: Mapping[str, Any],
    n_trees: int,
) -> lgb.Booster:
    """Grow the trees, and return them as they will be read back from a file."""
    settings = worth_sharing(parameters, len(values))
    booster = lgb.train(
        settings, dataset(values, labels, columns, settings), num_boost_round=n_trees
    )
    return lgb.Booster(model_str=booster.model_to_string())


def worth_sharing(parameters: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    """Train few rows on one thread; the trees are the same either way."""
    one = {} if n_rows >= ROWS_TO_SHARE_TRAINING else {"num_threads": 1}
    return {**parameters, **one}


def raw_predictions(
    booster: lgb.Booster,
    values: NDArray[np.float64],
    num_threads: int,
    *,
    contributions: bool = False,
) -> NDArray[np.float64]:
    """Sum the trees per row, before any link.

    Returns
    -------
    array of shape (n,), or (n, n_columns + 1) if `contributions`, the last being the base
    """
    if len(values) == 0:
        return np.empty((0, values.shape[1] + 1) if contributions else 0)
    answer = booster.predict(
        values,
        raw_score=not contributions,
        pred_contrib=contributions,
        num_threads=num_threads if len(values) >= ROWS_TO_SHARE_PREDICTION else 1,
    )
    return np.asarray(answer, dtype=np.float64)


def save_booster(booster: lgb.Booster, folder: Path, name: str = BOOSTER_FILE) -> str:
    """Write the trees as text; return the file's name."""
    (folder / name).write_text(booster.model_to_string(), encoding="utf-8")
    return name


def load_booster(folder: Path, name: str = BOOSTER_FILE) -> lgb.Booster:
    """Read the trees from text: data only, no code of the model is ever run."""
    return lgb.Booster(model_file=folder / name)


def numbered_file(number: int) -> str:
    """Return the file's name of one of several boosters; the first has the usual one."""
    stem, _, ending = BOOSTER_FILE.partition(".")
    return BOOSTER_FILE if number == 0 else f"{stem}-{number}.{ending}"
