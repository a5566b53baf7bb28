"""A purchase belongs to the day on which the shop's own clock stood."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import engine, rollups, snapshot
from features.clock import local_clock
from features.lake import Lake
from features.sources.completejourney import CompleteJourney
from programme.calendar import local_midnight
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import ZONE, Till, line

# Zones that change their clocks at midnight, by half an hour, for good, or not at all.
ZONES = (
    "America/New_York", "Asia/Shanghai", "Europe/London", "America/Sao_Paulo",
    "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "America/Havana", "UTC",
)  # fmt: skip
INSTANTS = st.datetimes(datetime(2005, 1, 1), datetime(2025, 12, 31))  # noqa: DTZ001 - UTC


@settings(max_examples=25)
@given(zone=st.sampled_from(ZONES), instants=st.lists(INSTANTS, min_size=1, max_size=20))
def test_the_sql_clock_shows_what_the_calendar_shows(zone: str, instants: list[datetime]) -> None:
    local = local_clock(zone, min(instants), max(instants))
    selects = [f"select {local(f'timestamp {engine.text(instant)}')}" for instant in instants]

    with shop.new_home() as home, engine.connect(home) as connection:
        shown = [connection.execute(select).fetchall()[0][0] for select in selects]

    expected = [
        instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        for instant in instants
    ]
    assert shown == expected


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("America/New_York", datetime(2024, 3, 10, 7, tzinfo=UTC)),  # 2:00 becomes 3:00
        ("America/New_York", datetime(2024, 11, 3, 6, tzinfo=UTC)),  # 2:00 becomes 1:00
        ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),  # there was no midnight
        ("America/Havana", datetime(2024, 11, 3, 5, tzinfo=UTC)),  # there were two midnights
    ],
)
def test_a_day_ends_at_the_same_instant_for_rollups_and_for_as_of(
    zone: str, change: datetime
) -> None:
    start = change.replace(tzinfo=None) - timedelta(days=2)
    local = local_clock(zone, start, start + timedelta(days=4))
    instants = [start + timedelta(minutes=7 * step) for step in range(4 * 24 * 60 // 7)]

    with shop.new_home() as home, engine.connect(home) as connection:
        rows = " union all ".join(
            f"select timestamp {engine.text(one)} as moment" for one in instants
        )
        days = connection.execute(f"select moment, cast({local('moment')} as date) from ({rows})")
        for moment, day in days.fetchall():
            begins = local_midnight(day, zone).replace(tzinfo=None)
            ends = local_midnight(day + timedelta(days=1), zone).replace(tzinfo=None)
            assert begins <= moment < ends


def shop_days(home: Settings) -> dict[str, tuple[date, int | None]]:
    """Return the day and hour, if known, of each member's only basket, as rolled up."""
    lake = Lake(home)
    with engine.connect(home) as connection:
        rows, keys = (
            rollups.rows_sql(lake, rollup, lake.manifest())
            for rollup in (rollups.ORDER_DAYS, rollups.KEYS)
        )
        found = connection.execute(
            f"select source_key, occurred_on, hour from ({rows}) join ({keys}) using (key_no)"
        ).fetchall()
    return {member: (day, hour) for member, day, hour in found}


UTC_STAMPS = [
    ("2024-01-16 04:59:59", date(2024, 1, 15), 23),
    ("2024-01-16 05:00:00", date(2024, 1, 16), None),  # midnight: a date without a time
    ("2024-01-16 05:00:01", date(2024, 1, 16), 0),
    ("2024-03-10 06:59:00", date(2024, 3, 10), 1),  # still winter
    ("2024-03-10 07:00:00", date(2024, 3, 10), 3),  # summer
    ("2024-03-11 03:59:00", date(2024, 3, 10), 23),  # the end of a day of 23 hours
    ("2023-11-05 05:30:00", date(2023, 11, 5), 1),  # 1:30 in summer
    ("2023-11-05 06:30:00", date(2023, 11, 5), 1),  # 1:30 again
    ("2023-11-06 04:59:00", date(2023, 11, 5), 23),  # the end of a day of 25 hours
]


def test_a_utc_stamp_falls_on_the_new_york_day(home: Settings) -> None:
    rows = [line(stamp, datetime.fromisoformat(stamp)) for stamp, *_ in UTC_STAMPS]

    shop.take(home, Till(rows))

    assert shop_days(home) == {stamp: (day, hour) for stamp, day, hour in UTC_STAMPS}


def test_midnight_itself_belongs_to_the_day_that_begins() -> None:
    midnight = local_midnight(date(2024, 3, 10), ZONE).replace(tzinfo=None)
    rows = [line("ann", midnight - timedelta(days=9)), line("ann", midnight, order_id="late")]
    before = line("ann", midnight - timedelta(microseconds=1), order_id="early")

    with_it = shop.features_of(Till(rows), as_of=date(2024, 3, 10)).loc["ann"]
    without = shop.features_of(Till([*rows, before]), as_of=date(2024, 3, 10)).loc["ann"]

    assert (with_it["purchase_days"], with_it["recency_days"]) == (1, 9)
    assert (without["purchase_days"], without["recency_days"]) == (2, 1)


WRITTEN: dict[str, list[tuple[str, date, int | None]]] = {
    "Asia/Shanghai": [
        ("2024-01-16 00:30:00", date(2024, 1, 16), 0),
        ("2024-01-16T00:30:00", date(2024, 1, 16), 0),
        ("2024-01-16", date(2024, 1, 16), None),
        ("20240116", date(2024, 1, 16), None),
        ("2024-01-16 00:00:00", date(2024, 1, 16), None),
        ("2024/01/16 08:15", date(2024, 1, 16), 8),
        ("2024-01-16 00:30:00+08:00", date(2024, 1, 16), 0),
        ("2024-01-15T16:30:00Z", date(2024, 1, 16), 0),
        ("2024-01-15 16:30:00 UTC", date(2024, 1, 16), 0),
        ("2024-01-15 11:30:00-05", date(2024, 1, 16), 0),
        ("2024-01-15 11:30:00.25 -0500", date(2024, 1, 16), 0),
    ],
    "America/New_York": [
        ("2024-01-15 16:30:00Z", date(2024, 1, 15), 11),
        ("2024-03-10 02:30:00", date(2024, 3, 10), 3),  # a time that was not
        ("2023-11-05 01:30:00", date(2023, 11, 5), 1),  # a time that was twice
    ],
    "America/Sao_Paulo": [
        ("2018-11-04", date(2018, 11, 4), None),  # there was no midnight: the day begins at one
        ("2018-11-04 01:00:01", date(2018, 11, 4), 1),
        ("2018-11-05 01:00:00", date(2018, 11, 5), 1),
    ],
}


@pytest.mark.parametrize("zone", WRITTEN)
def test_a_written_stamp_means_its_own_zone_or_the_programmes(
    zone: str, home: Settings, tmp_path: Path
) -> None:
    mapping = shop.mapping(member="day")
    mapping["programme"]["timezone"] = zone
    text = "\n".join(["day,amount", *(f"{written},5" for written, *_ in WRITTEN[zone])])

    shop.take(home, shop.export(tmp_path, text, mapping))

    assert shop_days(home) == {written: (day, hour) for written, day, hour in WRITTEN[zone]}


def test_a_mapping_may_name_another_zone_than_the_programmes(
    home: Settings, tmp_path: Path
) -> None:
    text = "who,day,amount\nann,2024-01-16 10:00:00,5\n"

    shop.take(home, shop.export(tmp_path, text, shop.mapping(timezone="Asia/Shanghai")))

    found = shop.features(home, date(2024, 1, 16)).loc["ann"]
    assert (found["recency_days"], found["hour_mean_182d"]) == (1, 21)


def test_complete_journeys_stamps_are_utc(home: Settings, journey_folder: Path) -> None:
    shop.take(home, CompleteJourney(journey_folder))

    found = snapshot.build(home, date(2017, 3, 14)).features()

    # 04:30 UTC on 13 March is half past midnight in New York, and 03:30 the evening before.
    assert found["recency_days"].to_dict() == {"1": 1.0, "2": 2.0}
    assert found["hour_mean_182d"].to_dict() == {"1": 0.0, "2": 23.0}
    assert found["top_category"].to_dict() == {"1": "MILK", "2": "MILK"}
