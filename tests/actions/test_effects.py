"""Effects and their intervals: golden numbers, laws, and how often the intervals are wrong."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from actions.effects import (
    Numbers,
    adjusted_p_values,
    cuped,
    detectable,
    effect,
    members_needed,
    return_on_cost,
    sample_ratio,
    widening,
)
from programme.errors import InputRefused

OUTCOMES = arrays.arrays(
    np.float64, st.integers(2, 40), elements=st.floats(-1e6, 1e6, allow_subnormal=False)
)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# Two-sided 5 %, power 80 %, from the formula with unpooled variances of both rates:
# n = (z_{.975} + z_{.8})^2 (p(1-p) + q(1-q)) / (q-p)^2, as in Fleiss, Statistical Methods for
# Rates and Proportions. Ours takes one spread for both arms: the root of the mean variance.
@pytest.mark.parametrize(
    ("base", "rise", "each"),
    [(0.05, 0.005, 31_231), (0.05, 0.01, 8_155), (0.05, 0.02, 2_210), (0.10, 0.01, 14_749),
     (0.10, 0.02, 3_839), (0.20, 0.02, 6_507), (0.20, 0.04, 1_680)],
)  # fmt: skip
def test_a_campaign_needs_as_many_members_as_the_table_says(
    base: float, rise: float, each: int
) -> None:
    p, q = base, base + rise
    spread = math.sqrt((p * (1 - p) + q * (1 - q)) / 2)

    assert members_needed(spread, rise) == pytest.approx(2 * each, rel=0.002)
    assert detectable(spread, each, each) == pytest.approx(rise, rel=0.001)


@given(spread=st.floats(0.01, 1e3), share=st.floats(0.02, 0.98), difference=st.floats(1e-3, 1e3))
def test_what_a_campaign_needs_is_what_finds_the_difference(
    spread: float, share: float, difference: float
) -> None:
    members = members_needed(spread, difference, control_share=share)
    if members * min(share, 1 - share) < 100:
        return
    controls = round(members * share)

    found = detectable(spread, members - controls, controls)

    assert found == pytest.approx(difference, rel=0.02)


# By hand: at alpha = .05 and n = N*, n rho^2 = 5.9915 + ln 6.9915.
def test_the_always_valid_interval_is_that_of_the_paper() -> None:
    spread = -2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))

    expected = math.sqrt(2 * (spread + 1) / spread * math.log(math.sqrt(spread + 1) / 0.05))

    assert widening(5_000, decided_at=5_000) == pytest.approx(expected)
    assert expected == pytest.approx(3.0, abs=0.2)
    assert all(widening(n) > 1.96 for n in (10, 1_000, 100_000))


def test_peeking_every_day_at_nothing_is_wrong_for_few_campaigns() -> None:
    looks, a_day, wrong_always, wrong_fixed = 30, 100, 0, 0
    runs = 100
    for seed in range(runs):
        outcomes = (rng(seed).random((2, looks * a_day)) < 0.06).astype(float)
        found = [
            effect(outcomes[0, :n], outcomes[1, :n], decided_at=2 * looks * a_day)
            for n in range(a_day, looks * a_day + 1, a_day)
        ]
        wrong_always += any(not one.always[0] <= 0 <= one.always[1] for one in found)
        wrong_fixed += any(not one.interval[0] <= 0 <= one.interval[1] for one in found)

    assert wrong_always / runs <= 0.05
    assert wrong_fixed / runs > 0.2  # why the other exists


def test_an_interval_read_once_holds_a_planted_effect_as_often_as_it_says() -> None:
    held = 0
    for seed in range(1_000):
        spend = rng(seed).gamma(0.5, 20, (2, 400))
        found = effect(spend[0] + 1.5, spend[1])
        held += found.interval[0] <= 1.5 <= found.interval[1]

    assert 0.93 <= held / 1_000 <= 0.97


@given(treated=OUTCOMES, controls=OUTCOMES)
def test_arms_that_change_places_change_the_sign(treated: Numbers, controls: Numbers) -> None:
    one, other = effect(treated, controls), effect(controls, treated)

    assert one.difference == pytest.approx(-other.difference)
    assert one.standard_error == pytest.approx(other.standard_error)
    assert one.always[0] <= one.interval[0] <= one.difference <= one.interval[1] <= one.always[1]


def test_what_was_before_takes_noise_away_and_leaves_the_difference() -> None:
    before = rng(1).gamma(2, 50, 20_000)
    treated = np.arange(20_000) % 2 == 0
    outcomes = 0.8 * before + rng(2).normal(0, 20, 20_000) + 3.0 * treated

    plain = effect(outcomes[treated], outcomes[~treated])
    adjusted = cuped(outcomes, before)
    helped = effect(adjusted[treated], adjusted[~treated])

    assert (helped.standard_error / plain.standard_error) ** 2 < 0.15
    assert helped.interval[0] <= 3.0 <= helped.interval[1]


@given(outcomes=OUTCOMES)
def test_nothing_is_taken_away_where_nothing_was_before(outcomes: Numbers) -> None:
    assert np.array_equal(cuped(outcomes, np.zeros_like(outcomes)), outcomes)
    assert cuped(outcomes, outcomes[::-1].copy()).mean() == pytest.approx(
        outcomes.mean(), rel=1e-6, abs=1e-3
    )


def test_arms_of_the_wrong_size_are_noticed() -> None:
    assert sample_ratio([9_000, 1_000], [0.9, 0.1]) == pytest.approx(1)
    assert sample_ratio([8_800, 1_200], [0.9, 0.1]) < 1e-3
    assert sample_ratio([50, 50], [0.5, 0.5]) > 0.9


# Benjamini and Hochberg (1995), section 3.2: of fifteen tests, four are taken at .05.
def test_many_campaigns_are_judged_together_as_in_the_paper() -> None:
    p_values = [.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .3240, .4262,
                .5719, .6528, .7590, 1.0]  # fmt: skip

    assert sum(p <= 0.05 for p in adjusted_p_values(p_values)) == 4
    assert adjusted_p_values([]) == []


def test_the_return_is_known_as_well_as_its_interval_says() -> None:
    held = 0
    for seed in range(400):
        chance = rng(seed)
        margins, controls = chance.gamma(1, 10, 2_000) + 1.0, chance.gamma(1, 10, 2_000)
        redeemed = chance.random(2_000) < np.clip(margins / 60, 0, 1)
        costs = (0.2 + 2.0 * redeemed).astype(np.float64)
        true = 1.0 / (0.2 + 2.0 * 0.1828) - 1
        found = return_on_cost(margins, costs, controls)
        held += found.interval[0] <= true <= found.interval[1]

    assert 0.92 <= held / 400 <= 0.98


BAD = [np.array([]), np.array([1.0]), np.array([1.0, np.nan]), np.array([1.0, np.inf])]


@pytest.mark.parametrize("bad", BAD)
def test_outcomes_that_are_none_are_refused(bad: Numbers) -> None:
    good = np.array([1.0, 2.0])
    with pytest.raises(InputRefused, match="control arm"):
        effect(good, bad)
    with pytest.raises(InputRefused, match="treated arm"):
        return_on_cost(bad, bad, good)


def test_questions_without_an_answer_are_refused() -> None:
    two = np.array([1.0, 2.0])
    with pytest.raises(InputRefused, match="not of the same"):
        cuped(two, np.array([1.0]))
    with pytest.raises(InputRefused, match=r"cost 0\.0"):
        return_on_cost(two, np.zeros(2), two)
    with pytest.raises(InputRefused, match="cannot be compared"):
        sample_ratio([0, 0], [0.5, 0.5])
    with pytest.raises(InputRefused, match="no difference of any size"):
        detectable(1.0, 10, 0)
    with pytest.raises(InputRefused, match="needs no number"):
        members_needed(1.0, 0.0)
