"""A service that is killed at any moment has every event it acknowledged, once."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select

from programme.database import Database
from serving.online.tables import INBOX
from tests.serving.small_home import SmallHome, served
from tests.serving.test_service import Started, started, wait_for


@dataclass
class Till:
    """Sends events one after another, each again until it was acknowledged."""

    url: str = ""
    acknowledged: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, name: str) -> None:
        number = 0
        with httpx2.Client(timeout=5) as client:
            while not self.stopped.is_set():
                if self._send(client, f"{name}-{number}"):
                    number += 1

    def wait_for(self, more: int) -> None:
        """Wait until so many more events were acknowledged."""
        sent = len(self.acknowledged)
        wait_for(lambda: len(self.acknowledged) >= sent + more)

    def _send(self, client: httpx2.Client, event_id: str) -> bool:
        event = {
            "event_id": event_id, "source_key": f"k{event_id}", "kind": "view",
            "occurred_at": "2024-09-01T10:00:00Z",
        }  # fmt: skip
        try:
            answer = client.post(f"{self.url}/v1/events", json={"events": [event]})
        except httpx2.TransportError:
            time.sleep(0.05)
            return False
        self.answers[answer.status_code] += 1
        if answer.status_code != 202:
            time.sleep(0.05)
            return False
        self.acknowledged.append(event_id)
        return True


@pytest.fixture
def home(mlflow_template: Path, tmp_path: Path) -> SmallHome:
    (tmp_path / "home").mkdir()
    return served(mlflow_template, tmp_path / "home")


def kill(service: Started, rng: random.Random) -> bool:
    """Kill the process that answers, or everything; return whether everything."""
    whole = rng.random() < 0.3
    if whole:
        os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()
    else:
        for worker in service.workers():
            os.kill(worker, signal.SIGKILL)
    return whole


def lives(home: SmallHome, till: Till) -> Generator[Started]:
    """Yield the service anew whenever it is gone."""
    while True:
        with started(home.settings.home) as service:
            wait_for(service.is_ready)
            till.url = service.url
            yield service


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_fifty_times_under_ingest_it_has_every_acknowledged_event_once(
    home: SmallHome,
) -> None:
    rng, till = random.Random(20171204), Till()
    senders = [threading.Thread(target=till.run, args=(f"till{n}",)) for n in range(4)]
    life = lives(home, till)
    service = next(life)
    for sender in senders:
        sender.start()
    try:
        for _ in range(50):
            till.wait_for(20)
            time.sleep(rng.random() / 2)
            if kill(service, rng):
                service = next(life)
        till.wait_for(1)
    finally:
        till.stopped.set()
        for sender in senders:
            sender.join()
        life.close()

    assert set(till.answers) <= {202, 429, 503}
    assert kept(home) == Counter(set(till.acknowledged)) | unanswered(home, till)
    assert not Counter(till.acknowledged) - Counter(set(till.acknowledged))


def kept(home: SmallHome) -> Counter[str]:
    """Count the rows of each event in the inbox."""
    database = Database.open(home.settings)
    with database.read() as connection:
        keys = connection.execute(select(INBOX.c.key)).scalars().all()
    database.close()
    return Counter(keys)


def unanswered(home: SmallHome, till: Till) -> Counter[str]:
    """Return what was kept and not acknowledged: at most one event of each till was on its way."""
    beyond = Counter(set(kept(home)) - set(till.acknowledged))
    assert len(beyond) <= 4
    return beyond
