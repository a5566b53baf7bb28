"""Figures of rankings: by hand, against a slow second way, and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from programme.errors import InputRefused
from training.models.trial import Numbers
from training.uplift_metrics import figures_of, gains, judge

EFFECTS = arrays.arrays(np.float64, st.integers(2, 30), elements=st.integers(-20, 20).map(float))


def slow(score: Numbers, effects: Numbers) -> dict[str, float]:
    """Every member at her place, one after the other; no ties."""
    ordered = effects[np.argsort(-score)]
    n = len(ordered)
    gain = [ordered[: k + 1].sum() / n for k in range(n)]
    return {
        "qini": float(np.mean([gain[k] - (k + 1) / n * gain[-1] for k in range(n)])),
        "auuc": float(np.mean(gain)),
        "autoc": float(np.mean([ordered[: k + 1].mean() - ordered.mean() for k in range(n)])),
    }


# By hand: effects 4, 0, 2, -2 in the order of the ranking; gains 1, 1, 1.5, 1.
def test_four_members_by_hand() -> None:
    found = figures_of(np.array([9.0, 7.0, 8.0, 1.0]), np.array([4.0, 2.0, 0.0, -2.0]))

    assert found["auuc"] == pytest.approx((1 + 1 + 1.5 + 1) / 4)
    assert found["qini"] == pytest.approx((0.75 + 0.5 + 0.75 + 0) / 4)
    assert found["autoc"] == pytest.approx((4 + 2 + 2 + 1) / 4 - 1)
    assert figures_of(
        np.array([9.0, 7.0, 8.0, 1.0]), np.array([4.0, 2.0, 0.0, -2.0]), shares=(0.5,)
    )["uplift@50"] == pytest.approx(2.0)


@given(effects=EFFECTS, seed=st.integers(0, 100))
def test_the_quick_way_is_the_slow_way(effects: Numbers, seed: int) -> None:
    score = np.random.default_rng(seed).permutation(len(effects)).astype(float)

    found = figures_of(score, effects)

    for figure, value in slow(score, effects).items():
        assert found[figure] == pytest.approx(value, abs=1e-9)


@given(effects=EFFECTS, seed=st.integers(0, 100))
@settings(max_examples=25)
def test_members_ranked_alike_are_taken_in_every_order_at_once(effects: Numbers, seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(3, size=len(effects)).astype(float)
    drawn = [slow(score + 0.5 * rng.random(len(effects)), effects)["qini"] for _ in range(100)]

    expected, error = float(np.mean(drawn)), float(np.std(drawn)) / 10

    assert figures_of(score, effects)["qini"] == pytest.approx(expected, abs=5 * error + 1e-9)


@given(effects=EFFECTS)
def test_the_true_effects_rank_best_and_their_reverse_worst(effects: Numbers) -> None:
    best, worst = figures_of(effects, effects), figures_of(-effects, effects)
    rng = np.random.default_rng(len(effects))

    for _ in range(5):
        other = figures_of(rng.random(len(effects)), effects)
        for figure in ("qini", "auuc", "autoc"):
            assert worst[figure] - 1e-9 <= other[figure] <= best[figure] + 1e-9


@given(effects=EFFECTS)
def test_a_ranking_that_says_the_same_of_all_brings_nothing(effects: Numbers) -> None:
    found = figures_of(np.zeros(len(effects)), effects)

    assert found["qini"] == pytest.approx(0, abs=1e-9)
    assert found["autoc"] == pytest.approx(0, abs=1e-9)
    assert found["uplift@10"] == pytest.approx(effects.mean())


@given(effects=EFFECTS, seed=st.integers(0, 100))
def test_neither_the_order_of_rows_nor_the_scale_of_a_score_matters(
    effects: Numbers, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(5, size=len(effects)).astype(float)
    order = rng.permutation(len(effects))

    one = figures_of(score, effects)
    other = figures_of(np.exp(3 * score[order] - 1), effects[order])

    assert other == {name: pytest.approx(value, abs=1e-9) for name, value in one.items()}


@given(effects=EFFECTS, seed=st.integers(0, 100))
def test_qini_is_the_value_of_contacting_as_ranked_less_that_of_contacting_half(
    effects: Numbers, seed: int
) -> None:
    score = np.random.default_rng(seed).permutation(len(effects)).astype(float)
    n = len(effects)
    # Of the campaigns to the first 1, 2, ... n members, so many reach her.
    reached = (score + 1) / n

    gained = float(((reached - (n + 1) / (2 * n)) * effects).mean())

    assert figures_of(score, effects)["qini"] == pytest.approx(gained, abs=1e-9)


def test_resamples_are_what_repeating_the_rows_gives() -> None:
    rng = np.random.default_rng(3)
    score, effects = rng.integers(6, size=40).astype(float), rng.normal(size=40)
    judged = judge({"ours": score}, effects, seed=5, draws=1)

    drawn = np.random.default_rng(5).integers(40, size=40)
    again = figures_of(score[drawn], effects[drawn])

    for figure in ("qini", "auuc", "uplift@10", "uplift@30"):
        assert judged.drawn["ours"][figure][0] == pytest.approx(again[figure])


def test_the_interval_of_a_gap_holds_the_truth_nineteen_times_in_twenty() -> None:
    runs, held = 60, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        good, poor = rng.normal(size=(2, 200))
        # The mean over k of what the best half-known ranking gains, on endlessly many members:
        # qini of score s with effect b s is b E[s Phi(s)] = b / (2 sqrt(pi)).
        effects = 0.3 * good + 0.1 * poor + rng.normal(0, 2, 200)
        gap = judge({"good": good, "poor": poor}, effects, seed=seed, draws=120).gap("good", "poor")
        held += gap.low <= 0.2 / (2 * np.sqrt(np.pi)) <= gap.high

    # Binomial(60, .95) is below 52 with probability .004.
    assert held >= 52


def test_the_same_seed_gives_the_same_interval_and_a_ranking_ties_with_itself() -> None:
    rng = np.random.default_rng(4)
    score, effects = rng.normal(size=(2, 200))
    both = {"ours": score, "twin": 2 * score}

    assert judge(both, effects, seed=1).interval("ours") == judge(both, effects, seed=1).interval(
        "ours"
    )
    assert judge(both, effects, seed=1).gap("ours", "twin").high == pytest.approx(0, abs=1e-12)


def test_the_curve_ends_at_the_average_effect_and_a_chance_curve_is_straight() -> None:
    effects = np.random.default_rng(5).normal(1, 1, 300)

    curve = gains(np.zeros(300), effects, steps=10)

    assert curve == pytest.approx(np.linspace(0, effects.mean(), 11))
    assert gains(effects, effects)[50] > effects.mean() / 2


@pytest.mark.parametrize(
    ("score", "effects", "said"),
    [(np.ones(3), np.ones(4), r"shape \(3,\) for 4 members"),
     (np.array([1.0, np.nan]), np.ones(2), "1 places"),
     (np.ones(2), np.array([1.0, np.inf]), "finite effect"), (np.ones(0), np.ones(0), "0 members")],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_by_name(
    score: Numbers, effects: Numbers, said: str
) -> None:
    with pytest.raises(InputRefused, match=said):
        judge({"ours": score}, effects, seed=1)
