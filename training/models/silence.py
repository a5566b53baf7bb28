"""How long a member stays silent: a curve a member, and what is read off it.

A silence curve holds, for each day `d` of the horizon counted from 0 for `as_of` itself, the
probability that no purchase comes on days 0 to d. It never rises. Days are numbered like the
outcome `next_days`; the number `horizon_days` stands for "not within the horizon".
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models.inputs import some_rows

Array = NDArray[np.float64]
# The share of members whose next order the interval is meant to hold.
COVERAGE = 0.8
# Above this level the interval would no longer hold its own median.
LEVEL_MAX = 0.5
# Members are held to their intervals apart, by P(no purchase within the horizon).
GROUP_EDGES = (0.1, 0.25, 0.5, 0.75)
N_GROUPS = len(GROUP_EDGES) + 1
# Below so many members of a group, a share of a fifth is known to no better than 4 points.
GROUP_LEAST = 100


def order_days(
    next_days: ArrayLike, followed_days: ArrayLike, n_rows: int, what: str
) -> tuple[Array, Array]:
    """Check outcomes: days to the next purchase, and days each member was followed.

    Parameters
    ----------
    next_days : array of shape (n,), whole days in [0, followed]; the days followed where no
        purchase came meanwhile
    followed_days : number, or array of shape (n,), above 0

    Raises
    ------
    InputRefused : when there are no rows, a length differs, or a day is impossible
    """
    some_rows(n_rows, what)
    days = np.asarray(next_days, dtype=np.float64)
    followed = np.asarray(followed_days, dtype=np.float64)
    if days.shape != (n_rows,) or followed.shape not in ((), (n_rows,)):
        raise InputRefused(
            f"{what} was given {n_rows} rows, next purchases of shape {days.shape} and follow-ups "
            f"of shape {followed.shape}. Nothing was fitted. Give one of each per row."
        )
    followed = np.broadcast_to(followed, (n_rows,))
    odd = ~((days >= 0) & (days <= followed) & (days == np.floor(days)) & (followed > 0))
    if odd.any():
        first = int(np.flatnonzero(odd)[0])
        raise InputRefused(
            f"{int(odd.sum())} of {n_rows} next purchases are not whole days within what was "
            f"followed, the first {days[first]:g} of {followed[first]:g}. Nothing was fitted. "
            "Count days from as_of; a purchase that did not come is the number of days followed."
        )
    return days, followed


def quantile(silence: Array, share: ArrayLike) -> Array:
    """First day by which a purchase came with probability `share`; the horizon where none does.

    Parameters
    ----------
    silence : curves of shape (n, horizon_days)
    share : number, or array of shape (n,), in [0, 1]
    """
    wanted = np.broadcast_to(np.asarray(share, dtype=np.float64), (len(silence),))
    return np.asarray((1 - silence < wanted[:, None]).sum(axis=1), dtype=np.float64)


def innermost(silence: Array, next_days: ArrayLike) -> Array:
    """Level of the narrowest interval around the median that still holds the outcome, shape (n,).

    The interval at level b reaches from the b to the 1 - b quantile, so it narrows as b grows and
    covers a day exactly while b is at most this. A purchase that did not come is covered while
    the upper end lies beyond the horizon.
    """
    by_day = _bought_by(silence)
    day = np.asarray(next_days).astype(int)
    row = np.arange(len(silence))
    return np.asarray(np.minimum(by_day[row, day + 1], 1 - by_day[row, day]))


def conformal_level(silence: Array, next_days: ArrayLike, coverage: float = COVERAGE) -> float:
    """Return the level at which the interval held the wanted share of earlier outcomes.

    Parameters
    ----------
    silence, next_days : of members whose outcome is known and was not learned from

    Source
    ------
    Gupta, Kuchibhotla & Ramdas (2022), Nested conformal prediction and quantile out-of-bag
    ensemble methods, Pattern Recognition 127, section 2: the intervals are nested in the level,
    and the floor((1 - coverage)(n + 1))-th smallest `innermost` leaves out no more than 1 -
    coverage. Which end is censored does not matter: `innermost` needs to know no more of a
    purchase that did not come than that it lies beyond the horizon.
    """
    scores = np.sort(innermost(silence, next_days))
    some_rows(len(scores), "an interval")
    place = int(np.floor((1 - coverage) * (len(scores) + 1)))
    # The quantiles take a level itself as reached, so the score is the level that still covers.
    return float(min(scores[place - 1], LEVEL_MAX)) if place > 0 else 0.0


def levels_by_group(silence: Array, next_days: ArrayLike) -> tuple[float, ...]:
    """Return a level for each group of members, by how likely they are not to buy at all.

    One level for everybody is right on the mean of everybody: where most will not buy again, their
    open intervals would hold and those of the few who do buy would not. A group with too few
    members to tell takes the level of all.

    Parameters
    ----------
    silence, next_days : as in `conformal_level`

    Source
    ------
    Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World, section 4.5: Mondrian
    predictors keep their promise in each category that is known beforehand.
    """
    days = np.asarray(next_days, dtype=np.float64)
    of_all, own = conformal_level(silence, days), group(silence)
    return tuple(
        conformal_level(silence[own == number], days[own == number])
        if (own == number).sum() >= GROUP_LEAST
        else of_all
        for number in range(N_GROUPS)
    )


def group(silence: Array) -> NDArray[np.intp]:
    """Return each member's group, 0 to `N_GROUPS` - 1: the last will hardly buy; shape (n,)."""
    return np.asarray(np.searchsorted(GROUP_EDGES, silence[:, -1], side="right"))


def interval(silence: Array, level: ArrayLike) -> tuple[Array, Array]:
    """Return earliest and latest day of the interval at a level; the horizon means beyond it.

    Parameters
    ----------
    level : number, or array of shape (n,)
    """
    level = np.asarray(level, dtype=np.float64)
    # Rounding must not turn a day that is just covered into one that is just not.
    slack = 1e-12
    return quantile(silence, level - slack), quantile(silence, 1 - level + slack)


def covered(earliest: Array, latest: Array, next_days: ArrayLike) -> Array:
    """1 where the outcome lies in the interval; one that did not come, where the end is open."""
    day = np.asarray(next_days, dtype=np.float64)
    return np.asarray((earliest <= day) & (day <= latest), dtype=np.float64)


def _bought_by(silence: Array) -> Array:
    """Probability of a purchase before each day: 0, then until the horizon, then 1 for ever."""
    ends = np.zeros((len(silence), 1))
    return np.concatenate([ends, 1 - silence, ends + 1], axis=1)
