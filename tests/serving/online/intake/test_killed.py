"""Killed at any point and begun again: what was acknowledged is in the lake, and once."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from features.lake import Lake
from programme.database import Database
from programme.settings import Settings
from serving.online.flush import flush
from tests.serving.online.intake.till import NOW, event, found_home, hand_in, kept, line

REPOSITORY = Path(__file__).parents[4]
POINTS = [
    "accept:1", "copy:1", "copy:2", "copy:4", "copy:6", "sync:1", "sync:4", "manifest:before",
    "manifest:after", "forget",
]  # fmt: skip


def run(what: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.serving.online.intake.killed", json.dumps(what)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def counted(home: Settings, table: str, key: str) -> dict[str, int]:
    """Return for each key how many of its rows stand in the lake."""
    lake = Lake(home)
    rows = lake.rows_sql(table, lake.manifest())
    return dict(duckdb.execute(f"select {key}, sum(sign)::int from ({rows}) group by 1").fetchall())


def test_killed_at_a_named_point_each_row_comes_once(tmp_path: Path) -> None:
    first = found_home(Settings(home=tmp_path / "first"))
    database = Database.open(first)
    hand_in(database, [line("early"), event("early")])
    flush(database, first, now=NOW + timedelta(hours=1))
    hand_in(database, [line("late"), line("early", 5), event("late")])
    database.close()
    homes = {point: Settings(home=tmp_path / point.replace(":", "-")) for point in POINTS}
    for home in homes.values():
        shutil.copytree(first.home, home.home)

    with run([(str(home.home), "", point) for point, home in homes.items()]) as process:
        codes = json.loads(process.communicate()[0])

    assert dict(zip(POINTS, codes, strict=True)) == dict.fromkeys(POINTS, -signal.SIGKILL)
    for point, home in homes.items():
        database = Database.open(home)
        flush(database, home, now=NOW + timedelta(hours=2))
        again = flush(database, home, now=NOW + timedelta(hours=2))

        # What dies before its transaction is committed was never acknowledged.
        assert len(kept(database)) == 5, point
        assert again.ingested is None
        assert again.position == 5
        assert counted(home, "purchases", "order_id") == {"early": 1, "late": 1}, point
        assert counted(home, "events", "event_id") == {"early": 1, "late": 1}, point
        database.close()


def rounds(home: Settings, count: int, longest: float) -> int:
    chance = random.Random(count)
    said: set[str] = set()
    for seed in range(count):
        with run({"home": str(home.home), "url": home.db_url, "seed": seed}) as process:
            assert process.stdout is not None
            first = process.stdout.readline()  # it has begun
            time.sleep(chance.uniform(0.05, longest))
            process.kill()
            # A line that was cut short was not yet said.
            said |= set((first + process.stdout.read()).split("\n")[:-1])
    database = Database.open(home)
    flush(database, home, now=datetime.now(UTC) + timedelta(seconds=2))
    database.close()
    lines, events = counted(home, "purchases", "order_id"), counted(home, "events", "event_id")
    assert said <= {*lines, *events}
    assert set(lines.values()) | set(events.values()) == {1}
    return len(said)


def test_killed_at_random_nothing_that_was_acknowledged_is_lost_or_twice(
    make_settings: Callable[[], Settings],
) -> None:
    assert rounds(found_home(make_settings()), 2, 1.0) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_fifty_times_nothing_that_was_acknowledged_is_lost_or_twice(
    make_settings: Callable[[], Settings],
) -> None:
    assert rounds(found_home(make_settings()), 25, 1.5) > 1_000
