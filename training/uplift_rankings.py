"""Who is to be contacted first: by uplift, and by the rankings that are used instead of it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from training.models import boosting
from training.models.trial import Numbers, Trial
from training.models.uplift import SPLITS, UpliftModel, blended_ranks, fit
from training.models.uplift_learners import DEPTH, LEARNERS, UPLIFT_TREES, Learner, grower

FOLDS = 5
BLEND, RESPONSE, RISK, CHANCE = "blend", "response", "risk first", "random"
# What is left when each rank is the mean of theirs; R says what DR says.
BLENDED: tuple[Learner, ...] = ("s", "t", "x", "dr")


def learned(
    trial: Trial, *, learners: Sequence[Learner] = LEARNERS, seed: int, splits: int = SPLITS
) -> dict[str, UpliftModel]:
    """Return a model of each learner."""
    return {
        name: fit(
            trial.x, trial.treated, trial.outcome, trial.propensity, learner=name, seed=seed,
            splits=splits,
        )
        for name in learners
    }  # fmt: skip


def with_blend(scores: dict[str, Numbers]) -> dict[str, Numbers]:
    """Return the scores and, where its learners are all there, their blend."""
    if not set(BLENDED) <= scores.keys():
        return scores
    return {BLEND: blended_ranks([scores[name] for name in BLENDED]), **scores}


def usual_rankings(trial: Trial, x: Numbers, *, seed: int) -> dict[str, Numbers]:
    """Return how members would be ranked without asking what the action changes.

    Parameters
    ----------
    trial : to learn from
    x : of other members, of shape (n, columns)
    seed : of the random ranking

    Returns
    -------
    higher first, each of shape (n,): `response`, by the outcome expected with the action;
    `risk first`, by how little is expected without it; `random`
    """
    grow = grower(UPLIFT_TREES, DEPTH, seed)
    treated = trial.treated == 1
    with_action, without = (
        boosting.raw_predictions(grow(trial.x[arm], trial.outcome[arm], trial.weights[arm]), x, 1)
        for arm in (treated, ~treated)
    )
    return {
        RESPONSE: with_action, RISK: -without,
        CHANCE: np.random.default_rng(seed).random(len(x)),
    }  # fmt: skip


def cross_fitted(
    trial: Trial,
    *,
    learners: Sequence[Learner] = LEARNERS,
    seed: int,
    folds: int = FOLDS,
    splits: int = SPLITS,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """Return rankings and effects of members by models that did not learn from them.

    Members are ranked within their fold: between folds, models differ in what they expect of all.

    Parameters
    ----------
    tell : is told each fold that is done

    Returns
    -------
    ranks within 0 and 1 by ranking, and effects in the outcome's unit by learner; each of
    shape (n,)
    """
    fold = fold_of(trial, folds, np.random.default_rng(seed))
    ranks: dict[str, Numbers] = {}
    effects: dict[str, Numbers] = {name: np.empty(len(trial)) for name in learners}
    for number in range(folds):
        inside, past = fold == number, trial.take(fold != number)
        models = learned(past, learners=learners, seed=seed + number, splits=splits)
        said = {name: model.predict(trial.x[inside]) for name, model in models.items()}
        usual = usual_rankings(past, trial.x[inside], seed=seed + number)
        for name, score in {**with_blend(said), **usual}.items():
            ranks.setdefault(name, np.empty(len(trial)))[inside] = ranks_of(score)
        for name, score in said.items():
            effects[name][inside] = score
        tell(f"fold {number + 1} of {folds}")
    return ranks, effects


def fold_of(trial: Trial, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal the members of each arm out evenly; return each one's fold, of shape (n,)."""
    drawn, fold = rng.random(len(trial)), np.empty(len(trial), dtype=np.int64)
    for arm in (trial.treated == 1, trial.treated == 0):
        fold[arm] = drawn[arm].argsort().argsort() % folds
    return fold


def ranks_of(score: Numbers) -> Numbers:
    """Return the share of campaign sizes at which each member is reached, within 0 and 1.

    Contacting her with that probability earns, less contacting everybody with a half, exactly the
    Qini of the ranking.
    """
    ranks: Numbers = (rankdata(score) - 0.5) / len(score)
    return ranks
