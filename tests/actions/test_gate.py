"""The gate: open for what surely earns more, closed with its reason for the rest."""

from dataclasses import replace

import numpy as np
import pytest

from actions.effects import Numbers
from actions.gate import judge
from actions.off_policy import Cohort, uniform
from programme.errors import InputRefused


def cohort(members: int, seed: int, *, apart: float) -> tuple[Numbers, Cohort]:
    """A coin decided; the action brings `apart` times x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=members)
    taken = rng.integers(2, size=members)
    outcome = taken * apart * x + rng.normal(0, 1, members)
    return x, Cohort(taken, outcome, np.full(members, 0.5), np.zeros((members, 2)))


def test_a_policy_that_surely_earns_more_is_promoted() -> None:
    x, logged = cohort(4_000, 1, apart=0.5)

    verdict = judge((x > 0).astype(int), uniform(1, 4_000), logged, against="all", unit="points")

    assert verdict.promoted
    assert verdict.differing == pytest.approx(0.5, abs=0.03)
    assert verdict.reason.startswith("personalisation promoted: +0.")
    assert "points a member against all (95 % interval +" in verdict.reason


def test_the_interval_of_the_difference_holds_the_truth_nineteen_times_in_twenty() -> None:
    runs, held = 200, 0
    for seed in range(runs):
        x, logged = cohort(500, seed, apart=0.5)
        low, high = judge((x > 0).astype(int), uniform(1, 500), logged).difference.interval
        # E[max(x, 0)] / 2 more than contacting all.
        held += low <= 0.5 / np.sqrt(2 * np.pi) <= high

    # Binomial(200, .95) is below 180 with probability .001.
    assert held >= 180


def test_a_policy_without_merit_gets_in_one_time_in_forty() -> None:
    runs, promoted = 400, 0
    for seed in range(runs):
        x, logged = cohort(400, seed, apart=0.0)
        promoted += judge((x > 0).astype(int), uniform(1, 400), logged).promoted

    # Binomial(400, .025) is above 20 with probability .002.
    assert promoted <= 20


def test_the_refusal_says_the_figures_and_why() -> None:
    x, logged = cohort(1_000, 8, apart=0.0)

    verdict = judge((x > 0).astype(int), uniform(0, 1_000), logged, against="men's e-mail to all")

    low, high = verdict.difference.interval
    assert not verdict.promoted
    assert verdict.reason == (
        "personalisation refused: it does not surely earn more; measured "
        f"{verdict.difference.value:+.4g} a member against men's e-mail to all (95 % interval "
        f"{low:+.4g} to {high:+.4g}, on 1,000 members it had not seen)"
    )


def test_exchanging_the_two_turns_the_difference_round() -> None:
    x, logged = cohort(2_000, 3, apart=0.5)
    ours, all_of_them = (x > 0).astype(int), uniform(1, 2_000)

    one, other = judge(ours, all_of_them, logged), judge(all_of_them, ours, logged)

    assert other.difference.value == pytest.approx(-one.difference.value)
    assert one.promoted and not other.promoted
    assert "it surely earns less" in other.reason


def test_what_decides_the_same_is_refused_however_it_is_written() -> None:
    _, logged = cohort(500, 4, apart=0.5)

    for same in (uniform(1, 500), np.tile([0.0, 1.0], (500, 1))):
        verdict = judge(same, uniform(1, 500), logged)
        assert not verdict.promoted and verdict.differing == 0
        assert "decides as the incumbent does for everybody" in verdict.reason


def test_a_value_that_cannot_be_trusted_does_not_open_the_gate() -> None:
    x, logged = cohort(4_000, 5, apart=3.0)
    rare = replace(logged, propensity=np.where(np.arange(4_000) == 7, 0.01, 0.5))

    verdict = judge((x > 0).astype(int), uniform(1, 4_000), rare)

    assert not verdict.promoted
    assert "its value is not trusted" in verdict.reason and "0.01" in verdict.reason


def test_an_action_that_few_got_does_not_open_the_gate() -> None:
    x, logged = cohort(150, 6, apart=5.0)

    verdict = judge((x > 0).astype(int), uniform(0, 150), logged)

    assert not verdict.promoted and "members only, and it takes 100" in verdict.reason


def test_a_cohort_without_guesses_is_refused() -> None:
    x, logged = cohort(500, 7, apart=1.0)

    with pytest.raises(InputRefused, match="no expected outcomes"):
        judge((x > 0).astype(int), uniform(0, 500), replace(logged, expected=None))
