"""Which member gets which action: the most expected profit that money and channels allow.

A multiple-choice knapsack: at most one action a member, at most so much of each resource. Its
linear program has fractions for no more members than there are resources, so that solving it and
leaving those few out is as good as exact. Its dual prices say what one more unit of a resource
would bring, and they price any number of members without solving anything: each takes the action
whose profit, less the price of what it uses, is highest (Albert, Goldenberg, CIKM 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from programme.errors import InputRefused

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

NOBODY = -1
# Members of the program that finds prices, and of the one that settles who is close to a tie.
SAMPLED, SETTLED = 8_000, 12_000


@dataclass(frozen=True)
class Resource:
    """Something of which there is only so much: money, messages of a channel, vouchers.

    Attributes
    ----------
    capacity : how much of it there is
    use : of each action, of shape (1, actions), or of each member's actions, (members, actions)
    """

    name: str
    capacity: float
    use: Numbers

    def of(self, members: Places, actions: Places) -> Numbers:
        """Return what some members' actions use, pair by pair."""
        found: Numbers = self.use[members if len(self.use) > 1 else 0, actions]
        return found


@dataclass(frozen=True)
class Plan:
    """Who gets what, and what bounded it.

    Attributes
    ----------
    choices : of each member the place of her action, or `NOBODY`, of shape (members,)
    profit : expected, of all of them
    bound : no plan within the resources has more profit than this (weak duality)
    prices : by resource, what one more unit of it would bring
    used : by resource
    """

    choices: Places
    profit: float
    bound: float
    prices: dict[str, float]
    used: dict[str, float]

    @property
    def gap(self) -> float:
        """Return the share of the bound that the plan may have missed."""
        return 1 - self.profit / self.bound if self.bound > 0 else 0.0


def choose(profits: Numbers, resources: Sequence[Resource], *, rng: np.random.Generator) -> Plan:
    """Return a plan close to the best.

    Prices come from a sample. Whoever is far from a tie at those prices takes what they say; a
    second program settles the others with what is left, and its prices give the bound.

    Parameters
    ----------
    profits : expected incremental profit, (members, actions); -inf where she is not eligible.
        What is not above nought is never chosen.
    rng : draws the sample

    Raises
    ------
    InputRefused : if a profit is no number, or a resource makes no sense.
    """
    _check(profits, resources)
    everyone = np.arange(len(profits))
    if len(everyone) <= SAMPLED:
        choices, prices = _solved(profits, resources, everyone)
        return _plan(profits, resources, choices, prices)
    sample = np.sort(rng.choice(everyone, SAMPLED, replace=False))
    part = SAMPLED / len(everyone)
    scaled = [replace(each, capacity=each.capacity * part) for each in resources]
    _, prices = _solved(profits, scaled, sample)
    choices, lead = _taken(profits, resources, prices)
    close = np.sort(np.argsort(lead, kind="stable")[:SETTLED])
    choices[close] = NOBODY
    left = [
        replace(each, capacity=max(0.0, each.capacity - used))
        for each, used in zip(resources, _used(choices, resources), strict=True)
    ]
    choices[close], prices = _solved(profits, left, close)
    return _plan(profits, resources, choices, prices)


def priced(profits: Numbers, resources: Sequence[Resource], prices: dict[str, float]) -> Plan:
    """Return the plan in which each member takes what known prices say, kept within resources.

    Parameters
    ----------
    prices : by resource, of a plan for members like these
    """
    _check(profits, resources)
    found = np.array([prices[each.name] for each in resources])
    choices, _ = _taken(profits, resources, found)
    return _plan(profits, resources, choices, found)


def greedy(profits: Numbers, resources: Sequence[Resource]) -> Plan:
    """Return the plan that serves the most profitable first; its gap is measured against no price.

    For when no program can be solved: whoever uses it logs the gap.
    """
    _check(profits, resources)
    nobody = np.full(len(profits), NOBODY)
    return _plan(profits, resources, nobody, np.zeros(len(resources)))


def _plan(
    profits: Numbers, resources: Sequence[Resource], choices: Places, prices: Numbers
) -> Plan:
    choices = _filled(profits, resources, _within(profits, resources, choices, prices))
    reduced = _reduced(profits, resources, prices)
    capacities = np.array([each.capacity for each in resources])
    bound = float(np.maximum(0, reduced.max(axis=1, initial=0)).sum() + prices @ capacities)
    served = np.flatnonzero(choices != NOBODY)
    names = [each.name for each in resources]
    return Plan(
        choices, float(profits[served, choices[served]].sum()), bound,
        dict(zip(names, prices.tolist(), strict=True)),
        dict(zip(names, _used(choices, resources), strict=True)),
    )  # fmt: skip


def _solved(
    profits: Numbers, resources: Sequence[Resource], members: Places
) -> tuple[Places, Numbers]:
    """Return the best choices of some members, fractions left out, and the prices."""
    choices = np.full(len(members), NOBODY)
    row, action = np.nonzero(profits[members] > 0)
    if not len(row):
        return choices, np.zeros(len(resources))
    worth = profits[members[row], action]
    pairs = np.arange(len(row))
    one_each = sparse.csr_array((np.ones(len(row)), (row, pairs)), (len(members), len(row)))
    uses = [sparse.csr_array(each.of(members[row], action)[np.newaxis]) for each in resources]
    limits = np.array([1.0] * len(members) + [each.capacity for each in resources])
    found = linprog(
        -worth, A_ub=sparse.vstack([one_each, *uses], format="csr"), b_ub=limits, method="highs"
    )
    if not found.success:
        raise RuntimeError(f"HiGHS found no plan: {found.message}")
    whole = found.x > 1 - 1e-6
    choices[row[whole]] = action[whole]
    return choices, np.maximum(0.0, -found.ineqlin.marginals[len(members) :])


def _reduced(profits: Numbers, resources: Sequence[Resource], prices: Numbers) -> Numbers:
    """Return profits less the price of what each action uses, (members, actions)."""
    reduced = profits.copy()
    for each, price in zip(resources, prices, strict=True):
        if price:
            reduced -= price * each.use
    return reduced


def _taken(
    profits: Numbers, resources: Sequence[Resource], prices: Numbers
) -> tuple[Places, Numbers]:
    """Return what each member takes at given prices, and by how much it leads over the next."""
    reduced = _reduced(profits, resources, prices)
    best = reduced.argmax(axis=1)
    rows = np.arange(len(reduced))
    first = reduced[rows, best]
    reduced[rows, best] = -np.inf
    second = np.maximum(0.0, reduced.max(axis=1))
    taken = first > 0
    return np.where(taken, best, NOBODY), np.where(taken, first - second, -first)


def _used(choices: Places, resources: Sequence[Resource]) -> list[float]:
    served = np.flatnonzero(choices != NOBODY)
    return [float(each.of(served, choices[served]).sum()) for each in resources]


def _within(
    profits: Numbers, resources: Sequence[Resource], choices: Places, prices: Numbers
) -> Places:
    """Leave out those who bring least for what they use, where there is not enough."""
    kept = choices.copy()
    reduced = _reduced(profits, resources, prices)
    for each, price in zip(resources, prices, strict=True):
        served = np.flatnonzero(kept != NOBODY)
        use = each.of(served, kept[served])
        if use.sum() <= each.capacity:
            continue
        served, use = served[use > 0], use[use > 0]
        # What a unit of it brings beyond the other resources' prices.
        worth = reduced[served, kept[served]] / use + price
        order = np.argsort(-worth, kind="stable")
        too_much = np.cumsum(use[order]) > each.capacity
        kept[served[order[too_much]]] = NOBODY
    return kept


def _filled(profits: Numbers, resources: Sequence[Resource], choices: Places) -> Places:
    """Give what is left to those without an action, the most profitable first."""
    filled = choices.copy()
    left = [
        each.capacity - used
        for each, used in zip(resources, _used(choices, resources), strict=True)
    ]
    without = np.flatnonzero(choices == NOBODY)
    row, action = np.nonzero(profits[without] > 0)
    members = without[row]
    uses = np.array([each.of(members, action) for each in resources])
    if not len(members):
        return filled
    # Whatever alone is more than is left cannot be given: mostly that is all of it.
    fits = np.ones(len(members), dtype=bool)
    for use, some in zip(uses, left, strict=True):
        fits &= use <= some
    members, action, uses = members[fits], action[fits], uses[:, fits]
    order = np.argsort(-profits[members, action], kind="stable")
    for pair in order.tolist():
        member, its = int(members[pair]), uses[:, pair].tolist()
        if filled[member] == NOBODY and all(u <= some for u, some in zip(its, left, strict=True)):
            filled[member] = action[pair]
            left = [some - use for some, use in zip(left, its, strict=True)]
    return filled


def _check(profits: Numbers, resources: Sequence[Resource]) -> None:
    # NaN fails every comparison.
    if profits.ndim != 2 or not profits.shape[1] or not (profits < np.inf).all():
        raise InputRefused(
            f"Profits of shape {profits.shape} hold {int(np.isnan(profits).sum())} that are no "
            "number. Nothing was planned. Give one for each member and action; -inf where she is "
            "not eligible."
        )
    for each in resources:
        shaped = each.use.shape in ((1, profits.shape[1]), profits.shape)
        if not shaped or not np.isfinite(each.use).all() or (each.use < 0).any():
            raise InputRefused(
                f"What actions use of {each.name} has shape {each.use.shape}, or holds amounts "
                "below nought. Nothing was planned."
            )
        if not each.capacity > 0 or not np.isfinite(each.capacity):
            raise InputRefused(
                f"There is {each.capacity} of {each.name}. Nothing was planned. Give an amount "
                "above nought, or leave the resource out."
            )
