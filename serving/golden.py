"""What a candidate must show before it answers: what it said at registration, and sound scores."""

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serving.hot import ChurnScorer
from serving.online.store import NUMBERS
from training.golden import Golden, GoldenMissed, require_probabilities
from training.lookup import RegisteredModel

Doubles = NDArray[np.float64]
# A dozen reasons, each written with six decimals.
REASONS_TOLERANCE = 1e-4
Checked = Literal["golden rows", "finite scores only"]


def check(scorer: ChurnScorer, model: RegisteredModel, stored: Doubles) -> Checked:
    """Ask a scorer the way requests will, about golden rows and about members of the store.

    Parameters
    ----------
    scorer : made of `model`
    stored : array of shape (n, len(NUMBERS)), rows as the online store holds them

    Returns
    -------
    what it was held against; a version of before golden rows has only its own soundness

    Raises
    ------
    GoldenMissed : if it answers otherwise than recorded, or gives what is no probability.
    """
    golden = model.bundle.golden
    # What is judged is the score; that it overflowed on the way is only how it came about.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        _check(scorer, golden, stored)
    return "finite scores only" if golden is None else "golden rows"


def _check(scorer: ChurnScorer, golden: Golden | None, stored: Doubles) -> None:
    if golden is not None:
        rows = _as_stored(golden)
        asked = scorer.score(rows)
        golden.compare(asked.raw, asked.probability)
        _require_reasons(scorer, rows, asked.raw)
    if len(stored):
        asked = scorer.score(stored)
        if not np.isfinite(asked.raw).all():
            raise GoldenMissed(
                f"{int((~np.isfinite(asked.raw)).sum())} of {len(asked.raw)} members of the store "
                "get a raw score that is no number. The model was not loaded. Train again, or "
                "roll back to another version."
            )
        require_probabilities(asked.probability)
        _require_reasons(scorer, stored, asked.raw)


def _require_reasons(scorer: ChurnScorer, rows: Doubles, raw: Doubles) -> None:
    told = np.array([one.raw_score for one in scorer.explain(rows)])
    off = np.abs(told - raw)
    if not (off <= REASONS_TOLERANCE).all():
        row = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
        raise GoldenMissed(
            f"The reasons of row {row} add up to {told[row]!r}, its raw score is {raw[row]!r}. "
            "The model was not loaded. Train again, or roll back to another version."
        )


def _as_stored(golden: Golden) -> Doubles:
    """Lay golden rows out as the store lays out members; what the model does not read is absent."""
    unknown = [name for name in golden.columns if name not in NUMBERS]
    if unknown:
        raise GoldenMissed(
            f"The model reads {', '.join(unknown)}, which the online store does not hold. It was "
            "not loaded. Run the code it was trained with, or train again."
        )
    rows = np.full((len(golden.rows), len(NUMBERS)), np.nan)
    rows[:, [NUMBERS.index(name) for name in golden.columns]] = golden.rows
    return rows
