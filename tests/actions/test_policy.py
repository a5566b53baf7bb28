"""Expected profit: the arithmetic of its forms, its errors, what a prior may do, who is spared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.plan import NOBODY, choose
from actions.policy import (
    UPLIFT_MOST,
    Costs,
    Guess,
    Policy,
    contact_threshold,
    cross_sell_margin,
    cross_sell_profit,
    eligible_at_first,
    plannable,
    prior_uplift,
    value_given_active,
    win_back_profit,
)
from programme.errors import InputRefused

COUPON = Costs(np.array([5.0]), np.array([100.0]))
AMOUNTS = st.floats(-1e4, 1e4)
ERRORS = st.floats(0, 1e3)


def column(*numbers: float) -> Guess:
    return Guess.of(np.array(numbers)[:, None])


# (d + f) / (gamma (CLV - d) + d) = 11 / 67 with the published CLV 200, d 10, f 1, gamma .3.
def test_the_threshold_is_that_of_the_published_costs() -> None:
    assert contact_threshold(200, 1, 10) == pytest.approx(11 / 67)
    assert round(float(contact_threshold(200, 1, 10)), 3) == 0.164


@given(
    value=st.floats(1, 1e5), contact=st.floats(0, 1e3), redeem=st.floats(0, 1e3),
    save=st.floats(0.01, 1), churn=st.floats(0, 1),
)  # fmt: skip
def test_above_the_threshold_a_contact_pays_and_below_it_does_not(
    value: float, contact: float, redeem: float, save: float, churn: float
) -> None:
    threshold = float(contact_threshold(value, contact, redeem, save))

    # Who leaves stays with gamma, and takes the offer; who stays takes it too.
    pays = churn * save * (value - redeem) - (1 - churn) * redeem - contact

    if save * (value - redeem) + redeem > 0 and abs(pays) > 1e-6 * (value + redeem + contact):
        assert (churn > threshold) == (pays > 0)


def test_an_action_that_never_pays_is_tried_on_nobody() -> None:
    churn, value = np.array([0.1, 0.5, 1.0]), np.full(3, 90.0)

    assert not eligible_at_first(churn, value, COUPON, [None]).any()
    free = Costs(np.zeros(1), np.zeros(1))
    assert eligible_at_first(churn, value, free, [None]).all()
    # p* = 105 / (.3 x 900 + 100) = .284
    assert eligible_at_first(churn, np.full(3, 1000.0), COUPON, [None])[:, 0].tolist() == [
        False, True, True
    ]  # fmt: skip


# By hand: .1 x 2000 - 5 - .4 x 100 = 155; sqrt((2000 x .02)^2 + (.1 x 300)^2 + (.02 x 300)^2
# + (100 x .05)^2).
def test_the_profit_of_winning_back_is_that_of_arithmetic() -> None:
    profit = win_back_profit(
        Guess.of([[0.1]], [[0.02]]), Guess.of([[2000.0]], [[300.0]]), Guess.of([[0.4]], [[0.05]]),
        COUPON,
    )  # fmt: skip

    assert profit.mean[0, 0] == pytest.approx(155)
    assert profit.error[0, 0] == pytest.approx(np.sqrt(1600 + 900 + 36 + 25))


def test_those_who_would_have_come_anyway_cost_what_they_redeem() -> None:
    nothing_changes = win_back_profit(column(0.0), column(5000.0), column(0.9), COUPON)

    assert nothing_changes.mean[0, 0] == pytest.approx(-5 - 90)


# By hand: (.05 x 400 x .8 + .02 x 100 x 1) + .01 x 2000 - 5 - .2 x 100.
def test_the_profit_of_selling_more_counts_what_other_goods_lose() -> None:
    gained = cross_sell_margin([[0.15, 0.3]], [[0.10, 0.28]], [400, 100], [0.2, 0.0])

    profit = cross_sell_profit(
        Guess.of(gained[:, None]), column(0.01), column(2000.0), column(0.2), COUPON
    )

    assert gained[0] == pytest.approx(18)
    assert profit.mean[0, 0] == pytest.approx(18 + 20 - 25)


def test_a_value_that_holds_the_chance_to_be_active_is_freed_of_it() -> None:
    given_active = np.array([800.0, 1200.0])
    active = np.array([0.25, 0.9])

    assert value_given_active(given_active * active, active) == pytest.approx(given_active)
    assert np.isfinite(value_given_active(np.array([10.0]), np.array([0.0]))).all()


@given(a=AMOUNTS, b=AMOUNTS, sa=ERRORS, sb=ERRORS)
def test_errors_of_products_and_sums_are_those_of_independent_guesses(
    a: float, b: float, sa: float, sb: float
) -> None:
    product, total = Guess.of(a, sa) * Guess.of(b, sb), Guess.of(a, sa) + Guess.of(b, sb)

    # E[x^2] E[y^2] - (E[x] E[y])^2
    exact = (a**2 + sa**2) * (b**2 + sb**2) - (a * b) ** 2
    assert float(product.error) ** 2 == pytest.approx(
        exact, rel=1e-6, abs=1e-3 + 1e-8 * (a * b) ** 2
    )
    assert float(total.error) ** 2 == pytest.approx(sa**2 + sb**2)
    assert total.lower <= total.mean <= total.upper


# Half of .4 x .3; sd of Beta(6, 14) is .1: error .12 x hypot(.5 x .1 / .3, .5).
def test_the_prior_is_half_of_what_was_published_and_doubts_it() -> None:
    prior = prior_uplift(np.array([0.4]), [None, 0.1])

    assert prior.mean[0] == pytest.approx([0.06, 0.02])
    assert prior.error[0, 0] == pytest.approx(0.12 * np.hypot(0.5 / 3, 0.5))
    assert prior.lower[0, 0] < 0 < 0.12 < prior.upper[0, 0]
    assert prior_uplift(np.array([1.0]), [0.9]).mean[0, 0] == UPLIFT_MOST


def policy(mean: list[list[float]], error: float, **told: list[list[bool]] | list[bool]) -> Policy:
    profit = Guess.of(mean, error)
    eligible = np.array(told.get("eligible", np.ones(profit.mean.shape)), dtype=bool)
    measured = np.array(told.get("measured", np.ones(profit.mean.shape[1])), dtype=bool)
    return Policy(profit, eligible, measured, np.ones(profit.mean.shape))


def test_whom_everything_harms_is_left_alone_and_counted() -> None:
    found = policy([[-30, -25], [-30, -5], [-30, 10], [-90, -90]], 10,
                   eligible=[[True, True], [True, True], [True, True], [False, False]])  # fmt: skip

    assert found.left_alone.tolist() == [True, False, False, False]
    assert np.isneginf(found.profits[[0, 3]]).all()
    assert np.isfinite(found.profits[1:3]).all()


def test_what_she_is_not_eligible_for_does_not_save_her_from_being_left_alone() -> None:
    found = policy([[-30, 500]], 1, eligible=[[True, False]])

    assert found.left_alone.tolist() == [True]


def test_a_prior_draws_and_never_plans() -> None:
    found = policy([[500, 80], [500, -20]], 30, measured=[False, True])

    plan = choose(found.profits, [], rng=np.random.default_rng(0))

    assert plan.choices.tolist() == [1, NOBODY]
    assert np.isfinite(found.profits).all()


@given(AMOUNTS, ERRORS, st.booleans())
def test_planned_is_only_what_was_measured_and_surely_brings_a_profit(
    mean: float, error: float, measured: bool
) -> None:
    profit = Guess.of([[mean]], error)

    found = plannable(profit, [measured])

    if measured and profit.lower[0, 0] > 0:
        assert found[0, 0] == mean > 0
    else:
        assert found[0, 0] == 0


def test_what_does_not_surely_bring_a_profit_may_still_be_drawn() -> None:
    found = policy([[50, 70], [50, 50]], 30)

    assert found.profits.tolist() == [[0, 70], [0, 0]]
    assert not found.left_alone.any()


def test_what_is_no_guess_or_cost_is_refused() -> None:
    with pytest.raises(InputRefused, match="1 are no numbers"):
        Guess.of([1.0, np.nan])
    with pytest.raises(InputRefused, match="none or below nought"):
        Guess.of([1.0], [-1.0])
    with pytest.raises(InputRefused, match="Contacts cost"):
        Costs(np.array([1.0]), np.array([-1.0]))
    with pytest.raises(InputRefused, match="Contacts cost"):
        Costs(np.array([1.0, 2.0]), np.array([1.0]))
    with pytest.raises(InputRefused, match="shares from 0 to 1"):
        cross_sell_margin([[0.1]], [[0.0]], [100], [1.2])
