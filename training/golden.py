"""Golden rows: made-up members whose scores are recorded when a churn model is registered.

Whoever loads the model asks it about them again. Files that are the registered ones may still
answer otherwise: another LightGBM, another order of columns, another calibration in the code.

No row is a member's: every column is cut at the same shares of the members, its numbers are
rounded and shuffled by themselves, and no id is kept.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused, PerennialError
from training.models.inputs import matrix

Doubles = NDArray[np.float64]

ROWS = 64
# From fewer members a shuffled row may still be somebody's.
MEMBERS_MIN = 20
SIGNIFICANT_DIGITS = 3
SEED = 20170102
TOLERANCE = 1e-9
# Contributions are sums over hundreds of trees, taken in another order than the score itself.
SUM_TOLERANCE = 1e-6
_NOWHERE = (
    "The model gives no finite score at any of its {} golden rows. Nothing was registered. Look at "
    "what it learned from, then train again."
)


class GoldenMissed(PerennialError):
    """A model that does not answer as it did when it was registered."""


class Additive(Protocol):
    """A churn model: log-odds, and the share of each column in them."""

    columns: tuple[str, ...]

    def raw_score(self, features: pd.DataFrame) -> Doubles:
        """Log-odds of churn, shape (n,)."""

    def contributions(self, features: pd.DataFrame) -> Doubles:
        """Share of each column and, last, the base; shape (n, n_columns + 1)."""


class Calibration(Protocol):
    """From log-odds to probabilities."""

    def apply(self, raw: ArrayLike) -> Doubles:
        """Return probabilities, shape (n,)."""


@dataclass(frozen=True, eq=False)
class Golden:
    """Made-up rows of the columns a model reads, and what it said of them.

    Parameters
    ----------
    columns : in the model's order
    rows : array of shape (n, len(columns)); NaN: absent
    raw_score, churn_probability : arrays of shape (n,)
    """

    columns: tuple[str, ...]
    rows: Doubles
    raw_score: Doubles
    churn_probability: Doubles

    @classmethod
    def of(cls, model: Additive, calibration: Calibration, members: pd.DataFrame) -> Self | None:
        """Make rows after the members of a day, and ask the model about them.

        Parameters
        ----------
        members : DataFrame of shape (n_members, ...) with the columns the model reads

        Returns
        -------
        None if the members are too few to hide in

        Raises
        ------
        InputRefused : if the model gives no finite score at any of the rows.
        """
        if len(members) < MEMBERS_MIN:
            return None
        rows = _made_up(matrix(members, model.columns))
        possible = _answered(model, calibration, rows)
        if not possible.any():
            raise InputRefused(_NOWHERE.format(len(rows)))
        rows = rows[possible]
        raw, probability = _asked(model, calibration, model.columns, rows)
        # A curve over counts and times may have no answer where no member can be.
        sound = np.isfinite(raw) & np.isfinite(probability)
        if not sound.any():
            raise InputRefused(_NOWHERE.format(len(rows)))
        return cls(tuple(model.columns), rows[sound], raw[sound], probability[sound])

    def check(self, model: Additive, calibration: Calibration) -> None:
        """Ask a loaded model again.

        Raises
        ------
        GoldenMissed : if it reads other columns, or says anything else than is recorded.
        """
        columns = tuple(model.columns)
        if columns != self.columns:
            raise GoldenMissed(
                f"The model reads {len(columns)} columns, its golden rows have "
                f"{len(self.columns)}, or they come in another order. It was not loaded. "
                "Train again, or roll back to another version."
            )
        raw, probability = _asked(model, calibration, columns, self.rows)
        self.compare(raw, probability)
        frame = pd.DataFrame(self.rows, columns=list(columns))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            require_sums(model.contributions(frame), raw)

    def compare(self, raw: Doubles, probability: Doubles) -> None:
        """Hold answers, shape (n,), against the recorded ones.

        Raises
        ------
        GoldenMissed : as in `check`.
        """
        require_probabilities(probability)
        said = (("raw score", raw, self.raw_score),
                ("churn probability", probability, self.churn_probability))  # fmt: skip
        for what, found, recorded in said:
            if found.shape != recorded.shape:
                raise GoldenMissed(
                    f"{found.shape[0]} golden rows were answered, {len(recorded)} were asked. "
                    "The model was not loaded. Train again, or roll back to another version."
                )
            off = np.abs(found - recorded)
            allowed = TOLERANCE * np.maximum(1.0, np.abs(recorded))
            if not (off <= allowed).all():
                row = int(np.argmax(np.where(np.isfinite(off), off - allowed, np.inf)))
                raise GoldenMissed(
                    f"The {what} of golden row {row} is {found[row]!r}, recorded at registration "
                    f"{recorded[row]!r}. The model was not loaded: its files are right, so the "
                    "code or a library answers otherwise. Run what it was trained with, or train "
                    "again."
                )

    def to_json(self) -> str:
        """Return text without NaN: absent is null."""
        rows = [[None if np.isnan(one) else float(one) for one in row] for row in self.rows]
        content = {
            "columns": list(self.columns),
            "rows": rows,
            "raw_score": self.raw_score.tolist(),
            "churn_probability": self.churn_probability.tolist(),
        }
        return json.dumps(content, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Make them again from `to_json`."""
        content: Mapping[str, Any] = json.loads(text)
        columns = tuple(content["columns"])
        return cls(
            columns,
            np.array(content["rows"], dtype=np.float64).reshape(-1, len(columns)),
            np.array(content["raw_score"], dtype=np.float64),
            np.array(content["churn_probability"], dtype=np.float64),
        )


def require_probabilities(probability: Doubles) -> None:
    """Refuse answers that are none.

    Raises
    ------
    GoldenMissed : if one is not finite or lies outside [0, 1].
    """
    fit = np.isfinite(probability) & (probability >= 0.0) & (probability <= 1.0)
    if not fit.all():
        first = int(np.argmin(fit))
        raise GoldenMissed(
            f"{int((~fit).sum())} of {len(fit)} churn probabilities are none, such as "
            f"{probability[first]!r}. The model was not loaded. Train again, or roll back to "
            "another version."
        )


def require_sums(contributions: Doubles, raw: Doubles) -> None:
    """Refuse reasons that do not add up to the score, shapes (n, n_columns + 1) and (n,).

    Raises
    ------
    GoldenMissed : if one does not.
    """
    off = np.abs(contributions.sum(axis=1) - raw)
    if not (off <= SUM_TOLERANCE * np.maximum(1.0, np.abs(raw))).all():
        row = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
        raise GoldenMissed(
            f"The contributions of row {row} add up to {contributions[row].sum()!r}, its raw score "
            f"is {raw[row]!r}. The model was not loaded. Train again, or roll back to another "
            "version."
        )


def _asked(
    model: Additive, calibration: Calibration, columns: tuple[str, ...], rows: Doubles
) -> tuple[Doubles, Doubles]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        raw = np.asarray(model.raw_score(pd.DataFrame(rows, columns=list(columns))), np.float64)
        return raw, np.asarray(calibration.apply(raw), np.float64)


def _answered(model: Additive, calibration: Calibration, rows: Doubles) -> NDArray[np.bool_]:
    """Tell which rows a model takes: one of purchase histories refuses those nobody can have."""

    def takes(some: Doubles) -> bool:
        try:
            _asked(model, calibration, model.columns, some)
        except InputRefused:
            return False
        return True

    if takes(rows):
        return np.ones(len(rows), dtype=bool)
    return np.array([takes(rows[[row]]) for row in range(len(rows))])


def _made_up(values: Doubles) -> Doubles:
    """Cut every column at the same shares of the members, shuffle each by itself; add edges."""
    ordered = np.sort(values, axis=0)  # absent last
    cuts = ((np.arange(ROWS) + 0.5) / ROWS * len(values)).astype(int)
    picked = _rounded(ordered[cuts])
    shuffled = np.random.default_rng(SEED).permuted(picked, axis=0)
    lowest, highest = picked[0], np.fmax.reduce(picked, axis=0)
    absent, nothing = np.full_like(lowest, np.nan), np.zeros_like(lowest)
    edges = (absent, nothing, lowest, highest, 10 * highest, -highest)
    return np.vstack([shuffled, *edges])


def _rounded(values: Doubles) -> Doubles:
    return np.array([float(f"{one:.{SIGNIFICANT_DIGITS}g}") for one in values.flat]).reshape(
        values.shape
    )
