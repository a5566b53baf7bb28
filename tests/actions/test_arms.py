"""The assignment hash: fixed for ever, uniform, independent across salts, stable under growth."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actions.arms import BUCKETS, Arm, arm_of, bucket, buckets_of, is_held_out, is_in_range
from programme.errors import InputRefused

ARMS = (Arm("control", 0.1), Arm("coupon", 0.6), Arm("call", 0.3))
MEMBERS = [f"member-{n:06d}" for n in range(100_000)]


# Written down on 2026-11-28: an arm that was assigned must be known again by any later version.
@pytest.mark.parametrize(
    ("salt", "member", "expected"),
    [
        ("win-back-2026-11", "member-000123", 3338),
        ("win-back-2026-11/arm", "1145", 2761),
        ("win-back-2026-11/coverage", "1145", 4295),
        ("seed", "", 2906),
        ("", "會員 7", 8862),
    ],
)  # fmt: skip
def test_the_buckets_are_those_of_the_first_day(salt: str, member: str, expected: int) -> None:
    assert bucket(salt, member) == expected


def test_members_fall_uniformly_into_buckets() -> None:
    for salt in ("a", "b", "win-back-2026-11/arm"):
        counts = np.bincount([bucket(salt, member) // 100 for member in MEMBERS], minlength=100)

        assert stats.chisquare(counts).pvalue > 1e-4


def test_two_salts_say_nothing_about_each_other() -> None:
    salts = ("a", "b", "a/arm", "a/coverage", "a/global")
    tenths = {salt: [bucket(salt, member) // 1_000 for member in MEMBERS] for salt in salts}

    for one, other in itertools.combinations(salts, 2):
        table = np.zeros((10, 10))
        np.add.at(table, (tenths[one], tenths[other]), 1)

        assert stats.chi2_contingency(table).pvalue > 1e-4


def test_arms_get_their_shares_and_nobody_is_left() -> None:
    arms = [arm_of("spring", member, ARMS) for member in MEMBERS]
    counts = [arms.count(arm.name) for arm in ARMS]

    assert sum(counts) == len(MEMBERS)
    assert stats.chisquare(counts, [arm.share * len(MEMBERS) for arm in ARMS]).pvalue > 1e-4


@given(
    member=st.text(max_size=64),
    coverages=st.lists(st.integers(0, BUCKETS), min_size=2, max_size=5),
)
def test_whoever_was_in_a_campaign_stays_in_her_arm_when_it_grows(
    member: str, coverages: list[int]
) -> None:
    seen: set[str] = set()
    for covered in sorted(coverages):
        arm = arm_of("spring", member, ARMS, coverage=covered / BUCKETS)
        assert arm is not None or not seen
        seen |= set() if arm is None else {arm}
    assert len(seen) <= 1


@given(member=st.text(max_size=64), cuts=st.lists(st.integers(0, BUCKETS), max_size=6))
def test_ranges_of_a_namespace_that_do_not_overlap_share_no_member(
    member: str, cuts: list[int]
) -> None:
    ends = [0, *sorted(cuts), BUCKETS]

    found = [is_in_range("offers", member, *pair) for pair in itertools.pairwise(ends)]

    assert sum(found) == 1


def test_the_global_control_is_of_its_size_and_of_its_period() -> None:
    first = [is_held_out("2026-2", member, 0.05) for member in MEMBERS]
    next_one = [is_held_out("2027-1", member, 0.05) for member in MEMBERS]

    assert stats.binomtest(sum(first), len(MEMBERS), 0.05).pvalue > 1e-4
    both = sum(a and b for a, b in zip(first, next_one, strict=True))
    assert stats.binomtest(both, len(MEMBERS), 0.0025).pvalue > 1e-4


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf"), 0.12345])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputRefused, match="share of members"):
        buckets_of(share)


@pytest.mark.parametrize(
    "arms", [(), (Arm("a", 0.5),), (Arm("a", 0.5), Arm("a", 0.5)), (Arm("a", 0.9), Arm("b", 0.2))]
)
def test_arms_that_do_not_make_one_are_refused(arms: tuple[Arm, ...]) -> None:
    with pytest.raises(InputRefused, match="The arms are"):
        arm_of("spring", "ann", arms)
