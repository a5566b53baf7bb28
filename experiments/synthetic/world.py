"""One world, grown from its recipe."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.synthetic.baskets import Lines, draw_lines
from experiments.synthetic.campaigns import Campaign, run_campaigns
from experiments.synthetic.catalogue import Catalogue, draw_catalogue
from experiments.synthetic.members import Doubles, Members, draw_members
from experiments.synthetic.orders import Orders, draw_cents, draw_orders
from experiments.synthetic.recipe import Recipe


@dataclass(frozen=True, eq=False)
class World:
    """Everything that is so, and everything that happened.

    Parameters
    ----------
    left_at : days since the first midnight; infinite: not before the last
    orders, cents : when, and for how much; shape (n_orders,)
    """

    recipe: Recipe
    members: Members
    left_at: Doubles
    orders: Orders
    cents: NDArray[np.int64]
    campaigns: tuple[Campaign, ...]
    catalogue: Catalogue
    lines: Lines

    @property
    def member_ids(self) -> NDArray[np.object_]:
        """Return what members are called, in their order, which is that of joining."""
        return member_ids(len(self.members))


def grow(recipe: Recipe) -> World:
    """Draw a world; memory and time grow with members and orders.

    Each part draws from a stream of its own: other campaigns do not change who joins.
    """
    members = draw_members(recipe)
    orders, left_at = draw_orders(recipe, members)
    campaigns, orders = run_campaigns(recipe, members, orders, left_at)
    cents = draw_cents(recipe, members, orders)
    catalogue = draw_catalogue(recipe.seed)
    lines = draw_lines(recipe, members, orders, cents, catalogue)
    return World(recipe, members, left_at, orders, cents, campaigns, catalogue, lines)


def member_ids(n: int) -> NDArray[np.object_]:
    """Return the names of n members; sorted as text they keep their order."""
    width = max(6, len(str(n - 1)))
    return np.array([f"m{number:0{width}d}" for number in range(n)], dtype=object)
