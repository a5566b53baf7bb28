"""What a cluster is called: an id that stays with its members, and words true of it today.

The two are apart because they answer different questions. An audience in a CRM wants the same
members tomorrow, whatever they do by then; a reader wants to know what they do now.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.segments.scale import MEASURES

# Frequency and value are said beside the members who bought in the last year: lower than most,
# about as most, higher than most, higher than nine in ten.
_FREQUENCY = ("rarely", "sometimes", "often", "always")
_VALUE = ("low", "middle", "high", "top")
_MOST, _NINE_IN_TEN = 2 / 3, 0.9
# Recency needs nobody to be compared with: days up to which each word is true.
_RECENCY = {"week": 7, "month": 28, "quarter": 91, "half": 182, "year": 364, "years": 728}
_LONGEST = "ages"
# Cutting a cluster in half leaves .5. Four weeks apart, three clusters of Complete Journey have
# .64 to .80 in common with themselves.
KEPT_FROM = 0.6


def words(medians: Mapping[str, float], shoppers: pd.DataFrame) -> str:
    """Say a cluster in three words: "often_high_week".

    Parameters
    ----------
    medians : of `MEASURES`, over the cluster
    shoppers : `MEASURES` of all members who bought in the last year

    Notes
    -----
    Floors come first: who bought nothing in the year, or once, is not compared with anybody. A
    tie with many is neither more nor less than most.
    """
    days, spend = medians["purchase_days_364d"], medians["spend_cents_364d"]
    frequency = (
        "none" if days <= 0
        else "once" if days <= 1
        else _compared(days, shoppers["purchase_days_364d"], _FREQUENCY)
    )  # fmt: skip
    value = "nothing" if spend <= 0 else _compared(spend, shoppers["spend_cents_364d"], _VALUE)
    return "_".join((frequency, value, _recency(medians["recency_days"])))


def ids(
    now: pd.Series, n_clusters: int, before: pd.Series | None, given: int
) -> tuple[list[str], int]:
    """Give each cluster the id it had, or a new one that nobody ever had.

    A cluster is the one of the earlier day if, of all members of either who were there on both
    days, at least `KEPT_FROM` are in both (Jaccard). That is more than half, so of two clusters
    of one day only one can be it, and no assignment is left to make: a cluster that was split in
    the middle, or lost itself in a larger one, has ended.

    Parameters
    ----------
    now : place of each member's cluster, 0 to n_clusters - 1, indexed by member_id
    before : ids of the earlier day, indexed by member_id; None on a first day
    given : how many ids were given out until now

    Returns
    -------
    one id a place, and how many were given out with these
    """
    kept = _kept(now, before) if before is not None else {}
    found = []
    for place in range(n_clusters):
        if place not in kept:
            given += 1
        found.append(kept.get(place, f"c{given}"))
    return found, given


def apart(profiles: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return for each cluster the measure that tells it from those said in the same words.

    Parameters
    ----------
    profiles : name and medians of each cluster

    Returns
    -------
    the measure in which the medians of its namesakes lie farthest apart, by their ratio; None
    where a cluster has no namesake
    """
    found: list[str | None] = []
    for profile in profiles:
        alike = [other for other in profiles if other["name"] == profile["name"]]
        gaps = {measure: _least_gap(alike, measure) for measure in MEASURES}
        found.append(max(gaps, key=lambda measure: gaps[measure]) if len(alike) > 1 else None)
    return found


def _compared(median: float, values: pd.Series, levels: Sequence[str]) -> str:
    """Return the word of a median by the shares of members strictly below and above it."""
    ordered = np.sort(values.to_numpy(dtype=np.float64))
    members = max(1, len(ordered))
    below = np.searchsorted(ordered, median, side="left") / members
    above = 1 - np.searchsorted(ordered, median, side="right") / members
    low, middle, high, top = levels
    if above >= _MOST:
        return low
    return top if below >= _NINE_IN_TEN else high if below >= _MOST else middle


def _recency(days: float) -> str:
    return next((word for word, most in _RECENCY.items() if days <= most), _LONGEST)


def _kept(now: pd.Series, before: pd.Series) -> dict[int, str]:
    both = pd.DataFrame({"now": now, "before": before.reindex(now.index)}).dropna()
    shared = pd.crosstab(both["now"], both["before"])
    counts: NDArray[np.int64] = shared.to_numpy()
    either = counts.sum(axis=1)[:, None] + counts.sum(axis=0)[None, :] - counts
    rows, columns = np.nonzero(counts >= KEPT_FROM * either)
    return {
        int(shared.index[int(row)]): str(shared.columns[int(column)])
        for row, column in zip(rows, columns, strict=True)
    }


def _least_gap(alike: Sequence[Mapping[str, Any]], measure: str) -> float:
    """Return the smallest ratio between neighbours, as a difference of logs."""
    ordered = sorted(float(profile[measure]) for profile in alike)
    logs = np.log1p(np.maximum(ordered, 0.0))
    return min((float(b - a) for a, b in pairwise(logs)), default=0.0)
