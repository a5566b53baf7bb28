"""What stands on each receipt: tastes, things that had run out, and what goes with a machine."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.synthetic import catalogue as goods
from experiments.synthetic.catalogue import CATEGORIES, FREE, PRODUCTS_PER_CATEGORY, Catalogue
from experiments.synthetic.members import Members
from experiments.synthetic.orders import Orders
from experiments.synthetic.recipe import Recipe

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines by order: which product, how many, for how much.

    Parameters
    ----------
    order : position among the orders, rising; every order has at least one line
    product : number in the catalogue; once an order
    quantity : units, at least 1
    net_cents : what the shop received; the lines of an order sum to its cents, exactly
    discount_cents : taken off before that
    """

    order: Integers
    product: Integers
    quantity: Integers
    net_cents: Integers
    discount_cents: Integers

    def __len__(self) -> int:
        """Count them."""
        return len(self.order)


def draw_lines(
    recipe: Recipe, members: Members, orders: Orders, cents: Integers, catalogue: Catalogue
) -> Lines:
    """Fill every order."""
    rng = np.random.default_rng([recipe.seed, 6])
    # The commonest product is everybody's favourite a little more often than the next.
    favourite = rng.choice(
        PRODUCTS_PER_CATEGORY, (len(members), len(CATEGORIES)), p=catalogue.popularity
    ).astype(np.int8)
    parts = [
        _by_taste(rng, recipe, members, orders, catalogue, favourite),
        *(
            _run_out(rng, recipe, members, orders, favourite, category)
            for category in goods.CYCLES_DAYS
        ),
    ]
    parts.append(_followers(rng, orders, np.concatenate(parts)))
    n_products = len(catalogue.price_cents)
    order, product = np.divmod(np.unique(_keys(np.concatenate(parts), n_products)), n_products)
    quantity = 1 + (rng.random(len(order)) < 0.2).astype(np.int64)
    weight = quantity * catalogue.price_cents[product] * rng.uniform(0.8, 1.2, len(order))
    net = _shared_out(order, weight, cents)
    deal = rng.random(len(order)) < members.deals[orders.member[order]]
    depth = rng.uniform(0.1, 0.4, len(order))
    discount = np.where(deal, np.rint(net * depth / (1 - depth)), 0).astype(np.int64)
    return Lines(order, product, quantity, net, discount)


def _keys(pairs: Integers, n_products: int) -> Integers:
    return np.asarray(pairs[:, 0] * n_products + pairs[:, 1])


def _product(category: Integers, place: NDArray[np.integer[Any]]) -> Integers:
    return np.asarray(category * PRODUCTS_PER_CATEGORY + place, dtype=np.int64)


def _by_taste(
    rng: np.random.Generator,
    recipe: Recipe,
    members: Members,
    orders: Orders,
    catalogue: Catalogue,
    favourite: NDArray[np.int8],
) -> Integers:
    """Draw (order, product) of what members simply like."""
    taste = rng.gamma(np.array(goods.TASTES), 1.0, (len(members), len(FREE)))
    edges = np.cumsum(taste, axis=1)
    edges /= edges[:, -1:]
    # One long row of edges, each member one further: a single search finds every category.
    edges += np.arange(len(members))[:, None]
    order = np.repeat(np.arange(len(orders)), 1 + rng.poisson(recipe.free_lines, len(orders)))
    member = orders.member[order]
    found = np.searchsorted(edges.ravel(), member + rng.random(len(order)), side="right")
    category = np.clip(found - member * len(FREE), 0, len(FREE) - 1)
    common = np.searchsorted(np.cumsum(catalogue.popularity)[:-1], rng.random(len(order)))
    own = rng.random(len(order)) < goods.FAVOURITE_SHARE
    place = np.where(own, favourite[member, category], common)
    return np.stack([order, _product(category, place)], axis=1)


def _run_out(
    rng: np.random.Generator,
    recipe: Recipe,
    members: Members,
    orders: Orders,
    favourite: NDArray[np.int8],
    name: str,
) -> Integers:
    """Draw (order, product) of what was used up: bought at the first order after it ran out."""
    cycle, number = goods.CYCLES_DAYS[name], CATEGORIES.index(name)
    user = np.flatnonzero(rng.random(len(members)) < goods.USES_SHARE)
    span = recipe.days - members.joined_at[user]
    # Enough gaps for all but the fastest; whoever had more would only need it after the end.
    counts = np.ceil(1.5 * span / cycle).astype(np.int64) + 4
    member = np.repeat(user, counts)
    gaps = rng.gamma(goods.CYCLE_SHAPE, cycle / goods.CYCLE_SHAPE, len(member))
    since = np.cumsum(gaps)
    first = np.cumsum(counts) - counts
    # The first of each member's gaps began before she joined.
    started = np.where(first > 0, since[first - 1], 0.0) + rng.random(len(user)) * gaps[first]
    needed = members.joined_at[member] + since - np.repeat(started, counts)
    order = orders.first_at_or_after(member, np.maximum(needed, 0.0))
    order, member = order[order >= 0], member[order >= 0]
    return np.stack(
        [order, _product(np.full(len(member), number), favourite[member, number])], axis=1
    )


def _followers(rng: np.random.Generator, orders: Orders, bought: Integers) -> Integers:
    """Draw (order, product) of what goes with a machine, some time after the first of them."""
    found = [np.empty((0, 2), dtype=np.int64)]
    for machine, accessory in goods.pairs():
        order = np.unique(bought[bought[:, 1] == machine, 0])
        _, first = np.unique(orders.member[order], return_index=True)
        order = order[first]
        order = order[rng.random(len(order)) < goods.FOLLOWS_SHARE]
        later = orders.placed_at[order] + rng.exponential(goods.FOLLOWS_DAYS, len(order))
        follows = orders.first_at_or_after(orders.member[order], later)
        follows = follows[follows >= 0]
        found.append(np.stack([follows, np.full(len(follows), accessory)], axis=1))
    return np.concatenate(found)


def _shared_out(order: Integers, weight: NDArray[np.float64], cents: Integers) -> Integers:
    """Share each order's cents over its lines by weight, in whole cents that sum exactly."""
    first = np.flatnonzero(np.diff(order, prepend=-1))
    running = np.cumsum(weight)
    before = np.repeat(running[first] - weight[first], np.diff(np.append(first, len(order))))
    share = np.minimum((running - before) / np.bincount(order, weight)[order], 1.0)
    share[np.append(first[1:], len(order)) - 1] = 1.0
    reached = np.rint(share * cents[order]).astype(np.int64)
    earlier = np.append(0, reached[:-1])
    earlier[first] = 0
    return np.asarray(reached - earlier)
