"""Mailings: who was drawn, with which chance, and what it did to her orders."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.synthetic.members import Doubles, Members
from experiments.synthetic.orders import Clock, Orders, extra_orders
from experiments.synthetic.recipe import Recipe

RECENT_DAYS = 28


@dataclass(frozen=True, eq=False)
class Campaign:
    """One mailing; everybody who had joined was drawn for, with a known chance.

    Parameters
    ----------
    begins, ends : days since the programme's first midnight; it works in [begins, ends)
    member : who was drawn for, positions, shape (k,)
    propensity : chance with which each was contacted
    contacted : who was; the others are its control
    """

    begins: int
    ends: int
    member: NDArray[np.int64]
    propensity: Doubles
    contacted: NDArray[np.bool_]


def run_campaigns(
    recipe: Recipe, members: Members, orders: Orders, left_at: Doubles
) -> tuple[tuple[Campaign, ...], Orders]:
    """Draw each campaign's contacts, one campaign after the other, and let them work.

    A contacted buyer orders at `1 + response` of her rate while the campaign lasts: more orders are
    added, or each is dropped with the chance that makes it so. When she leaves, and the order on
    joining, are not touched: who would have left leaves.

    Returns
    -------
    the campaigns, and the orders as they came to be
    """
    rng = np.random.default_rng([recipe.seed, 4])
    clock = Clock(recipe)
    ran = []
    for begins in recipe.campaign_starts:
        ends = begins + recipe.campaign_days
        member = np.flatnonzero(members.joined_at < begins)
        recent = np.zeros(len(members), dtype=bool)
        lately = (orders.placed_at < begins) & (orders.placed_at >= begins - RECENT_DAYS)
        recent[orders.member[lately]] = True
        propensity = np.where(recent[member], *recipe.propensities)
        contacted = rng.random(len(member)) < propensity
        ran.append(Campaign(begins, ends, member, propensity, contacted))
        change = np.zeros(len(members))
        change[member[contacted]] = members.response[member[contacted]]
        orders = _changed(rng, clock, members, orders, left_at, change, (begins, ends))
    return tuple(ran), orders


def _changed(
    rng: np.random.Generator,
    clock: Clock,
    members: Members,
    orders: Orders,
    left_at: Doubles,
    change: Doubles,
    window: tuple[int, int],
) -> Orders:
    begins, ends = window
    more = extra_orders(
        rng, clock, members.rate * np.maximum(change, 0.0),
        np.full(len(members), float(begins)), np.minimum(left_at, float(ends)),
    )  # fmt: skip
    inside = (orders.placed_at >= begins) & (orders.placed_at < ends)
    inside &= orders.placed_at > members.joined_at[orders.member]
    dropped = inside & (rng.random(len(orders)) < -change[orders.member])
    kept = orders.take(~dropped)
    return Orders.sorted(
        np.concatenate([kept.member, more.member]), np.concatenate([kept.placed_at, more.placed_at])
    )
