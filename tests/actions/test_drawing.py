"""Draws: as likely as they say, the same again, within every resource, and never out of nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from actions.arms import Arm, arm_of
from actions.drawing import (
    CONTROL,
    DRAWN_ARMS,
    EXPLORED,
    LEFT_ALONE,
    STANDARD_DEVIATIONS,
    TREATED,
    Drawing,
    decide,
    draw,
    explore_rate,
    is_covered,
    kept_for_plan,
)
from actions.plan import NOBODY, Numbers, Resource
from programme.errors import InputRefused


def ids(members: int) -> list[str]:
    return [f"member-{n:06d}" for n in range(members)]


def world(members: int, seed: int) -> tuple[Numbers, list[Resource]]:
    """Return profits of three offers, some not hers and some losses, a budget and a channel."""
    chance = np.random.default_rng(seed)
    profits = chance.normal(20, 60, (members, 3)) * chance.lognormal(0, 0.7, (members, 1))
    profits[chance.random((members, 3)) < 0.2] = -np.inf
    cost = np.array([2.0, 10, 40]) + chance.gamma(1, 20, (members, 3))
    texts = np.array([[1.0, 1, 0]])
    return profits, [
        Resource("budget", 8.0 * members, cost), Resource("sms", 0.15 * members, texts)
    ]  # fmt: skip


def drawn(profits: Numbers, resources: list[Resource], salt: str, **shares: float) -> Drawing:
    return decide(
        profits, resources, ids(len(profits)), salt=salt, rng=np.random.default_rng(0),
        explore_share=shares.get("explore", 0.15), control_share=shares.get("control", 0.1),
    )  # fmt: skip


def test_ten_thousand_redraws_come_out_as_often_as_was_logged() -> None:
    planned = np.array([0, 2, NOBODY, NOBODY, 1])
    eligible = np.array([[1, 1, 1], [0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=bool)
    salts, members = 10_000, ids(5)
    counts = np.zeros((5, 4))
    arms = np.zeros((5, 4))

    for number in range(salts):
        one = draw(planned, eligible, [], members, salt=f"redraw {number}",
                   explore_share=0.2, control_share=0.1)  # fmt: skip
        counts[np.arange(5), one.done] += 1  # NOBODY is the last column
        arms[np.arange(5), one.arms] += 1

    logged = np.column_stack([one.chances, one.nobody])
    assert np.allclose(logged.sum(axis=1), 1)
    for member in range(5):
        likely = logged[member] > 0
        assert not counts[member, ~likely].any()
        if likely.sum() > 1:
            expected = salts * logged[member, likely]
            assert stats.chisquare(counts[member, likely], expected).pvalue > 1e-4
    assert counts[3].tolist() == [0, 0, 0, salts]
    # By hand: whom the plan left alone explores with .2, and .1 of that is withheld.
    for arm, share in ((EXPLORED, 0.18), (CONTROL, 0.02), (LEFT_ALONE, 0.8), (TREATED, 0)):
        assert stats.binomtest(int(arms[2, arm]), salts, share).pvalue > 1e-4


def test_the_chances_are_those_of_arithmetic() -> None:
    planned = np.array([0, NOBODY])
    eligible = np.array([[True, True], [True, True]])

    one = draw(planned, eligible, [], ids(2), salt="s", explore_share=0.2, control_share=0.1)

    # .9 x (.8 + .2 / 2), .9 x .2 / 2.
    assert one.chances == pytest.approx(np.array([[0.81, 0.09], [0.09, 0.09]]))
    assert one.nobody == pytest.approx(np.array([0.1, 0.82]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), explore=st.floats(0, 1), control=st.integers(0, 9_999))
def test_whatever_is_drawn_was_possible_and_its_chances_make_one(
    seed: int, explore: float, control: int
) -> None:
    profits, resources = world(60, seed)

    one = drawn(profits, resources, f"{seed}", explore=explore, control=control / 10_000)

    eligible = np.isfinite(profits)
    assert (one.chances[~eligible] == 0).all()
    assert (one.chances >= 0).all() and (one.nobody >= -1e-12).all()
    assert np.allclose(one.chances.sum(axis=1) + one.nobody, 1)
    assert (one.propensity > 0).all()
    contacted = np.flatnonzero(one.done != NOBODY)
    assert eligible[contacted, one.done[contacted]].all()
    named = np.array(one.arm_names())
    assert ((one.done != NOBODY) == np.isin(named, ("treated", "explored"))).all()
    assert ((one.drawn == NOBODY) == (named == "left_alone")).all()
    as_planned = named == "treated"
    assert (one.done[as_planned] == one.planned[as_planned]).all()
    for each in resources:
        assert one.used[each.name] <= each.capacity * (1 + 1e-9)


def test_a_draw_repeats_and_another_salt_draws_others() -> None:
    profits, resources = world(2_000, 1)

    one, same, other = (drawn(profits, resources, salt) for salt in ("a", "a", "b"))

    assert (one.done == same.done).all() and (one.arms == same.arms).all()
    assert (one.planned == other.planned).all()
    assert (one.arms != other.arms).mean() > 0.05


def test_the_order_of_members_changes_nothing_about_anyone() -> None:
    planned, eligible = np.array([0, NOBODY, 1]), np.ones((3, 2), dtype=bool)
    members = ids(3)
    salts = [f"{n}" for n in range(200)]

    for salt in salts:
        one = draw(planned, eligible, [], members, salt=salt, explore_share=0.5, control_share=0.2)
        turned = draw(planned[::-1], eligible, [], members[::-1], salt=salt,
                      explore_share=0.5, control_share=0.2)  # fmt: skip
        assert (one.done == turned.done[::-1]).all()


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5])
def test_exploring_is_as_frequent_as_the_scarcest_resource_allows(share: float) -> None:
    profits, resources = world(5_000, 2)
    eligible = np.isfinite(profits)

    rate, bound_by = explore_rate(eligible, resources, share)

    def reach(at: float, each: Resource) -> float:
        use = np.where(eligible, np.broadcast_to(each.use, eligible.shape), 0)
        choices = np.maximum(eligible.sum(axis=1), 1)
        mean, square = use.sum(axis=1) / choices, (use**2).sum(axis=1) / choices
        spread = np.sqrt((at * square - (at * mean) ** 2).sum())
        return float(at * mean.sum() + STANDARD_DEVIATIONS * spread)

    assert 0 < rate < share and bound_by in ("budget", "sms")
    assert all(reach(rate, each) <= share * each.capacity for each in resources)
    assert any(reach(rate * 1.001, each) > share * each.capacity for each in resources)
    assert explore_rate(eligible, [], share) == (share, None)
    plenty = [Resource("budget", 1e9, resources[0].use)]
    assert explore_rate(eligible, plenty, share) == (share, None)


def test_where_not_one_action_fits_nobody_explores() -> None:
    one = Resource("vouchers", 6, np.array([[1.0, 0]]))
    eligible = np.ones((50, 2), dtype=bool)

    assert explore_rate(eligible, [one], 0.15) == (0.0, "vouchers")
    assert explore_rate(np.zeros((50, 2), dtype=bool), [one], 0.15) == (0.15, None)


def test_a_year_of_campaigns_never_uses_more_than_there_is() -> None:
    most = 0.0
    for week in range(52):
        profits, resources = world(1_500, week)
        one = drawn(profits, resources, f"week {week}", explore=0.2)
        for each in resources:
            served = np.flatnonzero(one.done != NOBODY)
            used = np.broadcast_to(each.use, profits.shape)[served, one.done[served]].sum()
            assert used <= each.capacity
            most = max(most, used / each.capacity)
        assert one.plan is not None and one.plan.gap < 0.01 and not one.is_fallback
    assert most > 0.6  # there was something to exceed


def test_explorers_keep_to_their_share_even_where_all_of_it_is_used() -> None:
    eligible = np.ones((1_000, 3), dtype=bool)
    use = np.random.default_rng(5).gamma(0.3, 30, (1_000, 3))
    budget = Resource("budget", 10_000.0, use)
    none = np.full(1_000, NOBODY)

    used = [
        draw(none, eligible, [budget], ids(1_000), salt=f"{n}", explore_share=0.3,
             control_share=0.0).used["budget"]
        for n in range(300)
    ]  # fmt: skip

    rate, _ = explore_rate(eligible, [budget], 0.3)
    assert max(used) <= 0.3 * budget.capacity
    expected = rate * use.mean(axis=1).sum()
    assert abs(np.mean(used) / expected - 1) < 0.05


def test_more_coverage_moves_nobody() -> None:
    members = ids(5_000)
    covered = [is_covered("spring", members, share) for share in (0.0, 0.1, 0.35, 1.0)]

    for fewer, more in itertools.pairwise(covered):
        assert more[fewer].all()
    assert not covered[0].any() and covered[3].all()
    assert stats.binomtest(int(covered[2].sum()), 5_000, 0.35).pvalue > 1e-4


def test_more_exploring_or_more_control_keeps_those_who_were_in_it() -> None:
    planned, eligible = np.zeros(4_000, dtype=np.int64), np.ones((4_000, 3), dtype=bool)

    def at(explore: float, control: float) -> Drawing:
        return draw(planned, eligible, [], ids(4_000), salt="ramp", explore_share=explore,
                    control_share=control)  # fmt: skip

    fewer, more = at(0.1, 0.05), at(0.4, 0.2)
    assert (more.arms[fewer.arms == CONTROL] == CONTROL).all()
    explored = (fewer.arms == EXPLORED) & (more.arms != CONTROL)
    assert (more.arms[explored] == EXPLORED).all()
    assert (more.drawn[explored] == fewer.drawn[explored]).all()


def test_the_control_is_that_of_the_assignment_hash() -> None:
    members, arms = ids(500), (Arm("control", 0.1), Arm("treated", 0.9))

    one = draw(np.zeros(500, dtype=np.int64), np.ones((500, 1), dtype=bool), [], members,
               salt="spring", explore_share=0.0, control_share=0.1)  # fmt: skip

    assert [DRAWN_ARMS[arm] for arm in one.arms] == [arm_of("spring", m, arms) for m in members]


def test_all_may_be_drawn_and_then_nothing_is_planned() -> None:
    profits, resources = world(1_000, 3)
    resources = [Resource("budget", 1e6, resources[0].use)]

    one = drawn(profits, resources, "cold", explore=1.0, control=0.0)

    assert one.plan is None and one.explore_rate == 1.0
    assert (one.planned == NOBODY).all()
    assert ((one.done == NOBODY) == ~np.isfinite(profits).any(axis=1)).all()


def test_a_program_that_fails_leaves_a_greedy_plan_and_its_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("HiGHS found no plan: time limit")

    profits, resources = world(500, 4)
    monkeypatch.setattr("actions.drawing.choose", fails)

    one = drawn(profits, resources, "fallback")

    assert one.is_fallback and one.plan is not None
    assert 0 < one.plan.gap < 1 and (one.planned != NOBODY).any()


def test_prices_of_some_members_plan_for_all_of_them_nearly_as_well() -> None:
    profits, resources = world(4_000, 6)

    def planned(solved: int | None) -> Drawing:
        return decide(
            profits, resources, ids(4_000), salt="s", explore_share=0.1, control_share=0.1,
            rng=np.random.default_rng(0), solved=solved,
        )  # fmt: skip

    whole, quick = planned(None).plan, planned(1_000).plan
    assert whole is not None and quick is not None
    assert 0.97 * whole.profit < quick.profit <= whole.bound


def test_what_cannot_be_drawn_is_refused() -> None:
    eligible, nobody = np.ones((2, 2), dtype=bool), np.full(2, NOBODY)

    def refused(
        why: str, planned: list[int] | None = None, *, members: list[str] | None = None,
        explore: float = 0.1, control: float = 0.1, resources: tuple[Resource, ...] = (),
        may: np.ndarray = eligible,
    ) -> None:  # fmt: skip
        with pytest.raises(InputRefused, match=why):
            draw(nobody if planned is None else np.array(planned), may, resources,
                 ids(2) if members is None else members, salt="s", explore_share=explore,
                 control_share=control)  # fmt: skip

    refused(r"share of nan explores", explore=float("nan"))
    refused(r"share of 1\.5 explores", explore=1.5)
    refused("-0.1 is the control", control=-0.1)
    refused("1.0 is the control", control=1.0)
    refused("steps of", control=0.00005)
    refused("not of the same members", [0])
    refused("not of the same members", members=["one"])
    refused("1 members are there twice", members=["one", "one"])
    refused("not eligible for", [0, 0], may=np.array([[True, True], [False, True]]))
    refused("not eligible for", [2, 0])
    refused("not eligible for", [-2, 0])
    refused("would use 2.0 of sms, and there is 1", [0, 0], explore=0.0, control=0.0,
            resources=(Resource("sms", 1, np.array([[1.0, 1]])),))  # fmt: skip


def test_a_plan_gets_what_exploring_leaves() -> None:
    _, resources = world(10, 1)

    assert [each.capacity for each in kept_for_plan(resources, 0.25)] == [
        0.75 * each.capacity for each in resources
    ]
