"""Whether a learned policy may replace the one that decides now: only if it surely earns more.

On a cohort the challenger did not learn from, the lower end of the 95 % interval of (its value -
the incumbent's) must lie above zero. Whoever refuses says why.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from actions.effects import Numbers
from actions.off_policy import CLIP, Cohort, Estimate, PolicyValue, scores_of, value_of
from programme.errors import InputRefused

# Fewer members with an action say nothing of it, whatever the interval pretends.
LEAST = 100


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may decide from now on, with the figures and the reason.

    Attributes
    ----------
    promoted : whether it may
    difference : challenger's value less the incumbent's, for one member of the cohort
    challenger, incumbent : their values, and how far these can be trusted
    differing : share of the members for whom the two decide differently
    reason : one sentence, to be shown
    """

    promoted: bool
    difference: Estimate
    challenger: PolicyValue
    incumbent: PolicyValue
    differing: float
    reason: str


def judge(
    challenger: ArrayLike,
    incumbent: ArrayLike,
    cohort: Cohort,
    *,
    against: str = "the incumbent",
    what: str = "personalisation",
    unit: str = "",
    clip: float = CLIP,
) -> Verdict:
    """Return whether a challenger may replace an incumbent.

    Parameters
    ----------
    challenger, incumbent : policies, as `off_policy.value_of` takes them
    cohort : none of its outcomes taught the challenger: the next one, or held out
    against, what, unit : how to call the incumbent, the challenger and the outcome in the reason

    Raises
    ------
    InputRefused : as `off_policy.value_of`, or if the cohort has no guesses.
    """
    if cohort.expected is None:
        raise InputRefused(
            "The gate judges by doubly robust values, and the cohort has no expected outcomes. "
            "Nothing was judged. Give them, from models that did not learn from these members."
        )
    values = [value_of(policy, cohort, clip=clip) for policy in (challenger, incumbent)]
    gained = scores_of(challenger, cohort, clip=clip) - scores_of(incumbent, cohort, clip=clip)
    difference = Estimate.mean(gained)
    differing = _differing(challenger, incumbent)
    why = _objection(cohort, values, difference, differing)
    reason = _reason(why, difference, differing, cohort, what=what, against=against, unit=unit)
    return Verdict(not why, difference, values[0], values[1], differing, reason)


def judge_ranking(
    reached: Numbers, cohort: Cohort, *, what: str = "ranking by uplift", unit: str = ""
) -> Verdict:
    """Return whether contacting in the order of a ranking surely earns more than by chance.

    On average over campaigns of every size, each as large as the other. The difference is the
    ranking's Qini.

    Parameters
    ----------
    reached : the share of sizes at which each member is contacted, of shape (n,);
        `training.uplift_rankings.ranks_of` makes it of a score. 0 for whoever is never contacted:
        then a size is of as many at most, and those who are saved a contact count as well
    cohort : of one action and none
    """
    policy = np.column_stack([1 - reached, reached])
    by_chance = np.full((len(cohort), 2), 0.5)
    return judge(policy, by_chance, cohort, against="as many by chance", what=what, unit=unit)


def _reason(
    why: str | None, difference: Estimate, differing: float, cohort: Cohort, *, what: str,
    against: str, unit: str,
) -> str:  # fmt: skip
    if not differing:
        return f"{what} refused: {why}"
    low, high = difference.interval
    measured = (
        f"{difference.value:+.4g}{f' {unit}' if unit else ''} a member against {against} (95 % "
        f"interval {low:+.4g} to {high:+.4g}, on {len(cohort):,} members it had not seen)"
    )
    return f"{what} refused: {why}; measured {measured}" if why else f"{what} promoted: {measured}"


def _objection(
    cohort: Cohort, values: list[PolicyValue], difference: Estimate, differing: float
) -> str | None:
    actions = 1 if cohort.expected is None else cohort.expected.shape[1]
    smallest = int(np.bincount(cohort.taken, minlength=actions).min())
    if smallest < LEAST:
        return f"an action was taken for {smallest} members only, and it takes {LEAST}"
    if not differing:
        return "it decides as the incumbent does for everybody, so there is nothing to gain"
    for name, value in zip(("its value", "the incumbent's value"), values, strict=True):
        if not value.trusted:
            return f"{name} is {value.trust}"
    if difference.interval[0] > 0:
        return None
    if difference.interval[1] < 0:
        return "it surely earns less"
    return "it does not surely earn more"


def _differing(challenger: ArrayLike, incumbent: ArrayLike) -> float:
    one, other = np.asarray(challenger), np.asarray(incumbent)
    if one.ndim == 1 and other.ndim == 1:
        return float((one != other).mean())
    actions = max(_highest(one), _highest(other)) + 1
    apart: Numbers = np.abs(_laid_out(one, actions) - _laid_out(other, actions)).max(axis=1)
    return float((apart > 1e-9).mean())


def _highest(policy: Numbers) -> int:
    return int(policy.max()) if policy.ndim == 1 else policy.shape[1] - 1


def _laid_out(policy: Numbers, actions: int) -> Numbers:
    laid: Numbers = np.eye(actions)[policy.astype(np.int64)] if policy.ndim == 1 else policy
    return laid
