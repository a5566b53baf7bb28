"""Whether what was learned of an action may decide: judged on members it did not learn from.

Before that, the action is drawn at random among those the prior lets it be tried on. What is
judged is whether its model would have chosen better: as many contacts at most, and those who were
expected to bring most in place of anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actions.gate import Verdict, judge
from actions.learned import ActionModel, Logged
from actions.off_policy import Cohort
from actions.plan import Numbers, Places
from actions.policy import Costs
from training.models.boosting import Trees
from training.models.trial import Trial
from training.models.uplift_learners import (
    DEPTH,
    UPLIFT_TREES,
    first_half,
    grower,
    outcomes_elsewhere,
)


@dataclass(frozen=True, eq=False)
class Case:
    """What an action's model would have done in one cohort that taught it nothing.

    Attributes
    ----------
    rule : 1 where it would contact, as many as were contacted at most, of shape (n,)
    at_random : the chances of doing without and of contacting with which it was logged, (n, 2)
    cohort : what was done, and what came of it
    """

    rule: Places
    at_random: Numbers
    cohort: Cohort


def case(
    logged: Logged,
    action: int,
    model: ActionModel,
    costs: Costs,
    *,
    seed: int,
    trees: Trees = UPLIFT_TREES,
) -> Case:
    """Return what a model would have done in a cohort, beside what was done.

    Parameters
    ----------
    logged : decisions that taught the model nothing: of a campaign after those it learned from
    costs : of the action alone
    seed : of who is judged on, where more got nothing than are needed, and of halves

    Raises
    ------
    InputRefused : if nobody got the action, or nobody went without.
    """
    rng = np.random.default_rng(seed)
    few, share, thinned = logged.thinned(action, rng)
    got = few.done == action
    spent = costs.contact[0] * got + costs.redeem[0] * few.redeemed
    trial = Trial.of(few.x, got, few.outcome * few.value - spent, thinned)
    profit = model.profit(few.x, few.value, costs)[0].mean[:, 0]
    contacts = round(float(share.sum()))
    rule = np.zeros(len(few), dtype=np.int64)
    rule[np.argsort(-profit, kind="stable")[:contacts]] = 1
    rule[profit <= 0] = 0
    at_random = np.column_stack([1 - share, share])
    return Case(rule, at_random, _cohort(trial, trees, rng, seed))


def verdict(
    cases: Sequence[Case], *, name: str = "the action", unit: str = "minor units"
) -> Verdict:
    """Return whether an action's model may decide, against drawing it at random as was done.

    Parameters
    ----------
    cases : of one cohort or more, each with the model as it stood before that cohort. What is
        judged then is the way of learning, on members that taught it nothing; more of them let
        smaller gains be sure
    """
    parts = [one.cohort for one in cases]
    guesses = [part.expected for part in parts if part.expected is not None]
    cohort = Cohort(
        np.concatenate([part.taken for part in parts]),
        np.concatenate([part.outcome for part in parts]),
        np.concatenate([part.propensity for part in parts]),
        np.concatenate(guesses),
    )
    return judge(
        np.concatenate([one.rule for one in cases]),
        np.concatenate([one.at_random for one in cases]),
        cohort, against="drawing it at random", what=name, unit=unit,
    )  # fmt: skip


def _cohort(trial: Trial, trees: Trees, rng: np.random.Generator, seed: int) -> Cohort:
    guesses = outcomes_elsewhere(trial, first_half(trial, rng), grower(trees, DEPTH, seed))
    taken = trial.treated.astype(np.int64)
    chance = np.where(taken == 1, trial.propensity, 1 - trial.propensity)
    return Cohort(taken, trial.outcome, chance, np.column_stack(guesses[::-1]))
