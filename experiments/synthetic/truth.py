"""What an estimator should say: by who knows each member, and by who only saw her orders.

Windows are whole weeks, so that every weekday counts alike.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.synthetic.campaigns import Campaign
from experiments.synthetic.members import Doubles
from experiments.synthetic.orders import DAYS_PER_WEEK, Clock
from experiments.synthetic.world import World
from programme.calendar import require_whole_weeks
from programme.errors import InputRefused
from training.models.histories import Histories
from training.models.pareto_nbd import ParetoNbd

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ahead:
    """What is to be expected of each member of a world in the days after a midnight.

    Parameters
    ----------
    member : positions of those who had joined, shape (k,)
    alive : who is still a buyer
    silent : chance of no order
    orders, cents : expected; cents before anything is brought back
    """

    member: Positions
    alive: NDArray[np.bool_]
    silent: Doubles
    orders: Doubles
    cents: Doubles


def known_ahead(world: World, as_of_day: int, horizon_days: int) -> Ahead:
    """Return what follows from each member's own rates, which nobody in the shop knows.

    Campaigns that work within the window are left out of account: this is without them.

    Parameters
    ----------
    as_of_day : days since the first day; the window is [as_of_day, as_of_day + horizon_days)
    """
    weeks = require_whole_weeks(horizon_days, "The horizon") / DAYS_PER_WEEK
    _refuse_outside(world, as_of_day)
    member = np.flatnonzero(world.members.joined_at < as_of_day)
    alive = world.left_at[member] >= as_of_day
    orders = np.where(alive, _orders(world, member, weeks), 0.0)
    silent = np.where(alive, _silent(world, member, np.zeros(len(member)), weeks), 1.0)
    cents = orders * world.members.basket_cents[member]
    return Ahead(member, alive, silent, orders, cents)


def seen_ahead(world: World, as_of_day: int, horizon_days: int) -> Ahead:
    """Return what the best observer expects, who knows the recipe and has seen the orders.

    Bayes' rule with the world's own parameters: no churn model that reads orders ranks better,
    but for luck. Only for a world without campaigns, whose orders come at each member's own rate.
    """
    weeks = require_whole_weeks(horizon_days, "The horizon") / DAYS_PER_WEEK
    if world.campaigns:
        raise InputRefused(
            f"The world ran {len(world.campaigns)} campaigns, which change when members order. "
            "Nothing was computed. Grow it with campaigns = 0."
        )
    member, seen = histories(world, as_of_day)
    counting, spend = world.recipe.counting, world.recipe.spend
    count, mean = spent(world, as_of_day)
    orders = counting.expected_purchases(seen, weeks)
    return Ahead(
        member,
        counting.alive_probability(seen) > 0.5,
        counting.no_purchase_probability(seen, weeks),
        orders,
        orders * spend.expected_value(count, mean),
    )


def histories(world: World, as_of_day: int) -> tuple[Positions, Histories]:
    """Return who had joined, and their orders as the classical models read them, to the minute."""
    _refuse_outside(world, as_of_day)
    clock = Clock(world.recipe)
    member = np.flatnonzero(world.members.joined_at < as_of_day)
    past = world.orders.take(world.orders.placed_at < as_of_day)
    # Members are numbered as they joined, so theirs are all the orders there were.
    counts = np.bincount(past.member, minlength=len(world.members))[member].astype(np.float64)
    last = past.placed_at[np.cumsum(counts).astype(np.int64) - 1]
    joined = clock.business(world.members.joined_at[member])
    between = np.where(counts > 1, clock.business(last) - joined, 0.0)
    age = clock.business(np.full(len(member), float(as_of_day))) - joined
    return member, Histories(
        counts - 1.0, np.maximum(between, 0.0) / DAYS_PER_WEEK, age / DAYS_PER_WEEK
    )


def spent(world: World, as_of_day: int) -> tuple[Doubles, Doubles]:
    """Return how many orders each member who had joined made, and their mean in cents."""
    past = world.orders.placed_at < as_of_day
    n = len(world.members)
    count = np.bincount(world.orders.member[past], minlength=n).astype(np.float64)
    cents = np.bincount(
        world.orders.member[past], world.cents[past].astype(np.float64), minlength=n
    )
    joined = world.members.joined_at < as_of_day
    return count[joined], np.asarray(cents[joined] / count[joined], dtype=np.float64)


def happened(world: World, member: Positions, begins: int, ends: int) -> tuple[Doubles, Doubles]:
    """Return the orders and cents of some members in [begins, ends), before returns."""
    inside = (world.orders.placed_at >= begins) & (world.orders.placed_at < ends)
    n, who = len(world.members), world.orders.member[inside]
    orders = np.bincount(who, minlength=n).astype(np.float64)
    cents = np.bincount(who, world.cents[inside].astype(np.float64), minlength=n)
    return orders[member], np.asarray(cents[member], dtype=np.float64)


def uplift(world: World, campaign: Campaign) -> pd.DataFrame:
    """Return what contacting does to each member a campaign drew for, contacted or not.

    Returns
    -------
    DataFrame, rows in the order of `campaign.member`: member_id, arm, propensity, response, and
    the expected change over the campaign: orders, cents, and the chance of any order
    """
    member = campaign.member
    weeks = (campaign.ends - campaign.begins) / DAYS_PER_WEEK
    alive = world.left_at[member] >= campaign.begins
    response = world.members.response[member]
    orders = np.where(alive, response * _orders(world, member, weeks), 0.0)
    never = _silent(world, member, np.zeros(len(member)), weeks)
    contacted = _silent(world, member, response, weeks)
    return pd.DataFrame(
        {
            "member_id": world.member_ids[member],
            "arm": np.where(campaign.contacted, "offer", "control"),
            "propensity": campaign.propensity,
            "response": response,
            "uplift_orders": orders,
            "uplift_cents": orders * world.members.basket_cents[member],
            "uplift_probability": np.where(alive, never - contacted, 0.0),
        }
    )


def _orders(world: World, member: Positions, weeks: float) -> Doubles:
    """Expected orders of buyers in so many weeks, without a campaign."""
    rate, leaving = world.members.rate[member], world.members.leaving[member]
    # Orders end at the rate of leaving, or with a chance at each order.
    pace = leaving if isinstance(world.recipe.counting, ParetoNbd) else leaving * rate
    pace = np.maximum(pace, 1e-12)
    return np.asarray(rate * -np.expm1(-pace * weeks) / pace)


def _silent(
    world: World,
    member: Positions,
    response: Doubles,
    weeks: float,
) -> Doubles:
    """Chance of no order of buyers in so many weeks, at a changed rate.

    Either an order that is made comes first, or leaving does, after which none can.
    """
    rate, leaving = world.members.rate[member], world.members.leaving[member]
    made = rate * (1 + response)
    if isinstance(world.recipe.counting, ParetoNbd):
        leaves = leaving
    else:
        # After an order that the campaign took away she may drop out all the same.
        leaves = rate * np.maximum(-response, 0.0) * leaving
    both = np.maximum(made + leaves, 1e-300)
    return np.asarray((leaves + made * np.exp(-both * weeks)) / both)


def _refuse_outside(world: World, as_of_day: int) -> None:
    if not 0 < as_of_day <= world.recipe.days:
        raise InputRefused(
            f"Day {as_of_day} is not within the {world.recipe.days} days of the world. Nothing "
            "was computed. Count days from the first midnight; the last is the end of the data."
        )
