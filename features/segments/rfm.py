"""RFM scores from 1 to 5 and the eleven groups a marketer knows from her shop system.

A score is made of ranks among the members who bought in the last year. Members with equal values
have equal scores: the score is that of the middle of their ranks, so that nobody's score depends
on the order of rows. Whoever bought nothing in that year has 1 in all three and ranks nowhere: in
a shop where most members come once, the middle of all those who stay away would be a good rank.
"""

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from programme.errors import InputRefused

SCORES = (1, 2, 3, 4, 5)
_FIFTHS = (0.2, 0.4, 0.6, 0.8)
# Column behind each score, over a trailing year; more recent is better, so its ranks run back.
MEASURES = {"r": "recency_days", "f": "purchase_days_364d", "m": "spend_cents_364d"}
# How far past a cut a member's rank must lie before her earlier score is given up: a day more or
# less of silence moves most members of a weekly shop over some cut of recency.
MARGIN = 0.05

# Rows: recency 5 to 1; columns: frequency and value together, 1 to 5 (their mean, rounded up).
_GROUPS: Mapping[int, tuple[str, ...]] = {
    5: ("new", "promising", "active", "loyal", "champions"),
    4: ("new", "promising", "active", "loyal", "champions"),
    3: ("needs_attention", "needs_attention", "active", "loyal", "loyal"),
    2: ("almost_lost", "almost_lost", "at_risk", "at_risk", "previously_loyal"),
    1: ("dormant", "dormant", "at_risk", "previously_loyal", "previously_loyal"),
}
# Names of the RFM groups of Shopify's admin API. A prospect never bought; a snapshot holds members
# who did, so no score leads there and nobody is ever counted in it.
GROUPS = (
    "champions", "loyal", "active", "new", "promising", "needs_attention", "almost_lost",
    "at_risk", "previously_loyal", "dormant", "prospects",
)  # fmt: skip


@dataclass(frozen=True)
class Cuts:
    """Where one score ends and the next begins.

    Parameters
    ----------
    r, f, m : four shares in (0, 1), rising, of the members who bought in the last year; one whose
        rank lies above k of them has the score k + 1
    """

    r: tuple[float, ...] = _FIFTHS
    f: tuple[float, ...] = _FIFTHS
    m: tuple[float, ...] = _FIFTHS

    def __post_init__(self) -> None:
        """Refuse cuts that are not four rising shares."""
        for name in MEASURES:
            cuts = getattr(self, name)
            rising = all(a < b for a, b in itertools.pairwise(cuts))
            if len(cuts) != len(SCORES) - 1 or not all(0 < cut < 1 for cut in cuts) or not rising:
                raise InputRefused(
                    f"The cut points of {name} are {list(cuts)}; they must be four rising shares "
                    "of members between 0 and 1, such as 0.2, 0.4, 0.6, 0.8. No score was made."
                )

    @classmethod
    def read(cls, path: Path) -> "Cuts":
        """Read cuts from TOML; a score it does not name keeps quintiles.

        Raises
        ------
        InputRefused : if the file is absent, not TOML, or has an unknown key or impossible cuts
        """
        if not path.is_file():
            raise InputRefused(f"{path} is not a file. No score was made. Check the name.")
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputRefused(f"{path} is not TOML: {error}. No score was made.") from error
        unknown = sorted(set(content) - set(MEASURES))
        if unknown:
            raise InputRefused(
                f"{path}: there is no key {unknown[0]!r}. No score was made. Known are "
                f"{', '.join(MEASURES)}, each four rising shares such as [0.2, 0.4, 0.6, 0.8]."
            )
        numbers = (int, float)
        for name, cuts in content.items():
            if not isinstance(cuts, list) or not all(type(cut) in numbers for cut in cuts):
                raise InputRefused(
                    f"{path}: {name} is {cuts!r}, not a list of four numbers. No score was made."
                )
        return cls(**{name: tuple(map(float, cuts)) for name, cuts in content.items()})


QUINTILES = Cuts()


def scores(
    features: pd.DataFrame,
    cuts: Cuts = QUINTILES,
    previous: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score every member.

    Parameters
    ----------
    features : one row per member, indexed by member_id, with the columns of `MEASURES`
    cuts : where scores end
    previous : scores of an earlier day, indexed by member_id; recency keeps its earlier score
        until its rank lies `MARGIN` past the cut

    Returns
    -------
    DataFrame with the index of `features`: r, f, m (1 to 5, 5 best), rfm ("545") and rfm_group;
    "111" for whoever bought nothing in the last year

    Raises
    ------
    InputRefused : when a measure is missing or not finite
    """
    values = {name: _values(features, column) for name, column in MEASURES.items()}
    bought = values["f"] > 0
    scored = pd.DataFrame(1, index=features.index, columns=list(MEASURES), dtype=np.int64)
    for name, measured in values.items():
        ranks = _ranks(-measured[bought] if name == "r" else measured[bought])
        found = _cut(ranks, getattr(cuts, name))
        if previous is not None and name == "r":
            earlier = previous["r"].reindex(features.index).to_numpy(dtype=float, na_value=np.nan)
            found = _kept(ranks, getattr(cuts, name), found, earlier[bought])
        scored.loc[bought, name] = found
    text = scored[list(MEASURES)].astype(str)
    scored["rfm"] = text["r"] + text["f"] + text["m"]
    scored["rfm_group"] = [
        group_of(r, f, m) for r, f, m in zip(scored["r"], scored["f"], scored["m"], strict=True)
    ]
    return scored


def group_of(r: int, f: int, m: int) -> str:
    """Return the group of one of the 125 cells."""
    return _GROUPS[r][math.ceil((f + m) / 2) - 1]


def placed(
    ranks: NDArray[np.float64], cuts: Sequence[float], earlier: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Return the scores of ranks in [0, 1].

    Parameters
    ----------
    earlier : scores of an earlier day, kept within the margin; NaN: none
    """
    found = _cut(ranks, cuts)
    return found if earlier is None else _kept(ranks, cuts, found, earlier)


def _values(features: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a measure of every member, or refuse: a member without one has no score."""
    if column not in features.columns:
        raise InputRefused(
            f"The table has no column {column!r}. No score was made. Give the features of a "
            "snapshot."
        )
    values = features[column].to_numpy(dtype=np.float64, na_value=np.nan)
    unknown = int((~np.isfinite(values)).sum())
    if unknown:
        raise InputRefused(
            f"{column} is absent or infinite for {unknown} of {len(values)} members. No score was "
            "made. Score members who bought: a snapshot holds no others."
        )
    return values


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each place in (0, 1), best last; equal values stand at the middle of their places."""
    ordered = pd.Series(values).rank(method="average")
    return (ordered.to_numpy(dtype=np.float64) - 0.5) / max(1, len(values))


def _cut(ranks: NDArray[np.float64], cuts: Sequence[float]) -> NDArray[np.int64]:
    return 1 + np.searchsorted(np.asarray(cuts), ranks, side="left").astype(np.int64)


def _kept(
    ranks: NDArray[np.float64],
    cuts: Sequence[float],
    found: NDArray[np.int64],
    earlier: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the earlier score where the rank is within the margin of its range."""
    edges = np.asarray((0.0, *cuts, 1.0))
    known = np.isfinite(earlier)
    place = np.where(known, earlier, 1).astype(np.int64)
    near = (ranks >= edges[place - 1] - MARGIN) & (ranks <= edges[place] + MARGIN)
    return np.where(known & near, place, found)
