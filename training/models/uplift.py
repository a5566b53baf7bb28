"""What an action changes for each member, and how sure that is.

Chances are always known and passed, never estimated. A learner is fitted on halves of the members,
again and again on other halves. That buys three things at once:

* the mean over halves is steadier than one fit on all;
* two models of disjoint halves are independent, so that half their difference has the standard
  error of their mean, whatever the learner;
* for every member there are models that did not learn from her. What they say of her is compared
  with what happened, and predictions are drawn towards the average effect as far as they deserve.

Source
------
Athey, Tibshirani, Wager (2019), Annals of Statistics 47(2), section 4.1: errors from halves.
Chernozhukov, Demirer, Duflo, Fernandez-Val (2018), NBER 24678: the line predictions are drawn to.
Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3(1), equation 4: variances
of few degrees of freedom, drawn to the common one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from programme.errors import InputRefused
from training.models import boosting, folder
from training.models.boosting import Trees
from training.models.trial import Numbers, Trial, doubly_robust
from training.models.uplift_learners import (
    DEPTH,
    LEARN,
    LEARNERS,
    SMALLEST_LEAF,
    UPLIFT_TREES,
    Half,
    Learner,
    Part,
    answer,
    first_half,
    grower,
    outcomes_elsewhere,
)

SPLITS = 8
# How firmly a member's error is held to be that of anybody, in splits: few splits tell an error by
# a few differences, and some are small by chance. The prior degrees of freedom of Smyth (2004).
PRIOR_SPLITS = 4.0
# With fewer members in an arm, nobody's effect is told from another's.
LEARNABLE = 8 * SMALLEST_LEAF
# A learner that holds back (S does) is stretched as far as is sure, and no further than this.
MOST_STRETCHED = 2.0


@dataclass(frozen=True, eq=False)
class UpliftModel:
    """The effect of one action on each member, in the unit of the outcome.

    Attributes
    ----------
    learner : by which it was learned
    columns : how many columns it reads
    effect, effect_error : the average effect of the trial, doubly robust, and its standard error
    slope, slope_error : how much of what was predicted came true, among members the predicting
        models had not seen: 0 gives all members the average, above 1 the learner held back
    halves : models of the first and second half of each split, one after the other
    centres : what each of them predicts on average
    spread : mean square of half the difference of two halves, over members
    held_out : of each member of the trial, by models that did not learn from her, in her row's
        place; the average and the slope are of all. Empty after loading
    """

    kind = "uplift"

    learner: Learner
    columns: int
    effect: float
    effect_error: float
    slope: float
    slope_error: float
    halves: tuple[Half, ...]
    centres: tuple[float, ...]
    spread: float
    held_out: Numbers

    def predict(self, x: ArrayLike) -> Numbers:
        """Return the effect for each member, of shape (n,)."""
        return self.predict_with_error(x)[0]

    def predict_with_error(self, x: ArrayLike) -> tuple[Numbers, Numbers]:
        """Return the effect for each member and its standard error, both of shape (n,).

        The error holds the noise of the average, of what tells members apart, and of how far that
        can be believed. It holds nothing of what these trees cannot express: where effects differ
        by what no column shows, it is the error of the mean of members who look alike.

        Parameters
        ----------
        x : of shape (n, columns), laid out as in `fit`

        Raises
        ------
        InputRefused : if there are more or fewer columns, or one is infinite.
        """
        table = self._table(x)
        apart, own = np.zeros(len(table)), np.zeros(len(table))
        centred = zip(self.halves, self.centres, strict=True)
        for (one, its), (other, others) in zip(centred, centred, strict=False):
            first, second = answer(one, table) - its, answer(other, table) - others
            apart += (first + second) / len(self.halves)
            own += (first - second) ** 2 / (2 * len(self.halves))
        splits = len(self.halves) / 2
        spread = (splits * own + PRIOR_SPLITS * self.spread) / (splits + PRIOR_SPLITS)
        # Drawn in by a slope below 1, an effect keeps slope^2 of its noise and misses (1 - slope)^2
        # of what is true; where the slope is the share of truth, that is slope times the noise.
        noise = self.slope * max(1.0, self.slope) * spread
        variance = self.effect_error**2 + noise + (apart * self.slope_error) ** 2
        return self.effect + self.slope * apart, np.sqrt(variance)

    def save(self, path: Path) -> None:
        """Write the trees as text, and what is needed to read them."""
        path.mkdir(parents=True, exist_ok=True)
        parts = [part for half in self.halves for part in half]
        boosters = list({id(part.booster): part.booster for part in parts}.values())
        places = {id(booster): place for place, booster in enumerate(boosters)}
        files = [
            boosting.save_booster(booster, path, boosting.numbered_file(place))
            for place, booster in enumerate(boosters)
        ]
        facts = {
            "learner": self.learner, "columns": self.columns,
            "effect": self.effect, "effect_error": self.effect_error,
            "slope": self.slope, "slope_error": self.slope_error, "centres": self.centres,
            "spread": self.spread,
            "halves": [
                [[part.weight, places[id(part.booster)], part.told] for part in half]
                for half in self.halves
            ],
        }  # fmt: skip
        folder.write(path, self.kind, facts, files)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        halves = facts.pop("halves")
        last = max((place for half in halves for _, place, _ in half), default=-1)
        boosters = [
            boosting.load_booster(path, boosting.numbered_file(place)) for place in range(last + 1)
        ]
        read = tuple(
            tuple(Part(weight, boosters[place], told) for weight, place, told in half)
            for half in halves
        )
        centres = tuple(facts.pop("centres"))
        return cls(**facts, halves=read, centres=centres, held_out=np.empty(0))

    def _table(self, x: ArrayLike) -> Numbers:
        table = np.asarray(x, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != self.columns or np.isinf(table).any():
            raise InputRefused(
                f"The uplift model reads {self.columns} columns of finite numbers; the table is of "
                f"shape {table.shape}. Nothing was predicted. Lay it out as it was fitted."
            )
        return table


def fit(
    x: ArrayLike,
    treated: ArrayLike,
    outcome: ArrayLike,
    propensity: ArrayLike,
    *,
    learner: Learner = "x",
    seed: int,
    splits: int = SPLITS,
    trees: Trees = UPLIFT_TREES,
    depth: int = DEPTH,
) -> UpliftModel:
    """Learn from a trial what the action changes for whom.

    The order of the rows does not matter. Where nothing can be learned, because an arm is small,
    no column or outcome varies, or what was learned did not come true elsewhere, the model answers
    everybody with the average effect.

    Parameters
    ----------
    x, treated, outcome, propensity : as in `Trial.of`
    learner : dr is the safest where chances differ widely between members; s ranks well on little
        data, but holds back, and its error does not say so
    seed : of the halves
    splits : into halves; the standard error of a member has about as many degrees of freedom
    trees, depth : of every booster

    Raises
    ------
    InputRefused : as `Trial.of`, or if the learner is unknown or there is no split.
    """
    if learner not in LEARNERS or splits < 1:
        raise InputRefused(
            f"Learner {learner!r} with {splits} splits is not known. Nothing was fitted. Take one "
            f"of {', '.join(LEARNERS)}, and at least one split."
        )
    given = Trial.of(x, treated, outcome, propensity)
    order = np.lexsort((given.treated, given.propensity, given.outcome, *given.x.T[::-1]))
    trial = given.take(order)
    if _is_plain(trial):
        return _average(trial, learner)
    rng = np.random.default_rng(seed)
    grow = grower(trees, depth, seed)
    firsts = [first_half(trial, rng) for _ in range(splits)]
    halves, centres, unseen, spread = [], [], np.zeros(len(trial)), 0.0
    for first in firsts:
        apart = []
        for rows in (first, ~first):
            half = LEARN[learner](trial.take(rows), grow, rng)
            everywhere = answer(half, trial.x)
            halves.append(half)
            centres.append(float(everywhere[~rows].mean()))
            apart.append(everywhere - centres[-1])
            unseen[~rows] += apart[-1][~rows] / splits
        spread += float(((apart[0] - apart[1]) ** 2).mean()) / 4 / splits
    scores = doubly_robust(trial, *outcomes_elsewhere(trial, firsts[0], grow))
    effect, effect_error = _mean(scores)
    slope, slope_error = _slope(unseen, scores)
    held_out = np.empty(len(trial))
    held_out[order] = effect + slope * unseen
    return UpliftModel(
        learner, trial.x.shape[1], effect, effect_error, slope, slope_error,
        tuple(halves), tuple(centres), spread, held_out,
    )  # fmt: skip


def blended_ranks(predictions: Sequence[Numbers]) -> Numbers:
    """Return the mean rank of each member over several models, from 0 (lowest) to 1; for ranking.

    Parameters
    ----------
    predictions : of the same members by each model, each of shape (n,)
    """
    ranks = [(rankdata(one) - 0.5) / len(one) for one in predictions]
    mean: Numbers = np.mean(ranks, axis=0)
    return mean


def _is_plain(trial: Trial) -> bool:
    columns_vary = trial.x.shape[1] > 0 and bool((trial.x != trial.x[:1]).any())
    return trial.smaller_arm < LEARNABLE or not columns_vary or not np.ptp(trial.outcome)


def _average(trial: Trial, learner: Learner) -> UpliftModel:
    treated, weights = trial.treated == 1, trial.weights
    means = [
        np.full(len(trial), np.average(trial.outcome[arm], weights=weights[arm]))
        for arm in (treated, ~treated)
    ]
    effect, error = _mean(doubly_robust(trial, *means))
    return UpliftModel(
        learner, trial.x.shape[1], effect, error, 0.0, 0.0, (), (), 0.0, np.full(len(trial), effect)
    )


def _mean(scores: Numbers) -> tuple[float, float]:
    return float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(len(scores)))


def _slope(said: Numbers, scores: Numbers) -> tuple[float, float]:
    """Return the slope of what came true on what was said, from 0 to its most, and its error.

    The error is White's (1980): members' noise differs.
    """
    apart = said - said.mean()
    spread = float(apart @ apart)
    # What a computer's rounding makes of equal answers is no spread.
    if spread <= len(said) * (1e-9 * (1 + abs(float(scores.mean())))) ** 2:
        return 0.0, 0.0
    slope = float(apart @ scores) / spread
    left = scores - scores.mean() - slope * apart
    error = float(np.sqrt(((apart * left) ** 2).sum())) / spread
    surely = min(max(1.0, slope - error), MOST_STRETCHED)
    return min(max(slope, 0.0), surely), error
