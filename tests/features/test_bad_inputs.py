"""Every bad input by name: refused with a reason, or quarantined with file and line."""

import json
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.ingest import Ingested
from features.lake import Lake
from features.sources import open_source
from features.sources.completejourney import CompleteJourney
from features.sources.export import Export
from features.sources.mapping import Mapping, read_mapping
from features.usability import TableCount
from programme.errors import InputRefused, NotReady
from programme.settings import Programme, Settings, open_programme
from tests.features import shop
from tests.features.shop import MIDNIGHT, NOW, Till, line

GOOD = "ann,2024-03-01 10:00:00,5.00"
Kept = list[tuple[str, str | None, int]]


def purchases(done: Ingested) -> TableCount:
    """Return what became of the purchases; every row read is somewhere."""
    count = next(count for count in done.counts if count.table == "purchases")
    kept = count.stored + count.corrected + count.unchanged + sum(count.quarantined.values())
    assert kept == count.read
    return count


def kept_of(home: Settings) -> Kept:
    return [(row["reason"], row["column_name"], row["line"]) for row in shop.quarantined(home)]


# The row under test is line 3 of its file, below the header and a good row.
CELLS: list[tuple[str, str, str | None]] = [
    ("ann,2024-03-02,five", "unreadable", "net_cents"),
    ("ann,2024-03-02,12,50", "malformed_line", None),
    ('ann,2024-03-02,"12,50"', "unreadable", "net_cents"),
    ('ann,2024-03-02,"1,23.5"', "unreadable", "net_cents"),
    ("ann,2024-03-02,$5", "unreadable", "net_cents"),
    ("ann,2024-03-02,", "missing", "net_cents"),
    ("ann,2024-03-02,  ", "missing", "net_cents"),
    ("ann,2024-03-02,NaN", "not_a_number", "net_cents"),
    ("ann,2024-03-02,-inf", "not_a_number", "net_cents"),
    ("ann,2024-03-02,10000000.01", "out_of_range", "net_cents"),
    ("ann,2024-03-02,-99999999999999999999", "out_of_range", "net_cents"),
    ("ann,2024-13-01,5", "unreadable", "occurred_at"),
    ("ann,2024-02-30,5", "unreadable", "occurred_at"),
    ("ann,yesterday,5", "unreadable", "occurred_at"),
    ("ann,02/03/2024,5", "unreadable", "occurred_at"),
    ("ann,,5", "missing", "occurred_at"),
    ("ann,1969-12-31 18:59:59,5", "out_of_range", "occurred_at"),
    ("ann,2030-01-02,5", "in_the_future", "occurred_at"),
    ("ann,2030-01-02 04:59:59Z,5", "", None),  # still today in New York
    ("ann,2030-01-02 05:00:00Z,5", "in_the_future", "occurred_at"),
    ("x" * 64 + ",2024-03-02,5", "", None),
    ("x" * 65 + ",2024-03-02,5", "too_long", "source_key"),
    ("a\0n,2024-03-02,5", "nul_character", "source_key"),
    ("ann,2024-03-02", "malformed_line", None),
    ('ann,"2024-03-02"x,5', "malformed_line", None),
    ('ann,"2024-03-02,5', "malformed_line", None),
    (",,", "missing", "occurred_at"),
    (",2024-03-02,5", "", None),  # anonymous
    ("ann,2024-03-02,1e3", "", None),
    ('ann,2024-03-02,"1,234.50"', "", None),
    ('ann,2024-03-02,"1,23,456"', "", None),
    ("ann,2024-03-02,-5", "", None),
    ("ann,2024-03-02,0", "", None),
]


def test_each_unusable_cell_is_quarantined_under_its_own_name_and_line(
    home: Settings, tmp_path: Path
) -> None:
    text = "\n".join(["who,day,amount", GOOD, *(row for row, *_ in CELLS)])

    (done,) = shop.take(home, shop.export(tmp_path, text, shop.mapping()))

    expected = [
        (reason, column, number)
        for number, (_, reason, column) in enumerate(CELLS, start=3)
        if reason
    ]
    assert kept_of(home) == expected
    count = purchases(done)
    assert count.read == len(CELLS) + 1
    assert count.stored == count.read - len(expected)
    assert {row["file"] for row in shop.quarantined(home)} == {"a.csv"}
    for row, (cell, *_) in zip(shop.quarantined(home), _bad(CELLS), strict=True):
        written = json.loads(row["row_json"])
        assert written == cell if isinstance(written, str) else set(written) >= {"who", "amount"}


def _bad(cells: list[tuple[str, str, str | None]]) -> list[tuple[str, str, str | None]]:
    return [cell for cell in cells if cell[1]]


def test_contract_columns_are_checked_whatever_the_source(home: Settings) -> None:
    at = MIDNIGHT - timedelta(days=9)
    bad: list[tuple[shop.Row, str, str]] = [
        ({"order_id": None}, "missing", "order_id"),
        ({"order_id": ""}, "missing", "order_id"),
        ({"line_no": None}, "missing", "line_no"),
        ({"known_at": None}, "missing", "known_at"),
        ({"known_at": at - timedelta(seconds=1)}, "known_before_it_happened", "known_at"),
        ({"known_at": NOW.replace(tzinfo=None) + timedelta(days=1)}, "in_the_future", "known_at"),
        ({"store_id": "x" * 1_001}, "too_long", "store_id"),
        ({"quantity": math.nan}, "not_a_number", "quantity"),
        ({"quantity": math.inf}, "not_a_number", "quantity"),
        ({"discount_cents": 1_000_000_001}, "out_of_range", "discount_cents"),
    ]
    rows = [line("ann", at, order_id=f"o{i}") | change for i, (change, *_) in enumerate(bad)]

    (done,) = shop.take(home, Till([*rows, line("ann", MIDNIGHT)]))

    assert kept_of(home) == [
        (reason, column, number) for number, (_, reason, column) in enumerate(bad, start=1)
    ]
    assert purchases(done).stored == 1


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        ("", {}, "is empty \\(0 bytes\\)"),
        ("who,day\nann,2024-03-01\n", {}, "no column 'amount'; it has 'who', 'day'"),
        ("who,day,amount,day\n", {}, "names the column 'day' twice"),
        ("who,day,amount\n", {}, "holds no purchase rows, only headers"),
        (
            "who,day,amount\nann,2024-03-01,five\n",
            {},
            "reason is unreadable in net_cents",
        ),
        ("who,day,amount\nann\nbob\ncid,x,1\n", {}, "malformed_line in the line \\(2 rows\\)"),
        ("会员,day,amount\n".encode("gb18030"), {"member": "会员"}, "is not utf-8"),
        (f"who,day,amount\n{GOOD}\n", {"file": {"encoding": "klingon"}}, "no encoding 'klingon'"),
        (f"who,day,amount\n{GOOD}\n", {"timezone": "Mars/Olympus"}, "no timezone 'Mars/Olympus'"),
        (f"who,day,amount\n{GOOD}\n", {"timezone": "America"}, "no timezone 'America'"),
        (f"who,day,amount\n{GOOD}\n", {"occurred_format": "%Q"}, "occurred_format '%Q'"),
    ],
)
def test_a_file_that_breaks_the_contract_as_a_whole_is_refused(
    text: str | bytes, change: dict[str, Any], words: str, home: Settings, tmp_path: Path
) -> None:
    mapping = shop.mapping(**{"file": change.pop("file", {}), **change})

    with pytest.raises(InputRefused, match=words) as refusal:
        shop.take(home, shop.export(tmp_path, text, mapping))

    assert "Nothing was" in str(refusal.value)
    nothing_was_written(home)


def nothing_was_written(home: Settings) -> None:
    assert Lake(home).manifest().lake_version == 0
    assert list(home.home.glob("lake/*/*")) == []
    assert list(home.home.glob("quarantine/*")) == []
    assert not (home.home / "perennial.toml").exists()
    with pytest.raises(NotReady, match="Ingest something first"):
        open_programme(home)


MAPPING = """
source = "files"
[programme]
name = "shop"
timezone = "America/New_York"
currency = "USD"
[purchases]
member = "who"
occurred_at = "day"
amount = "amount"
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (MAPPING + 'ammount = "x"', "purchases.ammount: there is no such key"),
        ('colour = "red"\n' + MAPPING, "colour: there is no such key"),
        (MAPPING + 'quantity = "q"\nunit_price = "p"', "either amount, or quantity and unit_price"),
        (MAPPING.replace('amount = "amount"', ""), "either amount, or quantity and unit_price"),
        (MAPPING + '[purchases.returns]\nprefix = "C"', "map order too"),
        (MAPPING.replace("America/New_York", "Mars/Olympus"), "no timezone 'Mars/Olympus'"),
        (MAPPING.replace("USD", "dollars"), "programme.currency"),
        (MAPPING.replace('"files"', '"My Files"'), "source: it must match the pattern"),
        (MAPPING.replace('"amount"', '"DAY"'), "differ only in case"),
        ('source = "files"', "map at least one of"),
        (MAPPING + '[file]\ndecimal = "x"', "file.decimal"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(
    text: str | bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)

    with pytest.raises(InputRefused, match=words) as refusal:
        read_mapping(path)

    assert "Nothing was read." in str(refusal.value)


@pytest.mark.parametrize(
    ("what", "mapping", "words"),
    [
        (["sales.csv"], None, "give --mapping my.toml"),
        (["cdnow"], "my.toml", "takes no --mapping"),
        (["sales.csv"], "absent.toml", "absent.toml is not a file"),
    ],
)
def test_a_source_that_does_not_say_what_it_is_is_refused(
    what: list[str], mapping: str | None, words: str
) -> None:
    with pytest.raises(InputRefused, match=words):
        open_source(what, Path(mapping) if mapping else None)


def test_a_file_that_is_not_there_is_refused(home: Settings, tmp_path: Path) -> None:
    absent = Export([tmp_path / "absent.csv"], Mapping.model_validate(shop.mapping()))
    nothing = Export([], Mapping.model_validate(shop.mapping()))

    for source, words in ((absent, "absent.csv is not a file"), (nothing, "No file was named")):
        with pytest.raises(InputRefused, match=words):
            shop.take(home, source)


def parquet(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_parquet(path, index=False)
    return path


def sales(rows: int = 2_000) -> pd.DataFrame:
    days = pd.date_range("2023-01-01", periods=rows, freq="h").astype(str)
    return pd.DataFrame({"who": [f"m{i}" for i in range(rows)], "day": days, "amount": 5.0})


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def overwritten(content: bytes) -> bytes:
    return content[:20] + b"\xff" * 4_000 + content[4_020:]


@pytest.mark.parametrize("damage", [cut_off, overwritten])
def test_a_damaged_parquet_file_is_refused(
    damage: Callable[[bytes], bytes], home: Settings, tmp_path: Path
) -> None:
    path = parquet(tmp_path / "sales.parquet", sales())
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(InputRefused, match=r"sales\.parquet") as refusal:
        shop.take(home, Export([path], Mapping.model_validate(shop.mapping())))

    assert "Nothing was" in str(refusal.value)
    nothing_was_written(home)


@pytest.mark.parametrize("name", ["transactions", "products"])
def test_a_complete_journey_file_without_a_column_is_refused(
    name: str, home: Settings, journey_folder: Path
) -> None:
    path = journey_folder / f"{name}.parquet"
    parquet(path, pd.read_parquet(path).drop(columns="product_id"))

    with pytest.raises(InputRefused, match="no column 'product_id'"):
        shop.take(home, CompleteJourney(journey_folder))


def test_an_amount_that_is_no_number_is_quarantined_from_parquet_too(
    home: Settings, tmp_path: Path
) -> None:
    frame = sales(4)
    frame["amount"] = [1.5, float("nan"), float("inf"), 2.5]
    path = parquet(tmp_path / "sales.parquet", frame)

    (done,) = shop.take(home, Export([path], Mapping.model_validate(shop.mapping())))

    assert purchases(done).stored == 2
    assert [row[0] for row in kept_of(home)] == ["missing", "not_a_number"]
    assert [row[2] for row in kept_of(home)] == [2, 3]


@pytest.mark.parametrize(
    "other",
    [
        {"timezone": "Asia/Shanghai"},
        {"currency": "EUR"},
        {"name": "another shop"},
        {"churn_horizon_days": 56},
    ],
)
def test_a_source_of_another_programme_is_refused(other: dict[str, Any], home: Settings) -> None:
    facts = {"name": "shop", "timezone": shop.ZONE, "currency": "USD"} | other
    first, second = Till([line("ann", MIDNIGHT)]), Till([line("bob", MIDNIGHT)])
    second.programme = Programme.model_validate(facts)
    shop.take(home, first)

    with pytest.raises(InputRefused, match=f"with {next(iter(other))}") as refusal:
        shop.take(home, second)

    assert "nothing was ingested" in str(refusal.value)
    assert Lake(home).manifest().lake_version == 1
    second.programme = None
    assert shop.take(home, second)[0].batch_no == 2


def test_the_first_source_must_say_which_programme_it_is(home: Settings, tmp_path: Path) -> None:
    mapping = shop.mapping()
    del mapping["programme"]

    with pytest.raises(InputRefused, match="Add a \\[programme\\] section"):
        shop.take(home, shop.export(tmp_path, f"who,day,amount\n{GOOD}\n", mapping))

    nothing_was_written(home)


def test_two_thousand_bad_lines_are_all_kept(home: Settings, tmp_path: Path) -> None:
    text = "who,day,amount\n" + f"{GOOD}\nann,2024\n" * 2_000

    (done,) = shop.take(home, shop.export(tmp_path, text, shop.mapping()))

    count = purchases(done)
    assert (count.read, count.stored) == (4_000, 2_000)
    assert kept_of(home) == [("malformed_line", None, 3 + 2 * i) for i in range(2_000)]
