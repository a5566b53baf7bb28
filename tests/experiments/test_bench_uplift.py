"""The uplift benchmark: what it does where its data are not, or are others."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from experiments import bench_uplift
from programme.errors import InputRefused


def test_without_the_file_it_is_skipped_with_a_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words in ([], ["--hillstrom", str(tmp_path / "absent.parquet")]):
        monkeypatch.setattr(sys, "argv", ["bench_uplift", *words])

        bench_uplift.main()

        said = " ".join(capsys.readouterr().out.split())
        assert said.startswith("Skipped: no Hillstrom file at")
        assert "Nothing was measured" in said


def test_another_file_is_refused_by_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "other.csv"
    pd.DataFrame({"recency": [1], "segment": ["No E-Mail"]}).to_csv(path, index=False)
    monkeypatch.setattr(sys, "argv", ["bench_uplift", "--hillstrom", str(path)])

    with pytest.raises(InputRefused, match=r"lacks channel, conversion, history, .* zip_code"):
        bench_uplift.main()
