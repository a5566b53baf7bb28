"""Figures of next orders: a date and a curve on one scale, and censoring that costs nobody."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from training.order_metrics import absolute_error, concordance, share_right

HORIZON = 10
days = st.integers(0, HORIZON)
shares = hnp.arrays(np.float64, HORIZON, elements=st.floats(0, 1))


@given(days, days)
def test_of_a_date_it_is_the_error_in_days_cut_at_the_horizon(said: int, came: int) -> None:
    date = (np.arange(HORIZON) < said).astype(float)[None, :]

    assert share_right(date, [came])[0] == pytest.approx(1 - abs(said - came) / HORIZON)


@given(shares, shares)
def test_nobody_gains_by_another_curve_than_she_believes(
    kept: NDArray[np.float64], other: NDArray[np.float64]
) -> None:
    believed = np.asarray(np.cumprod(kept), dtype=np.float64)
    said = np.asarray(np.cumprod(other), dtype=np.float64)
    chance = -np.diff(np.concatenate([[1.0], believed, [0.0]]))

    def expected(curve: NDArray[np.float64]) -> float:
        every = np.tile(curve, (HORIZON + 1, 1))
        return float(chance @ share_right(every, np.arange(HORIZON + 1)))

    assert expected(believed) >= expected(said) - 1e-12


@given(
    hnp.arrays(np.float64, 15, elements=st.integers(0, 6).map(float)),
    hnp.arrays(np.float64, 15, elements=st.integers(0, 6).map(float)),
)
def test_concordance_is_that_of_all_pairs(
    came: NDArray[np.float64], said: NDArray[np.float64]
) -> None:
    points = [
        0.5 if said[i] == said[j] else float((said[i] < said[j]) == (came[i] < came[j]))
        for i, j in combinations(range(15), 2)
        if came[i] != came[j]
    ]

    measured = concordance(came, said)

    assert measured == pytest.approx(np.mean(points)) if points else np.isnan(measured)


def test_figures_by_hand() -> None:
    # Two orders on days 1 and 3, one that did not come within 4.
    came = [1, 3, 4]

    assert absolute_error(came, [2, 3, 1]) == pytest.approx(4 / 3)
    assert concordance(came, [2, 3, 1]) == pytest.approx(1 / 3)
    curve = np.array([[0.5, 0.5, 0.5, 0.5]] * 3)
    assert share_right(curve, came).tolist() == [0.75] * 3
