"""Tags on scores are decided over a file of scores and written beside it."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from features.tags.scored import newest_before, score_rules, tag_scores
from programme.settings import Settings
from tests.features.tags.declaring import tag

DAY = date(2024, 4, 7)


def scores(path: Path, probability: list[float | None]) -> Path:
    n = len(probability)
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({
        "member_id": [f"m{number}" for number in range(n)],
        "churn_probability": pd.array(probability, dtype="Float64"),
        "churn_percentile": [95] * n, "churn_risk_band": ["high"] * n,
        "churn_population": ["active"] * n, "value_cents": [1_000.0] * n,
        "value_percentile": [10] * n,
    }).to_parquet(path)  # fmt: skip
    return path


def test_only_tags_that_read_scores_are_among_them(home: Settings) -> None:
    ours = score_rules(home)

    assert {one.family for one in ours.tags} == {"score"}
    assert {c.source for one in ours.tags for c in ours.reads[one.id]} == {"scores"}


def test_a_score_decides_and_an_earlier_state_keeps(home: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    first = scores(folder / "2024-03-10_a.parquet", [0.7, 0.55, 0.1, None])
    second = scores(folder / "2024-04-07_a.parquet", [0.55, 0.55, float("nan"), 0.0])

    before = tag_scores(home, first, date(2024, 3, 10))
    earlier = newest_before(folder, DAY)
    found = pd.read_parquet(tag_scores(home, second, DAY, earlier=earlier)).set_index("member_id")

    assert earlier == before
    assert before.name == "tags-of-2024-03-10_a.parquet"
    assert found["likely_to_leave"].dropna().astype(str).to_dict() == {"m0": "2024-03-10"}
    assert list(found.index[found["may_leave"].notna()]) == ["m0", "m1"]
    assert list(found.index[found["safe"].notna()]) == ["m3"]
    assert found["low_future_value"].notna().all()


def test_a_rule_that_has_changed_does_not_remember(home: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    first = scores(folder / "2024-03-10_a.parquet", [0.7])
    second = scores(folder / "2024-04-07_a.parquet", [0.55])
    before = tag_scores(home, first, date(2024, 3, 10))
    rule = '{ column = "scores.churn_probability", at_least = 0.9, exit = 0.5 }'
    home.home.mkdir(parents=True, exist_ok=True)
    (home.home / "tags.toml").write_text(
        "defaults = { window_days = 28, min_support = 0, freshness_days = 0, "
        'outcome = "leaves" }\n' + tag("likely_to_leave", rule, 'family = "score"'),
        "utf-8",
    )

    found = pd.read_parquet(tag_scores(home, second, DAY, earlier=before))

    assert found["likely_to_leave"].isna().all()


def test_without_earlier_scores_nothing_is_remembered(tmp_path: Path) -> None:
    assert newest_before(tmp_path / "absent", DAY) is None


def test_the_same_scores_give_the_same_bytes(home: Settings, tmp_path: Path) -> None:
    one, two = (scores(tmp_path / name / "s.parquet", [0.9, 0.1]) for name in ("a", "b"))

    assert tag_scores(home, one, DAY).read_bytes() == tag_scores(home, two, DAY).read_bytes()


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_or_one_are_scores_too(home: Settings, tmp_path: Path, rows: int) -> None:
    path = tag_scores(home, scores(tmp_path / "s.parquet", [0.9] * rows), DAY)

    assert len(pd.read_parquet(path)) == rows
