"""What each action is expected to bring each member, by models that did not learn from her."""

import numpy as np
from numpy.typing import NDArray

from programme.errors import InputRefused
from training.models import boosting
from training.models.boosting import Trees
from training.models.trial import Numbers
from training.models.uplift_learners import DEPTH, SMALLEST_LEAF, UPLIFT_TREES, grower

FOLDS = 5


def expected_outcomes(
    x: Numbers,
    taken: NDArray[np.int64],
    outcome: Numbers,
    *,
    actions: int,
    seed: int,
    folds: int = FOLDS,
    trees: Trees = UPLIFT_TREES,
    depth: int = DEPTH,
) -> Numbers:
    """Return the expected outcome of each action for each member, of shape (n, actions).

    Shallow boosted trees for each action, on the members of all folds but hers. An action taken
    for few is expected to bring what it brought those few on average. The order of the rows does
    not matter.

    Parameters
    ----------
    x : what was known before, of shape (n, columns); NaN is absent
    taken : the place of each member's action, of shape (n,)
    outcome : of shape (n,)
    actions : how many there are
    seed : of the folds

    Raises
    ------
    InputRefused : if outside some fold nobody got an action.
    """
    order = np.lexsort((taken, outcome, *x.T[::-1]))
    fold = _folds(taken[order], folds, np.random.default_rng(seed))
    grow = grower(trees, depth, seed)
    expected = np.empty((len(x), actions))
    for number in range(folds):
        inside = order[fold == number]
        outside = order[fold != number]
        for action in range(actions):
            rows = outside[taken[outside] == action]
            if not len(rows):
                raise InputRefused(
                    f"Action {action} was taken for fewer than two members, so what it brings "
                    "cannot be expected. Nothing was computed. Leave it out of the comparison."
                )
            if len(rows) < 2 * SMALLEST_LEAF or not x.shape[1] or not np.ptp(outcome[rows]):
                expected[inside, action] = outcome[rows].mean()
                continue
            booster = grow(x[rows], outcome[rows], np.ones(len(rows)))
            expected[inside, action] = boosting.raw_predictions(booster, x[inside], 1)
    return expected


def _folds(taken: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal the members of each action out evenly."""
    drawn, fold = rng.random(len(taken)), np.empty(len(taken), dtype=np.int64)
    for action in np.unique(taken):
        mine = taken == action
        fold[mine] = drawn[mine].argsort().argsort() % folds
    return fold
