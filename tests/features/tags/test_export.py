"""Tags leave the house as Parquet or CSV, and a spreadsheet runs nothing in them."""

import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from features import exports
from features.tags import store
from features.tags.store import Tagged
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF

pytestmark = pytest.mark.usefixtures("few_rules")
DANGEROUS = ("=1+1", "+1", "-1", "@sum(a1)", "\uff1d1", "a,\"b'")
NAMES = dict(zip(("ann", "bob", "cid", "dee"), DANGEROUS, strict=False))


@pytest.fixture
def tagged(home: Settings) -> Tagged:
    till = replace(shop.year(), identities=())
    rows = [{**row, "source_key": NAMES.get(str(row["source_key"]))} for row in till.purchases]
    shop.take(home, replace(till, purchases=rows))
    return store.build(home, AS_OF)


def test_parquet_has_a_row_for_each_tag_held(tagged: Tagged, tmp_path: Path) -> None:
    rows = exports.write(tagged.held_sql(), tmp_path / "out" / "tags.parquet")

    written = pd.read_parquet(tmp_path / "out" / "tags.parquet")
    assert list(written.columns) == ["member_id", "tag", "since"]
    assert rows == len(written) == int(tagged.wide().notna().sum().sum())
    assert set(written["member_id"]) <= set(NAMES.values())
    assert written.equals(written.sort_values(["member_id", "tag"], ignore_index=True))


def test_csv_is_text_to_a_spreadsheet(tagged: Tagged, tmp_path: Path) -> None:
    exports.write(tagged.held_sql(), tmp_path / "tags.csv")

    with (tmp_path / "tags.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["member_id", "tag", "since"]
    assert {row[0] for row in rows[1:]} == {f"'{name}" for name in NAMES.values()}
    assert all(row[2] == str(AS_OF) for row in rows[1:])


def test_writing_again_gives_the_same_bytes_and_leaves_nothing_behind(
    tagged: Tagged, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"

    exports.write(tagged.held_sql(), once)
    exports.write(tagged.held_sql(), twice)

    assert once.read_bytes() == twice.read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["once.csv", "twice.csv"]
    assert list(tmp_path.glob(".*unfinished")) == []
