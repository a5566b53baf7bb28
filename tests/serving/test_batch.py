"""Scores of everybody in one file, which appears whole or not at all."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from features.snapshot import Snapshot
from programme.errors import InputRefused, NotReady
from programme.files import sha256_of, single_writer
from programme.settings import Settings
from serving.batch import SUMMARY, manifest_of, score_all
from tests.little_programme import AS_OF, LittleProgramme
from training.champions import Champions
from training.population import Population

EXPECT, BATCHES = Champions.expect, Champions.batches


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
    assert sorted(path.name for path in second.path.parent.iterdir()) == [
        name, f"{name}.manifest.json", f"tags-of-{name}",
    ]  # fmt: skip


def test_a_manifest_says_what_the_file_is(trained: LittleProgramme, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"

    score_all(trained.settings, AS_OF, out, quiet)

    said = json.loads(manifest_of(out).read_text())
    assert said["snapshot"] == trained.snapshot.path.name
    assert said["members"] == pq.read_metadata(out).num_rows
    assert said["sha256"] == sha256_of(out)
    assert said["champions"]["churn_28d"] == 1


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
    members = score_all(trained.settings, AS_OF, tmp_path / "scores.parquet", quiet).members

    assert list(members.columns) == list(SUMMARY)
    assert len(members) == len(trained.snapshot.features())


@pytest.mark.parametrize("size", [1_000, 29])
def test_in_how_many_parts_it_was_scored_does_not_show(
    trained: LittleProgramme, tmp_path: Path, size: int
) -> None:
    whole, parts = tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    said: list[str] = []
    score_all(trained.settings, AS_OF, whole, quiet)

    score_all(trained.settings, AS_OF, parts, said.append, size)

    assert_frame_equal(pd.read_parquet(whole), pd.read_parquet(parts), rtol=1e-12, atol=0)
    n_members = pq.read_metadata(parts).num_rows
    assert pq.read_metadata(parts).num_row_groups == -(-n_members // size)
    assert said[-2] == f"scored {n_members} of {n_members} members"


class Killed(BaseException):
    """Stands for a signal: nobody catches it."""


def dying_at(monkeypatch: pytest.MonkeyPatch, call: int) -> list[int]:
    """Let the champions die when they are asked about a part for the so-manieth time."""
    asked: list[int] = []

    def expect(self: Champions, *given: Any) -> Population:
        asked.append(len(asked))
        if len(asked) == call:
            raise Killed
        return EXPECT(self, *given)

    monkeypatch.setattr(Champions, "expect", expect)
    return asked


@pytest.mark.parametrize("call", [1, 3])
def test_a_run_that_was_killed_goes_on_where_it_stopped(
    trained: LittleProgramme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "scores.parquet"
    size = -(-len(trained.snapshot.features()) // 3)
    score_all(trained.settings, AS_OF, whole, quiet, size)
    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying_at(dying, call)
        score_all(trained.settings, AS_OF, out, quiet, size)
    assert not out.exists()

    asked = dying_at(monkeypatch, 0)
    scored = score_all(trained.settings, AS_OF, out, quiet, size)

    assert len(asked) == 3 - (call - 1)
    assert scored.resumed == size * (call - 1)
    assert pq.read_table(out).equals(pq.read_table(whole))
    assert not list(tmp_path.glob(".*"))


def test_parts_of_another_run_are_not_gone_on_with(
    trained: LittleProgramme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores.parquet"
    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying_at(dying, 2)
        score_all(trained.settings, AS_OF, out, quiet, 29)
    [begun] = tmp_path.glob(".*/manifest.json")
    begun.write_text(begun.read_text().replace('"churn_28d": 1', '"churn_28d": 2'))

    assert score_all(trained.settings, AS_OF, out, quiet, 29).resumed == 0


def test_two_runs_do_not_write_one_file(trained: LittleProgramme, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    with (
        single_writer(tmp_path / ".scores.parquet.lock", "the scores"),
        pytest.raises(NotReady, match="Another process is writing the scores"),
    ):
        score_all(trained.settings, AS_OF, out, quiet)


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

    with pytest.raises(Killed):
        dying_at(monkeypatch, 2)
        score_all(trained.settings, AS_OF, out, quiet, 29)

    there = [path.read_bytes() for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert there == ([before] if before else [])


def test_a_folder_cannot_be_the_file(trained: LittleProgramme, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"is a folder\. Nothing was exported.*\.parquet"):
        score_all(trained.settings, AS_OF, tmp_path, quiet)


def test_a_day_on_which_nobody_was_known_is_refused(
    trained: LittleProgramme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Snapshot, "ranges", lambda *_: [])

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
