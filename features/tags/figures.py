"""The figures a tag is judged by: flip rate, lift with its interval, overlap with other tags."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

JACCARD_MOST = 0.90
CONFIDENCE_95 = 1.959964

Booleans = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lift:
    """How much more of an outcome members with a tag show than members as a whole.

    `low` and `high` bound it with 95 % confidence; None where it cannot be measured.
    """

    value: float | None
    low: float | None
    high: float | None


def flip_rate(before: Booleans, now: Booleans) -> float | None:
    """Return the share of memberships, of both days, that are of one day only."""
    both = int(before.sum()) + int(now.sum())
    return None if both == 0 else float((before != now).sum() / both)


def lift(held: Booleans, y: Doubles) -> Lift:
    """Return the mean of `y` among holders over that among all, with its 95 % interval.

    Members of whom `y` is not known are left out. The interval is by the delta method on the log
    of the ratio; holders are part of all, and their covariance is taken into account.
    """
    known = np.isfinite(y)
    t, y = held[known].astype(float), y[known]
    n, holders = len(y), float(t.sum())
    if n == 0 or holders == 0 or y.sum() <= 0:
        return Lift(None, None, None)
    mean, inside = float(y.mean()), float((t * y).sum() / holders)
    if inside <= 0:
        return Lift(0.0, 0.0, None)
    influence = t * (y - inside) / (holders * inside) - (y - mean) / (n * mean)
    spread = CONFIDENCE_95 * math.sqrt(float((influence**2).sum()))
    value = inside / mean
    return Lift(value, value * math.exp(-spread), value * math.exp(spread))


def duplicates(held: dict[str, Booleans]) -> dict[str, tuple[str | None, float]]:
    """Return of each tag an earlier one with Jaccard >= .9, if any, and its largest Jaccard.

    "Earlier" is in the order of declaration and only among tags that are no duplicates
    themselves; the largest Jaccard is with any other tag.
    """
    names = list(held)
    if not names:
        return {}
    matrix = np.array([held[name] for name in names], dtype=np.float32)
    both = matrix @ matrix.T
    sizes = matrix.sum(axis=1)
    union = sizes[:, None] + sizes[None, :] - both
    jaccard = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    np.fill_diagonal(jaccard, 0.0)
    found: dict[str, tuple[str | None, float]] = {}
    originals: list[int] = []
    for i, name in enumerate(names):
        twin = next((names[j] for j in originals if jaccard[i, j] >= JACCARD_MOST), None)
        if twin is None:
            originals.append(i)
        found[name] = (twin, round(float(jaccard[i].max(initial=0.0)), 4))
    return found
