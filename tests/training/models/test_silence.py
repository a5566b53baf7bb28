"""Silence curves: what is read off them, and intervals that keep their promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models.silence import (
    LEVEL_MAX,
    N_GROUPS,
    conformal_level,
    covered,
    group,
    innermost,
    interval,
    levels_by_group,
    order_days,
    quantile,
)

HORIZON = 12
Curves = NDArray[np.float64]


@st.composite
def curves(draw: st.DrawFn) -> tuple[Curves, NDArray[np.int64]]:
    """Curves that never rise, and an outcome each; the horizon is one that did not come."""
    n = draw(st.integers(1, 12))
    kept = draw(hnp.arrays(np.float64, (n, HORIZON), elements=st.floats(0, 1)))
    days = draw(hnp.arrays(np.int64, n, elements=st.integers(0, HORIZON)))
    return np.cumprod(kept, axis=1), days


@given(curves(), st.floats(0.001, LEVEL_MAX))
def test_an_interval_covers_exactly_while_its_level_is_at_most_the_innermost(
    said: tuple[Curves, NDArray[np.int64]], level: float
) -> None:
    silence, days = said
    inner = innermost(silence, days)
    clear = np.abs(inner - level) > 1e-9  # equal but for rounding: either answer will do

    held = covered(*interval(silence, level), days)

    assert (held[clear] == (level <= inner)[clear]).all()


@given(curves(), st.floats(0, LEVEL_MAX), st.floats(0, LEVEL_MAX))
def test_a_higher_level_gives_an_interval_inside(
    said: tuple[Curves, NDArray[np.int64]], one: float, other: float
) -> None:
    silence, _ = said
    wide, narrow = interval(silence, min(one, other)), interval(silence, max(one, other))

    assert (wide[0] <= narrow[0]).all()
    assert (narrow[1] <= wide[1]).all()
    assert (wide[0] <= quantile(silence, 0.5)).all()
    assert (quantile(silence, 0.5) <= wide[1]).all()


@given(curves())
def test_the_conformal_level_held_the_share_it_promises(
    said: tuple[Curves, NDArray[np.int64]],
) -> None:
    silence, days = said

    level = conformal_level(silence, days, 0.8)

    assert covered(*interval(silence, level), days).mean() >= 0.8


def test_it_holds_for_later_members_too_however_wrong_the_curves() -> None:
    rng = np.random.default_rng(3)
    pace = rng.gamma(2.0, 0.05, 6_000)
    days = np.minimum(rng.geometric(1 - np.exp(-pace)) - 1, 91)
    wrong = np.exp(-1.7 * pace[:, None] * np.arange(1, 92))  # all in too much of a hurry

    level = conformal_level(wrong[:3_000], days[:3_000])
    nominal = covered(*interval(wrong[3_000:], 0.1), days[3_000:]).mean()
    held = covered(*interval(wrong[3_000:], level), days[3_000:]).mean()

    assert nominal < 0.77
    assert 0.77 <= held <= 0.83


def test_an_order_that_did_not_come_is_covered_only_where_the_end_is_open() -> None:
    # By hand: after 4 days 70 % and 95 % have bought.
    silence = np.array([[0.9, 0.6, 0.4, 0.3], [0.5, 0.2, 0.1, 0.05]])

    earliest, latest = interval(silence, 0.101)

    assert earliest.tolist() == [1, 0]
    assert latest.tolist() == [4, 2]
    assert covered(earliest, latest, [4, 4]).tolist() == [1, 0]
    assert quantile(silence, 0.5).tolist() == [2, 0]
    # 0.3 are later than the horizon, so no interval above that level reaches them.
    assert innermost(silence, [4, 4]) == pytest.approx([0.3, 0.05])
    assert innermost(silence, [0, 2]) == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize(
    ("next_days", "followed", "odd"),
    [([1.5], 28, "1.5 of 28"), ([29], 28, "29 of 28"), ([-1], 28, "-1 of 28"),
     ([np.nan], 28, "nan of 28"), ([0], 0, "0 of 0"), ([1, 2], 28, r"shape \(2,\)")],
)  # fmt: skip
def test_an_impossible_outcome_is_named(next_days: list[float], followed: float, odd: str) -> None:
    with pytest.raises(InputRefused, match=rf"{odd}.*Nothing was fitted"):
        order_days(next_days, followed, 1, "the hazard")


def test_groups_that_differ_are_each_held_to_their_intervals() -> None:
    # Half never buy again and are known by it; of the others a curve says half the true pace.
    rng = np.random.default_rng(11)
    n, horizon = 4_000, 56
    leaves = np.arange(n) % 2 == 0
    pace = np.where(leaves, 1e-4, 0.10)
    days = np.minimum(rng.geometric(pace) - 1.0, float(horizon))
    said = np.where(leaves, 1e-3, 0.05)
    silence = np.power(1 - said[:, None], np.arange(1.0, horizon + 1))
    first, later = np.arange(n) < n // 2, np.arange(n) >= n // 2

    def share_held(level: ArrayLike, which: NDArray[np.bool_]) -> float:
        ends = interval(silence[which], level)
        return float(covered(*ends, days[which]).mean())

    alone = conformal_level(silence[first], days[first])
    levels = np.array(list(levels_by_group(silence[first], days[first])), dtype=np.float64)
    stays = later & ~leaves

    assert share_held(alone, later) == pytest.approx(0.8, abs=0.1)
    assert share_held(alone, stays) < 0.7
    assert share_held(levels[group(silence[stays])], stays) == pytest.approx(0.8, abs=0.04)


def test_a_group_too_small_to_tell_takes_the_level_of_all() -> None:
    silence = np.linspace(0.9, 0.05, 30)[None, :].repeat(150, axis=0)
    days = np.arange(150.0) % 31

    levels = levels_by_group(silence, days)

    assert len(levels) == N_GROUPS
    assert set(levels) == {conformal_level(silence, days)}
