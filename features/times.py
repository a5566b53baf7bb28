"""When a member shops: hours, weekdays, days of the month."""

from dataclasses import dataclass

from features.carried import TIME_OF_DAY
from features.group import Column, FeatureGroup

_HALF = "days_ago <= 182"
_DAYS = f"count(*) filter (where bought > 0 and {_HALF})"


@dataclass(frozen=True)
class Daypart:
    """A part of the day: in words, and as an SQL test of a basket's `hour`."""

    hours: str
    test: str


DAYPARTS = {
    "early": Daypart("5 to 10 o'clock", "hour between 5 and 10"),
    "lunch": Daypart("11 to 13 o'clock", "hour between 11 and 13"),
    "afternoon": Daypart("14 to 16 o'clock", "hour between 14 and 16"),
    "evening": Daypart("17 to 20 o'clock", "hour between 17 and 20"),
    "night": Daypart("21 to 4 o'clock", "(hour >= 21 or hour < 5)"),
}
# DuckDB counts days of the week from Sunday.
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
# Baskets whose hour is known: a date without a time of day is of no part of the day.
_N = f"sum(timed_orders) filter (where {_HALF})"
_TIMED = f"nullif(cast({_N} as double), 0)"
_HOUR = (TIME_OF_DAY,)
_UNTIMED = "no basket with a known time of day, last 182 days"


def _weekday_days(day: int) -> str:
    return f"count(*) filter (where bought > 0 and weekday = {day} and {_HALF})"


def _weekday_entropy() -> str:
    n = f"cast({_DAYS} as double)"
    terms = []
    for day in range(7):
        share = f"({_weekday_days(day)} / {n})"
        terms.append(f"case when {_weekday_days(day)} > 0 then {share} * ln({share}) else 0 end")
    return f"case when {_DAYS} > 0 then -({' + '.join(terms)}) end"


def _of_days(test: str, window: str) -> str:
    return (
        f"count(*) filter (where bought > 0 and {test} and {window}) / "
        f"nullif(cast(count(*) filter (where bought > 0 and {window}) as double), 0)"
    )


TIMES = FeatureGroup(
    name="times",
    meaning="daypart, weekday and time of the month",
    rows="select * from member_days",
    empty="no purchase inside the window",
    columns=(
        Column(
            "weekend_share_182d", "share",
            "of days with a purchase that were Saturday or Sunday, last 182 days",
            _of_days("weekday in (0, 6)", _HALF),
        ),
        Column(
            "hour_mean_182d", "hour of day", "mean local hour of baskets, last 182 days",
            f"sum(hour_sum) filter (where {_HALF}) / {_TIMED}", empty=_UNTIMED, needs=_HOUR,
        ),
        Column(
            "hour_sd_182d", "hours",
            "standard deviation of the local hour of baskets, last 182 days",
            f"sqrt(greatest(0, {_N} * sum(hour_squared) filter (where {_HALF}) - "
            f"sum(hour_sum) filter (where {_HALF}) * sum(hour_sum) filter (where {_HALF})) / "
            f"nullif({_N} * ({_N} - 1.0), 0))",
            empty="fewer than two baskets with a known time of day, last 182 days", needs=_HOUR,
        ),
        *(
            Column(
                f"{part}_share_182d", "share",
                f"of baskets bought from {daypart.hours}, local time, last 182 days",
                f"sum({part}_orders) filter (where {_HALF}) / {_TIMED}", empty=_UNTIMED,
                needs=_HOUR,
            )
            for part, daypart in DAYPARTS.items()
        ),
        Column(
            "weekday_entropy_182d", "nats",
            "evenness of purchase days over the week, last 182 days; ln 7 at most",
            _weekday_entropy(),
        ),
        *(
            Column(
                f"{name}_share_182d", "share",
                f"of days with a purchase that were a {name.capitalize()}, last 182 days",
                _of_days(f"weekday = {day}", _HALF),
            )
            for day, name in enumerate(WEEKDAYS)
        ),
        Column(
            "month_start_share_364d", "share",
            "of days with a purchase that were the 1st to 7th of a month, last 364 days",
            _of_days("month_day <= 7", "days_ago <= 364"),
        ),
        Column(
            "month_end_share_364d", "share",
            "of days with a purchase that were the 25th of a month or later, last 364 days",
            _of_days("month_day >= 25", "days_ago <= 364"),
        ),
    ),
)  # fmt: skip
