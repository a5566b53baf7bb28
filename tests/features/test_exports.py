import csv
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import engine, exports
from programme.errors import InputRefused
from tests.features import shop

ROWS = """select * from (values ('ann', 'new', 5, date '2024-01-02'), ('=2+2', null, -1, null))
    t(member_id, stage, spend_cents, since)"""


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_parquet_is_written_as_it_is(tmp_path: Path) -> None:
    assert exports.write(ROWS, tmp_path / "out" / "rows.parquet") == 2

    written = pd.read_parquet(tmp_path / "out" / "rows.parquet")
    assert written["member_id"].tolist() == ["ann", "=2+2"]
    assert written["spend_cents"].tolist() == [5, -1]


def test_a_spreadsheet_runs_nothing_of_a_csv_and_numbers_stay_numbers(tmp_path: Path) -> None:
    assert exports.write(ROWS, tmp_path / "rows.csv") == 2

    assert cells(tmp_path / "rows.csv") == [
        ["member_id", "stage", "spend_cents", "since"],
        ["'=2+2", "", "-1", ""],
        ["ann", "new", "5", "2024-01-02"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@settings(max_examples=30)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
)
def test_no_cell_of_text_begins_a_formula(text: str) -> None:
    with shop.new_home() as home:
        path = home.home / "rows.csv"
        exports.write(f"select {engine.text(text)} as name, 1 as one", path)
        with duckdb.connect() as connection:
            (row,) = connection.execute(
                f"select name from read_csv({engine.text(path)}, header = true, all_varchar = true)"
            ).fetchall()

    assert not str(row[0]).startswith(tuple(exports.FORMULA_STARTS))
    assert row[0] in (text, f"'{text}")


@pytest.mark.parametrize("name", ["rows.xlsx", "rows", "folder.csv"])
def test_another_kind_of_file_is_refused_before_anything_is_done(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(InputRefused, match="Nothing was exported"):
        exports.write(ROWS, tmp_path / name)
