"""When members order, and for how much: Poisson while they are buyers, busier on some weekdays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.synthetic.members import Doubles, Members
from experiments.synthetic.recipe import Recipe
from training.models.pareto_nbd import ParetoNbd

DAYS_PER_WEEK = 7


@dataclass(frozen=True, eq=False)
class Orders:
    """Orders by member, then by time.

    Parameters
    ----------
    member : position among the members, shape (n_orders,)
    placed_at : days since the programme's first midnight, rising within a member
    """

    member: NDArray[np.int64]
    placed_at: Doubles

    def __len__(self) -> int:
        """Count them."""
        return len(self.member)

    def take(self, which: NDArray[np.bool_]) -> "Orders":
        """Select some."""
        return Orders(self.member[which], self.placed_at[which])

    @classmethod
    def sorted(cls, member: NDArray[np.int64], at: Doubles) -> "Orders":
        """Put orders of any order into theirs."""
        order = np.lexsort((at, member))
        return cls(member[order], at[order])

    def first_at_or_after(self, member: NDArray[np.int64], at: Doubles) -> NDArray[np.int64]:
        """Return the position of each member's next order, shape of `member`; -1: she has none."""
        span = float(self.placed_at.max(initial=0.0)) + 1
        keys = self.member * span + self.placed_at
        found = np.searchsorted(keys, member * span + np.minimum(at, span - 0.5))
        inside = np.minimum(found, max(len(self) - 1, 0))
        ours = (
            (found < len(self)) & (self.member[inside] == member) & (self.placed_at[inside] >= at)
        )
        return np.where(ours, found, -1)


class Clock:
    """Days of the calendar and days of business: a busy Saturday lasts longer than a Monday.

    Buying is even in days of business, and a whole week has seven of either.
    """

    def __init__(self, recipe: Recipe) -> None:
        turned = np.roll(recipe.weekdays, -recipe.first_day.weekday())
        self._business = np.concatenate([[0.0], np.cumsum(turned)])
        self._calendar = np.arange(8.0)

    def business(self, at: Doubles) -> Doubles:
        """Return days of business since the first midnight."""
        week, day = np.divmod(at, DAYS_PER_WEEK)
        return np.asarray(DAYS_PER_WEEK * week + np.interp(day, self._calendar, self._business))

    def calendar(self, at: Doubles) -> Doubles:
        """Return calendar days since the first midnight."""
        week, day = np.divmod(at, DAYS_PER_WEEK)
        return np.asarray(DAYS_PER_WEEK * week + np.interp(day, self._business, self._calendar))


def draw_orders(recipe: Recipe, members: Members) -> tuple[Orders, Doubles]:
    """Draw every order before the last midnight, the one on joining among them.

    Returns
    -------
    the orders, and the day each member left, shape (n,); infinite: not before the last midnight
    """
    rng = np.random.default_rng([recipe.seed, 2])
    clock = Clock(recipe)
    begins = clock.business(members.joined_at)
    ends = float(clock.business(np.array([float(recipe.days)]))[0])
    if isinstance(recipe.counting, ParetoNbd):
        # A rate of leaving that underflowed to 0 is a member who stays.
        lives = rng.exponential(1.0, len(members)) / np.maximum(members.leaving, 1e-300)
        left = begins + DAYS_PER_WEEK * lives
        orders = _poisson(rng, members.rate, begins, np.minimum(left, ends))
    else:
        orders = _poisson(rng, members.rate, begins, np.full(len(members), ends))
        orders, left = _until_dropout(rng, orders, members)
    joined = Orders(np.arange(len(members)), begins)
    whole = Orders.sorted(
        np.concatenate([joined.member, orders.member]),
        np.concatenate([joined.placed_at, orders.placed_at]),
    )
    left = np.where(left < ends, clock.calendar(np.minimum(left, ends)), np.inf)
    return Orders(whole.member, clock.calendar(whole.placed_at)), left


def extra_orders(
    rng: np.random.Generator, clock: Clock, weekly: Doubles, begins: Doubles, ends: Doubles
) -> Orders:
    """Draw orders at a weekly rate of each member between two calendar days of hers."""
    found = _poisson(rng, weekly, clock.business(begins), clock.business(ends))
    return Orders(found.member, clock.calendar(found.placed_at))


def _poisson(rng: np.random.Generator, weekly: Doubles, begins: Doubles, ends: Doubles) -> Orders:
    spans = np.maximum(ends - begins, 0.0)
    counts = rng.poisson(weekly / DAYS_PER_WEEK * spans)
    member = np.repeat(np.arange(len(weekly)), counts)
    at = begins[member] + spans[member] * rng.random(len(member))
    return Orders.sorted(member, at)


def _until_dropout(
    rng: np.random.Generator, orders: Orders, members: Members
) -> tuple[Orders, Doubles]:
    """Keep the orders up to the one after which a member drops out, and say when that was."""
    last = rng.geometric(members.leaving)
    counts = np.bincount(orders.member, minlength=len(members))
    first = np.cumsum(counts) - counts
    nth = np.arange(len(orders)) - first[orders.member] + 1
    left = np.full(len(members), np.inf)
    dropped = nth == last[orders.member]
    left[orders.member[dropped]] = orders.placed_at[dropped]
    return orders.take(nth <= last[orders.member]), left


def draw_cents(recipe: Recipe, members: Members, orders: Orders) -> NDArray[np.int64]:
    """Draw what each order comes to, in whole cents and at least one: gamma around her mean."""
    rng = np.random.default_rng([recipe.seed, 3])
    shape = recipe.spend.p
    cents = rng.gamma(shape, 1.0, len(orders)) * members.basket_cents[orders.member] / shape
    return np.maximum(np.rint(cents), 1).astype(np.int64)
