"""The plain mean of several value models: their errors partly cancel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models import folder, load_model
from training.rows import MemberRows


class ValueMean:
    """Mean of what the named models expect, in cents.

    Parameters
    ----------
    models : name -> value model; already fitted ones may be given, `fit` is then not needed
    """

    kind = "value_mean"

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.models = plain_names(models, "A mean")

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:
        """Fit each model on the same rows."""
        for model in self.models.values():
            model.fit(rows, value_cents)
        return self

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        """Mean of the models' cents per row, shape (n,), in the order of the rows."""
        return np.asarray(np.mean([model.predict(rows) for model in self.models.values()], axis=0))

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


def plain_names(models: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Copy a mapping of models, refusing an empty one and names that are no folder.

    Raises
    ------
    InputRefused : in these cases
    """
    if not models or not all(name.isidentifier() for name in models):
        raise InputRefused(
            f"{what} needs at least one model, each under a plain name; got {list(models)}. "
            "None was made. Name them like value_gbm: the names become folders."
        )
    return dict(models)
