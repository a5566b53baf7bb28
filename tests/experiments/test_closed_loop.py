"""The world of the closed loop: its truth is the truth, and what is measured in it comes back."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from experiments.closed_loop.__main__ import FOLDER, as_markdown, configured, one_seed, summary
from experiments.closed_loop.loop import Design, Programme, held_out
from experiments.closed_loop.rivals import RIVALS, oracle, resources_of, run, total
from experiments.closed_loop.world import KNOWN, NOBODY, Recipe, World, read
from programme.errors import InputRefused

WORLDS = FOLDER / "worlds"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Return a small world in which effects are easily seen."""
    given = read(WORLDS / "development.toml")
    actions = tuple(
        one.model_copy(update={"odds": 0.6, "by": {k: 2 * v for k, v in one.by.items()}})
        for one in given.action[:2]
    )
    return given.model_copy(
        update={"members": 5_000, "budget_cents": 20.0, "action": actions, "cycles": 3}
    )


@pytest.mark.parametrize("name", ["given", "thrifty", "weary", "development"])
def test_features_explain_less_than_half_of_the_effects_and_some_are_harm(name: str) -> None:
    world = World(read(WORLDS / f"{name}.toml"), 1)
    seen, true = world.expected.orders, world.true.orders

    unexplained = 1 - seen.var(axis=0) / true.var(axis=0)
    assert world.recipe.members >= 20_000
    assert (unexplained > 0.5).all()
    assert 0.1 < (seen < 0).mean() < 0.5
    # What features tell is the mean of what is so.
    assert seen.mean(axis=0) == pytest.approx(true.mean(axis=0), abs=0.004)


def test_what_features_tell_is_the_mean_over_many_who_look_alike(recipe: Recipe) -> None:
    world = World(recipe.model_copy(update={"members": 40_000}), 3)
    world.x = np.tile(world.x[:4], (10_000, 1))
    looks = np.arange(40_000) % 4

    for look in range(4):
        those = looks == look
        assert world.true.orders[those].mean(axis=0) == pytest.approx(
            world.expected.orders[look], abs=0.006
        )
        assert world.true.first[those].mean() == pytest.approx(
            world.expected.first[look], abs=0.006
        )


def test_what_happens_is_what_was_to_be_expected(recipe: Recipe) -> None:
    world = World(recipe.model_copy(update={"members": 60_000}), 4)
    done = np.random.default_rng(1).integers(-1, 2, 60_000)
    true = world.true
    rows, place = np.arange(60_000), np.maximum(done, 0)
    orders = np.where(
        done == NOBODY, true.first + true.second,
        true.first_with[rows, place] + true.second_with[rows, place],
    )  # fmt: skip
    margins = world.margins

    seen = world.live(done)

    for arm in (NOBODY, 0, 1):
        those = done == arm
        assert seen.orders[those].mean() == pytest.approx(orders[those].mean(), abs=0.02)
    assert seen.margin.mean() == pytest.approx((orders * margins).mean(), rel=0.03)
    assert not seen.redeemed[done != 1].any() and seen.redeemed[done == 1].mean() > 0.1


def test_contacts_wear_effects_down_and_are_forgotten(recipe: Recipe) -> None:
    world = World(recipe, 5)
    done = np.where(np.arange(recipe.members) % 2 == 0, 0, NOBODY)
    world.live(done)

    tired, rested = world.contacts == 1, world.contacts == 0
    change = world.odds()[1][:, 0] - (world.x @ np.zeros(world.x.shape[1]))
    assert change[tired].mean() < change[rested].mean() - 0.5 * recipe.fatigue
    world.live(np.full(recipe.members, NOBODY))
    assert world.contacts[tired] == pytest.approx(recipe.remembered)


def test_what_is_only_pulled_forward_is_taken_from_later(recipe: Recipe) -> None:
    def second(pull: float) -> np.ndarray:
        actions = tuple(one.model_copy(update={"pull_forward": pull}) for one in recipe.action)
        world = World(recipe.model_copy(update={"action": actions}), 6)
        return world.true.second_with - world.true.second[:, None]

    assert (second(0.0) == 0).all()
    assert (second(0.9) <= 0).all() and second(0.9).mean() < 2 * second(0.3).mean() < 0


def test_a_seed_makes_the_same_world_and_another_one_another(recipe: Recipe) -> None:
    one, same, other = World(recipe, 1), World(recipe, 1), World(recipe, 2)

    assert (one.known == same.known).all() and (one.true.orders == same.true.orders).all()
    assert not (one.x == other.x).any()
    assert one.known.shape[1] == len(KNOWN)


def test_nobody_who_uses_the_same_features_and_budget_beats_the_oracle(recipe: Recipe) -> None:
    world = World(recipe, 7)
    out = held_out(world)
    best = oracle(world, out, np.random.default_rng(0))
    expected = world.profits(world.expected)

    assert not (best[out] != NOBODY).any() and out.any()
    for name, chooser in RIVALS.items():
        choices = chooser(world, out, np.random.default_rng(1))
        assert total(expected, choices) <= total(expected, best) * 1.001, name
        for each in resources_of(recipe, world.spend(world.expected)):
            served = np.flatnonzero(choices != NOBODY)
            assert each.of(served, choices[served]).sum() <= each.capacity * (1 + 1e-9)


def test_a_programme_learns_what_pays_and_leaves_the_others_behind(recipe: Recipe) -> None:
    programme = Programme(recipe.model_copy(update={"members": 12_000}), 1, Design(taught=2))

    cycles = programme.run()

    # It plans nothing before the gate has opened, and explores with everything it has.
    assert cycles[0].decided == 0 and cycles[0].planned == 0 and cycles[0].contacted > 0
    assert programme.promoted and not cycles[0].promoted
    last = cycles[-1]
    assert last.decided > 0.6 * last.oracle_here
    assert last.whole < last.decided
    assert last.dogs / last.as_planned < 0.05
    assert all(one.spent <= 1.1 for one in cycles)
    reasons = list(itertools.chain(*(one.reasons for one in cycles)))
    assert any(" promoted: " in reason for reason in reasons)
    rival = run(recipe.model_copy(update={"members": 12_000}), 1, programme.held_out,
                RIVALS["risk first"])  # fmt: skip
    assert rival[-1] < last.decided
    logged = programme.logs[1]
    assert np.allclose(logged.chances.sum(axis=1) + logged.nobody, 1)


def test_figures_are_laid_out_a_column_a_world(recipe: Recipe) -> None:
    found = [one_seed(recipe.model_copy(update={"members": 3_000, "cycles": 2}), 1)]

    table = as_markdown({"small": {"summary": summary(found), "seeds": found}})

    assert table.splitlines()[0] == "| last cycle, share of the oracle's profit | small |"
    assert any(line.startswith("| risk first |") for line in table.splitlines())
    assert len(found[0]["decided"]) == 2 and configured().seeds == 10


@pytest.mark.parametrize(
    ("key", "bad", "why"),
    [
        ("members", "members = 12", "members"),
        ("budget_cents", "budget_cents = -1", "budget_cents"),
        ("odds", 'odds = "much"', "odds"),
        ("season", "season = 0.1\nluck = 1", "luck"),
        ("by", "by = { moods = 0.6 }", "moods is no feature"),
        ("cycles", "[[[", "is no world"),
    ],
)
def test_a_world_that_cannot_be_is_refused(tmp_path: Path, key: str, bad: str, why: str) -> None:
    lines = (WORLDS / "given.toml").read_text("utf-8").splitlines()
    head = [line for line in lines[: lines.index("")] if line.split(" ")[0] != key]
    file = tmp_path / "world.toml"
    file.write_text("\n".join([*head, bad, *lines[lines.index("") :]]), "utf-8")

    with pytest.raises(InputRefused, match=rf"world\.toml.*{why}.*Nothing was run"):
        read(file)


def test_a_world_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="is no world"):
        read(tmp_path / "none.toml")


@pytest.mark.slow
@pytest.mark.parametrize(
    # In the tired world more are reached than the 2 % that are asked for: README.
    ("name", "dogs"), [("given", 0.02), ("thrifty", 0.02), ("weary", 0.06)],
)  # fmt: skip
def test_the_sixth_cycle_is_close_to_the_oracle_and_risk_first_is_not(
    name: str, dogs: float
) -> None:
    found = one_seed(read(WORLDS / f"{name}.toml"), 501)

    assert found["decided_same_day"][-1] > 0.88
    assert found["risk first"][-1] < 0.5
    assert found["sleeping_dogs_last"] < dogs
