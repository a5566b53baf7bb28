"""The report says what was found, how grave it is and how to mend it, on paper safe to open."""

import json
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from features import contracts
from programme.settings import Programme, Settings
from tests.features import shop
from tests.features.shop import MIDNIGHT, Till, line, product

DAY = timedelta(days=1)
EVIL = "<img src=x onerror=alert(1)>"


def reported(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return found


class Tags(HTMLParser):
    """The tags of a page and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def messy() -> Till:
    goods = [
        line("ann", MIDNIGHT - 9 * DAY),
        line("ann", MIDNIGHT - 8 * DAY, 0),
        line("bob", MIDNIGHT - 8 * DAY, -300, quantity=-1.0),
        line(None, MIDNIGHT - 2 * DAY, product_id="soap"),
        line(None, MIDNIGHT - 2 * DAY, product_id="tea", line_no="2"),
    ]
    bad = line("cid", MIDNIGHT, store_id="x" * 2_000)
    return Till([*goods, bad], [product("soap", "home"), product("tea", None)])


def test_the_report_is_kept_as_json_and_as_a_page(home: Settings) -> None:
    (done,) = shop.take(home, messy())

    found, page = reported(done.report_path), done.report_path.read_text("utf-8")

    assert done.report_path == home.home / "reports" / "usability-000001-till.html"
    assert found["worst"] == "error"
    steps = {finding["step"]: finding for finding in found["findings"]}
    assert set(steps) == {
        "rows", "quarantine", "size", "history", "members", "returns", "amounts", "calendar",
        "catalogue", "times",
    }  # fmt: skip
    for finding in found["findings"]:
        assert finding["severity"] in ("error", "warning", "information")
        assert finding["table"] in contracts.TABLES
        assert finding["finding"]
        assert finding["how_to_fix"] or finding["severity"] == "information"
        assert finding["finding"] in Tags(page).text
    assert steps["quarantine"]["column"] == "store_id"
    assert (steps["amounts"]["count"], steps["returns"]["count"]) == (1, 1)
    assert "1 of them by members with no purchase" in steps["returns"]["finding"]
    assert (steps["calendar"]["count"], steps["catalogue"]["count"]) == (5, 1)


def test_the_report_counts_the_lake_as_it_is_now(home: Settings) -> None:
    _, done = shop.take(home, messy(), Till([line("dee", MIDNIGHT)]))

    (size,) = [finding for finding in done.report.findings if finding.step == "size"]

    assert size.count == 3
    assert done.report.batch_no == 2


def test_a_page_never_runs_what_stood_in_a_file(home: Settings, tmp_path: Path) -> None:
    evil = Till([line(EVIL, MIDNIGHT, product_id=EVIL)], [product(EVIL, EVIL)])
    evil.programme = Programme(name=EVIL, timezone="UTC", currency="USD")
    evil.notes = type(evil.notes)(assumptions=(EVIL,))
    (done,) = shop.take(home, evil)
    mapping = shop.mapping(store=EVIL)
    mapping |= {"programme": None}
    text = f"who,day,amount,{EVIL}\nann,2024-03-01,1,{'x' * 2_000}\nann,2024-03-01,1,{EVIL}\n"

    (again,) = shop.take(home, shop.export(tmp_path, text, mapping))

    for path in (done.report_path, again.report_path):
        page = Tags(path.read_text("utf-8"))
        assert "img" not in page.tags
        assert "script" not in page.tags
        assert EVIL in page.text


@pytest.mark.parametrize("reason", ["missing", "malformed_line", "conflicting_duplicate"])
def test_every_reason_says_how_to_fix_it(reason: str) -> None:
    assert contracts.HOW_TO_FIX[reason]


def test_every_reason_a_row_can_have_is_explained() -> None:
    written = [
        part.partition(":")[0]
        for table in contracts.TABLES.values()
        for part in contracts.problem_sql(table, "now()").split("then '")[1:]
    ]

    assert set(written) | {"unreadable", "conflicting_duplicate", "malformed_line"} == set(
        contracts.HOW_TO_FIX
    )


def test_plenty_of_clean_data_has_nothing_to_mend(home: Settings, tmp_path: Path) -> None:
    days = [f"{date(2023, 1, 1) + DAY * day}" for day in range(365)]
    rows = [f"m{i % 500},{days[i % 365]} 10:00,5.00,tea,drink" for i in range(1_000)]
    mapping = shop.mapping(product="what") | {"products": {"product": "what", "category": "aisle"}}
    text = "\n".join(["who,day,amount,what,aisle", *rows])

    (done,) = shop.take(home, shop.export(tmp_path, text, mapping))

    assert done.report.worst() == "information"


def test_dates_without_a_time_of_day_are_said(home: Settings) -> None:
    days = [line("ann", MIDNIGHT - 9 * DAY), line("bob", MIDNIGHT - 8 * DAY)]
    timed = line("bob", MIDNIGHT - 7 * DAY + timedelta(hours=9))
    nothing, partly = (reported(done.report_path)["findings"] for done in shop.take(
        home, Till(days), Till([timed])
    ))  # fmt: skip

    (without,) = (one for one in nothing if one["step"] == "times")
    (some,) = (one for one in partly if one["step"] == "times")
    assert (without["count"], some["count"]) == (2, 2)
    assert "no time of day is known" in without["finding"] and without["how_to_fix"]
    assert "(66.7%)" in some["finding"] and not some["how_to_fix"]
