"""Five ways to learn an effect from a trial, on shallow boosted trees.

Each gives booster answers to add up, so that a fitted learner is nothing but trees and weights.

Source
------
Kuenzel, Sekhon, Bickel, Yu (2019), PNAS 116(10): S, T and X. Nie, Wager (2021), Biometrika 108(2):
R. Kennedy (2023), Electronic Journal of Statistics 17(2): DR.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from training.models import boosting
from training.models.boosting import Trees
from training.models.trial import Numbers, Trial, doubly_robust

Learner = Literal["s", "t", "x", "r", "dr"]
LEARNERS: tuple[Learner, ...] = get_args(Learner)
# Effects are faint: few, shallow trees with big leaves; what won on retail experiments.
UPLIFT_TREES = Trees(
    n_trees=60, learning_rate=0.1, num_leaves=4, min_data_in_leaf=200, feature_fraction=1.0,
    bagging_fraction=1.0,
)  # fmt: skip
DEPTH = 2
# A table too small for big leaves has leaves of a twentieth of it, down to this.
LEAF_SHARE, SMALLEST_LEAF = 20, 20

# From columns, outcomes and weights.
Grow = Callable[[Numbers, Numbers, Numbers], lgb.Booster]


@dataclass(frozen=True, eq=False)
class Part:
    """One booster's share in a prediction.

    Attributes
    ----------
    weight : what its answer is multiplied with before all are added
    told : what it is told of the treatment, as a last column; None if it has no such column
    """

    weight: float
    booster: lgb.Booster
    told: float | None = None

    def answer(self, x: Numbers) -> Numbers:
        """Return its share in each prediction, of shape (n,)."""
        table = x if self.told is None else np.column_stack([x, np.full(len(x), self.told)])
        return self.weight * boosting.raw_predictions(self.booster, table, 1)


Half = tuple[Part, ...]


def answer(half: Half, x: Numbers) -> Numbers:
    """Return the effect a fitted learner sees for each member, of shape (n,)."""
    total: Numbers = np.sum([part.answer(x) for part in half], axis=0)
    return total


def _s(half: Trial, grow: Grow, _: np.random.Generator) -> Half:
    both = grow(np.column_stack([half.x, half.treated]), half.outcome, half.weights)
    return Part(1.0, both, 1.0), Part(-1.0, both, 0.0)


def _t(half: Trial, grow: Grow, _: np.random.Generator) -> Half:
    with_action, without = _arms(half, grow)
    return Part(1.0, with_action), Part(-1.0, without)


def _x(half: Trial, grow: Grow, _: np.random.Generator) -> Half:
    # Each arm's model speaks of the other arm's members only: nobody is in both.
    with_action, without = (Part(1.0, booster) for booster in _arms(half, grow))
    treated, share = half.treated == 1, float(half.propensity.mean())
    gained = np.where(
        treated, half.outcome - without.answer(half.x), with_action.answer(half.x) - half.outcome
    )
    on_treated, on_controls = (
        grow(half.x[arm], gained[arm], half.weights[arm]) for arm in (treated, ~treated)
    )
    # What an arm gained stands on the other arm's model, which is the better the larger that is.
    return Part(share, on_controls), Part(1 - share, on_treated)


def _r(half: Trial, grow: Grow, rng: np.random.Generator) -> Half:
    with_action, without = outcomes_elsewhere(half, first_half(half, rng), grow)
    expected = half.propensity * with_action + (1 - half.propensity) * without
    surprise = half.treated - half.propensity
    return (Part(1.0, grow(half.x, (half.outcome - expected) / surprise, surprise**2)),)


def _dr(half: Trial, grow: Grow, rng: np.random.Generator) -> Half:
    guesses = outcomes_elsewhere(half, first_half(half, rng), grow)
    return (Part(1.0, grow(half.x, doubly_robust(half, *guesses), np.ones(len(half)))),)


LEARN: dict[Learner, Callable[[Trial, Grow, np.random.Generator], Half]] = {
    "s": _s, "t": _t, "x": _x, "r": _r, "dr": _dr,
}  # fmt: skip


def _arms(trial: Trial, grow: Grow) -> tuple[lgb.Booster, lgb.Booster]:
    treated, weights = trial.treated == 1, trial.weights
    with_action, without = (
        grow(trial.x[arm], trial.outcome[arm], weights[arm]) for arm in (treated, ~treated)
    )
    return with_action, without


def outcomes_elsewhere(
    trial: Trial, first: NDArray[np.bool_], grow: Grow
) -> tuple[Numbers, Numbers]:
    """Return outcomes with the action and without, each by a model of the half she is not in."""
    expected = np.empty((2, len(trial)))
    for rows in (first, ~first):
        boosters = _arms(trial.take(~rows), grow)
        expected[:, rows] = [Part(1.0, booster).answer(trial.x[rows]) for booster in boosters]
    return expected[0], expected[1]


def first_half(trial: Trial, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw half of each arm."""
    places, drawn = np.empty(len(trial), dtype=np.int64), rng.random(len(trial))
    for arm in (trial.treated == 1, trial.treated == 0):
        places[arm] = drawn[arm].argsort().argsort()
    even: NDArray[np.bool_] = places % 2 == 0
    return even


def grower(trees: Trees, depth: int, seed: int) -> Grow:
    """Return what fits trees of that size to a table of any size."""
    settings = {
        **trees.parameters(seed=seed, num_threads=1), "objective": "regression", "max_depth": depth
    }  # fmt: skip

    def grow(x: Numbers, outcome: Numbers, weights: Numbers) -> lgb.Booster:
        leaf = min(trees.min_data_in_leaf, max(SMALLEST_LEAF, len(x) // LEAF_SHARE))
        parameters = {**settings, "min_data_in_leaf": leaf}
        names = [f"column_{place}" for place in range(x.shape[1])]
        table = boosting.dataset(x, outcome, names, parameters).set_weight(weights)
        booster = lgb.train(parameters, table, num_boost_round=trees.n_trees)
        return lgb.Booster(model_str=booster.model_to_string())

    return grow
