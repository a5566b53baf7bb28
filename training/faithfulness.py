"""Whether reasons can be believed: do they add up, do they matter, do they stay."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.explain import CODES, driver_of, group_contributions

# Members whose values stand in for one that is not known.
BACKGROUND = 24


def parts_by_driver(model: Any, features: pd.DataFrame) -> NDArray[np.float64]:
    """Return contributions per driver and, last, the base; shape (n, len(CODES) + 1)."""
    columns = list(model.columns)
    return group_contributions(columns, np.asarray(model.contributions(features[columns])))


def largest_gap(model: Any, features: pd.DataFrame) -> float:
    """Return how far drivers plus base are from the raw score, at most, over the rows."""
    total = parts_by_driver(model, features).sum(axis=1)
    return float(np.abs(total - model.raw_score(features[list(model.columns)])).max())


def masked(
    model: Any, features: pd.DataFrame, code: str, background: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the raw scores to be expected when nothing is known of one driver.

    Its columns are those of other members, all at once so that they belong together, and the
    scores are averaged. (Medians in their place would leave an average member as she was.)

    Parameters
    ----------
    background : positions of the other members in `features`
    """
    columns = list(model.columns)
    own = [name for name in columns if driver_of(name) == code]
    changed = features[columns].copy()
    total = np.zeros(len(features))
    for position in background:
        for name in own:
            changed[name] = features[name].iloc[position]
        total += model.raw_score(changed)
    return total / len(background)


def top_matters(model: Any, features: pd.DataFrame, seed: int) -> float:
    """Return the share of rows whose top driver, masked, moves the score more than another does.

    Parameters
    ----------
    features : DataFrame of shape (n, ...)
    seed : of the other driver, drawn for each row among those the model uses, and of the members
        whose values stand in
    """
    rng = np.random.default_rng(seed)
    background = rng.choice(len(features), min(BACKGROUND, len(features)), replace=False)
    parts = np.abs(parts_by_driver(model, features)[:, :-1])
    used = np.flatnonzero(parts.max(axis=0) > 0)
    if len(used) < 2:
        return 1.0
    raw = np.asarray(model.raw_score(features[list(model.columns)]), dtype=np.float64)
    moved = np.zeros_like(parts)
    for position in used:
        moved[:, position] = np.abs(masked(model, features, CODES[position], background) - raw)
    top = parts.argmax(axis=1)
    drawn = rng.integers(len(used) - 1, size=len(parts))
    other = np.array([used[used != best][draw] for best, draw in zip(top, drawn, strict=True)])
    row = np.arange(len(parts))
    return float((moved[row, top] >= moved[row, other]).mean())


def same_top(models: Sequence[Any], features: pd.DataFrame) -> float:
    """Return the share of rows whose top driver is the same in every model."""
    tops = [np.abs(parts_by_driver(model, features)[:, :-1]).argmax(axis=1) for model in models]
    return float((np.stack(tops) == tops[0]).all(axis=0).mean())
