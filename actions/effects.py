"""What a campaign changed: differences between arms as they were assigned, with honest intervals.

Outcomes are arrays of one number for each assigned member, whether or not she was reached
(intention to treat). Nothing here looks at who redeemed: whoever redeems would often have bought
anyway.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from programme.errors import InputRefused

Numbers = NDArray[np.float64]

ALPHA = 0.05
# Below this, the arms are not those that were drawn (Fabijan et al., 2019): nothing is read out.
RATIO_ALARM = 1e-3
# Members at whose number an always-valid interval is tightest; GrowthBook's default.
DECIDED_AT = 5_000


@dataclass(frozen=True)
class Effect:
    """The difference between two arms for one member.

    Attributes
    ----------
    difference : mean of the treated less mean of the controls
    standard_error : of that difference
    treated, controls : members
    interval : holds the true difference in 95 of 100 campaigns that are read once, at their close
    always : holds it at every look at once, in 95 of 100 campaigns that are read every day
    p_value : of no difference, read once
    """

    difference: float
    standard_error: float
    treated: int
    controls: int
    interval: tuple[float, float]
    always: tuple[float, float]
    p_value: float


def effect(
    treated: Numbers, controls: Numbers, *, decided_at: int = DECIDED_AT, alpha: float = ALPHA
) -> Effect:
    """Return what the treatment changed for one member.

    Parameters
    ----------
    treated, controls : outcomes, one for each assigned member, of shape (n,)
    decided_at : how many members the campaign is expected to have at its close
    alpha : share of campaigns in which an interval may miss

    Raises
    ------
    InputRefused : if an arm has fewer than two members, or an outcome is no number.
    """
    for name, outcomes in (("treated", treated), ("control", controls)):
        _check(name, outcomes)
    difference = float(treated.mean() - controls.mean())
    error = math.sqrt(_variance_of_mean(treated) + _variance_of_mean(controls))
    reach = float(stats.norm.ppf(1 - alpha / 2)) * error
    always = error * widening(len(treated) + len(controls), decided_at=decided_at, alpha=alpha)
    return Effect(
        difference, error, len(treated), len(controls),
        (difference - reach, difference + reach), (difference - always, difference + always),
        float(2 * stats.norm.sf(abs(difference) / error)) if error else float(difference == 0),
    )  # fmt: skip


def widening(members: int, *, decided_at: int = DECIDED_AT, alpha: float = ALPHA) -> float:
    """Return how many standard errors an always-valid interval reaches to either side.

    The asymptotic confidence sequence of Waudby-Smith et al. (2023, arXiv 2103.06476, equation 9),
    tuned to be tightest at `decided_at` members (equation 161, approximate form): it holds the
    truth at every number of members at once.
    """
    twice = -2 * math.log(alpha)
    rho_squared = (twice + math.log(twice + 1)) / decided_at
    spread = members * rho_squared
    return math.sqrt(2 * (spread + 1) / spread * math.log(math.sqrt(spread + 1) / alpha))


def cuped(outcomes: Numbers, before: Numbers) -> Numbers:
    """Return outcomes less what was to be expected from the time before the campaign.

    Deng, Xu, Kohavi, Walker (2013): y - theta (x - mean x), with theta over all arms together, so
    that the arms' difference stays what it was and only its noise shrinks.

    Parameters
    ----------
    outcomes, before : of every member of every arm, in one order, of shape (n,)
    """
    if outcomes.shape != before.shape:
        raise InputRefused(
            f"{len(outcomes)} outcomes and {len(before)} numbers from before are not of the same "
            "members. Nothing was read out."
        )
    centred = before - before.mean()
    spread = float(centred @ centred)
    if not spread:
        return outcomes.copy()
    theta = float(centred @ (outcomes - outcomes.mean())) / spread
    adjusted: Numbers = outcomes - theta * centred
    return adjusted


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return how likely arms of these sizes are, if members were assigned as declared.

    Below `RATIO_ALARM` something took members from one arm and not from another (a failed send, a
    filter after assignment), and every difference between arms may be that.
    """
    total = sum(counts)
    if len(counts) != len(shares) or not total or min(counts) < 0 or min(shares) <= 0:
        raise InputRefused(
            f"Arms of {list(counts)} members with shares {list(shares)} cannot be compared. "
            "Nothing was read out."
        )
    return float(stats.chisquare(counts, [total * share / sum(shares) for share in shares]).pvalue)


def adjusted_p_values(p_values: Sequence[float]) -> list[float]:
    """Return p-values of many campaigns read together (Benjamini, Hochberg, 1995).

    Taking as real those at or below q is wrong for at most a share q of those taken.
    """
    return [] if not p_values else [float(p) for p in stats.false_discovery_control(p_values)]


@dataclass(frozen=True)
class Return:
    """What one unit of money spent on a campaign brought beyond itself, with its interval."""

    ratio: float
    standard_error: float
    interval: tuple[float, float]


def return_on_cost(
    margins: Numbers, costs: Numbers, control_margins: Numbers, *, alpha: float = ALPHA
) -> Return:
    """Return (incremental margin - cost) / cost, by the delta method.

    Parameters
    ----------
    margins : of each treated member, before the campaign's cost, of shape (n,)
    costs : of each treated member: contacts and all she redeemed, also what she would have bought
        anyway, of shape (n,)
    control_margins : of each control, of shape (m,)

    Raises
    ------
    InputRefused : if the campaign cost nothing.
    """
    for name, outcomes in (("treated", margins), ("control", control_margins)):
        _check(name, outcomes)
    cost = float(costs.mean())
    if not cost > 0:
        raise InputRefused(
            f"The campaign cost {cost} a member. Nothing was divided by that: read its profit."
        )
    gain = float(margins.mean() - control_margins.mean())
    together = float(np.cov(margins, costs, ddof=1)[0, 1]) / len(margins)
    variance = (
        (_variance_of_mean(margins) + _variance_of_mean(control_margins)) / cost**2
        + gain**2 * _variance_of_mean(costs) / cost**4
        - 2 * gain * together / cost**3
    )
    error = math.sqrt(max(0.0, variance))
    ratio, reach = gain / cost - 1, float(stats.norm.ppf(1 - alpha / 2)) * error
    return Return(ratio, error, (ratio - reach, ratio + reach))


def detectable(
    spread: float, treated: int, controls: int, *, power: float = 0.8, alpha: float = ALPHA
) -> float:
    """Return the smallest difference a campaign of that size finds with probability `power`.

    Parameters
    ----------
    spread : standard deviation of the outcome; sqrt(p (1 - p)) for a rate p
    """
    if min(treated, controls) < 1:
        raise InputRefused(
            f"{treated} treated members and {controls} controls show no difference of any size. "
            "Nothing was computed. Give both arms members."
        )
    quantiles = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    return quantiles * spread * math.sqrt(1 / treated + 1 / controls)


def members_needed(
    spread: float, difference: float, *, control_share: float = 0.5, power: float = 0.8,
    alpha: float = ALPHA,
) -> int:  # fmt: skip
    """Return how many members, of all arms, a campaign needs to find a difference; see above."""
    if not difference or not 0 < control_share < 1:
        raise InputRefused(
            f"A difference of {difference} with {control_share} of members as controls needs no "
            "number of members. Nothing was computed."
        )
    quantiles = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    unit = (quantiles * spread / difference) ** 2
    return math.ceil(unit / (control_share * (1 - control_share)))


def _check(name: str, outcomes: Numbers) -> None:
    if len(outcomes) < 2 or not np.isfinite(outcomes).all():
        raise InputRefused(
            f"The {name} arm has {len(outcomes)} outcomes, "
            f"{int((~np.isfinite(outcomes)).sum())} of them no numbers. Nothing was read out. Two "
            "members at least, and a number for each, are needed."
        )


def _variance_of_mean(outcomes: Numbers) -> float:
    return float(outcomes.var(ddof=1)) / len(outcomes)
