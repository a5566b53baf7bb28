"""A thousand campaigns that change nothing, looked at every day: how often that is seen wrongly."""

import numpy as np
import pytest

from actions.effects import Numbers, effect, widening

RUNS, DAYS, A_DAY = 1_000, 30, 100
MEMBERS = DAYS * A_DAY


def looks(treated: Numbers, controls: Numbers) -> tuple[Numbers, Numbers]:
    """Return the difference and its standard error at each day's end, (runs, days)."""
    counts = np.arange(A_DAY, MEMBERS + 1, A_DAY)
    difference, variance = np.zeros((len(treated), DAYS)), np.zeros((len(treated), DAYS))
    for outcomes, sign in ((treated, 1), (controls, -1)):
        mean = outcomes.cumsum(axis=1)[:, counts - 1] / counts
        square = (outcomes**2).cumsum(axis=1)[:, counts - 1] / counts
        difference += sign * mean
        variance += (square - mean**2) / (counts - 1)
    return difference, np.sqrt(variance)


def arms(seed: int, base: float, rise: float, runs: int = RUNS) -> tuple[Numbers, Numbers]:
    rng = np.random.default_rng(seed)
    treated = rng.random((runs, MEMBERS)) < base + rise
    controls = rng.random((runs, MEMBERS)) < base
    return treated.astype(float), controls.astype(float)


def test_looking_every_day_by_hand_is_what_effect_says() -> None:
    treated, controls = arms(1, 0.06, 0.0, runs=2)
    difference, error = looks(treated, controls)

    for day in (1, 12, 30):
        n = day * A_DAY
        found = effect(treated[1, :n], controls[1, :n], decided_at=2 * MEMBERS)
        assert found.difference == pytest.approx(difference[1, day - 1])
        assert found.standard_error == pytest.approx(error[1, day - 1])
        reach = error[1, day - 1] * widening(2 * n, decided_at=2 * MEMBERS)
        assert found.always[1] - found.difference == pytest.approx(reach)


@pytest.mark.slow
@pytest.mark.parametrize("base", [0.06, 0.3])
def test_of_a_thousand_campaigns_few_are_ever_wrong(base: float) -> None:
    difference, error = looks(*arms(2, base, 0.0))
    always = [widening(2 * A_DAY * day, decided_at=2 * MEMBERS) for day in range(1, DAYS + 1)]

    wrong = (np.abs(difference) > error * always).any(axis=1).mean()
    by_fixed = (np.abs(difference) > 1.959964 * error).any(axis=1).mean()

    assert wrong <= 0.025
    assert by_fixed > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("rise", [0.0, 0.01, 0.03])
def test_at_the_close_the_fixed_interval_holds_the_planted_effect(rise: float) -> None:
    difference, error = looks(*arms(3, 0.06, rise))

    held = (np.abs(difference[:, -1] - rise) <= 1.959964 * error[:, -1]).mean()

    assert 0.93 <= held <= 0.97
