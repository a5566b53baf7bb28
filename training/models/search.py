"""Weights for a blend, by a bounded, seeded search over what was taken up on past days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from training.models.inputs import product_rows
from training.models.origin import Origin, some_origins
from training.models.pool import best_unbought, text
from training.models.signals import NAMES, Recipe

Doubles = NDArray[np.float64]
LIST_LENGTH = 10
# Judged per past day: enough for a mean, few enough to hold all their signals at once.
SEARCH_MEMBERS = 800
# A signal is left out of a draw with this chance: most good blends are of few.
LEFT_OUT = 0.4
# Standard errors of the gain over the given weights.
DOUBT = 2.5


@dataclass(frozen=True, eq=False)
class _Part:
    """Some members of a past day: their standardised signals, and what they took up."""

    scores: NDArray[np.float32]  # (n_signals, n_members, n_products)
    wanted: NDArray[np.bool_]
    n_wanted: Doubles
    bought: sparse.csr_matrix

    def recalls(self, weights: NDArray[np.float32]) -> Doubles:
        """Return each member's recall@10 under these weights."""
        vote = np.tensordot(weights, self.scores, axes=1).astype(np.float64)
        row, column = best_unbought(vote, self.bought, LIST_LENGTH)
        found = np.bincount(row, self.wanted[row, column], minlength=len(self.wanted))
        return np.asarray(found / self.n_wanted)


def searched_weights(
    origins: Sequence[Origin],
    recipe: Recipe,
    start: Mapping[str, float],
    *,
    seed: int,
    draws: int,
    members_max: int,
) -> dict[str, float]:
    """Return the weights with the best recall@10, mean over members, of so many drawn ones.

    Parameters
    ----------
    origins : past days, each with what was bought in the window that followed
    start : weights to beat; they stay where no draw surely does
    seed, draws : of the random search; half the draws are near the best found so far
    members_max : judged per past day; of more, a seeded sample

    Raises
    ------
    InputRefused
        When nobody bought anything new after any of the days.
    """
    some_origins(tuple(origins), "The search for weights")
    rng = np.random.default_rng(seed)
    days = [_parts(origin, recipe, rng, members_max) for origin in origins]

    def recalls(weights: Doubles) -> Doubles:
        single = weights.astype(np.float32)
        return np.concatenate([part.recalls(single) for day in days for part in day])

    best = np.array([start.get(name, 0.0) for name in NAMES])
    given = reached = recalls(best)
    for number in range(draws):
        drawn = _drawn(rng, best, near=number % 2 == 1)
        found = recalls(drawn)
        # The best of many draws is lucky as well: it has to be better than what was given by
        # more than the members' differences leave in doubt.
        if found.mean() > reached.mean() and _surely_above(found, given):
            best, reached = drawn, found
    return {name: float(weight) for name, weight in zip(NAMES, best, strict=True) if weight}


def _surely_above(found: Doubles, given: Doubles) -> bool:
    gain = found - given
    return bool(gain.mean() > DOUBT * gain.std() / np.sqrt(len(gain)))


def _drawn(rng: np.random.Generator, best: Doubles, *, near: bool) -> Doubles:
    """Draw weights, rounded to two decimals: anywhere, or around the best so far."""
    if near:
        moved = best * rng.lognormal(0.0, 0.4, len(best))
        swapped = rng.random(len(best)) < 1 / len(best)
        drawn = np.where(swapped, rng.exponential(0.5, len(best)), moved)
    else:
        drawn = rng.exponential(0.5, len(best)) * (rng.random(len(best)) > LEFT_OUT)
    rounded: Doubles = np.round(drawn, 2).astype(np.float64)
    return rounded if rounded.any() else best


def _parts(
    origin: Origin, recipe: Recipe, rng: np.random.Generator, members_max: int
) -> list[_Part]:
    signals, found = origin.signals(recipe), origin.found()
    n_wanted = found.groupby("member_id").size()
    members = text(n_wanted.index).sort_values()
    if len(members) > members_max:
        members = members[np.sort(rng.choice(len(members), members_max, replace=False))]
    wanted = signals.pool.purchases(found, members, np.ones(len(found)))
    counts = n_wanted.set_axis(text(n_wanted.index)).reindex(members)
    total: Doubles = np.asarray(counts, dtype=np.float64)
    parts = []
    for chunk in signals.chunks(_of(origin.before, members), members):
        rows = slice(chunk.start, chunk.start + chunk.bought.shape[0])
        scores = np.stack([chunk.standardised(name).astype(np.float32) for name in NAMES])
        parts.append(_Part(scores, wanted[rows].toarray() > 0, total[rows], chunk.bought))
    return parts


def _of(products: pd.DataFrame, members: pd.Index) -> pd.DataFrame:
    frame = product_rows(products, dated=True)
    return frame[text(frame["member_id"]).isin(members)]
