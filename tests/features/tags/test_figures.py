"""Flip rate, overlap and lift: by hand, and beside a bootstrap."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.tags.figures import duplicates, flip_rate, lift

MEMBERS = st.integers(1, 40)


def test_the_flip_rate_counts_memberships_of_one_day_only() -> None:
    before = np.array([True, True, True, False, False])
    now = np.array([True, True, False, True, False])

    # One left, one entered, of 3 + 3 memberships.
    assert flip_rate(before, now) == pytest.approx(2 / 6)
    assert flip_rate(now, now) == 0.0
    nobody = np.zeros(5, dtype=bool)
    assert flip_rate(nobody, nobody) is None
    assert flip_rate(before, nobody) == 1.0


@given(data=st.data(), n=MEMBERS)
def test_the_flip_rate_is_the_same_in_both_directions_and_a_share(
    data: st.DataObject, n: int
) -> None:
    before, now = (np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
                   for _ in range(2))  # fmt: skip

    rate = flip_rate(before, now)

    assert rate == flip_rate(now, before)
    assert rate is None or 0.0 <= rate <= 1.0


def test_duplicates_are_later_tags_whose_members_nearly_all_hold_an_earlier_one() -> None:
    members = np.arange(20)
    held = {
        "first": members < 10,  # ten members
        "nearly": members < 9,  # 9 of 10: Jaccard .9
        "half": members < 5,  # 5 of 10, 5 of 9
        "like_nearly": members < 9,  # a copy of a duplicate is one of the original
        "nobody": members < 0,
        "nobody_either": members < 0,
    }

    found = duplicates(held)

    assert found["first"] == (None, 0.9)
    assert found["nearly"] == ("first", 1.0)
    assert found["half"] == (None, 0.5556)
    assert found["like_nearly"] == ("first", 1.0)
    assert found["nobody"] == found["nobody_either"] == (None, 0.0)


def test_lift_by_hand() -> None:
    held = np.array([True, True, False, False])
    y = np.array([3.0, 1.0, 0.0, math.nan])

    # 2 among holders, 4/3 among the three of whom it is known.
    found = lift(held, y)

    assert found.value == pytest.approx(1.5)
    assert found.low is not None and found.high is not None
    assert found.low < 1.5 < found.high
    # The interval is symmetric on the log scale.
    assert found.low * found.high == pytest.approx(1.5**2)


def test_lift_of_nobody_or_of_nothing_is_not_known() -> None:
    held, nobody = np.array([True, False]), np.array([False, False])

    assert lift(nobody, np.array([1.0, 1.0])).value is None
    assert lift(held, np.array([0.0, 0.0])).value is None
    assert lift(held, np.array([math.nan, math.nan])).value is None
    assert lift(held, np.array([0.0, 1.0])).value == 0.0


@given(n=MEMBERS, data=st.data())
def test_of_a_tag_everybody_holds_the_lift_is_one(n: int, data: st.DataObject) -> None:
    y = np.array(data.draw(st.lists(st.floats(0.5, 9), min_size=n, max_size=n)))

    found = lift(np.ones(n, dtype=bool), y)

    assert [found.value, found.low, found.high] == pytest.approx([1.0, 1.0, 1.0])


def test_the_interval_is_that_of_a_bootstrap_over_members() -> None:
    rng = np.random.default_rng(20250301)
    held = rng.random(2_000) < 0.15
    y = rng.gamma(1.0, np.where(held, 2.0, 1.0))

    found = lift(held, y)

    draws = []
    for _ in range(2_000):
        chosen = rng.integers(0, 2_000, 2_000)
        draws.append(y[chosen][held[chosen]].mean() / y[chosen].mean())
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low == pytest.approx(low, rel=0.02)
    assert found.high == pytest.approx(high, rel=0.02)
