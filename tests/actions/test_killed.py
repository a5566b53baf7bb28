"""Killed at any moment between decision, log, outbox, sending and points: once each, none lost."""

import csv
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from actions import decisions
from actions.tables import MESSAGES
from loyalty import points
from loyalty.terms import Terms
from loyalty.verify import verify
from programme.database import Database
from programme.settings import Settings
from tests.actions import killed_actor
from tests.actions.campaign import NOW
from tests.actions.receiver import SECRET, Receiver

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("HOOK_KEY", SECRET)
    opened = Receiver()
    yield opened
    opened.close()


def killed(settings: Settings, url: str, campaign: str, round_: int, after: float | None) -> bool:
    """Run an actor, kill it so many seconds after it begins; return whether it came to its end."""
    at = NOW + timedelta(minutes=10 * round_)
    command = [
        sys.executable, "-m", "tests.actions.killed_actor", str(settings.home), url, campaign,
        at.isoformat(),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if after is None:
            assert process.stdout.readline() == b"done\n"
        else:
            time.sleep(after)
            os.kill(process.pid, signal.SIGKILL)
        return process.wait() == 0


def check(settings: Settings, receiver: Receiver, campaigns: list[str]) -> None:
    database = Database.open(settings)
    sent = [one for one in killed_actor.decided("x") if one.arm == "treated"]
    by_offer = Counter(one.offer for one in sent)
    for campaign in campaigns:
        log = decisions.of_campaign(database, campaign)
        assert log == killed_actor.decided(campaign)
        with database.read() as connection:
            states = connection.execute(
                select(MESSAGES.c.state).where(MESSAGES.c.campaign_id == campaign)
            ).scalars()
            assert Counter(states) == {"sent": len(sent)}
    handed = [
        row["message_id"]
        for path in (settings.home / "outbox").glob("*.csv")
        for row in csv.DictReader(io.StringIO(path.read_bytes().decode()))
    ]
    assert max(Counter(handed).values()) == 1
    assert len(handed) == by_offer["letter"] * len(campaigns)
    assert len(receiver.done) == by_offer["voucher"] * len(campaigns)
    for one in (one for one in sent if one.offer == "gift"):
        has = points.balance(database, Terms("Europe/Berlin", 2), one.member_id, now=NOW).active
        assert has == 200_00 * len(campaigns)
    assert not verify(database).violations
    database.close()


def run(settings: Settings, receiver: Receiver, rounds: int, seed: int) -> int:
    """Hold campaigns whose actors are killed at random; return how many were."""
    chance, kills = random.Random(seed), 0
    names = [f"round-{number:02d}" for number in range(rounds)]
    for number, name in enumerate(names):
        for _ in range(3):
            kills += not killed(settings, receiver.url, name, number, chance.uniform(0.0, 0.8))
        killed(settings, receiver.url, name, number, None)
    check(settings, receiver, names)
    return kills


def test_an_actor_killed_a_few_times_does_everything_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    run(Settings(home=tmp_path), receiver, 1, seed=1)


@pytest.mark.slow
def test_actors_killed_again_and_again_do_everything_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    assert run(Settings(home=tmp_path), receiver, 8, seed=20_171_204) > 8
