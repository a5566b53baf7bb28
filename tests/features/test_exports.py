import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import exports
from programme.errors import InputRefused
from tests.features import shop

ROWS = pd.DataFrame({"member_id": ["ann", "=2+2"], "stage": ["new", None], "r": [5, 1]})


def test_parquet_is_written_as_it_is(tmp_path: Path) -> None:
    path = exports.write(ROWS, tmp_path / "rows.parquet")

    pd.testing.assert_frame_equal(pd.read_parquet(path), ROWS, check_dtype=False)


def test_a_spreadsheet_runs_nothing_of_a_csv(tmp_path: Path) -> None:
    path = exports.write(ROWS, tmp_path / "rows.csv")

    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["member_id", "stage", "r"],
            ["ann", "new", "5"],
            ["'=2+2", "", "1"],
        ]


@settings(max_examples=30)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8))
def test_no_cell_of_text_begins_a_formula(text: str) -> None:
    with shop.new_home() as home:
        path = exports.write(pd.DataFrame({"name": [text, "x"]}), home.home / "rows.csv")
        with path.open(encoding="utf-8-sig", newline="") as file:
            (_, (cell, *_), *_) = [row or [""] for row in csv.reader(file)]

    assert not cell.startswith(exports.FORMULA_STARTS)
    assert cell in (text, f"'{text}")


@pytest.mark.parametrize("name", ["rows.xlsx", "rows", "folder.csv"])
def test_another_kind_of_file_is_refused_before_anything_is_done(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(InputRefused, match="Nothing was exported"):
        exports.check(tmp_path / name)


def test_numbers_below_nothing_stay_numbers(tmp_path: Path) -> None:
    path = exports.write(pd.DataFrame({"spend_cents": [-5]}), tmp_path / "rows.csv")

    assert "-5" in path.read_text("utf-8-sig").splitlines()
