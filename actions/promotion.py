"""Whether what was learned of an action may decide: judged on members it did not learn from.

Before that, the action is drawn at random among those the prior lets it be tried on. What is
judged is whether its model would have chosen better: as many contacts at most, for those who are
expected to bring most in place of anybody, and none for those expected to cost. How many there will
be is the budget's to say, so it is judged on the average over all numbers, which takes what every
contact taught. (Judged at the number that was contacted it would be the few who got the action
among the few it would have picked: one good offer waited four cycles so, docs/decisions/0019.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actions.gate import Verdict, judge_ranking
from actions.learned import EFFECT_TREES, ActionModel, Logged
from actions.off_policy import Cohort
from actions.plan import Numbers
from actions.policy import Costs
from training.models.boosting import Trees
from training.models.trial import Trial
from training.models.uplift_learners import DEPTH, first_half, grower, outcomes_elsewhere
from training.uplift_rankings import ranks_of


@dataclass(frozen=True, eq=False)
class Case:
    """What an action's model would have done in one cohort that taught it nothing.

    Attributes
    ----------
    reached : the share of campaign sizes at which it would contact each member, of shape (n,)
    cohort : what was done, and what came of it
    """

    reached: Numbers
    cohort: Cohort


def case(
    logged: Logged,
    action: int,
    model: ActionModel,
    costs: Costs,
    *,
    seed: int,
    trees: Trees = EFFECT_TREES,
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
    few, _, thinned = logged.thinned(action, rng)
    got = few.done == action
    spent = costs.contact[0] * got + costs.redeem[0] * few.redeemed
    trial = Trial.of(model.within(few.x), got, few.outcome * few.value - spent, thinned)
    profit = model.profit(few.x, few.value, costs)[0].mean[:, 0]
    reached = np.where(profit > 0, ranks_of(profit), 0.0)
    return Case(reached, _cohort(trial, trees, rng, seed))


def verdict(
    cases: Sequence[Case], *, name: str = "the action", unit: str = "minor units"
) -> Verdict:
    """Return whether an action's model may decide, against as many contacts by chance.

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
    reached = np.concatenate([one.reached for one in cases])
    return judge_ranking(reached, cohort, what=name, unit=unit)


def _cohort(trial: Trial, trees: Trees, rng: np.random.Generator, seed: int) -> Cohort:
    guesses = outcomes_elsewhere(trial, first_half(trial, rng), grower(trees, DEPTH, seed))
    taken = trial.treated.astype(np.int64)
    chance = np.where(taken == 1, trial.propensity, 1 - trial.propensity)
    return Cohort(taken, trial.outcome, chance, np.column_stack(guesses[::-1]))
