"""Purchases and behaviours earn once, whichever way and however often they come."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loyalty.account import Qualifying
from loyalty.behaviours import Event, take_events
from loyalty.earning import order_earns
from loyalty.errors import Malformed, OutsideLimits, PostingConflict
from loyalty.intake import position
from loyalty.orders import Purchase, simulate, take_purchases
from loyalty.points import balance, ledger, post
from loyalty.postings import Request
from loyalty.verify import verify
from programme.database import Database
from tests.loyalty.shop import NOW, on, purchase, rulebook, rules

BOOK = rulebook()
_runs = count(1)
TERMS = BOOK.terms(NOW)
EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


def active(database: Database, member: str = "ann") -> int:
    return balance(database, TERMS, member, now=NOW).active


def test_the_order_is_the_earning_unit_and_late_lines_post_the_difference(
    database: Database,
) -> None:
    first = take_purchases(database, BOOK, [purchase("o1", 10_50), purchase("o1", 5_00)], now=NOW)
    late = take_purchases(database, BOOK, [purchase("o1", 4_50)], now=NOW)

    assert [posting.active for posting in first.postings] == [15_50]
    assert [(posting.kind, posting.active) for posting in late.postings] == [("EARN", 4_50)]
    assert late.postings[0].order_key == "till/o1"
    assert late.postings[0].rule_version == "2018-01"


def test_a_line_that_comes_again_changes_nothing(database: Database) -> None:
    lines = [purchase("o1", 10_00), purchase("o2", 20_00)]
    take_purchases(database, BOOK, lines, now=NOW)

    again = take_purchases(database, BOOK, [*lines, *lines], now=NOW)

    assert (again.postings, again.known) == ([], 4)
    assert active(database) == 30_00


def test_a_line_that_comes_with_other_content_is_refused_and_the_rest_is_taken(
    database: Database,
) -> None:
    line = purchase("o1", 10_00)
    take_purchases(database, BOOK, [line], now=NOW)
    other = replace(line, line=replace(line.line, net_cents=99_00))

    taken = take_purchases(database, BOOK, [other, purchase("o2", 1_00)], now=NOW)

    assert [type(refusal.refused) for refusal in taken.refusals] == [PostingConflict]
    assert active(database) == 11_00


def test_another_member_cannot_add_to_an_order(database: Database) -> None:
    take_purchases(database, BOOK, [purchase("o1", 10_00)], now=NOW)

    taken = take_purchases(database, BOOK, [purchase("o1", 5_00, member="bob")], now=NOW)

    assert len(taken.refusals) == 1
    assert active(database) == 10_00


def test_returned_goods_take_back_what_they_earned_with_its_multiplier(
    database: Database,
) -> None:
    on_member_day = on(date(2018, 6, 8))
    take_purchases(
        database, BOOK,
        [purchase("o1", 100_00, at=on_member_day), purchase("o1", 50_00, at=on_member_day)],
        now=NOW,
    )  # fmt: skip
    assert active(database) == 450_00

    # Five days later, on an ordinary day: the order is undone at the three-fold it earned at.
    back = purchase("r1", -50_00, returns="o1", at=on(date(2018, 6, 13)))
    taken = take_purchases(database, BOOK, [back], now=NOW)

    assert [(posting.kind, posting.active) for posting in taken.postings] == [("REVERSE", -150_00)]
    assert active(database) == 300_00


def test_a_return_that_comes_before_its_order_is_kept_for_it(database: Database) -> None:
    take_purchases(database, BOOK, [purchase("r1", -4_00, returns="o1")], now=NOW)

    take_purchases(database, BOOK, [purchase("o1", 10_00)], now=NOW)

    assert active(database) == 6_00


def test_points_of_returned_goods_that_were_spent_are_owed_and_later_orders_pay(
    database: Database,
) -> None:
    take_purchases(database, BOOK, [purchase("o1", 100_00)], now=NOW)
    post(database, TERMS, Request("REDEEM", "spend", "ann", 80_00), now=NOW)

    take_purchases(database, BOOK, [purchase("r1", -100_00, returns="o1")], now=NOW)
    assert balance(database, TERMS, "ann", now=NOW).owed == 80_00
    take_purchases(database, BOOK, [purchase("o2", 100_00)], now=NOW)

    assert active(database) == 20_00


def test_a_refund_takes_the_tier_back_at_once(database: Database) -> None:
    take_purchases(database, BOOK, [purchase("o1", 1_200_00)], now=NOW)
    assert ledger(database, "ann")[0].tier == "gold"

    take_purchases(database, BOOK, [purchase("r1", -300_00, returns="o1")], now=NOW)

    assert ledger(database, "ann")[0].tier == "silver"


def test_an_order_earns_by_the_tier_before_it(database: Database) -> None:
    orders = [purchase("o1", 1_000_00), purchase("o2", 100_00, at=NOW + timedelta(minutes=1))]

    taken = take_purchases(database, BOOK, orders, now=NOW + timedelta(hours=1))

    assert [posting.active for posting in taken.postings] == [1_000_00, 120_00]


def test_an_order_that_earns_nothing_still_counts_for_the_tier(database: Database) -> None:
    text = rules().text.replace("points = 1\n", "points = 1\nmin_spend = 5\n", 1)
    book = rulebook(text)
    take_purchases(database, book, [purchase(f"o{n}", 4_00) for n in range(250)], now=NOW)

    newest = ledger(database, "ann", limit=1)[0]

    assert (newest.tier, newest.balance) == ("gold", 0)


def test_an_order_keeps_the_rules_it_first_earned_under(database: Database) -> None:
    newer = rules(
        **{'"2018-01"': '"2018-06"', "2018-01-01": "2018-06-10", "points = 1\n": "points = 2\n"}
    )
    both = rulebook()
    both.versions.append(newer)
    before = on(date(2018, 6, 9))
    take_purchases(
        database, both, [purchase("o1", 10_00, at=before), purchase("o2", 10_00)], now=NOW
    )
    assert active(database) == 10_00 + 20_00

    take_purchases(database, both, [purchase("r1", -5_00, returns="o1")], now=NOW)

    assert active(database) == 5_00 + 20_00


def test_goods_that_come_back_after_a_reversal_by_hand_take_nothing_twice(
    database: Database,
) -> None:
    earned = take_purchases(database, BOOK, [purchase("o1", 100_00)], now=NOW).postings[0]
    undo = Request("REVERSE", "by-hand", "ann", 70_00, reverses=earned.posting_id)
    post(database, TERMS, undo, now=NOW)

    taken = take_purchases(
        database, BOOK, [purchase("r1", -60_00, returns="o1"), purchase("o2", 5_00)], now=NOW
    )

    assert [posting.active for posting in taken.postings] == [-30_00, 5_00]
    assert active(database) == 5_00
    assert not verify(database).violations


def test_a_late_order_earns_by_the_tier_as_its_own_rules_name_it(database: Database) -> None:
    newer = rules(**{'"2018-01"': '"2018-06"', "2018-01-01": "2018-06-10", '"gold"': '"sun"'})
    both = rulebook()
    both.versions.append(newer)
    first, second = on(date(2018, 6, 7)), on(date(2018, 6, 9))

    take_purchases(
        database, both, [purchase("o1", 1_000_00, at=first), purchase("o2", 100_00, at=second)],
        now=NOW,
    )  # fmt: skip

    assert active(database) == 1_000_00 + 120_00
    assert ledger(database, "ann", limit=1)[0].tier == "sun"


def test_the_watermark_moves_with_the_postings_or_not_at_all(database: Database) -> None:
    take_purchases(database, BOOK, [purchase("o1", 1_00)], now=NOW, watermark=("lake", "7"))
    assert position(database, "lake") == "7"

    with pytest.raises(Exception, match=r"NULL|null"):
        # The position cannot be stored: neither can what was earned with it.
        take_purchases(database, BOOK, [purchase("o2", 1_00)], now=NOW, watermark=("lake", None))  # type: ignore[arg-type]

    assert (position(database, "lake"), active(database)) == ("7", 1_00)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"member_id": ""}, Malformed), ({"member_id": "a\x00b"}, Malformed),
        ({"member_id": " ann"}, Malformed), ({"member_id": "x" * 65}, Malformed),
        ({"order_id": "o" * 201}, Malformed), ({"source": ""}, Malformed),
        ({"order_id": "o\x1b[31m"}, Malformed), ({"source": "till\n"}, Malformed),
        ({"occurred_at": NOW.replace(tzinfo=None)}, Malformed),
        ({"occurred_at": datetime(1, 1, 1, tzinfo=EAST)}, Malformed),
        ({"occurred_at": datetime(9999, 12, 31, 23, tzinfo=WEST)}, Malformed),
        ({"occurred_at": NOW + timedelta(days=1)}, OutsideLimits),
        ({"occurred_at": NOW - timedelta(days=401)}, OutsideLimits),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_meant_is_refused_by_itself(
    database: Database, change: dict[str, object], why: type[Exception]
) -> None:
    wrong = replace(purchase("o1", 10_00), **change)  # type: ignore[arg-type]

    taken = take_purchases(database, BOOK, [wrong, purchase("o2", 1_00)], now=NOW)

    assert [type(refusal.refused) for refusal in taken.refusals] == [why]
    assert active(database) == 1_00


@pytest.mark.parametrize("field", ["net_cents", "quantity", "numbers"])
def test_an_amount_that_is_no_number_is_refused(database: Database, field: str) -> None:
    nan = float("nan")
    value = {"net_cents": 1.5, "quantity": nan, "numbers": {"eco": nan}}[field]
    good = purchase("o1", 10_00)
    wrong = replace(good, line=replace(good.line, **{field: value}))  # type: ignore[arg-type]

    taken = take_purchases(database, BOOK, [wrong], now=NOW)

    assert [type(refusal.refused) for refusal in taken.refusals] == [Malformed]


def test_metacharacters_are_only_characters(database: Database) -> None:
    odd = "Robert'); drop table postings;-- 王 %_"
    take_purchases(database, BOOK, [purchase(odd, 10_00, member=odd)], now=NOW)

    assert active(database, odd) == 10_00
    assert not verify(database).violations


def event(number: int, kind: str, value: float | None = None, member: str = "ann") -> Event:
    return Event("app", f"e{number}", member, NOW, kind, value)


def test_behaviours_earn_once_and_end_at_the_daily_cap(database: Database) -> None:
    reviews = [event(n, "review") for n in range(4)]
    events = [*reviews, event(10, "check_in"), event(11, "event", 450), event(12, "yawn")]

    first = take_events(database, BOOK, events, now=NOW)
    again = take_events(database, BOOK, events, now=NOW)

    # 80 + 80 + 40 + 0, the check-in after the cap 0, the event outside it 450.
    assert [posting.active for posting in first.postings] == [80_00, 80_00, 40_00, 0, 0, 450_00]
    assert (again.postings, again.known, again.refusals) == ([], 6, [])
    assert (first.unnamed, again.unnamed) == (1, 1)
    assert active(database) == 650_00


@pytest.mark.parametrize(
    "change",
    [{"member_id": "bob"}, {"occurred_at": NOW - timedelta(days=1)}, {"kind": "review"},
     {"value": 451.0}],
)  # fmt: skip
def test_an_event_that_comes_with_other_content_is_told_apart_and_earns_no_second_time(
    database: Database, change: dict[str, object]
) -> None:
    told = event(1, "event", 450)
    take_events(database, BOOK, [told], now=NOW)
    other = replace(told, **change)  # type: ignore[arg-type]

    taken = take_events(database, BOOK, [other, told, event(2, "check_in")], now=NOW)

    assert [(each.index, type(each.refused)) for each in taken.refusals] == [(0, PostingConflict)]
    assert taken.known == 1
    assert active(database) == 455_00


def test_a_behaviour_that_earns_once_a_day_earns_the_next_day_again(database: Database) -> None:
    later = replace(event(3, "check_in"), occurred_at=NOW - timedelta(days=1))

    take_events(database, BOOK, [event(1, "check_in"), event(2, "check_in")], now=NOW)
    take_events(database, BOOK, [event(4, "check_in"), later], now=NOW)

    assert active(database) == 10_00


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_way_lines_come_an_order_has_earned_what_they_earn_together(
    database: Database, data: st.DataObject
) -> None:
    run = next(_runs)  # each history has a member of its own
    member, order = f"m-{run}", f"o-{run}"
    cents = data.draw(st.lists(st.integers(-50_00, 100_00).filter(bool), min_size=1, max_size=6))
    lines = [
        purchase(order if amount > 0 else f"r-{run}-{n}", amount, member=member,
                 category=data.draw(st.sampled_from(["FOOD/DRY", "FOOD/FRESH"])),
                 returns=None if amount > 0 else order)
        for n, amount in enumerate(cents)
    ]  # fmt: skip
    deliveries: list[Purchase] = data.draw(st.permutations(lines + lines[:2]))
    cut = data.draw(st.integers(0, len(deliveries)))

    for part in (deliveries[:cut], deliveries[cut:]):
        take_purchases(database, BOOK, part, now=NOW)

    earned = order_earns(rules(), [line.line for line in lines], NOW, tier="silver", birthday=None)
    known = ledger(database, member) if earned.qualifying != Qualifying() else []
    assert sum(posting.active for posting in known) == earned.points
    counted = [posting.qualifying for posting in known]
    assert sum(counted, Qualifying()) == earned.qualifying
    assert not verify(database, only=[member]).violations


def test_an_order_is_tried_out_only_by_tiers_there_are() -> None:
    lines = [purchase("o1", 100_00).line]

    assert simulate(BOOK, lines, NOW, tier="gold").points == 120_00
    with pytest.raises(OutsideLimits, match="the first rules hold from 2018-01-01"):
        simulate(BOOK, lines, on(date(2017, 12, 31)))
    with pytest.raises(Malformed, match="silver, gold, diamond"):
        simulate(BOOK, lines, NOW, tier="platinum")
