"""When points become spendable and when they are worth nothing."""

from datetime import UTC, date, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.lasting import Lasting, Until, idle_end, later, life, period_start
from programme.calendar import local_midnight

NEW_YORK = "America/New_York"


def midnight(year: int, month: int, day: int) -> datetime:
    return local_midnight(date(year, month, day), NEW_YORK)


@pytest.mark.parametrize(
    ("lasting", "granted", "expires"),
    [
        (Lasting("days", 30), (2018, 1, 31), (2018, 3, 3)),
        (Lasting("days", 0), (2018, 1, 31), (2018, 2, 1)),
        # A leap day is a day like any other, and a year from it ends with February.
        (Lasting("days", 365), (2020, 2, 29), (2021, 3, 1)),
        (Lasting("month"), (2020, 2, 10), (2020, 3, 1)),
        (Lasting("month", 12), (2020, 2, 29), (2021, 3, 1)),
        (Lasting("quarter"), (2018, 5, 5), (2018, 7, 1)),
        (Lasting("quarter", 3), (2018, 11, 5), (2019, 10, 1)),
        (Lasting("year"), (2018, 12, 31), (2019, 1, 1)),
        (Lasting("year", 1), (2018, 1, 1), (2020, 1, 1)),
    ],
)
def test_points_expire_at_the_programmes_midnight(
    lasting: Lasting, granted: tuple[int, int, int], expires: tuple[int, int, int]
) -> None:
    evening = midnight(*granted) + timedelta(hours=22)

    assert life(lasting, evening, NEW_YORK).expires_at == midnight(*expires)


def test_the_day_on_which_clocks_change_is_a_whole_day() -> None:
    # 11 March 2018 has 23 hours in New York, 4 November 25.
    for day, hours in ((date(2018, 3, 11), 23), (date(2018, 11, 4), 25)):
        start = local_midnight(day, NEW_YORK)

        granted = life(Lasting("days", 0), start, NEW_YORK)

        assert granted.expires_at == start + timedelta(hours=hours)


def test_grace_lengthens_the_life_and_not_what_she_is_told() -> None:
    granted = life(Lasting("days", 10, grace_days=5), midnight(2018, 1, 1), NEW_YORK)

    assert granted.expires_at == midnight(2018, 1, 12)
    assert granted.ends_at == midnight(2018, 1, 17)


def test_a_life_is_counted_from_when_the_points_can_be_spent() -> None:
    granted = life(Lasting("month", pending_days=14), midnight(2018, 1, 20), NEW_YORK)

    assert granted.available_at == midnight(2018, 2, 3)
    assert granted.expires_at == midnight(2018, 3, 1)


def test_points_that_last_while_she_is_active_have_no_end_of_their_own() -> None:
    lasting = Lasting("idle", 90, grace_days=7)

    granted = life(lasting, midnight(2018, 1, 1), NEW_YORK)

    assert (granted.idle, granted.ends_at) == (True, None)
    assert idle_end(lasting, midnight(2018, 1, 1), NEW_YORK) == midnight(2018, 4, 9)


@given(
    until=st.sampled_from([until for until in get_args(Until) if until not in ("never", "idle")]),
    count=st.integers(0, 40),
    grace=st.integers(0, 60),
    pending=st.integers(0, 60),
    granted_at=st.datetimes(
        datetime(1999, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001
    ),
    zone=st.sampled_from([NEW_YORK, "Asia/Shanghai", "Pacific/Chatham", "UTC"]),
)  # fmt: skip
def test_no_points_end_before_they_can_be_spent(
    until: Until, count: int, grace: int, pending: int, granted_at: datetime, zone: str
) -> None:
    granted = life(Lasting(until, count, grace, pending), granted_at, zone)

    assert granted.expires_at is not None
    assert granted.ends_at is not None
    assert granted_at <= granted.available_at < granted.expires_at <= granted.ends_at


@given(day=st.dates(date(1900, 1, 1), date(2100, 1, 1)), months=st.sampled_from([1, 3, 6, 12]))
def test_periods_follow_each_other_without_a_gap(day: date, months: int) -> None:
    start = period_start(day, months)

    assert start <= day < later(start, months)
    assert period_start(later(start, months) - timedelta(days=1), months) == start
