"""Days and instants of a programme, reckoned in its own timezone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from programme.errors import InputRefused

DAYS_PER_WEEK = 7
# A dimension row without a date of its own (a product list) was known from the beginning.
BEGINNING_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def zone(name: str) -> ZoneInfo:
    """Return the IANA timezone `name`.

    Raises
    ------
    InputRefused : if there is no such timezone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise InputRefused(
            f"There is no timezone {name!r}. Nothing was read. Use an IANA name such as "
            "'America/New_York', 'Asia/Shanghai' or 'UTC'."
        ) from error


def local_midnight(day: date, timezone: str) -> datetime:
    """Return the UTC instant at which `day` begins in `timezone`."""
    return datetime.combine(day, time(), tzinfo=zone(timezone)).astimezone(UTC)


def local_date(instant: datetime, timezone: str) -> date:
    """Return the calendar day of a zoned `instant` in `timezone`.

    Raises
    ------
    InputRefused : if the calendar, from year 1 to 9999, has no such day.
    """
    try:
        return instant.astimezone(zone(timezone)).date()
    except OverflowError as error:
        raise InputRefused(
            f"{instant} lies beyond the calendar in {timezone}. Nothing was done. Correct the date."
        ) from error


def coming_midnight(instant: datetime, timezone: str) -> date:
    """Return the first day whose midnight lies after `instant`."""
    return local_date(instant, timezone) + timedelta(days=1)


def parse_day(text: str) -> date:
    """Read an `as_of` written as YYYY-MM-DD.

    Raises
    ------
    InputRefused : if the text is not such a day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputRefused(
            f"{text!r} is not a day. Nothing was done. Write an as_of as YYYY-MM-DD, "
            "for example 2017-12-04: it means 00:00 of that day in the programme's timezone."
        ) from error


def parse_instant(text: str) -> datetime:
    """Read an instant written in ISO 8601; one without a timezone is in UTC.

    Raises
    ------
    InputRefused : if the text is none, or lies at an end of the calendar.
    """
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InputRefused(
            f"{text!r:.80} is no instant. Nothing was done. Write for example 2018-03-01T09:00:00Z."
        ) from error


def require_whole_weeks(days: int, what: str) -> int:
    """Return `days` if it is a positive multiple of seven.

    Raises
    ------
    InputRefused : otherwise; weekdays differ so much that other windows compare unlike things.
    """
    if days <= 0 or days % DAYS_PER_WEEK:
        raise InputRefused(
            f"{what} is {days} days. Nothing was done. Horizons and windows are positive "
            f"multiples of 7 days: try {max(7, round(days / 7) * 7)}."
        )
    return days
