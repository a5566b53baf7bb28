"""The inbox comes into the lake: each row once, known when it was accepted, whatever happens."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from features import contracts, engine
from features.ingest import ingest
from features.lake import QUARANTINE, QUARANTINE_SHAPE, Lake
from loyalty.rulebook import Rulebook
from loyalty.tables import ORDER_LINES, POSTINGS
from programme.database import Database
from programme.settings import Settings
from serving.earning import earn
from serving.online.flush import flush, position, state
from serving.online.inbox import KEPT
from serving.online.rows import Row
from serving.online.tables import INBOX
from tests.features import shop
from tests.loyalty import shop as points_shop
from tests.serving.online.intake.till import NOW, PROGRAMME, event, found_home, hand_in, line

LATER = NOW + timedelta(hours=1)
TICK = timedelta(microseconds=1)


@contextmanager
def home_of(make: Callable[[], Settings]) -> Iterator[tuple[Settings, Database]]:
    home = found_home(make())
    database = Database.open(home)
    try:
        yield home, database
    finally:
        database.close()


@pytest.fixture
def opened(make_settings: Callable[[], Settings]) -> Iterator[tuple[Settings, Database]]:
    with home_of(make_settings) as both:
        yield both


def stored(home: Settings, table: str, *columns: str) -> list[tuple[Any, ...]]:
    lake = Lake(home)
    listed = ", ".join(columns)
    sql = f"select {listed} from ({lake.rows_sql(table, lake.manifest())}) order by all"
    return duckdb.execute(sql).fetchall()


def standing(home: Settings) -> list[tuple[Any, ...]]:
    """Return what the lake knows of each key now: content that was not taken back."""
    found: list[tuple[Any, ...]] = []
    lake = Lake(home)
    for table in (contracts.PURCHASES, contracts.EVENTS):
        content = ", ".join((*table.key, *table.content))
        rows = lake.rows_sql(table.name, lake.manifest())
        found += duckdb.execute(
            f"select {content} from ({rows}) group by all having sum(sign) <> 0 order by all"
        ).fetchall()
    return found


def refused(home: Settings) -> list[tuple[Any, ...]]:
    lake = Lake(home)
    kept = engine.parquet(lake.paths(QUARANTINE, lake.manifest()), QUARANTINE_SHAPE)
    return duckdb.execute(f"select source, reason, line from ({kept})").fetchall()


def test_a_row_comes_as_it_was_accepted(opened: tuple[Settings, Database]) -> None:
    home, database = opened
    bought = line(
        "o1", -250, quantity=-0.5, source="pos-1", discount_cents=1, coupon_cents=2, store_id="s",
        channel="web", returns_order_id="o0", returns_line_no="7", occurred_at=NOW - 3 * TICK,
    )  # fmt: skip
    hand_in(database, [bought, event(duration_seconds=0.1, value=-3, channel="app")])

    done = flush(database, home, now=LATER)

    assert done.ingested is not None
    assert [(c.table, c.stored, c.refused) for c in done.ingested.counts] == [
        ("purchases", 1, 0), ("events", 1, 0),
    ]  # fmt: skip
    naive = NOW.replace(tzinfo=None)
    (purchase,) = stored(home, "purchases", *contracts.PURCHASES.column_names, "ingested_at")
    assert purchase == (
        "pos-1", "o1", "1", "ann", naive - 3 * TICK, "soap", -0.5, -250, 1, 2, "s", "web", "o0",
        "7", naive, LATER.replace(tzinfo=None),
    )  # fmt: skip
    (seen,) = stored(home, "events", *contracts.EVENTS.column_names)
    assert seen == (
        "e1", "web", "ann", naive - timedelta(hours=1), "view", None, "app", 0.1, -3.0, naive,
    )  # fmt: skip


def test_text_of_every_script_comes_through(opened: tuple[Settings, Database]) -> None:
    home, database = opened
    odd = [
        "käse",
        "🧀奶酪",
        "a\"b'c\\N",
        "\\N",
        "null",
        " ",
        "\t\n\r\x01\x7f",
        "\u2028",
        "{1}",
        "é" * 1_000,
    ]
    hand_in(database, [line(f"o{n}", product_id=one) for n, one in enumerate(odd)])

    flush(database, home, now=LATER)

    assert [row[1] for row in stored(home, "purchases", "order_id", "product_id")] == odd
    assert refused(home) == []


def test_several_sources_come_in_one_batch_and_the_batch_knows_how_far(
    opened: tuple[Settings, Database],
) -> None:
    home, database = opened
    hand_in(database, [line(source="till"), line(source="web"), event()])

    first = flush(database, home, now=LATER)
    again = flush(database, home, now=LATER)
    hand_in(database, [line("o2")])
    second = flush(database, home, now=LATER)

    assert (first.position, again.ingested, again.position, second.position) == (3, None, 3, 4)
    batches = Lake(home).manifest().batches
    assert [(batch.source, batch.inbox_seq) for batch in batches] == [("inbox", 3), ("inbox", 4)]
    found = stored(home, "purchases", "source", "order_id")
    assert found == [("till", "o1"), ("till", "o2"), ("web", "o1")]
    assert (state(database, home).last, state(database, home).position) == (4, 4)


def test_versions_within_a_flush_and_across_flushes_leave_what_was_said_last(
    opened: tuple[Settings, Database],
) -> None:
    home, database = opened
    hand_in(database, [line(net_cents=1), line(net_cents=2), line(net_cents=3)])
    flush(database, home, now=LATER)
    hand_in(database, [line(net_cents=2)], NOW + timedelta(minutes=1))
    hand_in(database, [line(net_cents=4)], NOW + timedelta(minutes=2))
    flush(database, home, now=LATER)

    sums = stored(home, "purchases", "sum(sign * net_cents)", "sum(sign)")
    assert sums == [(4, 1)]
    assert refused(home) == []


def test_what_files_brought_before_is_unchanged_or_corrected(
    opened: tuple[Settings, Database],
) -> None:
    home, database = opened
    at = (NOW - timedelta(hours=1)).replace(tzinfo=None)
    same: dict[str, Any] = {"order_id": "same", "product_id": "soap"}
    till = shop.Till(
        [shop.line("ann", at, **same), shop.line("ann", at, 700, order_id="other")],
        programme=PROGRAMME,
    )
    ingest(till, home, NOW)
    hand_in(database, [line("same"), line("other", 800), line("fresh")])

    done = flush(database, home, now=LATER)

    assert done.ingested is not None
    (count,) = done.ingested.counts
    assert (count.unchanged, count.corrected, count.stored) == (1, 1, 1)
    assert stored(home, "purchases", "order_id", "net_cents", "sign") == [
        ("fresh", 1_000, 1), ("other", 700, -1), ("other", 700, 1), ("other", 800, 1),
        ("same", 1_000, 1),
    ]  # fmt: skip


def test_nothing_new_in_a_flush_still_moves_the_position(
    opened: tuple[Settings, Database],
) -> None:
    home, database = opened
    hand_in(database, [line()])
    flush(database, home, now=LATER)
    database.write(lambda connection: connection.execute(delete(INBOX)))
    hand_in(database, [line()], NOW + timedelta(minutes=1))

    done = flush(database, home, now=LATER)

    assert done.position == 2
    assert stored(home, "purchases", "count(*)") == [(1,)]
    assert flush(database, home, now=LATER).ingested is None


def test_a_row_that_a_later_file_contradicts_is_quarantined_and_stops_nothing(
    opened: tuple[Settings, Database],
) -> None:
    home, database = opened
    hand_in(database, [line("o1")])
    at = (NOW - timedelta(hours=1)).replace(tzinfo=None)
    known = (NOW + timedelta(minutes=1)).replace(tzinfo=None)
    till = shop.Till([shop.line("ann", at, 7, order_id="o1", known_at=known)], programme=PROGRAMME)
    ingest(till, home, LATER)

    done = flush(database, home, now=LATER)

    assert done.position == 1
    assert refused(home) == [("inbox", "conflicting_duplicate", 1)]
    hand_in(database, [line("o2")])
    assert flush(database, home, now=LATER).position == 2


KINDS = ["view", "cart"]
rows_of = st.builds(
    line, order_id=st.sampled_from("abc"), net_cents=st.sampled_from([1, 2]),
    source=st.sampled_from(["till", "web"]),
) | st.builds(event, event_id=st.sampled_from("ab"), kind=st.sampled_from(KINDS))  # fmt: skip


def lake_after(
    work: Sequence[tuple[Sequence[Row], int, bool]],
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return what stands, and every stored row, after deliveries (rows, times, flushed after)."""
    with tempfile.TemporaryDirectory() as folder:
        home = found_home(Settings(home=Path(folder), threads=1))
        database = Database.open(home)
        for n, (rows, times, flushed) in enumerate(work):
            for _ in range(times):
                hand_in(database, rows, NOW + n * TICK * 100)
            if flushed:
                flush(database, home, now=LATER)
        flush(database, home, now=LATER)
        database.close()
        assert refused(home) == []
        every = [
            row
            for table in (contracts.PURCHASES, contracts.EVENTS)
            for row in stored(home, table.name, *table.column_names, "sign")
        ]
        return standing(home), every


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.lists(rows_of, min_size=1, max_size=4), st.integers(1, 3), st.booleans()),
        min_size=1, max_size=4,
    ),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_any_deliveries_leave_the_lake_that_each_once_would(
    deliveries: list[tuple[list[Row], int, bool]], chance: Any
) -> None:
    # One row of a key in a delivery: a delivery repeated whole is then one that says it again.
    single = [
        (list({(row.kind, row.key): row for row in rows}.values()), times, flushed)
        for rows, times, flushed in deliveries
    ]

    def shuffled(rows: list[Row]) -> list[Row]:
        mixed: list[Row] = chance.sample(rows, len(rows))
        return mixed

    once = [(rows, 1, False) for rows, _, _ in single]
    often = [(shuffled(rows), times, flushed) for rows, times, flushed in single]

    plain, repeated = lake_after(once), lake_after(often)

    assert repeated == plain
    last = {(row.kind, row.key): row for rows, _, _ in single for row in rows}
    assert len(plain[0]) == len(last)


def test_flushed_lines_and_events_earn_once_and_corrections_earn_the_difference(
    opened: tuple[Settings, Database],
) -> None:
    home, database = opened
    rules = points_shop.rulebook()
    assert isinstance(rules, Rulebook)
    moment = datetime(2018, 6, 15, 12, tzinfo=UTC)
    lines = [line(f"o{n}", 1_000, occurred_at=moment) for n in range(4)]
    hand_in(database, lines, moment + TICK)
    flush(database, home, now=moment + timedelta(hours=1))

    def points() -> int:
        with database.read() as connection:
            found = connection.execute(select(POSTINGS.c.active, POSTINGS.c.pending)).all()
        return sum(active + pending for active, pending in found)

    earn(home, database, rules, now=moment + timedelta(hours=2))
    first = points()
    earn(home, database, rules, now=moment + timedelta(hours=2), again=True)
    assert first > 0
    assert points() == first

    # The same again, one corrected: delivered, flushed and earned twice over.
    for _ in range(2):
        hand_in(database, [*lines[:3], replace(lines[3], net_cents=2_000)], moment + 9 * TICK)
        flush(database, home, now=moment + timedelta(hours=3))
        earn(home, database, rules, now=moment + timedelta(hours=4))
    earn(home, database, rules, now=moment + timedelta(hours=5), again=True)

    assert points() == first // 4 * 5
    with database.read() as connection:
        orders = connection.execute(select(ORDER_LINES.c.order_id).distinct()).scalars().all()
    assert len(orders) == 4


def test_settled_rows_are_dropped_after_thirty_days_and_stay_known_to_the_lake(
    opened: tuple[Settings, Database],
) -> None:
    home, database = opened
    hand_in(database, [line("o1"), line("o2")])
    flush(database, home, now=LATER)
    shown = update(INBOX).where(INBOX.c.seq == 1).values(refreshed_at=LATER)
    database.write(lambda connection: connection.execute(shown))

    assert flush(database, home, now=NOW + KEPT).forgotten == 0
    done = flush(database, home, now=NOW + KEPT + TICK)
    assert (done.forgotten, done.ingested, done.position) == (1, None, 2)

    hand_in(database, [line("o1")], NOW + KEPT + timedelta(days=1))
    flush(database, home, now=NOW + KEPT + timedelta(days=2))
    assert position(home) == 3
    assert stored(home, "purchases", "count(*)") == [(2,)]


def test_a_report_names_the_inbox(opened: tuple[Settings, Database]) -> None:
    home, database = opened
    hand_in(database, [line()])

    done = flush(database, home, now=LATER)

    assert done.ingested is not None
    report = json.loads(done.ingested.report_path.with_suffix(".json").read_text())
    assert report["source"] == "inbox"
