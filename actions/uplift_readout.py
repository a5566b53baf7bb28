"""What a randomised table says: the average effect, who is changed most, and is choosing worth it.

Every figure of a learned ranking or policy is of members its models did not learn from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actions import gate
from actions.gate import Verdict
from actions.off_policy import Cohort, Estimate, Places, PolicyValue, uniform, value_of
from actions.trial_table import TrialTable
from training.models.expected_outcomes import expected_outcomes
from training.models.trial import Numbers, doubly_robust
from training.models.uplift import fit
from training.models.uplift_learners import Learner
from training.uplift_metrics import Judged
from training.uplift_metrics import judge as judge_rankings
from training.uplift_rankings import BLEND, BLENDED, FOLDS, cross_fitted, fold_of, ranks_of

LEARNED = "learned"
# Each member is judged by models of five folds: fewer halves of each do.
SPLITS = 4
Tell = Callable[[str], None]


@dataclass(frozen=True)
class ArmReadout:
    """One arm beside the control.

    Attributes
    ----------
    members : of the two arms
    effect : on average, doubly robust
    judged : rankings, on doubly robust scores
    best : name of the ranking the gate looked at
    verdict : whether that ranking surely brings more than chance
    """

    arm: str
    members: int
    effect: Estimate
    judged: Judged
    best: str
    verdict: Verdict


@dataclass(frozen=True)
class Readout:
    """Everything a table says.

    Attributes
    ----------
    arms : each beside the control
    policies : value of each policy, after costs, by name
    verdict : whether the learned policy may replace the best that treats all alike
    against : the name of that one
    """

    arms: tuple[ArmReadout, ...]
    policies: Mapping[str, PolicyValue]
    verdict: Verdict
    against: str


def read_out(
    table: TrialTable,
    *,
    learners: Sequence[Learner] = BLENDED,
    costs: Mapping[str, float] | None = None,
    worth: float = 1.0,
    seed: int,
    tell: Tell = lambda _: None,
) -> Readout:
    """Return what a table says.

    Parameters
    ----------
    learners : of uplift; the last of them makes the policy
    costs : of giving each arm to one member; arms not named cost nothing
    worth : of one unit of the outcome, in the unit of the costs
    seed : of halves, folds and resamples
    tell : is told each step that is done
    """
    arms = tuple(_arm(table, place, learners, seed, tell) for place in range(1, len(table.arms)))
    spent = np.array([(costs or {}).get(arm, 0.0) for arm in table.arms])
    profit = worth * table.outcome - spent[table.taken]
    expected = expected_outcomes(table.x, table.taken, profit, actions=len(table.arms), seed=seed)
    cohort = Cohort(table.taken, profit, table.propensity, expected)
    policies: dict[str, Places] = {
        f"{arm} to all": uniform(place, len(profit)) for place, arm in enumerate(table.arms)
    }
    values = {name: value_of(policy, cohort) for name, policy in policies.items()}
    against = max(values, key=lambda name: _doubly_robust(values[name]))
    policies[LEARNED] = _policy(table, profit, learners[-1], seed)
    tell("policy")
    values[LEARNED] = value_of(policies[LEARNED], cohort)
    verdict = gate.judge(policies[LEARNED], policies[against], cohort, against=against)
    return Readout(arms, values, verdict, against)


def _arm(
    table: TrialTable, place: int, learners: Sequence[Learner], seed: int, tell: Tell
) -> ArmReadout:
    trial = table.trial(place)

    def told(step: str) -> None:
        tell(f"{table.arms[place]}, {step}")

    ranks, _ = cross_fitted(trial, learners=learners, seed=seed, splits=SPLITS, tell=told)
    taken = trial.treated.astype(np.int64)
    expected = expected_outcomes(trial.x, taken, trial.outcome, actions=2, seed=seed)
    scores = doubly_robust(trial, expected[:, 1], expected[:, 0])
    chance = np.where(taken == 1, trial.propensity, 1 - trial.propensity)
    best = BLEND if BLEND in ranks else learners[-1]
    return ArmReadout(
        table.arms[place], len(trial), Estimate.mean(scores),
        judge_rankings(ranks, scores, seed=seed), best,
        gate.judge_ranking(
            ranks_of(ranks[best]), Cohort(taken, trial.outcome, chance, expected),
            what=f"choosing whom to give {table.arms[place]}",
        ),
    )  # fmt: skip


def _policy(table: TrialTable, profit: Numbers, learner: Learner, seed: int) -> Places:
    """Return for each member the arm of most expected profit, learned on the other folds."""
    gained = np.zeros((len(profit), len(table.arms)))
    for arm in range(1, len(table.arms)):
        among = (table.taken == arm) | (table.taken == 0)
        trial = table.trial(arm, profit)
        # Whoever got another arm taught these models nothing: any fold is right for her.
        fold = np.random.default_rng(seed).integers(FOLDS, size=len(profit))
        fold[among] = fold_of(trial, FOLDS, np.random.default_rng(seed))
        for number in range(FOLDS):
            past = trial.take(fold[among] != number)
            model = fit(
                past.x, past.treated, past.outcome, past.propensity, learner=learner,
                seed=seed + number, splits=SPLITS,
            )  # fmt: skip
            inside = fold == number
            gained[inside, arm] = model.predict(table.x[inside])
    chosen: Places = gained.argmax(axis=1)
    return chosen


def _doubly_robust(value: PolicyValue) -> float:
    return float("-inf") if value.dr is None else value.dr.value
