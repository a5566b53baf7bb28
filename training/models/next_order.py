"""When the next order is expected: a silence curve with an interval that keeps its promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from training.models import folder, load_model
from training.models.silence import (
    COVERAGE,
    N_GROUPS,
    Array,
    group,
    interval,
    levels_by_group,
    quantile,
)
from training.rows import MemberRows

_CURVE = "curve"
NOMINAL = (1 - COVERAGE) / 2


@dataclass(frozen=True, eq=False)
class Expected:
    """What is said of the next orders of n members; the horizon means "not within it".

    Parameters
    ----------
    median, earliest, latest : days from `as_of`, shape (n,), whole; half of such members buy by
        the median, and `COVERAGE` of them between the other two
    silence : P(no purchase on days 0 to d), shape (n, horizon_days)
    """

    median: Array
    earliest: Array
    latest: Array
    silence: Array


class NextOrder:
    """A model of silence, and how wide its interval has to be.

    Parameters
    ----------
    curve : a model with `silence`; a fitted one may be given, `fit` is then not needed
    levels : of the interval, between its quantile and one minus it, for each group of
        `silence.group`; None, before `calibrate`, stands for the nominal one
    """

    kind = "next_order"

    def __init__(self, curve: Any, levels: Sequence[float] | None = None) -> None:
        self.models = {_CURVE: curve}
        self.levels = tuple(levels or (NOMINAL,) * N_GROUPS)

    @property
    def curve(self) -> Any:
        """Return the model of silence."""
        return self.models[_CURVE]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return tuple(self.curve.columns)

    @property
    def horizon_days(self) -> int:
        """Return how far it looks."""
        return int(self.curve.horizon_days)

    def fit(
        self, rows: MemberRows, next_days: ArrayLike, followed_days: ArrayLike | None = None
    ) -> Self:
        """Fit the curve; the levels stay."""
        self.curve.fit(rows, next_days, followed_days)
        return self

    def calibrate(self, silence: Array, next_days: ArrayLike) -> Self:
        """Set the levels so that they hold on earlier members.

        Parameters
        ----------
        silence, next_days : curves of the same recipe at an earlier as_of, and what followed; see
            `silence.levels_by_group`
        """
        self.levels = levels_by_group(silence, next_days)
        return self

    def silence(self, rows: MemberRows) -> Array:
        """Return P(no purchase on days 0 to d), shape (n, horizon_days)."""
        return np.asarray(self.curve.silence(rows), dtype=np.float64)

    def expect(self, rows: MemberRows) -> Expected:
        """Return dates, their interval and the curve of each row, in the order of the rows."""
        silence = self.silence(rows)
        level = np.asarray(self.levels)[group(silence)]
        earliest, latest = interval(silence, level)
        return Expected(quantile(silence, 0.5), earliest, latest, silence)

    def save(self, path: Path) -> None:
        """Write the curve's model into a folder of its own, and the levels."""
        path.mkdir(parents=True, exist_ok=True)
        self.curve.save(path / _CURVE)
        folder.write(path, self.kind, {"levels": self.levels}, [f"{_CURVE}/{folder.MODEL_FILE}"])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        levels = folder.read(path, cls.kind)["levels"]
        return cls(load_model(path / _CURVE), levels)
