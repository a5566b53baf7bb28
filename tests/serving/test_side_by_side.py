"""Parts of everybody asked about by several processes: the same answers, and none is missed."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from programme.errors import NotReady
from serving.batch import score_all
from serving.side_by_side import Crew, ProcessLost, shared_out
from tests.little_programme import AS_OF, LittleProgramme
from training.champions import Champions


def quiet(step: str) -> None:
    del step


def version_and_process(champions: Champions, number: int) -> tuple[int, int, int]:
    return champions.churn.version, number * number, os.getpid()


def be_killed(champions: Champions, number: int) -> int:
    del champions
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(champions: Champions, number: int) -> int:
    raise ValueError(f"{champions.churn.version} refuses {number}")


def test_two_processes_write_what_one_writes(trained: LittleProgramme, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    said: list[str] = []
    score_all(trained.settings, AS_OF, one, quiet, 29, processes=1)

    score_all(trained.settings, AS_OF, two, said.append, 29, processes=2)

    assert pq.read_table(two).equals(pq.read_table(one))
    n_members = pq.read_metadata(two).num_rows
    assert f"scored {n_members} of {n_members} members" in said
    assert not list(tmp_path.glob(".*"))


def test_each_item_is_done_once_elsewhere_and_faults_are_told(trained: LittleProgramme) -> None:
    champions = Champions.load(trained.settings)

    with Crew(champions, trained.settings, 2) as crew:
        done = dict(crew.each(version_and_process, range(7)))
        again = dict(crew.each(version_and_process, range(3)))
    with (
        pytest.raises(ValueError, match=r"1 refuses \d"),
        Crew(champions, trained.settings, 2) as crew,
    ):
        list(crew.each(refuse, range(3)))

    assert {place: answer[1] for place, answer in done.items()} == {n: n * n for n in range(7)}
    elsewhere = {process for _, _, process in done.values()}
    assert os.getpid() not in elsewhere
    assert len(elsewhere | {process for _, _, process in again.values()}) <= 2


def test_a_process_that_is_killed_is_told(trained: LittleProgramme) -> None:
    champions = Champions.load(trained.settings)

    with (
        pytest.raises(ProcessLost, match=r"no memory left.*PERENNIAL_THREADS=1"),
        Crew(champions, trained.settings, 2) as crew,
    ):
        list(crew.each(be_killed, range(4)))


def test_whoever_is_promoted_meanwhile_scores_nobody(trained: LittleProgramme) -> None:
    champions = Champions.load(trained.settings)
    before = replace(champions, churn=replace(champions.churn, version=7))

    with (
        pytest.raises(NotReady, match=r"Nobody is scored by two\. Run the command again"),
        Crew(before, trained.settings, 2) as crew,
    ):
        list(crew.each(version_and_process, range(2)))


def test_one_process_has_one_thread_and_its_part_of_the_memory(trained: LittleProgramme) -> None:
    given = trained.settings.model_copy(update={"threads": 8, "memory_limit_mb": 3_000})

    own = shared_out(given, 4)

    assert (own.threads, own.memory_limit_mb) == (1, 750)
    assert shared_out(given, 100).memory_limit_mb == 256
