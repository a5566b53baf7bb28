"""What an action is expected to bring, and how sure that is, measured or not yet.

Every score is expected incremental profit: what the action changes, times what that is worth, less
the contact, less what is redeemed by everybody who redeems, also by those who would have come
anyway. All of it carries a standard error. The lower bound says to whom an action surely does good,
the mean who of those comes first, and the upper bound who is better left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Share of would-be leavers whom an offer keeps, before anything is known: Beta(6, 14), mean .3, of
# Verbraken, Verbeke, Baesens (2013), IEEE TKDE 25(5).
SAVE_ALPHA, SAVE_BETA = 6.0, 14.0
# It was published for offers to leavers who were found for certain. Half of it is believed, and no
# contact is believed to change more than so much, until it is measured.
BELIEVED, UPLIFT_MOST = 0.5, 0.2
# Two-sided 95 %.
REACH = 1.959964
# Whoever is hardly ever active has no value "given active" that could be told from noise.
ACTIVE_LEAST = 0.05


@dataclass(frozen=True, eq=False)
class Guess:
    """Numbers and their standard errors, of one shape or of shapes that stretch to one."""

    mean: Numbers
    error: Numbers

    @classmethod
    def of(cls, mean: ArrayLike, error: ArrayLike = 0.0) -> Self:
        """Make one of anything array-like.

        Raises
        ------
        InputRefused : if a number is none, or an error is below nought.
        """
        numbers, errors = np.asarray(mean, np.float64), np.asarray(error, np.float64)
        if not np.isfinite(numbers).all() or not np.isfinite(errors).all() or (errors < 0).any():
            raise InputRefused(
                f"Of {numbers.size} guesses {int((~np.isfinite(numbers)).sum())} are no numbers, "
                f"and of their errors {int((~(errors >= 0)).sum())} are none or below nought. "
                "Nothing was worked out."
            )
        return cls(*np.broadcast_arrays(numbers, errors))

    def __add__(self, other: "Guess") -> "Guess":
        """Return the sum of independent guesses."""
        return Guess(self.mean + other.mean, np.hypot(self.error, other.error))

    def __mul__(self, other: "Guess") -> "Guess":
        """Return the product of independent guesses, with its exact error (Goodman, 1960)."""
        variance = (
            (self.mean * other.error) ** 2
            + (other.mean * self.error) ** 2
            + (self.error * other.error) ** 2
        )
        return Guess(self.mean * other.mean, np.sqrt(variance))

    def column(self) -> "Guess":
        """Return a guess of each member as those of one action, (members, 1)."""
        return Guess(self.mean[:, None], self.error[:, None])

    @property
    def upper(self) -> Numbers:
        """Return what the truth lies above in 2.5 of 100 cases."""
        bound: Numbers = self.mean + REACH * self.error
        return bound

    @property
    def lower(self) -> Numbers:
        """Return what the truth lies below in 2.5 of 100 cases."""
        bound: Numbers = self.mean - REACH * self.error
        return bound


@dataclass(frozen=True, eq=False)
class Costs:
    """What each action costs, in minor units of currency, of shape (actions,).

    Attributes
    ----------
    contact : of one message, answered or not
    redeem : of one redemption
    """

    contact: Numbers
    redeem: Numbers

    def __post_init__(self) -> None:
        """Refuse costs that are none."""
        both = np.concatenate([np.atleast_1d(self.contact), np.atleast_1d(self.redeem)])
        if np.shape(self.contact) != np.shape(self.redeem) or not (both >= 0).all():
            raise InputRefused(
                f"Contacts cost {self.contact!r} and redemptions {self.redeem!r}. Nothing was "
                "worked out. Give both for each action, none below nought."
            )

    def of(self, action: int) -> "Costs":
        """Return those of one action alone."""
        return Costs(self.contact[action : action + 1], self.redeem[action : action + 1])

    def spend(self, redeemed: Guess) -> Guess:
        """Return what each member's actions are expected to use of a budget, (members, actions)."""
        return Guess.of(self.contact) + redeemed * Guess.of(self.redeem)


# --- expected incremental profit


def win_back_profit(uplift: Guess, value: Guess, redeemed: Guess, costs: Costs) -> Guess:
    """Return uplift x value - contact - P(redeem) x redeem, in minor units, (members, actions).

    Parameters
    ----------
    uplift : change of the outcome by each action, such as of P(active), (members, actions)
    value : margin of one unit of the outcome, gross of any coupon, (members, 1): of being active,
        the margin of a member who is. A value that holds P(active) counts it twice; see
        `value_given_active`
    redeemed : chance that she redeems, (members, actions), also if she had bought anyway
    """
    return _less(uplift * value, costs.spend(redeemed))


def cross_sell_profit(
    gained: Guess, uplift: Guess, value: Guess, redeemed: Guess, costs: Costs
) -> Guess:
    """Return the same with the margin of the goods an action sells, (members, actions).

    Parameters
    ----------
    gained : of `cross_sell_margin`
    uplift, value : the change of being active beside that; noughts where it changes none
    """
    return _less(gained + uplift * value, costs.spend(redeemed))


def cross_sell_margin(
    with_action: ArrayLike, without: ArrayLike, margins: ArrayLike, cannibalised: ArrayLike
) -> Numbers:
    """Return the margin that goods sold by an action add, in minor units, of shape (members,).

    Parameters
    ----------
    with_action, without : chance to buy each of the goods, (members, goods)
    margins : of one of each, in minor units, (goods,)
    cannibalised : share of it that other goods lose, (goods,)
    """
    lost = np.asarray(cannibalised, np.float64)
    if not ((lost >= 0) & (lost <= 1)).all():
        raise InputRefused(
            f"Goods take {cannibalised!r} of their margin from others. Nothing was worked out. "
            "Give shares from 0 to 1."
        )
    more = np.asarray(with_action, np.float64) - np.asarray(without, np.float64)
    return np.asarray(more @ (np.asarray(margins, np.float64) * (1 - lost)), np.float64)


def value_given_active(value: Numbers, active: Numbers) -> Numbers:
    """Return the value of a member who is active, from one that holds the chance that she is.

    Parameters
    ----------
    value : expected margin of the horizon, active or not
    active : P(active) in the same horizon; below `ACTIVE_LEAST` it is taken to be that
    """
    given: Numbers = value / np.maximum(active, ACTIVE_LEAST)
    return given


def _less(gain: Guess, spend: Guess) -> Guess:
    return Guess(gain.mean - spend.mean, np.hypot(gain.error, spend.error))


# --- before anything is measured


def prior_uplift(churn: Numbers, save: Sequence[float | None]) -> Guess:
    """Return what each action is believed to change before it was measured, (members, actions).

    P(churn) x save rate, half of it believed and no more than `UPLIFT_MOST`. The error is that of
    the published rate, and that of believing it by half: nothing, and all of it, are likely.

    Parameters
    ----------
    churn : P(churn) of each member, of shape (members,)
    save : of each action, the share of churn it is believed to take away; None: as published
    """
    rates = np.array([_mean_save() if rate is None else rate for rate in save])
    total = SAVE_ALPHA + SAVE_BETA
    spread = np.sqrt(SAVE_ALPHA * SAVE_BETA / (total**2 * (total + 1))) / _mean_save()
    full = churn[:, None] * rates
    doubt = np.hypot(BELIEVED * spread, 1 - BELIEVED)
    return Guess(np.minimum(BELIEVED * full, UPLIFT_MOST), doubt * full)


def contact_threshold(
    value: ArrayLike, contact: ArrayLike, redeem: ArrayLike, save_rate: ArrayLike | None = None
) -> Numbers:
    """Return the P(churn) above which contacting pays; above 1 where it never does.

    p* = (d + f) / (gamma (CLV - d) + d): she who leaves stays with gamma and takes the offer, she
    who would have stayed takes it too.

    Parameters
    ----------
    value : CLV, of a member who stays
    contact, redeem : f, and d
    save_rate : gamma; the published mean where it is not known

    Source
    ------
    Verbraken, Verbeke, Baesens (2013), equation 8, set to nought for one member.
    """
    worth, f, d = (np.asarray(given, np.float64) for given in (value, contact, redeem))
    gamma = np.asarray(_mean_save() if save_rate is None else save_rate, np.float64)
    gain = gamma * (worth - d) + d
    paid = np.broadcast_to(d + f, gain.shape)
    # What costs nothing pays for everybody who may leave.
    never = np.where(paid > 0, np.inf, 0.0)
    return np.divide(paid, gain, out=never, where=gain > 0)


def eligible_at_first(
    churn: Numbers, value: Numbers, costs: Costs, save: Sequence[float | None]
) -> Mask:
    """Return whom an action that was never measured may be tried on, (members, actions).

    That is all a prior decides: within them, actions are drawn at random.

    Parameters
    ----------
    churn, value : of each member, of shape (members,)
    save : as in `prior_uplift`
    """
    rates = np.array([_mean_save() if rate is None else rate for rate in save])
    threshold = contact_threshold(value[:, None], costs.contact, costs.redeem, rates)
    mask: Mask = churn[:, None] > threshold
    return mask


def _mean_save() -> float:
    return SAVE_ALPHA / (SAVE_ALPHA + SAVE_BETA)


# --- whom to serve, and whom to leave alone


def plannable(profit: Guess, measured: ArrayLike) -> Numbers:
    """Return profits to plan with, (members, actions): 0 for what must not be planned.

    Planned is what was measured and surely brings a profit, by the lower bound. A member whom an
    action harms costs more than the profit: she is asked less gladly ever after.

    Parameters
    ----------
    measured : of each action, whether what it changes was learned and may decide, (actions,)
    """
    return np.where(np.asarray(measured) & (profit.lower > 0), profit.mean, 0.0)


@dataclass(frozen=True, eq=False)
class Policy:
    """What is expected of every member and action, and which of them may be drawn at all.

    Attributes
    ----------
    profit : expected incremental, (members, actions)
    eligible : by the gates, and where nothing was measured by the prior
    measured : of each action, whether what it changes was learned and promoted, (actions,)
    spend : expected of each action, (members, actions)
    """

    profit: Guess
    eligible: Mask
    measured: Mask
    spend: Numbers

    @property
    def left_alone(self) -> Mask:
        """Return whom every action she is eligible for harms almost surely, of shape (members,).

        Known as sleeping dogs: the upper bound of the profit of all of them is below nought.
        """
        upper = np.where(self.eligible, self.profit.upper, -np.inf)
        mask: Mask = self.eligible.any(axis=1) & (upper.max(axis=1) < 0)
        return mask

    @property
    def profits(self) -> Numbers:
        """Return what to plan with: -inf where an action cannot be drawn.

        What was never measured is 0: it may be drawn, and is never planned. A prior does not
        decide. Neither does hope: so is what does not surely bring a profit.
        """
        barred = ~self.eligible | self.left_alone[:, None]
        return np.where(barred, -np.inf, plannable(self.profit, self.measured))
