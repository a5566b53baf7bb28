"""An order is of the day of its earliest purchase, in whatever order its lines come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from loyalty.orders import Purchase, take_purchases
from loyalty.points import balance, ledger, post
from loyalty.postings import Request
from loyalty.rulebook import Rulebook
from loyalty.tables import LOTS, MEMBER_DAYS
from loyalty.verify import verify
from programme.database import Database
from tests.loyalty.shop import NOW, RULES, on, purchase, rulebook, rules

BOOK = rulebook()
TERMS = BOOK.terms(NOW)
MEMBER_DAY, DAY_AFTER = on(date(2018, 6, 8)), on(date(2018, 6, 9))
_runs = count(1)


def two_versions(text: str = RULES) -> Rulebook:
    """From the tenth of June on, a euro earns two points and the tiers have other names."""
    newer = rules(
        text,
        **{
            '"2018-01"': '"2018-06"', "2018-01-01": "2018-06-10", "points = 1\n": "points = 2\n",
            '"gold"': '"sun"',
        },
    )  # fmt: skip
    both = rulebook(text)
    both.versions.append(newer)
    return both


def active(database: Database, member: str = "ann") -> int:
    return balance(database, TERMS, member, now=NOW).active


def state(database: Database, member: str) -> tuple[object, ...]:
    """Return what a member has, what her days counted, and which of her points end when."""
    found = balance(database, TERMS, member, now=NOW)
    with database.read() as connection:
        days = connection.execute(
            select(MEMBER_DAYS).where(MEMBER_DAYS.c.member_id == member).order_by("day")
        ).all()
        lots = connection.execute(select(LOTS).where(LOTS.c.member_id == member)).all()
    left: dict[datetime, int] = {}
    for lot in lots:
        left[lot.ends_at] = left.get(lot.ends_at, 0) + lot.remaining
    counted = [tuple(row)[1:] for row in days if any(tuple(row)[2:])]
    return (
        found.active, found.owed, counted,
        {end: points for end, points in left.items() if points},
        ledger(database, member, limit=1)[0].tier,
    )  # fmt: skip


def test_an_earlier_line_that_comes_later_takes_the_order_to_its_day(database: Database) -> None:
    take_purchases(database, BOOK, [purchase("o1", 100_00, at=DAY_AFTER)], now=NOW)

    taken = take_purchases(database, BOOK, [purchase("o1", 50_00, at=MEMBER_DAY)], now=NOW)

    assert [(each.kind, each.active) for each in taken.postings] == [
        ("EARN", 450_00), ("REVERSE", -100_00),
    ]  # fmt: skip
    assert [each.day for each in taken.postings] == [date(2018, 6, 8), date(2018, 6, 9)]
    assert active(database) == 450_00
    again = take_purchases(database, BOOK, [purchase("o2", 1_00)], now=NOW)
    assert [each.active for each in again.postings] == [1_00]


def test_a_return_that_comes_first_does_not_date_its_order(database: Database) -> None:
    both = two_versions()
    back = purchase("r1", -40_00, returns="o1", at=on(date(2018, 6, 13)))

    early = take_purchases(database, both, [back], now=NOW)
    taken = take_purchases(database, both, [purchase("o1", 100_00, at=MEMBER_DAY)], now=NOW)

    assert early.postings == []
    assert [each.rule_version for each in taken.postings] == ["2018-01"]
    assert active(database) == 3 * 60_00


def test_a_return_dated_before_its_order_does_not_date_it_either(database: Database) -> None:
    lines = [purchase("r1", -40_00, returns="o1", at=MEMBER_DAY),
             purchase("o1", 100_00, at=DAY_AFTER)]  # fmt: skip

    take_purchases(database, BOOK, lines, now=NOW)

    assert active(database) == 60_00


def test_an_order_moves_to_the_tier_of_its_day(database: Database) -> None:
    take_purchases(database, BOOK, [purchase("o1", 1_000_00, at=on(date(2018, 6, 12)))], now=NOW)
    take_purchases(database, BOOK, [purchase("o2", 100_00, at=on(date(2018, 6, 13)))], now=NOW)
    assert active(database) == 1_000_00 + 120_00

    take_purchases(database, BOOK, [purchase("o2", 1_00, at=on(date(2018, 6, 11)))], now=NOW)

    assert active(database) == 1_000_00 + 101_00


def test_a_day_that_is_corrected_is_taken_back_with_all_it_brought(database: Database) -> None:
    wrong = purchase("o1", 100_00, at=MEMBER_DAY)
    undone = purchase("o1", -100_00, at=MEMBER_DAY)
    right = purchase("o1", 100_00, at=DAY_AFTER)
    take_purchases(database, BOOK, [wrong], now=NOW)

    take_purchases(database, BOOK, [undone, right], now=NOW)

    assert active(database) == 100_00
    assert state(database, "ann")[2] == [(date(2018, 6, 9), 100_00, 100_00, 1, 0, 0)]


def test_what_an_order_counted_on_the_wrong_day_brings_it_no_tier_on_the_right_one(
    database: Database,
) -> None:
    first, then = on(date(2018, 6, 6)), on(date(2018, 6, 7))
    take_purchases(database, BOOK, [purchase("o1", 1_000_00, at=first)], now=NOW)

    take_purchases(
        database, BOOK,
        [purchase("o1", -1_000_00, at=first), purchase("o1", 1_000_00, at=then)], now=NOW,
    )  # fmt: skip

    assert active(database) == 1_000_00


def test_an_order_whose_first_goods_came_back_at_once_is_still_of_its_first_day(
    database: Database,
) -> None:
    lines = [
        purchase("o1", 100_00, at=MEMBER_DAY), purchase("o1", 50_00, at=DAY_AFTER),
        purchase("r1", -100_00, returns="o1", at=MEMBER_DAY),
    ]  # fmt: skip

    take_purchases(database, BOOK, lines, now=NOW)

    assert active(database) == 150_00


@pytest.mark.parametrize(
    ("policy", "active_after", "owed"),
    [("negative", -200_00, 200_00), ("later_earnings", 0, 200_00), ("forgiven", 0, 0)],
)
def test_points_that_were_spent_before_the_order_moved_are_spent_once(
    database: Database, policy: str, active_after: int, owed: int
) -> None:
    book = rulebook(RULES.replace("count = 365", f'count = 365\nspent_points = "{policy}"'))
    terms = book.terms(NOW)

    def moves(member: str, first: datetime, second: datetime) -> tuple[int, int]:
        bought = purchase(f"o-{member}", 100_00, member=member, at=first)
        undone = purchase(f"o-{member}", -100_00, member=member, at=first)
        right = purchase(f"o-{member}", 100_00, member=member, at=second)
        take_purchases(database, book, [bought], now=NOW)
        had = balance(database, terms, member, now=NOW).active
        post(database, terms, Request("REDEEM", f"all-{member}", member, had), now=NOW)
        take_purchases(database, book, [undone, right], now=NOW)
        found = balance(database, terms, member, now=NOW)
        return found.active, found.owed

    assert moves("ann", DAY_AFTER, MEMBER_DAY) == (200_00, 0)
    assert moves("bob", MEMBER_DAY, DAY_AFTER) == (active_after, owed)
    assert not verify(database).violations


def test_what_was_reversed_by_hand_stays_reversed_where_the_order_moves(
    database: Database,
) -> None:
    earned = take_purchases(database, BOOK, [purchase("o1", 100_00, at=DAY_AFTER)], now=NOW)
    undo = Request("REVERSE", "hand", "ann", 70_00, reverses=earned.postings[0].posting_id)
    post(database, TERMS, undo, now=NOW)

    take_purchases(database, BOOK, [purchase("o1", 1_00, at=MEMBER_DAY)], now=NOW)

    assert active(database) == 303_00 - 70_00
    assert not verify(database).violations


def test_an_order_that_earned_nothing_moves_what_it_counts_for_tiers(database: Database) -> None:
    book = rulebook(RULES.replace("points = 1\n", "points = 1\nmin_spend = 5\n", 1))
    take_purchases(database, book, [purchase("o1", 2_00, at=DAY_AFTER)], now=NOW)

    take_purchases(database, book, [purchase("o1", 1_00, at=MEMBER_DAY)], now=NOW)

    assert state(database, "ann")[2] == [(date(2018, 6, 8), 0, 3_00, 1, 0, 0)]
    assert not verify(database).violations


def test_an_order_that_would_earn_too_much_on_its_right_day_stays_as_it_was(
    database: Database,
) -> None:
    book = rulebook(RULES + "\n[limits]\npoints_max = 350\n")
    take_purchases(database, book, [purchase("o1", 150_00, at=DAY_AFTER)], now=NOW)
    before = state(database, "ann")

    taken = take_purchases(database, book, [purchase("o1", 1_00, at=MEMBER_DAY)], now=NOW)

    assert [refusal.refused.code for refusal in taken.refusals] == ["outside_limits"]
    assert state(database, "ann") == before
    later = take_purchases(database, book, [purchase("o1", 1_00, at=DAY_AFTER)], now=NOW)
    assert [each.active for each in later.postings] == [1_00]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_an_order_has_earned_the_same_whatever_way_its_lines_came(
    database: Database, data: st.DataObject
) -> None:
    book, run = two_versions(), next(_runs)
    days = st.integers(6, 13)
    drawn = data.draw(st.lists(
        st.tuples(st.integers(-60_00, 100_00).filter(bool), days, st.sampled_from("FT")),
        min_size=1, max_size=5,
    ))  # fmt: skip
    corrected = data.draw(st.sets(st.integers(0, len(drawn) - 1)))

    def lines(member: str) -> list[Purchase]:
        came = [
            purchase(
                f"o-{member}" if cents > 0 else f"r-{member}-{n}", cents, member=member,
                category="FOOD/FRESH" if goods == "F" else "FOOD/DRY", line_no=f"l{n}",
                at=on(date(2018, 6, day)), returns=None if cents > 0 else f"o-{member}",
            )
            for n, (cents, day, goods) in enumerate(drawn)
        ]  # fmt: skip
        undone = [
            replace(came[n], line=replace(came[n].line, net_cents=-came[n].line.net_cents,
                                          line_no=f"l{n}~"))
            for n in corrected
        ]  # fmt: skip
        return [*came, *undone]

    def come(member: str, parts: Sequence[Sequence[Purchase]]) -> tuple[object, ...]:
        # Another order of the seventh makes her gold from then on.
        other = purchase(f"x-{member}", 1_000_00, member=member, at=on(date(2018, 6, 7), 3))
        for part in ([other], *parts):
            take_purchases(database, book, part, now=NOW + timedelta(hours=1))
        assert not verify(database, only=[member]).violations
        return state(database, member)

    at_once = come(f"once-{run}", [lines(f"once-{run}")])
    shuffled = data.draw(st.permutations(lines(f"cut-{run}")))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=3)))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
    assert come(f"cut-{run}", [*parts, shuffled[:2]]) == at_once
