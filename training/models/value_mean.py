"""The plain mean of several value models: their errors partly cancel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.models.parts import load_parts, plain_names, save_parts
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
        save_parts(path, self.kind, self.models)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read each model from the folder of its name."""
        return cls(load_parts(path, cls.kind)[0])
