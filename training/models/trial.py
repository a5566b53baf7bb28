"""Rows of an experiment: who got the action, by which known chance, and what came of it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trial:
    """Members who got an action or did not, by chance.

    Attributes
    ----------
    x : what was known of each before, of shape (n, columns); NaN is absent
    treated : 1 with the action, 0 without, of shape (n,)
    outcome : in any one unit, of shape (n,)
    propensity : the chance with which she was to get the action, within 0 and 1, of shape (n,)
    """

    x: Numbers
    treated: Numbers
    outcome: Numbers
    propensity: Numbers

    @classmethod
    def of(
        cls, x: ArrayLike, treated: ArrayLike, outcome: ArrayLike, propensity: ArrayLike
    ) -> Self:
        """Make one of anything array-like; one propensity may stand for all.

        Raises
        ------
        InputRefused
            When lengths differ, a number is none, treated is neither 0 nor 1, a propensity is not
            within 0 and 1, or an arm is empty.
        """
        before = np.asarray(x, dtype=np.float64)
        arm, result = (np.asarray(given, dtype=np.float64) for given in (treated, outcome))
        chance = np.asarray(propensity, dtype=np.float64)
        if chance.ndim == 0:
            chance = np.full(len(arm), float(chance))
        if before.ndim != 2 or {arm.shape, result.shape, chance.shape} != {(len(before),)}:
            raise _refused(
                f"columns of shape {before.shape}, treated {arm.shape}, outcome {result.shape} and "
                f"propensity {chance.shape} are not of the same members",
                "Give a table, and three numbers for each of its rows.",
            )
        _check(before, arm, result, chance)
        return cls(before, arm, result, chance)

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.x)

    def take(self, rows: NDArray[np.bool_] | Rows) -> Self:
        """Return the trial of some of its members."""
        return type(self)(
            self.x[rows], self.treated[rows], self.outcome[rows], self.propensity[rows]
        )

    @property
    def smaller_arm(self) -> int:
        """Return the members of the smaller arm."""
        return int(min(self.treated.sum(), (1 - self.treated).sum()))

    @property
    def weights(self) -> Numbers:
        """Return how much each member counts within her arm, of shape (n,).

        Where the chance differed between members, an arm has more of those to whom it was likely;
        the weights undo that. They are 1 where it did not differ.
        """
        share = self.propensity.mean()
        weights: Numbers = np.where(
            self.treated == 1, share / self.propensity, (1 - share) / (1 - self.propensity)
        )
        return weights


def inverse_chance(trial: Trial) -> Numbers:
    """Return 1 / chance for the treated and -1 / (1 - chance) for the controls, of shape (n,).

    The mean of that times the outcome is the effect (Horvitz, Thompson, 1952).
    """
    signed: Numbers = np.where(
        trial.treated == 1, 1 / trial.propensity, -1 / (1 - trial.propensity)
    )
    return signed


def doubly_robust(trial: Trial, with_action: Numbers, without: Numbers) -> Numbers:
    """Return for each member a number whose mean, among any members, is the action's effect there.

    Whatever the two guesses are: as chances are known, they can only take noise away. Zeros give
    the estimate by inverse chances alone.

    Parameters
    ----------
    with_action, without : what her outcome was expected to be with the action and without it, by
        models that did not learn from her, of shape (n,)

    Source
    ------
    Robins, Rotnitzky, Zhao (1994), JASA 89(427): augmented inverse propensity weighting.
    """
    expected = np.where(trial.treated == 1, with_action, without)
    scores: Numbers = with_action - without + inverse_chance(trial) * (trial.outcome - expected)
    return scores


def against_control(
    arms: NDArray[np.int64], chances: Numbers, arm: int, control: int = 0
) -> tuple[NDArray[np.bool_], Numbers]:
    """Return who belongs to one arm's trial against the control, and her chance in it.

    Parameters
    ----------
    arms : the place of each member's arm, of shape (n,)
    chances : of each arm for each member, of shape (n, arms) or (arms,)
    """
    among = (arms == arm) | (arms == control)
    of_all = np.broadcast_to(chances, (len(arms), np.shape(chances)[-1]))[among]
    share: Numbers = of_all[:, arm] / (of_all[:, arm] + of_all[:, control])
    return among, share


def _check(x: Numbers, treated: Numbers, outcome: Numbers, propensity: Numbers) -> None:
    if np.isinf(x).any():
        raise _refused("a column holds an infinite number", "Leave it empty where absent.")
    if not np.isin(treated, (0.0, 1.0)).all():
        found = np.unique(treated[~np.isin(treated, (0.0, 1.0))])[:3].tolist()
        raise _refused(f"treated holds {found}", "Say 1 with the action and 0 without.")
    if not np.isfinite(outcome).all():
        bad = int((~np.isfinite(outcome)).sum())
        raise _refused(f"{bad} outcomes are no numbers", "Leave those rows out, or repair them.")
    # NaN fails every comparison.
    fair = (propensity > 0) & (propensity < 1)
    if not fair.all():
        raise _refused(
            f"the propensity of {int((~fair).sum())} members is not between 0 and 1, such as "
            f"{propensity[~fair][0]}",
            "Only members who could have got the action, and could have gone without, say "
            "anything of it: leave the others out.",
        )
    if not 0 < treated.sum() < len(treated):
        raise _refused(
            f"{int(treated.sum())} of {len(treated)} members were treated",
            "Give members of both arms.",
        )


def _refused(what: str, remedy: str) -> InputRefused:
    return InputRefused(f"An effect cannot be learned: {what}. Nothing was fitted. {remedy}")
