"""CDNOW as the `lifetimes` wheel carries it: no line numbers, and equal lines that are real."""

from datetime import date
from pathlib import Path

from features import engine, snapshot
from features.lake import Lake
from features.sources.cdnow import Cdnow
from programme.settings import Settings
from tests.features import shop
from tests.features.conftest import Loaded


def asked(home: Settings, sql: str) -> tuple[int, ...]:
    lake = Lake(home)
    rows = lake.rows_sql("purchases", lake.manifest())
    with engine.connect(home) as connection:
        row: tuple[int, ...] = connection.execute(sql.format(rows=f"({rows})")).fetchall()[0]
        return row


def test_every_purchase_is_kept_equal_lines_too(cdnow: Loaded) -> None:
    (count,) = cdnow.ingested.counts
    assert (count.read, count.stored) == (69_659, 69_659)
    assert asked(
        cdnow.settings,
        "select count(distinct source_key), count(*), count(*) filter (net_cents = 0), "
        "count(*) filter (not ends_with(line_no, '-1')) from {rows}",
    ) == (23_570, 69_659, 80, 255)
    (duplicates,) = [f for f in cdnow.ingested.report.findings if f.step == "duplicates"]
    assert duplicates.count == 255


def test_purchases_of_one_day_are_one_purchase_day(cdnow: Loaded) -> None:
    features = snapshot.build(cdnow.settings, date(1998, 7, 1)).features()

    assert len(features) == 23_570
    # The data's own 69,659 rows, of which 2,068 fall on a day the member had bought on already.
    assert features["purchase_days"].sum() == 69_659 - 2_068
    assert (
        features["spend_cents_life"].sum()
        == asked(cdnow.settings, "select sum(net_cents) from {rows}")[0]
    )


def test_ingesting_it_again_finds_nothing_new(cdnow: Loaded) -> None:
    (again,) = shop.take(cdnow.settings, Cdnow())

    assert again.batch_no is None
    assert again.counts[0].unchanged == 69_659


def test_a_broken_line_is_kept_with_its_number(home: Settings, tmp_path: Path) -> None:
    path = tmp_path / "master.txt"
    path.write_text(
        "id date n amount\n00001 19970101 1 11.77\n\n00002 19970112 five\n"
        "00003 19970113 1 abc\n00004 19971301 1 5.00\n 00005 19970401 2  7.50 \n"
    )

    (done,) = shop.take(home, Cdnow(path))

    assert done.counts[0].stored == 2
    assert [(row["reason"], row["line"]) for row in shop.quarantined(home)] == [
        ("malformed_line", 4),
        ("unreadable", 5),
        ("unreadable", 6),
    ]
