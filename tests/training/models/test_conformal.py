"""Intervals around expected value: laws of coverage, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programme.errors import InputRefused
from training.metrics import covered
from training.models.conformal import ValueIntervals


def drawn(n_members: int, seed: int, *, buys: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draw members whose true expectation is known; richer ones buy more surely."""
    rng = np.random.default_rng(seed)
    expected = rng.lognormal(8.0, 1.0, n_members)
    chance = 1 - np.exp(-expected / 8_000) if buys is None else np.full(n_members, buys)
    came = np.where(
        rng.random(n_members) < chance, expected / chance * rng.gamma(2, 0.5, n_members), 0
    )
    return expected, came


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_of_five_members_with_spend_in_sight_lie_inside(seed: int) -> None:
    intervals = ValueIntervals.fit(*drawn(4_000, seed, buys=0.97))
    expected, came = drawn(4_000, seed + 100, buys=0.97)

    around = intervals.apply(expected)

    assert covered(came, around[:, 0], around[:, 1]) == pytest.approx(0.8, abs=0.025)
    for part in np.array_split(np.argsort(expected), 4):  # in every bin, not only on the whole
        assert covered(came[part], *around[part].T) == pytest.approx(0.8, abs=0.06)


def test_where_most_spend_nothing_the_interval_begins_at_nothing() -> None:
    expected, came = drawn(4_000, 4)
    intervals = ValueIntervals.fit(expected, came)

    around = intervals.apply(expected)

    rarely = around[:, 1] == 0
    assert rarely.any()
    assert covered(came[rarely], *around[rarely].T) > 0.8  # zero alone is more than was asked for
    sometimes = (around[:, 0] == 0) & (around[:, 1] > 0)
    assert covered(came[sometimes], *around[sometimes].T) == pytest.approx(0.8, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**31 - 1), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_ends_are_in_order_and_survive_json(n: int, seed: int, level: float) -> None:
    expected, came = drawn(n, seed)

    intervals = ValueIntervals.fit(expected, came, level)
    around = intervals.apply(expected)

    assert (around[:, 0] >= 0).all()
    assert (around[:, 0] <= around[:, 1]).all()
    again = ValueIntervals.from_dict(json.loads(json.dumps(intervals.to_dict())))
    assert again == intervals
    # On the members it was made of it holds at least what it promises.
    assert covered(came, around[:, 0], around[:, 1]) >= level - 2 / n**0.5


def test_twice_the_currency_is_twice_the_interval() -> None:
    expected, came = drawn(1_000, 5)

    once = ValueIntervals.fit(expected, came).apply(expected)
    twice = ValueIntervals.fit(2 * expected, 2 * came).apply(2 * expected)

    assert twice == pytest.approx(2 * once)


def test_the_quantile_is_the_one_of_the_source() -> None:
    # Nine members of one bin: rank ceil(10 x .9) = 9 of 9 above, ceil(10 x .9) from above below.
    expected = np.full(9, 1_000.0)
    came = np.arange(1, 10) * 1_000.0

    around = ValueIntervals.fit(expected, came).apply([1_000.0])

    assert around.tolist() == [[1_000.0, 9_000.0]]


def test_members_expected_alike_share_a_bin() -> None:
    expected = np.r_[np.zeros(500), np.linspace(100, 200, 100)]
    came = np.r_[np.zeros(500), np.linspace(50, 400, 100)]

    around = ValueIntervals.fit(expected, came).apply([0.0, 150.0])

    assert around[0].tolist() == [0.0, 0.0]
    assert around[1, 1] > 0


@pytest.mark.parametrize(
    ("expected", "came", "level", "said"),
    [
        ([], [], 0.8, "0 rows to fit intervals"),
        ([1.0], [1.0, 2.0], 0.8, "same members"),
        ([np.nan], [1.0], 0.8, "not finite"),
        ([1.0], [1.0], 1.0, "level 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    expected: list[float], came: list[float], level: float, said: str
) -> None:
    with pytest.raises(InputRefused, match=said):
        ValueIntervals.fit(expected, came, level)
