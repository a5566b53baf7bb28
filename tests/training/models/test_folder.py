import json
from pathlib import Path

import pytest

from training.models import load_model
from training.models.folder import ModelRefused, read, write
from training.models.rules import ColumnRule, PastSpend


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    PastSpend("spend_cents_91d").save(tmp_path)
    return tmp_path


def test_a_folder_of_another_kind_is_refused(saved: Path) -> None:
    with pytest.raises(ModelRefused, match="kind past_spend, not column_rule"):
        ColumnRule.load(saved)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="cannot be read as a model"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "past_spend"}'])
def test_a_broken_document_is_refused(text: str, saved: Path) -> None:
    (saved / "model.json").write_text(text, encoding="utf-8")

    with pytest.raises(ModelRefused, match="Nothing was loaded"):
        load_model(saved)


def test_a_kind_of_a_later_version_is_refused_with_those_known(saved: Path) -> None:
    document = json.loads((saved / "model.json").read_text("utf-8"))
    (saved / "model.json").write_text(json.dumps({**document, "kind": "oracle"}), "utf-8")

    with pytest.raises(ModelRefused, match=r"kind oracle; known kinds are lightgbm, .*popularity"):
        load_model(saved)


def test_a_number_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write(tmp_path, "past_spend", {"mean": float("nan")})

    assert not (tmp_path / "model.json").exists()


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    facts = {"name": "女装", "share": 0.1 + 0.2, "columns": ["a", "b"]}

    write(tmp_path, "some", facts)

    assert read(tmp_path, "some") == facts


def test_a_model_that_other_code_laid_out_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "column_rule", {"columns": ["recency_days"]})

    with pytest.raises(ModelRefused, match=r"column_rule as other code saved it.*train again"):
        load_model(tmp_path)
