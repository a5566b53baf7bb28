"""Same key, same content: nothing. Same key, other content: a new version, if known later."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from features import contracts, versions
from features.ingest import Ingested
from features.usability import TableCount
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Row, Till, line, product

DAY = timedelta(days=1)
BOUGHT = MIDNIGHT - 40 * DAY
LAST = line(None, MIDNIGHT, order_id="last")


def sold(net_cents: int, known_at: datetime = BOUGHT, **more: Any) -> Row:
    return line("ann", BOUGHT, net_cents, order_id="7", known_at=known_at) | more


def counts(done: Ingested) -> TableCount:
    """Return what became of the purchases; every row read is somewhere."""
    found = next(count for count in done.counts if count.table == "purchases")
    kept = found.stored + found.corrected + found.unchanged + sum(found.quarantined.values())
    assert kept == found.read
    return found


def test_the_same_row_again_is_unchanged(home: Settings) -> None:
    first, again = shop.take(home, Till([sold(500), LAST]), Till([sold(500), LAST]))

    assert counts(first) == TableCount("purchases", read=2, stored=2)
    assert counts(again) == TableCount("purchases", read=2, unchanged=2)
    assert again.batch_no is None


def test_the_same_content_known_later_is_unchanged(home: Settings) -> None:
    _, again = shop.take(home, Till([sold(500), LAST]), Till([sold(500, BOUGHT + DAY)]))

    assert counts(again).unchanged == 1
    assert again.batch_no is None


def test_other_content_known_later_is_a_new_version(home: Settings) -> None:
    before, after = MIDNIGHT - 20 * DAY, MIDNIGHT + DAY
    first, second, third = shop.take(
        home,
        Till([sold(500), LAST]),
        Till([sold(700, before)]),
        Till([sold(900, after), line(None, after, order_id="later")]),
    )

    assert counts(second) == TableCount("purchases", read=1, corrected=1)
    assert (first.batch_no, second.batch_no, third.batch_no) == (1, 2, 3)
    spent = {
        days: shop.features(home, AS_OF + timedelta(days=days)).loc["ann", "spend_cents_life"]
        for days in (-30, 0, 2)
    }
    assert spent == {-30: 500, 0: 700, 2: 900}


def test_several_versions_may_come_in_one_file_in_any_order(home: Settings) -> None:
    versions = [sold(700, BOUGHT + 2 * DAY), sold(500), sold(900, BOUGHT + 4 * DAY), LAST]

    (done,) = shop.take(home, Till(versions))

    assert counts(done) == TableCount("purchases", read=4, stored=2, corrected=2)
    assert shop.features(home).loc["ann", "spend_cents_life"] == 900
    assert shop.features(home).loc["ann", "orders_84d"] == 1


JUDGED = [
    (BOUGHT, 700, "refused"),
    (BOUGHT + 2 * DAY, 700, "refused"),
    (BOUGHT + 3 * DAY, 500, "refused"),
    (BOUGHT + 2 * DAY, 500, "unchanged"),  # what held then, sent once more
    (BOUGHT + 2 * DAY, 900, "unchanged"),
    (BOUGHT + 4 * DAY, 900, "unchanged"),
]


def test_what_was_known_before_the_stored_version_is_judged_against_it(home: Settings) -> None:
    def of_all(known_at: datetime, net_cents: int) -> list[Row]:
        return [sold(net_cents, known_at, order_id=str(number)) for number in range(len(JUDGED))]

    late = [
        sold(net_cents, known_at, order_id=str(number))
        for number, (known_at, net_cents, _) in enumerate(JUDGED)
    ]
    shop.take(home, Till([*of_all(BOUGHT, 500), LAST]), Till(of_all(BOUGHT + 3 * DAY, 900)))

    (done,) = shop.take(home, Till(late))

    assert counts(done) == TableCount(
        "purchases", read=6, unchanged=3, quarantined={"conflicting_duplicate:known_at": 3}
    )
    kept = shop.quarantined(home)
    assert [(row["reason"], row["file"], row["line"]) for row in kept] == [
        ("conflicting_duplicate", "rows", line_no)
        for line_no, (*_, fate) in enumerate(JUDGED, start=1)
        if fate == "refused"
    ]
    assert "700" in kept[0]["row_json"]
    assert shop.features(home).loc["ann", "spend_cents_life"] == 900 * len(JUDGED)


def test_of_two_contents_known_at_once_the_first_read_stays(home: Settings) -> None:
    (done,) = shop.take(home, Till([sold(500), sold(700), sold(500), LAST]))

    assert counts(done) == TableCount(
        "purchases", read=4, stored=2, unchanged=1,
        quarantined={"conflicting_duplicate:known_at": 1},
    )  # fmt: skip
    assert shop.quarantined(home)[0]["line"] == 2
    assert shop.features(home).loc["ann", "spend_cents_life"] == 500


def test_a_corrected_line_leaves_no_trace_of_the_old_one(home: Settings) -> None:
    changes: list[Row] = [
        {"source_key": "bob"},
        {"source_key": None},
        {"occurred_at": BOUGHT - 30 * DAY},
        {"occurred_at": BOUGHT + timedelta(hours=3)},
        {"store_id": "south"},
        {"product_id": "soap"},
        {"quantity": -1.0, "net_cents": -500},
    ]
    wrong = [
        sold(500, order_id=str(number), product_id="tea", store_id="north")
        for number in range(len(changes))
    ]
    right = [
        row | change | {"known_at": BOUGHT + DAY}
        for row, change in zip(wrong, changes, strict=True)
    ]
    other = [line("bob", MIDNIGHT - 200 * DAY), LAST]
    catalogue = [product("tea", "drink"), product("soap", "home")]

    shop.take(home, Till([*other, *wrong], catalogue), Till(right))

    shop.same(shop.features(home), shop.features_of(Till([*other, *right], catalogue)))


FILE = """who,day,amount
ann,2024-03-01,5
ann,2024-03-01,5
ann,2024-04-08,5
"""


def test_equal_lines_without_numbers_are_purchases_of_their_own(
    home: Settings, tmp_path: Path
) -> None:
    source = shop.export(tmp_path, FILE, shop.mapping())

    first, again = shop.take(home, source, source)

    assert counts(first) == TableCount("purchases", read=3, stored=3)
    assert again.batch_no is None
    assert list(shop.features(home).loc["ann", ["orders_84d", "spend_cents_84d"]]) == [1, 1000]
    duplicates = [f for f in first.report.findings if f.step == "duplicates"]
    assert [(f.severity, f.count) for f in duplicates] == [("warning", 1)]
    assert 'exact_duplicates = "drop"' in duplicates[0].how_to_fix


def test_equal_lines_are_dropped_where_the_mapping_says_they_are_errors(
    home: Settings, tmp_path: Path
) -> None:
    source = shop.export(tmp_path, FILE, shop.mapping(exact_duplicates="drop"))

    (done,) = shop.take(home, source)

    assert counts(done) == TableCount("purchases", read=3, stored=2, unchanged=1)
    assert shop.features(home).loc["ann", "spend_cents_84d"] == 500


def test_a_later_export_of_the_same_lines_is_nothing_new(home: Settings, tmp_path: Path) -> None:
    def exported(on: str) -> str:
        stamped = FILE.replace("\n", f",{on}\n")
        return stamped.replace(f"amount,{on}", "amount,exported")

    mapping = shop.mapping(known_at="exported")
    first = shop.export(tmp_path, exported("2024-04-09"), mapping)
    second = shop.export(tmp_path, exported("2024-04-10"), mapping, name="b")

    _, again = shop.take(home, first, second)

    assert again.batch_no is None


def test_files_of_one_name_are_told_apart(home: Settings, tmp_path: Path) -> None:
    first = shop.export(tmp_path / "2023", FILE, shop.mapping())
    second = shop.export(tmp_path / "2024", FILE + "bob,oops,1\n", shop.mapping())
    both = shop.export(tmp_path / "2023", FILE, shop.mapping())
    both._paths.extend(second.files())

    with shop.new_home() as apart:
        shop.take(apart, first, second)
        (done,) = shop.take(home, both)
        shop.same(shop.features(home), shop.features(apart))

    assert counts(done).unchanged == 3
    assert [(row["file"], row["line"]) for row in shop.quarantined(home)] == [("2024/a.csv", 5)]


def events(first: int, last: int, more: str) -> str:
    """Return a SELECT of events that bear the numbers from first to last."""
    made = {"event_id": "concat('e', n)", "source": "'app'", "kind": "'view'"}
    made |= dict.fromkeys(("occurred_at", "known_at"), "timestamp '2024-05-01'")
    columns = ", ".join(
        f"{made.get(one.name, f'cast(null as {one.sql_type})')} as {one.name}"
        for one in contracts.EVENTS.fields
    )
    return f"select {columns}, {more} from range({first}, {last}) numbers(n)"


def test_a_few_rows_are_judged_against_a_lake_larger_than_memory() -> None:
    checked = (
        "cast(null as varchar) as problem, '' as file, n as line, cast(null as varchar) as raw"
    )
    staged = events(3_999_990, 4_000_010, checked)
    stored = events(0, 4_000_000, "cast(1 as tinyint) as sign")
    # The hashes of all stored keys alone are 32 MB, and nothing may spill.
    with duckdb.connect(
        config={"memory_limit": "30MB", "threads": 1, "temp_directory": ""}
    ) as connection:
        versions.judge_repeated(connection, contracts.EVENTS, staged, stored)

        assert connection.execute("select count(*) from repeated").fetchall() == [(10,)]
        assert versions.count_known(connection, contracts.EVENTS, staged) == (10, 0)
