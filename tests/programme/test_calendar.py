"""A day is the programme's own; an as_of is its midnight."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programme import calendar
from programme.errors import InputRefused

ZONES = st.sampled_from(sorted(available_timezones()))
DAYS = st.dates(date(1990, 1, 1), date(2035, 1, 1))


@pytest.mark.parametrize(
    ("day", "zone", "instant"),
    [
        (date(2017, 12, 4), "America/New_York", datetime(2017, 12, 4, 5, tzinfo=UTC)),
        (date(2017, 7, 4), "America/New_York", datetime(2017, 7, 4, 4, tzinfo=UTC)),
        (date(2024, 3, 10), "America/New_York", datetime(2024, 3, 10, 5, tzinfo=UTC)),
        (date(2024, 3, 11), "America/New_York", datetime(2024, 3, 11, 4, tzinfo=UTC)),
        (date(2024, 1, 1), "Asia/Shanghai", datetime(2023, 12, 31, 16, tzinfo=UTC)),
        # The clocks went from 24:00 to 1:00: the day began at 1:00.
        (date(2018, 11, 4), "America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),
        # They went from 1:00 back to 0:00: the first midnight counts.
        (date(2024, 11, 3), "America/Havana", datetime(2024, 11, 3, 4, tzinfo=UTC)),
    ],
)
def test_a_day_begins_at_local_midnight(day: date, zone: str, instant: datetime) -> None:
    assert calendar.local_midnight(day, zone) == instant


@given(day=DAYS, zone=ZONES)
def test_a_midnight_is_on_its_day_and_the_instant_before_is_not(day: date, zone: str) -> None:
    midnight = calendar.local_midnight(day, zone)

    assert calendar.local_date(midnight, zone) == day
    assert calendar.local_date(midnight - timedelta(microseconds=1), zone) < day


@given(days=DAYS, seconds=st.integers(0, 86_399), zone=ZONES)
def test_the_coming_midnight_is_the_next_one(days: date, seconds: int, zone: str) -> None:
    instant = datetime(days.year, days.month, days.day, tzinfo=UTC) + timedelta(seconds=seconds)

    coming = calendar.coming_midnight(instant, zone)

    assert calendar.local_midnight(coming - timedelta(days=1), zone) <= instant
    assert instant < calendar.local_midnight(coming, zone)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "America", "../UTC", "a\0b", "EST5EDT/x", "x" * 300, "utc+1"]
)
def test_an_unknown_timezone_is_refused(name: str) -> None:
    with pytest.raises(InputRefused, match="no timezone") as refusal:
        calendar.zone(name)

    assert "Asia/Shanghai" in str(refusal.value)


def test_a_day_is_written_year_first() -> None:
    assert calendar.parse_day("2017-12-04") == date(2017, 12, 4)


@pytest.mark.parametrize("text", ["", "4 December", "2017-02-29", "04.12.2017", "2017-12-04T00:00"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InputRefused, match="is not a day"):
        calendar.parse_day(text)


def test_windows_are_whole_weeks() -> None:
    assert calendar.require_whole_weeks(28, "The horizon") == 28
    for days, hint in ((30, "try 28"), (0, "try 7"), (-7, "try 7"), (3, "try 7")):
        with pytest.raises(InputRefused, match=f"The horizon is {days} days.*{hint}"):
            calendar.require_whole_weeks(days, "The horizon")


@pytest.mark.parametrize(
    ("written", "zone"),
    [("9999-12-31T23:30:00+00:00", "Asia/Shanghai"),
     ("0001-01-01T00:30:00+14:00", "America/New_York")],
)  # fmt: skip
def test_an_instant_beyond_the_calendar_is_refused(written: str, zone: str) -> None:
    with pytest.raises(InputRefused, match="beyond the calendar"):
        calendar.local_date(datetime.fromisoformat(written), zone)


def test_an_instant_is_zoned_or_in_utc_and_never_at_an_end_of_the_calendar() -> None:
    assert calendar.parse_instant("2018-03-01T09:00:00Z") == datetime(2018, 3, 1, 9, tzinfo=UTC)
    assert calendar.parse_instant("2018-03-01T09:00:00+02:00") == datetime(
        2018, 3, 1, 7, tzinfo=UTC
    )
    assert calendar.parse_instant("2018-03-01") == datetime(2018, 3, 1, tzinfo=UTC)
    for text in ("yesterday", "", "9999-12-31T23:59:59-23:00", "2018-13-01"):
        with pytest.raises(InputRefused, match="is no instant"):
            calendar.parse_instant(text)
