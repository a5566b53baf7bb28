"""Plans: within every resource, close to the bound, and the same as trying everything."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.plan import NOBODY, Numbers, Resource, choose, greedy, priced
from programme.errors import InputRefused


def world(members: int, seed: int, budget: float = 0.3) -> tuple[Numbers, list[Resource]]:
    """Return profits of five offers, some of them losses, a budget and three channels."""
    chance = np.random.default_rng(seed)
    value = chance.lognormal(4, 1, members)
    effect = chance.normal(0.02, 0.03, (members, 5)) * np.array([1, 1.2, 0.8, 1.5, 0.6])
    cost = np.array([0.05, 0.2, 1, 0.1, 0.5]) + chance.beta(2, 8, (members, 5)) * [2, 5, 8, 3, 1]
    profits = effect * value[:, None] - cost
    profits[chance.random((members, 5)) < 0.1] = -np.inf
    channels = np.array([[1.0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1]])
    wanted = np.where(profits.max(axis=1) > 0, cost[np.arange(members), profits.argmax(axis=1)], 0)
    return profits, [
        Resource("budget", budget * wanted.sum(), cost),
        *(Resource(f"channel {n}", 0.12 * members, channels[n : n + 1]) for n in range(3)),
    ]


@pytest.mark.parametrize("budget", [0.1, 0.7])
def test_a_plan_is_close_to_the_bound_and_within_every_resource(budget: float) -> None:
    profits, resources = world(20_000, 1, budget)

    plan = choose(profits, resources, rng=np.random.default_rng(0))

    assert plan.gap < 0.001
    for each in resources:
        assert plan.used[each.name] <= each.capacity * (1 + 1e-9)
    served = np.flatnonzero(plan.choices != NOBODY)
    assert (profits[served, plan.choices[served]] > 0).all()


def test_prices_of_some_members_price_others() -> None:
    profits, resources = world(60_000, 2)
    few, their = world(8_000, 3)
    prices = choose(few, their, rng=np.random.default_rng(0)).prices

    plan = priced(profits, resources, prices)

    assert plan.gap < 0.02
    assert all(plan.used[each.name] <= each.capacity * (1 + 1e-9) for each in resources)
    assert greedy(profits, resources).profit < plan.profit


def test_a_price_is_what_one_more_unit_brings() -> None:
    profits, resources = world(4_000, 4, 0.2)
    plan = choose(profits, resources, rng=np.random.default_rng(0))
    more = [Resource("budget", resources[0].capacity + 20, resources[0].use), *resources[1:]]

    wider = choose(profits, more, rng=np.random.default_rng(0))

    assert wider.profit - plan.profit == pytest.approx(20 * plan.prices["budget"], rel=0.2)


@settings(max_examples=60)
@given(data=st.data())
def test_no_plan_beats_the_bound_and_few_members_lose_little(data: st.DataObject) -> None:
    members, actions = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    numbers = st.integers(-5, 20).map(float)
    profits = np.array(
        data.draw(st.lists(numbers, min_size=members * actions, max_size=members * actions))
    ).reshape(members, actions)
    use = np.array([data.draw(st.lists(st.integers(0, 4), min_size=actions, max_size=actions))])
    resource = Resource("budget", float(data.draw(st.integers(1, 10))), use.astype(float))

    plan = choose(profits, [resource], rng=np.random.default_rng(0))

    best = 0.0
    for choices in itertools.product(range(NOBODY, actions), repeat=members):
        taken = [(n, a) for n, a in enumerate(choices) if a != NOBODY]
        if sum(use[0, a] for _, a in taken) <= resource.capacity:
            best = max(best, sum(profits[n, a] for n, a in taken))
    assert plan.profit <= best + 1e-9
    assert best <= plan.bound + 1e-6
    assert plan.used["budget"] <= resource.capacity
    # One member's action is the most that a fraction costs.
    assert best - plan.profit <= max(0.0, profits.max()) + 1e-9


def test_nobody_is_contacted_where_nothing_pays() -> None:
    plan = choose(np.full((3, 2), -1.0), [], rng=np.random.default_rng(0))

    assert (plan.choices == NOBODY).all()
    assert (plan.profit, plan.gap) == (0.0, 0.0)
    assert len(choose(np.empty((0, 2)), [], rng=np.random.default_rng(0)).choices) == 0


@pytest.mark.parametrize(
    ("profits", "use", "capacity", "why"),
    [
        ([[np.nan]], [[1.0]], 1, "no number"), ([[np.inf]], [[1.0]], 1, "no number"),
        ([[1.0]], [[1.0, 2.0]], 1, "has shape"), ([[1.0]], [[-1.0]], 1, "below nought"),
        ([[1.0]], [[np.nan]], 1, "below nought"), ([[1.0]], [[1.0]], 0, "There is 0"),
        ([[1.0]], [[1.0]], -5, "There is -5"), ([[1.0]], [[1.0]], np.inf, "There is inf"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused(
    profits: list[list[float]], use: list[list[float]], capacity: float, why: str
) -> None:
    with pytest.raises(InputRefused, match=why):
        choose(
            np.array(profits), [Resource("money", capacity, np.array(use))],
            rng=np.random.default_rng(0),
        )  # fmt: skip
