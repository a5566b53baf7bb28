"""Time the allocation of offers, beside the exact linear program that bounds it.

A hundred thousand members and five offers under a budget and channel capacities are planned; the
bound is that of the whole program, solved by itself. Prices from a plan then serve a million.
Greedy is shown for what it loses.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse
from scipy.optimize import linprog

from actions.plan import NOBODY, Numbers, Plan, Resource, choose, greedy, priced

MEMBERS, MANY, OFFERS = 100_000, 1_000_000, 5
# Shares of the members for whom there is a message of each channel, and of what would be spent on
# everybody's best offer.
CHANNEL_SHARE, BUDGET_SHARE = 0.12, 0.3
CHANNELS = np.array([[1.0, 0, 0, 1, 0], [0, 1.0, 0, 0, 1]])
SEED = 20_240_101


@dataclass(frozen=True)
class Case:
    """Profits and what there is only so much of."""

    profits: Numbers
    resources: list[Resource]


def made_up(members: int, seed: int) -> Case:
    """Make members whose values are log-normal and whom offers move by more and by less."""
    rng = np.random.default_rng(seed)
    value = rng.lognormal(3.0, 1.0, members)
    moved = rng.normal(0.03, 0.06, (members, OFFERS))
    redeemed = rng.uniform(0.02, 0.3, (members, OFFERS))
    contact, redeem = np.array([0.05, 0.01, 0.0, 0.6, 0.02]), np.array([2.0, 1.0, 0.5, 3.0, 5.0])
    spend = contact + redeemed * redeem
    profits = moved * value[:, None] - spend
    best = profits.argmax(axis=1)
    wanted = spend[np.arange(members), best][profits.max(axis=1) > 0].sum()
    budget = Resource("budget", BUDGET_SHARE * float(wanted), spend)
    channels = [
        Resource(f"channel {place}", CHANNEL_SHARE * members, CHANNELS[[place]])
        for place in range(len(CHANNELS))
    ]
    return Case(profits, [budget, *channels])


def exact_bound(case: Case) -> float:
    """Return the value of the whole linear program; no plan can be worth more."""
    rows, offers = np.nonzero(case.profits > 0)
    pairs = np.arange(len(rows))
    each_once = sparse.csr_array(
        (np.ones(len(rows)), (rows, pairs)), (len(case.profits), len(rows))
    )
    uses = [sparse.csr_array(one.of(rows, offers)[np.newaxis]) for one in case.resources]
    limits = np.array([1.0] * len(case.profits) + [one.capacity for one in case.resources])
    found = linprog(
        -case.profits[rows, offers], A_ub=sparse.vstack([each_once, *uses], format="csr"),
        b_ub=limits, method="highs",
    )  # fmt: skip
    return -float(found.fun)


def exceeded(case: Case, plan: Plan) -> int:
    """Return how many resources a plan uses more of than there is."""
    served = np.flatnonzero(plan.choices != NOBODY)
    return sum(
        float(one.of(served, plan.choices[served]).sum()) > one.capacity * (1 + 1e-9)
        for one in case.resources
    )


def main() -> None:
    """Print times, shares of the bound, and whether anything was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    case, rng = made_up(asked.members, asked.seed), np.random.default_rng(asked.seed)
    table = Table(title=f"{asked.members:,} members, {OFFERS} offers, budget and two channels")
    for heading in ("how", "seconds", "of the exact bound", "exceeded"):
        table.add_column(heading, justify="right")
    begun = time.perf_counter()
    plan = choose(case.profits, case.resources, rng=rng)
    planned = time.perf_counter() - begun
    begun = time.perf_counter()
    by_greed = greedy(case.profits, case.resources)
    greedily = time.perf_counter() - begun
    begun = time.perf_counter()
    bound = exact_bound(case)
    exactly = time.perf_counter() - begun
    table.add_row("the exact program", f"{exactly:.1f}", "1.00000", "")
    for name, seconds, one in (("choose", planned, plan), ("greedy", greedily, by_greed)):
        share = f"{one.profit / bound:.5f}"
        table.add_row(name, f"{seconds:.1f}", share, str(exceeded(case, one)))
    many = made_up(asked.many, asked.seed + 1)
    begun = time.perf_counter()
    served = priced(many.profits, many.resources, plan.prices)
    pricing = time.perf_counter() - begun
    console = Console()
    console.print(table)
    console.print(
        f"{asked.many:,} other members priced by what that plan found: {pricing:.1f} s, at least "
        f"{1 - served.gap:.4f} of the best, {exceeded(many, served)} exceeded"
    )


if __name__ == "__main__":
    main()
