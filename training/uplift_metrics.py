"""How well a ranking finds those whom an action changes: Qini, AUUC, uplift at k, RATE.

Nobody's own effect is ever seen, so members are judged by scores whose mean among any members is
the effect among them: `training.models.trial.doubly_robust`, or inverse chances alone. All figures
are per member of the trial. Members ranked alike are taken in every order at once: a ranking that
says the same of all has a Qini of exactly 0, and the order of the rows does not matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from programme.errors import InputRefused
from training.intervals import Interval
from training.models.trial import Numbers

DRAWS = 200
SHARES = (0.1, 0.3)


@dataclass(frozen=True, eq=False)
class Judged:
    """Figures of several rankings of the same members, and of the same resamples of them.

    Intervals are over members, with each ranking as it is: they hold nothing of how another
    trial's model would have ranked.

    Attributes
    ----------
    observed : figure by ranking and figure's name
    drawn : the same on each resample, of shape (draws,)
    """

    observed: dict[str, dict[str, float]]
    drawn: dict[str, dict[str, Numbers]]

    def interval(self, ranking: str, figure: str = "qini") -> Interval:
        """Return a ranking's figure with its interval."""
        return Interval.of(self.observed[ranking][figure], self.drawn[ranking][figure])

    def gap(self, one: str, other: str, figure: str = "qini") -> Interval:
        """Return by how much one ranking's figure is above another's, on the same members."""
        return Interval.of(
            self.observed[one][figure] - self.observed[other][figure],
            self.drawn[one][figure] - self.drawn[other][figure],
        )


def judge(
    rankings: Mapping[str, Numbers],
    effects: Numbers,
    *,
    seed: int,
    draws: int = DRAWS,
    shares: tuple[float, ...] = SHARES,
) -> Judged:
    """Return the figures of several rankings, with what their intervals are made of.

    Parameters
    ----------
    rankings : by name, higher is first to be contacted, each of shape (n,)
    effects : scores whose means are effects, of shape (n,)
    seed, draws : of the resamples of members, the same for all rankings
    shares : of the members, for uplift at k

    Raises
    ------
    InputRefused : if a ranking is of other members, or holds what is no number.
    """
    prepared = {name: _Order.of(name, score, effects) for name, score in rankings.items()}
    once = np.ones(len(effects))
    observed = {name: order.figures(once, shares) for name, order in prepared.items()}
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, list[float]]] = {
        name: {figure: [] for figure in figures} for name, figures in observed.items()
    }
    for _ in range(draws):
        counts = np.bincount(rng.integers(len(effects), size=len(effects)), minlength=len(effects))
        for name, order in prepared.items():
            for figure, value in order.figures(counts.astype(np.float64), shares).items():
                found[name][figure].append(value)
    drawn = {
        name: {figure: np.array(values) for figure, values in figures.items()}
        for name, figures in found.items()
    }
    return Judged(observed, drawn)


def figures_of(
    score: Numbers, effects: Numbers, *, shares: tuple[float, ...] = SHARES
) -> dict[str, float]:
    """Return a ranking's figures.

    With gain(k) = 1/n sum of the first k effects:

    qini : mean over k of gain(k) - k/n gain(n); what ranking brings beyond chance
    auuc : mean over k of gain(k)
    autoc : mean over k of the first k members' mean effect, less the mean of all: RATE with equal
        weights, which looks at the very first
    uplift@10 and so on : mean effect among the first 10 %

    Source
    ------
    Radcliffe (2007), Direct Marketing Analytics Journal 1: the Qini curve. Yadlowsky, Fleming,
    Shah, Brunskill, Wager (2025), JASA 120(549): RATE, equation 2.5.
    """
    return _Order.of("one", score, effects).figures(np.ones(len(effects)), shares)


def gains(score: Numbers, effects: Numbers, *, steps: int = 100) -> Numbers:
    """Return gain(k) after each hundredth of the members, of shape (steps + 1,), from 0."""
    order = _Order.of("one", score, effects)
    total, counted = order.cumulated(np.ones(len(effects)))
    wanted = np.linspace(0, len(effects), steps + 1)
    curve: Numbers = np.interp(wanted, np.r_[0.0, counted], np.r_[0.0, total]) / len(effects)
    return curve


@dataclass(frozen=True, eq=False)
class _Order:
    """Members in the order of a ranking, and where those ranked alike begin."""

    places: NDArray[np.int64]
    starts: NDArray[np.int64]
    effects: Numbers

    @classmethod
    def of(cls, name: str, score: Numbers, effects: Numbers) -> "_Order":
        whole = len(effects) > 0 and np.isfinite(effects).all()
        if score.shape != effects.shape or not whole or not np.isfinite(score).all():
            raise InputRefused(
                f"Ranking {name} is of shape {score.shape} for {len(effects)} members, with "
                f"{int((~np.isfinite(score)).sum())} places that are no numbers. Nothing was "
                "judged. Rank every member, and give each a finite effect."
            )
        places = np.argsort(-score, kind="stable")
        ordered = score[places]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        return cls(places, starts, effects[places])

    def cumulated(self, counts: Numbers) -> tuple[Numbers, Numbers]:
        """Return sums of effects and of members to each place; those ranked alike share evenly."""
        drawn = counts[self.places]
        members = np.add.reduceat(drawn, self.starts)
        sums = np.add.reduceat(drawn * self.effects, self.starts)
        means = np.divide(sums, members, out=np.zeros_like(sums), where=members > 0)
        each = np.repeat(means, np.diff(np.r_[self.starts, len(drawn)]))
        return np.cumsum(drawn * each), np.cumsum(drawn)

    def figures(self, counts: Numbers, shares: tuple[float, ...]) -> dict[str, float]:
        total, counted = self.cumulated(counts)
        here = counts[self.places] > 0
        total, counted = total[here], counted[here]
        n = counted[-1]
        copies, added = np.diff(counted, prepend=0.0), np.diff(total, prepend=0.0)
        # A member drawn c times takes c places: her share of the sum grows evenly over them.
        before = total - added
        auuc = float((copies * before + added * (copies + 1) / 2).sum() / n**2)
        toc = (copies * total / counted).sum() / n - total[-1] / n
        firsts = {
            f"uplift@{round(100 * share)}": float(
                np.interp(share * n, np.r_[0.0, counted], np.r_[0.0, total]) / (share * n)
            )
            for share in shares
        }
        chance = float(total[-1] / n) * (1 + 1 / n) / 2
        return {"qini": auuc - chance, "auuc": auuc, "autoc": float(toc), **firsts}
