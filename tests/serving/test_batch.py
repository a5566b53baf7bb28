"""Scores of everybody in one file, which appears whole or not at all."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.snapshot import Snapshot
from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from serving.batch import score_all
from tests.little_programme import AS_OF, LittleProgramme
from training.champions import Champions
from training.population import Population

POPULATION, BATCHES = Champions.population, Champions.batches


def quiet(step: str) -> None:
    del step


@pytest.fixture(scope="module")
def champions(trained: LittleProgramme) -> Champions:
    return Champions.load(trained.settings)


def test_the_file_holds_what_the_champions_say_of_everybody(
    trained: LittleProgramme, champions: Champions, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder" / "scores.parquet"

    scored = score_all(trained.settings, AS_OF, out, quiet)

    said = champions.score_all(champions.population(trained.snapshot))
    written = pd.read_parquet(out)
    assert (scored.path, scored.as_of, scored.programme) == (out, AS_OF, trained.programme)
    assert list(written.columns) == list(said.columns)
    assert list(written["member_id"]) == list(trained.snapshot.features().index)
    assert written["churn_probability"].tolist() == said["churn_probability"].tolist()
    assert written["value_cents"].tolist() == said["value_cents"].tolist()
    assert [list(ids) for ids in written["repeat_products"]] == said["repeat_products"].tolist()


def test_the_file_reads_the_same_without_pandas(trained: LittleProgramme, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"

    score_all(trained.settings, AS_OF, out, quiet)

    schema = pq.read_schema(out)
    assert schema.metadata is None
    assert schema.field("as_of").type == pa.date32()
    assert schema.field("data_as_of").type == pa.timestamp("us", tz="UTC")
    assert schema.field("explore_products").type == pa.list_(pa.string())
    first = pq.read_table(out).to_pylist()[0]
    assert first["as_of"] == AS_OF
    assert {"code", "contribution", "direction"} <= set(json.loads(first["churn_drivers"])[0])


def test_without_a_name_the_file_is_named_after_snapshot_and_versions(
    trained: LittleProgramme,
) -> None:
    first = score_all(trained.settings, None, None, quiet)
    content = first.path.read_bytes()

    second = score_all(trained.settings, None, None, quiet)

    name = f"{trained.snapshot.path.name}_1-1-1-1-1.parquet"
    assert first.path == second.path == trained.settings.home / "scores" / name
    assert second.path.read_bytes() == content
    assert sorted(path.name for path in second.path.parent.iterdir()) == [name, f"tags-of-{name}"]


def test_tags_on_scores_stand_beside_them(trained: LittleProgramme, tmp_path: Path) -> None:
    scored = score_all(trained.settings, AS_OF, tmp_path / "scores.parquet", quiet)

    assert scored.tags == tmp_path / "tags-of-scores.parquet"
    tags = pd.read_parquet(scored.tags).set_index("member_id")
    members = scored.members.set_index("member_id").reindex(tags.index)
    assert len(tags) == len(scored.members)
    likely = tags["likely_to_leave"].notna()
    assert likely.equals(members["churn_probability"] >= 0.6)
    assert set(tags["future_top_tenth"].dropna().astype(str)) <= {str(scored.as_of)}


def test_the_summary_leaves_out_what_is_long(trained: LittleProgramme, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"

    members = score_all(trained.settings, AS_OF, out, quiet).members

    left_out = set(pd.read_parquet(out).columns) - set(members.columns)
    assert left_out == {
        "churn_drivers", "value_drivers", "repeat_products", "explore_products", "next_order_due",
    }  # fmt: skip
    assert len(members) == len(trained.snapshot.features())


def in_sevens(self: Champions, population: Population) -> Iterator[pd.DataFrame]:
    return BATCHES(self, population, 7)


def test_a_file_written_in_parts_is_the_same_table(
    trained: LittleProgramme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    said: list[str] = []
    score_all(trained.settings, AS_OF, whole, quiet)

    monkeypatch.setattr(Champions, "batches", in_sevens)
    score_all(trained.settings, AS_OF, parts, said.append)

    assert pq.read_table(whole).equals(pq.read_table(parts))
    n_members = pq.read_metadata(parts).num_rows
    assert pq.read_metadata(parts).num_row_groups == -(-n_members // 7)
    assert said[-2] == f"scored {n_members} of {n_members} members"


@pytest.mark.parametrize("before", [b"the scores of yesterday", None])
def test_a_run_that_dies_leaves_what_was_there(
    trained: LittleProgramme,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: bytes | None,
) -> None:
    out = tmp_path / "scores.parquet"
    if before is not None:
        out.write_bytes(before)

    def dying(self: Champions, population: Population) -> Iterator[pd.DataFrame]:
        yield next(in_sevens(self, population))
        raise KeyboardInterrupt

    monkeypatch.setattr(Champions, "batches", dying)
    with pytest.raises(KeyboardInterrupt):
        score_all(trained.settings, AS_OF, out, quiet)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_a_folder_cannot_be_the_file(trained: LittleProgramme, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"is a folder\. Nothing was scored.*scores\.parquet"):
        score_all(trained.settings, AS_OF, tmp_path, quiet)


def test_a_day_on_which_nobody_was_known_is_refused(
    trained: LittleProgramme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(self: Champions, snapshot: Snapshot) -> Population:
        return replace(POPULATION(self, snapshot), members=pd.Index([], dtype=object))

    monkeypatch.setattr(Champions, "population", nobody)

    with pytest.raises(InputRefused, match=f"bought before {AS_OF}. Nothing was scored"):
        score_all(trained.settings, AS_OF, tmp_path / "scores.parquet", quiet)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("as_of", [AS_OF + timedelta(days=30), date(2001, 1, 1)])
def test_a_day_outside_the_data_is_refused(
    trained: LittleProgramme, tmp_path: Path, as_of: date
) -> None:
    with pytest.raises(InputRefused, match="lies outside the data"):
        score_all(trained.settings, as_of, tmp_path / "scores.parquet", quiet)


def test_without_champions_nothing_is_scored(
    new_settings: Callable[[], Settings], trained: LittleProgramme
) -> None:
    settings = new_settings()
    (settings.home / "perennial.toml").write_text(trained.programme.as_toml())

    with pytest.raises(NotReady, match="no champion of churn_28d"):
        score_all(settings, AS_OF, None, quiet)
    assert not (settings.home / "scores").exists()
