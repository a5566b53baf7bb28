"""The population stability index: its laws, its golden number, what it refuses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from programme.errors import InputRefused
from training.drift import column_drift, psi

SAMPLES = arrays.arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.one_of(st.just(np.nan), st.floats(-1e6, 1e6)),
)


@given(SAMPLES)
def test_a_sample_has_not_drifted_from_itself(sample: np.ndarray) -> None:
    assert psi(sample, sample) == 0.0


@given(SAMPLES, SAMPLES)
def test_it_is_never_below_0_and_finite(before: np.ndarray, after: np.ndarray) -> None:
    assert 0.0 <= psi(before, after) < np.inf


@given(SAMPLES, SAMPLES, st.floats(0.1, 10), st.floats(-5, 5))
def test_it_sees_order_only(
    before: np.ndarray, after: np.ndarray, slope: float, shift: float
) -> None:
    rank = pd.Series(np.r_[before, after]).rank(method="dense").to_numpy()
    moved = slope * rank + shift

    assert psi(moved[: len(before)], moved[len(before) :]) == pytest.approx(psi(before, after))


def test_shares_worked_by_hand() -> None:
    # Half below, half above; then 80 % below: (.8 - .5) ln(.8 / .5) + (.2 - .5) ln(.2 / .5).
    before = np.repeat([0.0, 1.0], 500)
    after = np.repeat([0.0, 1.0], [800, 200])

    half_a_member_absent = 0.001
    assert psi(before, after, n_bins=2) == pytest.approx(0.41589, abs=half_a_member_absent)


def test_two_samples_of_one_distribution_are_as_near_as_theory_says() -> None:
    rng = np.random.default_rng(3)
    found = [psi(rng.normal(size=2_000), rng.normal(size=1_000)) for _ in range(60)]

    assert np.mean(found) == pytest.approx(9 * (1 / 2_000 + 1 / 1_000), rel=0.2)


def test_what_became_absent_has_drifted() -> None:
    values = np.arange(100.0)

    assert psi(values, np.where(values < 50, np.nan, values)) > 1


def test_columns_come_worst_first() -> None:
    before = pd.DataFrame({"same": np.arange(50.0), "moved": np.arange(50.0), "gone": 1.0})
    after = before.assign(moved=before["moved"] + 25).drop(columns="gone")

    found = column_drift(before, after)

    assert list(found.index) == ["moved", "same"]
    assert found["same"] == 0


@pytest.mark.parametrize(("before", "after", "bins"), [([], [1], 10), ([1], [], 10), ([1], [1], 1)])
def test_nothing_to_compare_is_refused(before: list[float], after: list[float], bins: int) -> None:
    with pytest.raises(InputRefused, match="drift"):
        psi(before, after, bins)
