"""What is refused is said as people write points."""

from datetime import datetime, timedelta, timezone

import pytest

from loyalty.behaviours import Event, take_events
from loyalty.errors import InsufficientPoints, Malformed, NotReversible, OutsideLimits
from loyalty.orders import take_purchases
from loyalty.points import balance, post
from loyalty.postings import Request
from loyalty.terms import written
from programme.database import Database
from tests.loyalty.shop import NOW, purchase, rulebook

TERMS = rulebook().terms(NOW)


def test_points_are_written_with_their_places_however_many() -> None:
    assert written(12_50, 2) == "12.50"
    assert written(-5, 2) == "-0.05"
    assert written(1_234, 0) == "1,234"
    assert written(9_007_199_254_740_993, 4) == "900,719,925,474.0993"


def test_a_refusal_speaks_of_points_not_of_their_smallest_unit(database: Database) -> None:
    post(database, TERMS, Request("OPENING", "o", "ann", 37_50), now=NOW)

    with pytest.raises(InsufficientPoints, match=r"has 37\.50 points .* asks for 5,000\.00\."):
        post(database, TERMS, Request("REDEEM", "r", "ann", 5_000_00), now=NOW)
    with pytest.raises(NotReversible, match=r"takes back 40\.00 points of o, of which 37\.50"):
        post(database, TERMS, Request("REVERSE", "v", "ann", 40_00, reverses="o"), now=NOW)
    with pytest.raises(OutsideLimits, match=r"2,000,000\.00 points, more than 1,000,000\.00"):
        post(database, TERMS, Request("REDEEM", "r", "ann", 2_000_000_00), now=NOW)
    with pytest.raises(Malformed, match="nought points or less"):
        post(database, TERMS, Request("REDEEM", "r", "ann", -5_00), now=NOW)


def test_a_member_id_that_is_none_is_refused_where_nothing_would_be_posted(
    database: Database,
) -> None:
    with pytest.raises(Malformed, match=r"not ''\. Nothing was done"):
        balance(database, TERMS, "", now=NOW)


def test_a_balance_before_time_began_is_refused(database: Database) -> None:
    dawn = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))

    with pytest.raises(Malformed, match="at an end of the calendar"):
        balance(database, TERMS, "ann", now=NOW, at=dawn)


def test_what_came_in_time_once_is_known_however_late_it_comes_again(database: Database) -> None:
    came = [purchase("old", 10_00, line_no="1"), purchase("new", 10_00, line_no="1")]
    happened = [Event("app", "e1", "ann", NOW, "review"), Event("app", "e2", "ann", NOW, "review")]
    assert len(take_purchases(database, rulebook(), came[:1], now=NOW).postings) == 1
    assert len(take_events(database, rulebook(), happened[:1], now=NOW).postings) == 1

    late = NOW + timedelta(days=401)
    purchases = take_purchases(database, rulebook(), came, now=late)
    events = take_events(database, rulebook(), happened, now=late)
    for taken in (purchases, events):
        assert (taken.known, len(taken.postings)) == (1, 0)
        assert [(one.index, type(one.refused)) for one in taken.refusals] == [(1, OutsideLimits)]
