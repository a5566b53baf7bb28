"""What others would do with the same budget: nobody measures, and one knows everything.

Two of them are given more than such programmes have: who is likely to leave, and who is likely to
buy when contacted, exactly as features tell it.
"""

from collections.abc import Callable

import numpy as np

from actions.drawing import decide
from actions.plan import NOBODY, Numbers, Places, Resource, greedy
from actions.policy import Mask
from experiments.closed_loop.world import KNOWN, Recipe, World

# Among equals by score, the offer that brings more on average goes first.
_HAIR = 1e-6

Chooser = Callable[[World, Mask, np.random.Generator], Places]


def at_random(world: World, out: Mask, rng: np.random.Generator) -> Places:
    """Return any offer for anybody until the budget is used."""
    return _first_come(world, out, rng.random((len(world.x), len(world.recipe.action))))


def risk_first(world: World, out: Mask, _: np.random.Generator) -> Places:
    """Return the likeliest leavers first, with the offer that brings most on average."""
    churn = world.known[:, KNOWN.index("churn_probability")]
    return _first_come(world, out, churn[:, None] + _HAIR * _liked(world))


def response_first(world: World, out: Mask, _: np.random.Generator) -> Places:
    """Return those first who are likeliest to buy when contacted, with the offer they buy at."""
    return _first_come(world, out, world.expected.first_with)


def oracle(world: World, out: Mask, _: np.random.Generator, *, solved: int = 3_000) -> Places:
    """Return the best plan for members who look as they do, within the whole budget."""
    profits = np.where(out[:, None], -np.inf, world.profits(world.expected))
    drawing = decide(
        profits, resources_of(world.recipe, world.spend(world.expected)), world.ids, salt="oracle",
        explore_share=0.0, control_share=0.0, rng=np.random.default_rng(0), solved=solved,
    )  # fmt: skip
    return drawing.planned


RIVALS: dict[str, Chooser] = {
    "random": at_random, "risk first": risk_first, "response first": response_first,
    "oracle": oracle,
}  # fmt: skip


def run(recipe: Recipe, seed: int, out: Mask, chooser: Chooser) -> list[float]:
    """Return the true expected profit of each cycle of a rival, in cents."""
    world, rng, found = World(recipe, seed), np.random.default_rng([seed, 7]), list[float]()
    for _ in range(recipe.cycles):
        choices = chooser(world, out, rng)
        found.append(total(world.profits(world.true), choices))
        world.live(choices)
    return found


def resources_of(recipe: Recipe, spend: Numbers) -> list[Resource]:
    """Return a cycle's budget and messages, whole."""
    each = np.eye(len(recipe.action))
    return [
        Resource("budget", recipe.budget_cents * recipe.members, spend),
        *(
            Resource(one.name, one.capacity * recipe.members, each[place : place + 1])
            for place, one in enumerate(recipe.action)
        ),
    ]


def total(values: Numbers, choices: Places) -> float:
    """Return the sum of what members' actions have."""
    served = np.flatnonzero(choices != NOBODY)
    return float(values[served, choices[served]].sum())


def _liked(world: World) -> Numbers:
    average = world.profits(world.expected).mean(axis=0)
    ranks: Numbers = average.argsort().argsort().astype(np.float64)
    return ranks


def _first_come(world: World, out: Mask, scores: Numbers) -> Places:
    resources = resources_of(world.recipe, world.spend(world.expected))
    return greedy(np.where(out[:, None], -np.inf, 1 + scores), resources).choices
