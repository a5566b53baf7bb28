"""What an order and a behaviour earn: arithmetic written out by hand, then its laws."""

from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.earning import Line, behaviour_earns, order_earns
from loyalty.rules import Rules
from tests.loyalty.shop import NOW, RULES, line, on, rules


def points(given_rules: Rules, *lines: Line, at: datetime = NOW, tier: str | None = "silver",
           birthday: str | None = None) -> int:  # fmt: skip
    return order_earns(given_rules, lines, at, tier=tier, birthday=birthday).points


def test_one_point_for_each_yuan_in_hundredths() -> None:
    assert points(rules(), line(12_34)) == 12_34


def test_fresh_food_counts_double_and_tobacco_not_at_all() -> None:
    assert points(rules(), line(10_00, "FOOD/FRESH/FISH"), line(5_00), line(99_00, "TOBACCO")) == (
        25_00
    )


def test_a_category_is_a_path_and_not_the_beginning_of_a_word() -> None:
    assert points(rules(), line(10_00, "FOOD/FRESHENER")) == 10_00


@pytest.mark.parametrize(("tier", "factor"), [("silver", 1), ("gold", 1.2), ("diamond", 1.5)])
def test_a_tier_multiplies_what_an_order_earns(tier: str, factor: float) -> None:
    assert points(rules(), line(100_00), tier=tier) == 100_00 * factor


def test_a_member_day_is_a_day_in_the_programmes_timezone() -> None:
    # 8 June in Shanghai begins at 16:00 of the 7th in UTC.
    assert points(rules(), line(10_00), at=on(date(2018, 6, 8), hour=0)) == 30_00
    assert points(rules(), line(10_00), at=on(date(2018, 6, 8), hour=24)) == 10_00


@pytest.mark.parametrize(
    ("stacking", "expected"), [("multiply", 90_00), ("add", 45_00), ("highest", 30_00)]
)
def test_multipliers_stack_as_declared(stacking: str, expected: int) -> None:
    # Member day 3, birthday month 2, diamond 1.5: their product, 1 + 2 + 1 + 0.5, or the highest.
    declared = rules(RULES.replace("points = 1\n", f'points = 1\nstacking = "{stacking}"\n', 1))
    at = on(date(2018, 6, 8))

    assert points(declared, line(10_00), at=at, tier="diamond", birthday="06-30") == expected


@pytest.mark.parametrize(
    ("rounding", "rounded", "expected"),
    [
        ("floor", "before_multipliers", 4),  # 3.99 -> 3, x1.5 = 4.5 -> 4
        ("floor", "after_multipliers", 5),  # 3.99 x1.5 = 5.985 -> 5
        ("half_up", "before_multipliers", 6),  # 4, x1.5 = 6
        ("half_up", "after_multipliers", 6),  # 5.985 -> 6
    ],
)
def test_rounding_is_as_declared(rounding: str, rounded: str, expected: int) -> None:
    # One hundredth of a point for each yuan, so that 3.99 yuan are 3.99 of the smallest unit.
    declared = rules(
        RULES.replace(
            "points = 1\n", f'points = 0.01\nrounding = "{rounding}"\nrounded = "{rounded}"\n', 1
        )
    )

    assert points(declared, line(3_99), tier="diamond") == expected


def test_an_order_earns_between_its_least_and_its_most() -> None:
    declared = rules(
        RULES.replace(
            "points = 1\n", "points = 1\nmin_spend = 5\nmin_points = 10\nmax_points = 50\n", 1
        )
    )

    assert points(declared, line(4_99)) == 0
    assert points(declared, line(5_00)) == 10_00
    assert points(declared, line(400_00)) == 50_00


def test_an_order_may_earn_by_quantity_or_by_any_number_of_its_lines() -> None:
    by_quantity = rules(RULES.replace("[earn]", '[earn]\nby = "quantity"'))
    by_number = rules(RULES.replace("[earn]", '[earn]\nby = "eco_score"'))
    goods = Line("1", 10_00, quantity=0.1, numbers={"eco_score": 3})

    assert points(by_quantity, goods) == 10  # a tenth, exactly
    assert points(by_number, goods) == 3_00


def test_who_is_born_on_a_leap_day_is_not_forgotten() -> None:
    declared = rules(RULES.replace('birthday = "month"', 'birthday = "day"'))

    assert points(declared, line(1_00), at=on(date(2018, 2, 28)), birthday="02-29") == 2_00
    assert points(declared, line(1_00), at=on(date(2020, 2, 28)), birthday="02-29") == 1_00
    assert points(declared, line(1_00), at=on(date(2020, 2, 29)), birthday="02-29") == 2_00


def test_rules_that_fired_are_named() -> None:
    earned = order_earns(
        rules(), [line(10_00, "FOOD/FRESH"), line(1_00, "TOBACCO")], on(date(2018, 6, 8)),
        tier="gold", birthday=None,
    )  # fmt: skip

    assert {fired.rule: fired.factor for fired in earned.fired} == {
        "fresh food counts double": 2, "excluded goods": 0, "member day": 3,
        "tier gold": Fraction(6, 5),
    }  # fmt: skip


def test_behaviours_together_end_at_the_daily_cap() -> None:
    given_rules = rules()

    def earns(kind: str, value: float | None = None, times: int = 0, capped: int = 0) -> int:
        found = behaviour_earns(given_rules, kind, value, times_before=times, capped_before=capped)
        assert found is not None
        return found.points

    assert earns("review", capped=150_00) == 50_00
    assert earns("review", capped=200_00) == 0
    assert earns("check_in") == 5_00
    assert earns("check_in", times=1) == 0
    # An event of 300 to 800 points goes by its own value and is outside the cap.
    assert [earns("event", value, capped=200_00) for value in (0, 450, 9_999)] == [
        300_00, 450_00, 800_00,
    ]  # fmt: skip
    assert behaviour_earns(given_rules, "yawn", None, times_before=0, capped_before=0) is None


orders = st.lists(
    st.tuples(
        st.integers(-500_00, 500_00),
        st.sampled_from(["FOOD/DRY", "FOOD/FRESH", "TOBACCO", "HOME"]),
    ),
    min_size=1,
    max_size=8,
).map(lambda found: [line(cents, category) for cents, category in found])
tiers = st.sampled_from(["silver", "gold", "diamond"])
days = st.dates(date(2018, 1, 1), date(2018, 12, 31))


@given(lines=orders, tier=tiers, day=days)
def test_no_order_earns_less_than_nothing_and_order_of_lines_is_nothing(
    lines: list[Line], tier: str, day: date
) -> None:
    earned = order_earns(rules(), lines, on(day), tier=tier, birthday=None)

    assert earned.points >= 0
    assert earned.points == points(rules(), *lines[::-1], at=on(day), tier=tier)


@given(lines=orders, more=st.integers(1, 100_00), tier=tiers, day=days)
def test_more_spend_never_earns_less(lines: list[Line], more: int, tier: str, day: date) -> None:
    before = points(rules(), *lines, at=on(day), tier=tier)

    assert points(rules(), *lines, line(more), at=on(day), tier=tier) >= before


@given(cents=st.integers(1, 1_000_00), factor=st.decimals("0.1", "5", places=1), tier=tiers)
def test_what_is_earned_is_within_one_unit_of_exact_arithmetic(
    cents: int, factor: Decimal, tier: str
) -> None:
    declared = rules(RULES.replace("factor = 2", f"factor = {factor}", 1))
    exact = Fraction(cents) * Fraction(factor) * declared.tier_factor(tier)

    earned = points(declared, line(cents, "FOOD/FRESH"), tier=tier)

    assert 0 <= exact - earned < 1
