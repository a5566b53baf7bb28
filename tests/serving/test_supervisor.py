"""A child that always runs, and never outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import supervisor
from serving.supervisor import Supervisor

REPOSITORY = Path(__file__).parents[2]
LIVES = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LIVES


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.02)


def pids(told: Path) -> list[int]:
    return [int(line) for line in told.read_text().split()] if told.exists() else []


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.05)
    return tmp_path / "pids"


@pytest.fixture
def make(told: Path) -> Iterator[Callable[[str], Supervisor]]:
    made: list[Supervisor] = []

    def start(code: str) -> Supervisor:
        kept = Supervisor([sys.executable, "-c", code, str(told)], dict(os.environ))
        kept.start()
        made.append(kept)
        return kept

    yield start
    for kept in made:
        kept.stop()


def test_a_child_that_is_killed_is_started_again(
    make: Callable[[str], Supervisor], told: Path
) -> None:
    kept = make(LIVES)
    wait_for(lambda: len(pids(told)) == 1)
    os.kill(pids(told)[0], signal.SIGKILL)

    wait_for(lambda: len(pids(told)) == 2)
    wait_for(lambda: kept.pid == pids(told)[1])
    assert runs(pids(told)[1])


def test_a_child_that_cannot_start_is_tried_less_and_less(
    make: Callable[[str], Supervisor],
) -> None:
    kept = make("raise SystemExit(3)")
    time.sleep(2.0)

    # Pauses of .05, .1, .2, .4 and .8 seconds, and looks in between.
    assert 2 <= kept.starts <= 5


def test_stopping_ends_the_child_and_starts_no_other(
    make: Callable[[str], Supervisor], told: Path
) -> None:
    kept = make(LIVES)
    wait_for(lambda: len(pids(told)) == 1)

    kept.stop()

    assert not runs(pids(told)[0])
    time.sleep(0.3)
    assert len(pids(told)) == kept.starts == 1


def test_a_child_that_will_not_end_is_made_to(
    make: Callable[[str], Supervisor], told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS_MAX", 0.3)
    kept = make(STUBBORN)
    wait_for(lambda: len(pids(told)) == 1)

    kept.stop()

    assert not runs(pids(told)[0])


def test_a_child_ends_with_a_parent_that_is_killed(told: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c",
         "import os, sys, time; from serving.supervisor import Supervisor; "
         "Supervisor(sys.argv[1:], dict(os.environ)).start(); time.sleep(60)",
         sys.executable, "-c", LIVES, str(told)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    try:
        wait_for(lambda: len(pids(told)) == 1)
        (child,) = pids(told)
        assert runs(child)
    finally:
        parent.kill()
        parent.wait()

    wait_for(lambda: not runs(child))
