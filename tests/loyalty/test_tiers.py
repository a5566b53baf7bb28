"""Where a member stands: reached at once, lost at the end of a period, undone by a refund."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.tiers import BEGINNING, Downgrade, Tier, TierPolicy, history, level_on, standing

LEVELS = (Tier("basic", 0, 0), Tier("gold", 100, 80), Tier("diamond", 300, 300))


def yearly(downgrade: Downgrade = "one_down", grace_days: int = 0) -> TierPolicy:
    return TierPolicy(LEVELS, "points", 12, None, downgrade, grace_days)


def rolling(downgrade: Downgrade = "one_down", grace_days: int = 0) -> TierPolicy:
    return TierPolicy(LEVELS, "points", None, 364, downgrade, grace_days)


def levels_of(policy: TierPolicy, days: list[tuple[date, int]], today: date) -> list[object]:
    return [(step.level, step.since) for step in history(policy, days, today)]


def test_a_tier_is_reached_on_the_day_the_sum_meets_its_threshold() -> None:
    days = [(date(2017, 3, 1), 60), (date(2017, 6, 1), 40), (date(2017, 9, 1), 200)]

    assert levels_of(yearly(), days, date(2017, 12, 31)) == [
        (0, BEGINNING), (1, date(2017, 6, 1)), (2, date(2017, 9, 1)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("downgrade", "then"), [("one_down", 1), ("balance_based", 0), ("none", 2)]
)
def test_a_tier_is_lost_at_the_end_of_a_year_by_the_declared_policy(
    downgrade: Downgrade, then: int
) -> None:
    days = [(date(2017, 6, 1), 350), (date(2018, 6, 1), 50)]

    assert standing(yearly(downgrade), days, date(2018, 12, 31)).level == 2
    assert standing(yearly(downgrade), days, date(2019, 1, 1)).level == then


def test_the_retain_target_may_be_lower_than_the_threshold() -> None:
    days = [(date(2017, 6, 1), 100), (date(2018, 6, 1), 80)]

    assert standing(yearly(), days, date(2019, 6, 1)).level == 1


def test_a_tier_outlives_its_period_by_the_days_of_grace() -> None:
    days = [(date(2017, 6, 1), 100)]
    policy = yearly(grace_days=30)

    last = standing(policy, days, date(2019, 1, 30))

    assert (last.level, last.grace_until) == (1, date(2019, 1, 31))
    assert standing(policy, days, date(2019, 1, 31)).level == 0


def test_a_tier_earned_again_within_grace_is_kept_without_a_break() -> None:
    days = [(date(2017, 6, 1), 100), (date(2019, 1, 20), 100)]
    policy = yearly(grace_days=30)

    now = standing(policy, days, date(2019, 3, 1))

    assert (now.level, now.since, now.grace_until) == (1, date(2017, 6, 1), None)


def test_a_rolling_tier_is_held_for_its_window_and_judged_on_it() -> None:
    reached = date(2017, 3, 1)
    judged = reached + timedelta(days=365)

    for more, level in ((79, 0), (80, 1)):
        days = [(reached, 100), (date(2017, 12, 1), more)]
        # What it was reached with does not also keep it.
        assert standing(rolling(), days, judged - timedelta(days=1)).level == 1
        assert standing(rolling(), days, judged).level == level


def test_what_is_left_to_do_is_said_for_the_window_that_decides() -> None:
    days = [(date(2017, 3, 1), 150), (date(2018, 2, 1), 30)]

    now = standing(yearly(), days, date(2018, 6, 1))

    assert (now.window_start, now.window_end) == (date(2018, 1, 1), date(2019, 1, 1))
    assert (now.amount, now.held_amount, now.secured) == (30, 30, 0)


def test_nobody_is_above_the_lowest_tier_without_a_day_that_counts() -> None:
    for policy in (yearly(), rolling()):
        now = standing(policy, [], date(2018, 6, 1))
        assert (now.level, now.since, now.amount) == (0, BEGINNING, 0)


days_of = st.dictionaries(
    st.dates(date(2016, 1, 1), date(2018, 12, 31)), st.integers(1, 200), max_size=12
).map(lambda found: sorted(found.items()))
policies = st.builds(
    TierPolicy, st.just(LEVELS), st.just("points"), st.sampled_from([1, 3, 6, 12]), st.none(),
    st.sampled_from(["one_down", "balance_based", "none"]), st.integers(0, 20),
) | st.builds(
    TierPolicy, st.just(LEVELS), st.just("points"), st.none(), st.sampled_from([28, 91, 364]),
    st.sampled_from(["one_down", "balance_based", "none"]), st.integers(0, 20),
)  # fmt: skip


@given(policy=policies, days=days_of, today=st.dates(date(2016, 1, 1), date(2019, 12, 31)))
def test_history_is_the_standing_of_every_day(
    policy: TierPolicy, days: list[tuple[date, int]], today: date
) -> None:
    found = history(policy, days, today)

    assert [step.since for step in found] == sorted({step.since for step in found})
    assert all(a.level != b.level for a, b in pairwise(found))
    for step in found[1:]:
        assert standing(policy, days, step.since).level == step.level
        assert standing(policy, days, step.since - timedelta(days=1)).level != step.level


@given(
    policy=policies, days=days_of, today=st.dates(date(2016, 1, 1), date(2019, 12, 31)),
    more=st.dates(date(2016, 1, 1), date(2018, 12, 31)), amount=st.integers(1, 300),
)  # fmt: skip
def test_who_earned_more_never_stands_lower_on_a_calendar_window(
    policy: TierPolicy, days: list[tuple[date, int]], today: date, more: date, amount: int
) -> None:
    if policy.window_months is None:
        return
    richer = dict(days)
    richer[more] = richer.get(more, 0) + amount

    raised = standing(policy, sorted(richer.items()), today).level

    assert raised >= standing(policy, days, today).level


@given(policy=policies, days=days_of, today=st.dates(date(2016, 1, 1), date(2019, 12, 31)))
def test_days_that_counted_nothing_and_days_to_come_change_nothing(
    policy: TierPolicy, days: list[tuple[date, int]], today: date
) -> None:
    ahead = [*days, (date(2020, 1, 1), 1_000)]

    assert standing(policy, ahead, today) == standing(policy, days, today)


@given(policy=policies, days=days_of, today=st.dates(date(2016, 1, 1), date(2019, 12, 31)))
def test_the_level_alone_is_that_of_the_standing(
    policy: TierPolicy, days: list[tuple[date, int]], today: date
) -> None:
    assert level_on(policy, days, today) == standing(policy, days, today).level
