"""What another policy would have earned, from what was logged: one cohort judges any number.

Every logged action has the exact chance with which it was taken. A member whose logged action the
other policy would have taken as well stands for all those like her, so many as that chance says.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from actions.effects import ALPHA, Numbers
from programme.errors import InputRefused

Places = NDArray[np.int64]

# No member stands for more than so many.
CLIP = 20.0
# An estimate is trusted if it rests on at least this share of the members, at full weight each,
# and no logged action was rarer than this.
TRUSTED_SHARE, TRUSTED_CHANCE = 0.2, 0.02
_HAIR = 1e-6


@dataclass(frozen=True, eq=False)
class Cohort:
    """Logged decisions and what came of them.

    Attributes
    ----------
    taken : the place of each member's action, 0 is no contact, of shape (n,)
    outcome : in one unit, after the action's cost, of shape (n,)
    propensity : the chance with which that action was taken, of shape (n,)
    expected : the outcome of each action for each member, guessed by models that did not learn
        from her, of shape (n, actions); None does without, and knows less
    """

    taken: Places
    outcome: Numbers
    propensity: Numbers
    expected: Numbers | None = None

    def __post_init__(self) -> None:
        """Refuse what is no log.

        Raises
        ------
        InputRefused
            When lengths differ, there are fewer than two members, an outcome or a guess is no
            number, or a propensity is not above 0 and at most 1.
        """
        n, guesses = len(self.taken), self.expected
        shapes = {self.taken.shape, self.outcome.shape, self.propensity.shape}
        if n < 2 or shapes != {(n,)} or (guesses is not None and guesses.shape[:1] != (n,)):
            raise _refused(
                f"{n} actions, {len(self.outcome)} outcomes, {len(self.propensity)} propensities "
                f"and guesses of shape {getattr(guesses, 'shape', None)} are no log of two members "
                "or more"
            )
        numbers = self.outcome if guesses is None else np.c_[self.outcome, guesses]
        if not np.isfinite(numbers).all():
            raise _refused(f"{int((~np.isfinite(numbers)).sum())} outcomes or guesses are none")
        # NaN fails every comparison.
        fair = (self.propensity > 0) & (self.propensity <= 1)
        if not fair.all():
            raise _refused(
                f"the propensity of {int((~fair).sum())} members is not above 0 and at most 1, "
                f"such as {self.propensity[~fair][0]}"
            )

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.taken)


@dataclass(frozen=True)
class Estimate:
    """A mean outcome a member, its standard error, and where it lies in 95 of 100 cohorts."""

    value: float
    standard_error: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, value: float, standard_error: float, *, alpha: float = ALPHA) -> "Estimate":
        """Make one with the interval of a normal mean."""
        reach = float(stats.norm.ppf(1 - alpha / 2)) * standard_error
        return cls(value, standard_error, (value - reach, value + reach))

    @classmethod
    def mean(cls, scores: Numbers, *, alpha: float = ALPHA) -> "Estimate":
        """Make one of independent scores whose mean is the value."""
        error = float(scores.std(ddof=1)) / np.sqrt(len(scores))
        return cls.of(float(scores.mean()), float(error), alpha=alpha)


@dataclass(frozen=True)
class PolicyValue:
    """What a policy would have earned a member, estimated three ways, and how far to trust it.

    Attributes
    ----------
    ips : by inverse chances: right on average, noisy
    snips : the same, its weights made to add up: less noisy, hardly biased
    dr : doubly robust: what models expect, corrected by what happened; None without guesses
    members : of the cohort
    effective_members : so many members of equal weight say as much as these
    smallest_propensity : of the logged actions
    clipped_share : of the members, whose weight was cut to the clip
    """

    ips: Estimate
    snips: Estimate
    dr: Estimate | None
    members: int
    effective_members: float
    smallest_propensity: float
    clipped_share: float

    @property
    def trusted(self) -> bool:
        """Say whether the estimate rests on enough members, and on no action too rare."""
        enough = self.effective_members >= TRUSTED_SHARE * self.members
        return enough and self.smallest_propensity >= TRUSTED_CHANCE

    @property
    def trust(self) -> str:
        """Say in a sentence whether to believe it, and why."""
        rests = (
            f"{self.effective_members:,.0f} of {self.members:,} members carry it, the rarest "
            f"action was taken with probability {self.smallest_propensity:.3g}, and "
            f"{self.clipped_share:.1%} of the weights were cut"
        )
        if self.trusted:
            return f"trusted: {rests}"
        return (
            f"not trusted: {rests}; it takes {TRUSTED_SHARE:.0%} of the members and a probability "
            f"of {TRUSTED_CHANCE}"
        )


def value_of(policy: ArrayLike, cohort: Cohort, *, clip: float = CLIP) -> PolicyValue:
    """Return what a policy would have earned on a cohort.

    Parameters
    ----------
    policy : the place of the action it takes for each member, of shape (n,), or the probability
        of each action, of shape (n, actions); made without looking at the cohort's outcomes
    clip : the most members one may stand for

    Raises
    ------
    InputRefused : if the policy is not of these members, or its probabilities do not make one.

    Source
    ------
    Horvitz, Thompson (1952); Swaminathan, Joachims (2015), NeurIPS: SNIPS; Dudik, Langford, Li
    (2011), ICML: DR; Kish (1965): effective members.
    """
    chances = _chances(policy, cohort)
    uncut = chances[np.arange(len(cohort)), cohort.taken] / cohort.propensity
    weights = np.minimum(uncut, clip)
    total = float(weights.sum())
    squares = float(weights @ weights)
    return PolicyValue(
        Estimate.mean(weights * cohort.outcome),
        _self_normalised(weights, cohort.outcome),
        None if cohort.expected is None else Estimate.mean(scores_of(policy, cohort, clip=clip)),
        len(cohort),
        total**2 / squares if squares else 0.0,
        float(cohort.propensity.min()),
        float((uncut > clip).mean()),
    )


def scores_of(policy: ArrayLike, cohort: Cohort, *, clip: float = CLIP) -> Numbers:
    """Return each member's doubly robust score, whose mean is the policy's value, of shape (n,).

    Scores of two policies on one cohort may be subtracted: their noise is largely the same.
    """
    chances = _chances(policy, cohort)
    here = np.arange(len(cohort))
    weights = np.minimum(chances[here, cohort.taken] / cohort.propensity, clip)
    if cohort.expected is None:
        inverse: Numbers = weights * cohort.outcome
        return inverse
    left = cohort.outcome - cohort.expected[here, cohort.taken]
    scores: Numbers = (chances * cohort.expected).sum(axis=1) + weights * left
    return scores


def uniform(action: int, members: int) -> Places:
    """Return the policy that takes one action for everybody."""
    return np.full(members, action, dtype=np.int64)


def _self_normalised(weights: Numbers, outcome: Numbers) -> Estimate:
    total = float(weights.sum())
    if not total:
        return Estimate.of(float("nan"), float("nan"))
    value = float(weights @ outcome) / total
    return Estimate.of(value, float(np.sqrt(((weights * (outcome - value)) ** 2).sum())) / total)


def _chances(policy: ArrayLike, cohort: Cohort) -> Numbers:
    given = np.asarray(policy)
    highest = int(cohort.taken.max())
    if given.ndim == 1 and given.shape == (len(cohort),) and given.dtype.kind in "iu":
        actions = 1 + max(highest, int(given.max()))
        if cohort.expected is not None:
            actions = cohort.expected.shape[1]
        if min(int(given.min()), int(cohort.taken.min())) < 0 or int(given.max()) >= actions:
            raise _refused(f"a policy's action is not one of 0 to {actions - 1}")
        given = np.eye(actions)[given]
    chances = np.asarray(given, dtype=np.float64)
    wanted = None if cohort.expected is None else cohort.expected.shape
    if chances.ndim != 2 or len(chances) != len(cohort) or wanted not in (None, chances.shape):
        raise _refused(
            f"a policy of shape {np.shape(policy)} is not of these {len(cohort)} members and "
            f"guesses of shape {wanted}"
        )
    whole = np.abs(chances.sum(axis=1) - 1) < _HAIR
    if not (whole & (chances >= 0).all(axis=1)).all():
        raise _refused(f"the probabilities of {int((~whole).sum())} members do not make one")
    if highest >= chances.shape[1] or int(cohort.taken.min()) < 0:
        raise _refused(f"action {highest} was taken, and the policy knows {chances.shape[1]}")
    return chances


def _refused(what: str) -> InputRefused:
    return InputRefused(
        f"A policy cannot be judged: {what}. Nothing was estimated. Give for each member her "
        "action, its outcome and its logged propensity, and for each policy an action or "
        "probabilities that make one."
    )
