"""A worker that is killed at any moment loses nothing and counts nothing twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, func, select

from features import snapshot as snapshots
from programme.calendar import coming_midnight
from serving.online.flush import flush
from serving.online.inbox import accept
from serving.online.rows import Row
from serving.online.store import NUMBERS, OnlineStore
from serving.online.tables import INBOX
from tests.little_programme import LittleProgramme
from tests.loyalty.conftest import new_postgres
from tests.serving.online import hot_home
from tests.serving.online.hot_home import HotHome, line
from training.champions import Champions

REPOSITORY = Path(__file__).parents[3]
ZONE = "Europe/Berlin"
WAIT_SECONDS = 90


def start(home: HotHome, name: str = "") -> subprocess.Popen[bytes]:
    """Begin a real worker, as `perennial worker` does; it flushes often."""
    environment = {
        **os.environ, "PERENNIAL_HOME": str(home.settings.home), "OMP_NUM_THREADS": "1",
        "PERENNIAL_THREADS": "1", "PYTHONPATH": str(REPOSITORY),
    }  # fmt: skip
    if home.settings.db_url:
        environment["PERENNIAL_DB_URL"] = home.settings.db_url
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killed_worker.py")), name],
        env=environment, cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def taken_in(rows: Sequence[Row], now: datetime, connection: Connection) -> None:
    accept(connection, rows, now)


def unshown(home: HotHome) -> int:
    waiting = select(func.count()).where(INBOX.c.refreshed_at.is_(None))
    with home.database.read() as connection:
        return int(connection.execute(waiting).scalar_one())


def wait_until_shown(home: HotHome) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while unshown(home):
        assert time.monotonic() < until, f"{unshown(home)} rows are not shown"
        time.sleep(0.1)


def kill_at_random(home: HotHome, rounds: int, seed: int) -> None:
    """Take rows, kill the worker somewhere while it works, again and again; then compare."""
    rng = random.Random(seed)
    taken: dict[str, int] = {}
    worker = start(home)
    try:
        for number in range(rounds):
            now = datetime.now(UTC)
            members = [f"m{rng.randrange(130):03d}" for _ in range(rng.randrange(1, 12))]
            rows = [
                line(member, f"k{number}-{place}", at=now - timedelta(seconds=1))
                for place, member in enumerate(members)
            ]
            home.database.write(partial(taken_in, rows, now))
            # Told again, as whoever got no answer does: it is one purchase all the same.
            home.database.write(partial(taken_in, rows[:3], now))
            for member in members:
                taken[member] = taken.get(member, 0) + 1
            if rng.random() < 0.7:
                # Starting takes seconds: often a kill must find it at work.
                if rng.random() < 0.6:
                    wait_until_shown(home)
                time.sleep(rng.random() * 3)
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                worker = start(home)
        wait_until_shown(home)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(WAIT_SECONDS) == 0
    finally:
        worker.kill()
        worker.wait()
    assert_counted_once(home, taken)


def assert_counted_once(home: HotHome, taken: dict[str, int]) -> None:
    """Compare with what was there before, and with a batch over the lake after a last flush."""
    now = datetime.now(UTC)
    orders = NUMBERS.index("orders_life")
    rows = OnlineStore(home.database).read(list(taken))
    before = home.snapshot.features()["orders_life"]
    for member, count in taken.items():
        assert rows[member].features[orders] == before.get(member, 0.0) + count, member
    flush(home.database, home.settings, now=now)
    night = snapshots.build(
        home.settings, coming_midnight(now, ZONE), frozen=home.snapshot.reference
    ).features()
    for member in taken:
        if rows[member].as_of == coming_midnight(now, ZONE):
            np.testing.assert_allclose(
                rows[member].features, night.loc[member, list(NUMBERS)].to_numpy(dtype=float),
                rtol=1e-9, atol=1e-9, err_msg=member,
            )  # fmt: skip


@pytest.fixture
def home(trained: LittleProgramme, tmp_path: Path) -> HotHome:
    return hot_home.make(trained, tmp_path / "home", Champions.load(trained.settings))


def test_a_worker_that_is_killed_loses_nothing_and_counts_nothing_twice(home: HotHome) -> None:
    kill_at_random(home, rounds=4, seed=1)


def test_nor_does_one_on_postgresql(
    trained: LittleProgramme, tmp_path: Path, postgres_url: str
) -> None:
    url = new_postgres(postgres_url)
    champions = Champions.load(trained.settings)
    home = hot_home.make(trained, tmp_path / "home", champions, db_url=url)
    try:
        kill_at_random(home, rounds=2, seed=3)
    finally:
        home.database.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # minutes on a machine of its own
def test_fifty_kills_under_ingest_lose_nothing(home: HotHome) -> None:
    kill_at_random(home, rounds=70, seed=2)
