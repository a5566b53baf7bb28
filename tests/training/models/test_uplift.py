"""Learners of effects: what was planted comes back, and nothing is found where nothing is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from programme.errors import InputRefused
from training.models.folder import ModelRefused
from training.models.trial import Numbers, Trial, against_control, doubly_robust
from training.models.uplift import UpliftModel, blended_ranks, fit
from training.models.uplift_learners import LEARNERS, Learner

FEW = 2
every_learner = pytest.mark.parametrize("learner", LEARNERS)


class World:
    """A made-up trial: the effect is known for everybody, and half of who buys is luck."""

    def __init__(
        self, members: int, seed: int, *, apart: float = 1.0, chance: float | None = 0.5
    ) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(members, 5))
        self.effect = 0.08 + apart * (0.07 * self.x[:, 0] + 0.06 * (self.x[:, 1] > 0))
        base = 0.4 + 0.06 * self.x[:, 2] + 0.03 * self.x[:, 0]
        # Without one chance for all: whoever buys more was the likelier to be treated.
        self.chance = (
            np.clip(0.5 + 0.15 * self.x[:, 2], 0.1, 0.9)
            if chance is None
            else np.full(members, chance)
        )
        self.treated = (rng.random(members) < self.chance).astype(np.float64)
        self.outcome = base + self.treated * self.effect + rng.normal(0, 0.3, members)

    @property
    def rows(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        return self.x, self.treated, self.outcome, self.chance


@pytest.fixture(scope="module")
def past() -> World:
    return World(8_000, seed=1)


@pytest.fixture(scope="module")
def fitted(past: World) -> dict[Learner, UpliftModel]:
    return {learner: fit(*past.rows, learner=learner, seed=1, splits=4) for learner in LEARNERS}


@every_learner
def test_what_was_planted_comes_back(fitted: dict[Learner, UpliftModel], learner: Learner) -> None:
    new = World(4_000, seed=2)

    said = fitted[learner].predict(new.x)

    assert np.corrcoef(said, new.effect)[0, 1] > 0.85
    # Of those it says the most of, and the least, it says what is true.
    for tenth in (said >= np.quantile(said, 0.9), said <= np.quantile(said, 0.1)):
        assert said[tenth].mean() == pytest.approx(new.effect[tenth].mean(), abs=0.04)


@pytest.mark.parametrize("learner", ["t", "x", "r", "dr"])
def test_the_error_of_a_member_is_about_as_large_as_said(
    fitted: dict[Learner, UpliftModel], learner: Learner
) -> None:
    new = World(4_000, seed=2)

    said, error = fitted[learner].predict_with_error(new.x)

    distance = np.sqrt(np.mean((said - new.effect) ** 2))
    assert 0.7 < distance / np.sqrt(np.mean(error**2)) < 1.4
    assert np.mean(np.abs(said - new.effect) < 1.96 * error) > 0.82


@every_learner
def test_an_effect_that_is_the_same_for_all_is_said_the_same_of_all(learner: Learner) -> None:
    spreads, misses = [], []
    for seed in range(3):
        same = World(3_000, seed, apart=0.0)
        model = fit(*same.rows, learner=learner, seed=seed, splits=FEW)
        said, error = model.predict_with_error(World(2_000, 50, apart=0.0).x)
        spreads.append(said.std() / model.effect_error)
        misses.append(np.mean(np.abs(said - 0.08) > 1.96 * error))

    # Members are told apart by hardly more than the average itself may be wrong by.
    assert np.mean(spreads) < 2
    assert np.mean(misses) < 0.1


# The truth is that of the very members: binomial(300, .05) is above 25 with probability .005,
# binomial(30, .05) above 5 with .003.
@pytest.mark.parametrize(("members", "runs", "most"), [(240, 300, 25), (600, 30, 5)])
def test_the_average_effect_is_missed_by_its_interval_about_one_time_in_twenty(
    members: int, runs: int, most: int
) -> None:
    missed = 0
    for seed in range(runs):
        world = World(members, seed, chance=None)
        model = fit(*world.rows, learner="s", seed=seed, splits=1)
        missed += abs(model.effect - world.effect.mean()) > 1.96 * model.effect_error

    assert missed <= most


@every_learner
def test_members_who_were_likelier_to_be_treated_do_not_bend_the_effect(learner: Learner) -> None:
    world = World(6_000, seed=3, chance=None)

    model = fit(*world.rows, learner=learner, seed=3, splits=FEW)

    raw = world.outcome[world.treated == 1].mean() - world.outcome[world.treated == 0].mean()
    assert abs(raw - world.effect.mean()) > 0.02
    assert model.effect == pytest.approx(world.effect.mean(), abs=3 * model.effect_error)
    assert np.corrcoef(model.predict(world.x), world.effect)[0, 1] > 0.8


@every_learner
def test_the_order_of_the_rows_does_not_matter(learner: Learner) -> None:
    world = World(1_200, seed=4)
    order = np.random.default_rng(0).permutation(1_200)
    moved = [column[order] for column in world.rows]

    one = fit(*world.rows, learner=learner, seed=4, splits=FEW)
    other = fit(*moved, learner=learner, seed=4, splits=FEW)

    assert np.array_equal(one.predict(world.x), other.predict(world.x))
    assert np.array_equal(one.held_out[order], other.held_out)


@every_learner
def test_exchanging_the_arms_turns_the_effect_round(learner: Learner) -> None:
    world = World(1_200, seed=5, chance=0.4)

    one = fit(*world.rows, learner=learner, seed=5, splits=FEW)
    other = fit(
        world.x, 1 - world.treated, world.outcome, 1 - world.chance, learner=learner, seed=5,
        splits=FEW,
    )  # fmt: skip

    assert other.effect == pytest.approx(-one.effect, abs=1e-9)
    assert other.predict(world.x) == pytest.approx(-one.predict(world.x), abs=1e-6)


def test_another_unit_of_the_outcome_is_another_unit_of_the_effect() -> None:
    world = World(1_200, seed=6)
    told = fit(*world.rows, learner="dr", seed=6, splits=FEW)

    in_cents = fit(world.x, world.treated, 100 * world.outcome, 0.5, learner="dr", seed=6, splits=2)

    assert in_cents.predict(world.x) == pytest.approx(100 * told.predict(world.x), rel=0.02)


@every_learner
def test_the_same_seed_says_the_same_and_a_saved_model_too(
    past: World, learner: Learner, tmp_path: Path
) -> None:
    few = [column[:1_000] for column in past.rows]
    model = fit(*few, learner=learner, seed=7, splits=FEW)
    model.save(tmp_path)

    again = fit(*few, learner=learner, seed=7, splits=FEW)
    read = UpliftModel.load(tmp_path)

    for twin in (again, read):
        for said, meant in zip(
            twin.predict_with_error(past.x), model.predict_with_error(past.x), strict=True
        ):
            assert np.array_equal(said, meant)
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".txt", ".json")]


def test_a_changed_file_is_refused(past: World, tmp_path: Path) -> None:
    fit(*(column[:1_000] for column in past.rows), seed=7, splits=1).save(tmp_path)
    trees = tmp_path / "booster.txt"
    trees.write_text(trees.read_text("utf-8").replace("leaf_value=", "leaf_value=1"), "utf-8")

    with pytest.raises(ModelRefused, match="not the file that was saved"):
        UpliftModel.load(tmp_path)


@pytest.mark.parametrize("case", ["few members", "no columns", "one value", "one outcome"])
def test_where_nothing_can_be_learned_everybody_gets_the_average(case: str, tmp_path: Path) -> None:
    world = World(200 if case == "few members" else 900, seed=8)
    x, treated, outcome, chance = world.rows
    if case == "no columns":
        x = np.empty((len(x), 0))
    if case == "one value":
        x = np.ones_like(x)
    if case == "one outcome":
        outcome = np.full(len(x), 2.5)

    model = fit(x, treated, outcome, chance, seed=8)
    said, error = model.predict_with_error(x)
    model.save(tmp_path)

    expected = outcome[treated == 1].mean() - outcome[treated == 0].mean()
    assert said == pytest.approx(np.full(len(x), expected), abs=1e-12)
    assert (error == model.effect_error).all()
    assert UpliftModel.load(tmp_path).predict(x) == pytest.approx(said)


def test_a_member_does_not_teach_the_models_that_speak_of_her() -> None:
    world = World(800, seed=9)
    outcome = world.outcome.copy()
    # Last in the canonical order too: nobody's place in the halves moves.
    last = int(world.x[:, 0].argmax())
    outcome[last] += 3.0

    one = fit(world.x, world.treated, world.outcome, 0.5, learner="t", seed=9, splits=FEW)
    other = fit(world.x, world.treated, outcome, 0.5, learner="t", seed=9, splits=FEW)
    change = other.held_out - other.effect, one.held_out - one.effect

    # The slope is of all members; what tells her apart is not her own outcome.
    assert change[0][last] / other.slope == pytest.approx(change[1][last] / one.slope)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"x": np.ones(400)}, "not of the same members"), ({"x": np.ones((3, 2))}, "same members"),
     ({"x": np.full((400, 2), np.inf)}, "infinite"), ({"treated": np.full(400, 2.0)}, r"\[2.0\]"),
     ({"treated": np.ones(400)}, "400 of 400 members were treated"),
     ({"outcome": np.r_[np.nan, np.ones(399)]}, "1 outcomes are no numbers"),
     ({"propensity": 0.0}, "propensity of 400 members"), ({"propensity": 1.0}, "between 0 and 1"),
     ({"propensity": np.nan}, "such as nan"), ({"learner": "causal forest"}, "causal forest"),
     ({"splits": 0}, "0 splits")],
)  # fmt: skip
def test_bad_input_is_refused_by_name(changed: dict[str, Any], said: str) -> None:
    rng = np.random.default_rng(0)
    good: dict[str, Any] = {
        "x": rng.normal(size=(400, 2)), "treated": np.arange(400) % 2, "outcome": rng.random(400),
        "propensity": 0.5,
    }  # fmt: skip

    with pytest.raises(InputRefused, match=said):
        fit(**{**good, **changed}, seed=1)


def test_a_table_laid_out_otherwise_is_refused(past: World) -> None:
    model = fit(*(column[:400] for column in past.rows), seed=1, splits=1)

    with pytest.raises(InputRefused, match=r"reads 5 columns .* shape \(8000, 4\)"):
        model.predict(past.x[:, :4])


# By hand: treated with chance .25 and outcome 3, guesses 2 and 1: 1 + (3 - 2) / .25 = 5;
# a control with outcome 0: 1 - (0 - 1) / .75 = 7/3.
def test_a_doubly_robust_score_is_what_the_formula_says() -> None:
    trial = Trial.of(np.zeros((2, 1)), [1, 0], [3.0, 0.0], 0.25)

    scores = doubly_robust(trial, np.full(2, 2.0), np.full(2, 1.0))

    assert scores == pytest.approx([5.0, 7 / 3])


def test_an_arm_against_the_control_has_the_chance_among_the_two() -> None:
    among, chance = against_control(np.array([0, 1, 2, 1]), np.array([0.2, 0.3, 0.5]), arm=1)

    assert among.tolist() == [True, True, False, True]
    assert chance == pytest.approx([0.6, 0.6, 0.6])


def test_a_blend_is_a_mean_of_ranks() -> None:
    blended = blended_ranks([np.array([0.1, 0.2, 0.3]), np.array([100.0, 50.0, 700.0])])

    assert blended == pytest.approx([1 / 3, 1 / 3, 5 / 6])
