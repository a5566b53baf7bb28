from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programme.errors import InputRefused
from training.splits import Plan, plan


@dataclass(frozen=True)
class Wish:
    """What a job asks of a history."""

    begins: date
    ends: date
    horizon_days: int
    tests: int
    validations: int
    step_days: int
    train_max: int
    warmup_days: int

    @property
    def days_needed(self) -> int:
        return self.warmup_days + 3 * self.horizon_days

    def plan(self) -> Plan:
        return plan(**vars(self))


WISH = Wish(date(2017, 1, 1), date(2018, 1, 1), 28, 3, 2, 14, 12, 56)

weeks = st.integers(1, 13).map(lambda n: 7 * n)


@st.composite
def wishes(draw: st.DrawFn, *, at_least: int = 0, at_most: int = 900) -> Wish:
    """Wishes over a history longer by `at_least` to `at_most` days than the shortest possible."""
    horizon, warmup = draw(weeks), draw(weeks)
    begins = draw(st.dates(date(2000, 1, 1), date(2040, 1, 1)))
    longer = draw(st.integers(at_least, at_most))
    return Wish(
        begins=begins,
        ends=begins + timedelta(days=max(1, warmup + 3 * horizon + longer)),
        horizon_days=horizon,
        tests=draw(st.integers(1, 5)),
        validations=draw(st.integers(1, 5)),
        step_days=draw(weeks),
        train_max=draw(st.integers(1, 12)),
        warmup_days=warmup,
    )


@given(wishes())
def test_nothing_a_model_learns_from_lies_in_its_future(wish: Wish) -> None:
    laid_out = wish.plan()

    for judged_at in (*laid_out.judged, laid_out.serve):
        for learned_at in laid_out.train_as_ofs(judged_at):
            assert learned_at + timedelta(days=wish.horizon_days) <= judged_at


@given(wishes())
def test_every_answer_has_something_to_learn_from(wish: Wish) -> None:
    laid_out = wish.plan()

    for judged_at in (*laid_out.judged, laid_out.serve):
        assert 1 <= len(laid_out.train_as_ofs(judged_at)) <= wish.train_max


@given(wishes())
def test_no_row_to_learn_from_has_less_history_than_the_warmup(wish: Wish) -> None:
    laid_out = wish.plan()

    earliest = wish.begins + timedelta(days=wish.warmup_days)
    for judged_at in (*laid_out.judged, laid_out.serve):
        assert min(laid_out.train_as_ofs(judged_at)) >= earliest


@given(wishes())
def test_training_as_ofs_run_back_in_steps_from_a_horizon_ago(wish: Wish) -> None:
    laid_out = wish.plan()

    days = laid_out.train_as_ofs(laid_out.serve)

    assert days[0] == laid_out.serve - timedelta(days=wish.horizon_days)
    assert {(newer - older).days for newer, older in pairwise(days)} <= {wish.step_days}


@given(wishes())
def test_judged_as_ofs_are_a_horizon_apart_up_to_the_end_of_the_data(wish: Wish) -> None:
    laid_out = wish.plan()

    horizon = timedelta(days=wish.horizon_days)
    days = (*laid_out.judged, laid_out.serve)
    assert laid_out.serve == wish.ends
    assert all(later - earlier == horizon for earlier, later in pairwise(days))


@given(wishes())
def test_tests_come_after_validations_and_there_is_one_of_each(wish: Wish) -> None:
    laid_out = wish.plan()

    assert 1 <= len(laid_out.validation) <= wish.validations
    assert 1 <= len(laid_out.test) <= wish.tests
    assert max(laid_out.validation) < min(laid_out.test)


@given(wishes())
def test_a_long_history_gives_every_as_of_that_was_wanted(wish: Wish) -> None:
    wanted = wish.tests + wish.validations
    days = wish.warmup_days + (wanted + 1) * wish.horizon_days
    long = Wish(**{**vars(wish), "ends": wish.begins + timedelta(days=days)})

    laid_out = long.plan()

    assert (len(laid_out.test), len(laid_out.validation)) == (wish.tests, wish.validations)


@given(wishes(), st.integers(-4_000, 4_000))
def test_only_distances_matter_not_the_calendar(wish: Wish, days: int) -> None:
    shift = timedelta(days=days)
    moved = Wish(**{**vars(wish), "begins": wish.begins + shift, "ends": wish.ends + shift})

    assert moved.plan().judged == tuple(day + shift for day in wish.plan().judged)


@given(wishes(at_least=-1_500, at_most=-1))
def test_too_short_a_history_is_refused_with_the_days_that_are_needed(wish: Wish) -> None:
    with pytest.raises(InputRefused, match=f"{wish.days_needed} days are needed") as refused:
        wish.plan()

    assert f"{(wish.ends - wish.begins).days} days of history" in str(refused.value)
    assert "Nothing was trained" in str(refused.value)


def test_the_shortest_history_is_enough_for_one_of_each() -> None:
    shortest = Wish(**{**vars(WISH), "ends": WISH.begins + timedelta(days=WISH.days_needed)})

    laid_out = shortest.plan()

    assert (len(laid_out.validation), len(laid_out.test)) == (1, 1)


def test_complete_journey_is_judged_at_the_as_ofs_that_were_agreed() -> None:
    # The issue that asked for churn_28d names these New York midnights.
    laid_out = WISH.plan()

    assert laid_out.test == (date(2017, 10, 9), date(2017, 11, 6), date(2017, 12, 4))
    assert laid_out.validation == (date(2017, 8, 14), date(2017, 9, 11))
    assert laid_out.train_as_ofs(date(2017, 10, 9))[0] == date(2017, 9, 11)


@pytest.mark.parametrize("fact", ["horizon_days", "step_days"])
@pytest.mark.parametrize("days", [0, 10])
def test_days_that_are_not_whole_weeks_are_refused(fact: str, days: int) -> None:
    with pytest.raises(InputRefused, match=f"is {days} days.*multiples of 7"):
        Wish(**{**vars(WISH), fact: days}).plan()
