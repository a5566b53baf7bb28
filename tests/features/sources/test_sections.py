"""What a section may say besides headers, and several sections over one file."""

from pathlib import Path
from typing import Any

import pytest

from features.finding import TableCount
from programme.settings import Settings
from tests.features import shop
from tests.features.sources import feed_files
from tests.features.sources.feed_files import ROWS, SECTIONS, count, feed, stored

CUSTOMERS = [
    {"card": "ann", "user": "u-1", "asked": "2024-03-01", "yes": "Y", "changed": "2024-03-01"},
    {"card": "bob", "user": "", "asked": "2024-03-02", "yes": "n", "changed": "2024-03-02"},
    {"card": "cid", "user": "u-3", "asked": "someday", "yes": "y", "changed": "2024-03-03"},
]
BESIDE = {
    "members": {"member": "card", "known_at": "changed", "attributes": ["user"]},
    "identities": {"key": "user", "member": "card", "known_at": "changed"},
    "consents": {
        "member": "card", "occurred_at": "asked", "granted": "yes",
        "always": {"channel": "mail", "purpose": "news"},
    },
}  # fmt: skip


def test_one_file_feeds_every_table_its_mapping_has_a_section_for(
    home: Settings, tmp_path: Path
) -> None:
    (done,) = shop.take(home, feed_files.export(tmp_path, CUSTOMERS, BESIDE))

    assert [one.table for one in done.counts] == ["identities", "members", "consents"]
    assert count(done, "members") == TableCount("members", read=3, stored=3)
    # A member without a key in the app is no bad identity: she is judged as a member.
    assert count(done, "identities") == TableCount("identities", read=2, stored=2)
    assert count(done, "consents").quarantined == {"unreadable:occurred_at": 1}
    assert [row["line"] for row in shop.quarantined(home)] == [4]


def test_products_may_stand_on_the_rows_of_events_too(home: Settings, tmp_path: Path) -> None:
    sections = {
        "events": SECTIONS["events"],
        "products": {"product": "sku", "category": "via"},
    }

    (done,) = shop.take(home, feed_files.export(tmp_path, ROWS["events"], sections))

    assert count(done, "products") == TableCount("products", read=1, stored=1)
    assert count(done, "events").stored == 2


def test_a_declared_constant_holds_on_every_row(home: Settings, tmp_path: Path) -> None:
    always = {"kind": "check_in", "channel": "gate 4"}

    shop.take(home, feed(tmp_path, "events", kind=None, kinds=None, channel=None, always=always))

    assert {row[4::2][:2] for row in stored(home, "events")} == {("check_in", "gate 4")}


def test_a_number_prefix_keeps_two_systems_apart(home: Settings, tmp_path: Path) -> None:
    shop.take(home, feed(tmp_path / "web", "events", number_prefix="web-"),
              feed(tmp_path / "app", "events", number_prefix="app-"))  # fmt: skip

    assert [row[0] for row in stored(home, "events")] == ["app-e1", "app-e2", "web-e1", "web-e2"]


@pytest.mark.parametrize(("duplicates", "kept"), [("keep", 3), ("drop", 2)])
@pytest.mark.parametrize("table", ["events", "points"])
def test_rows_without_numbers_are_told_apart_by_what_they_say(
    table: str, duplicates: str, kept: int, home: Settings, tmp_path: Path
) -> None:
    unnumbered: dict[str, Any] = {{"events": "event", "points": "posting"}[table]: None}
    rows = [*ROWS[table], ROWS[table][0]]
    source = feed(tmp_path, table, rows, exact_duplicates=duplicates, **unnumbered)

    first, again = shop.take(home, source, source)

    assert (count(first, table).stored, again.batch_no) == (kept, None)


@pytest.mark.parametrize("goods", ['["A1", "B7"]', "[A1, B7]", " A1 ,B7,", "A1,B7"])
def test_a_list_of_products_is_read_however_it_is_written(
    goods: str, home: Settings, tmp_path: Path
) -> None:
    rows = [{**ROWS["campaigns"][0], "goods": goods}]

    shop.take(home, feed(tmp_path, "campaigns", rows, separator=","))

    assert stored(home, "campaigns")[0][4] == '["A1","B7"]'


@pytest.mark.parametrize(
    ("path", "levels"),
    [
        ("Food > Tea > White", ("Food", "Tea", "White")),
        ("Food>Tea", ("Food", "Tea", None)),
        (" Tea ", (None, "Tea", None)),
        ("Food > Tea > White > Loose", ("Food", "Tea", "White>Loose")),
        ("Food > > Tea >", ("Food", "Tea", None)),
        ("", (None, None, None)),
    ],
)
def test_a_category_path_has_three_levels(
    path: str, levels: tuple[str | None, ...], home: Settings, tmp_path: Path
) -> None:
    rows = [{"sku": "A1", "where": path}]
    section = {"product": "sku", "path": "where"}

    shop.take(home, feed_files.export(tmp_path, rows, {"products": section}))

    assert stored(home, "products")[0][2:5] == levels


def test_a_product_on_dated_lines_may_change_its_category(home: Settings, tmp_path: Path) -> None:
    rows = [
        {"sku": "A1", "aisle": aisle, "who": "ann", "day": f"2024-03-0{day}", "amount": "5"}
        for day, aisle in enumerate(("tea", "tea", "gifts"), start=1)
    ]
    sections = {
        "purchases": {"member": "who", "occurred_at": "day", "amount": "amount", "product": "sku"},
        "products": {"product": "sku", "category": "aisle", "known_at": "day"},
    }

    (done,) = shop.take(home, feed_files.export(tmp_path, rows, sections))

    moved = TableCount("products", read=3, stored=1, corrected=1, unchanged=1)
    assert count(done, "products") == moved


def test_what_was_assumed_is_in_the_report(home: Settings, tmp_path: Path) -> None:
    products = feed(tmp_path, "products", known_at=None)
    dated = feed(tmp_path / "dated", "products")
    members = feed(tmp_path / "m", "members", known_at=None, known_from_beginning=True)
    sources = (feed(tmp_path / "e", "events"), products, dated, members)

    done = shop.take(home, *sources)

    assert [one.report.assumptions for one in done] == [
        ("events were known when they happened",),
        ("products carry no date: taken as known from the beginning",),
        (),
        ("members carry no date: taken as known from the beginning",),
    ]
