"""Parts are dealt out among the workers that are alive: each to one, and to each her share."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from programme.database import Database
from serving.online import leases
from serving.online.tables import PARTS

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
Held = dict[str, frozenset[int]]


def rounds(database: Database, held: Held, at: datetime, times: int = 2) -> datetime:
    """Let everybody see to her share in turn, as workers do each second."""
    for _ in range(times):
        for name in list(held):
            held[name] = leases.share_out(database, held[name], name, at)
            at += SECOND
    return at


def assert_each_part_is_somebodys(held: Held, share: int) -> None:
    assert sorted(part for parts in held.values() for part in parts) == list(range(PARTS))
    assert max(map(len, held.values())) <= share


def test_one_worker_has_everything(database: Database) -> None:
    held: Held = {"a": frozenset()}

    rounds(database, held, NOW, times=1)

    assert held["a"] == frozenset(range(PARTS))


@pytest.mark.parametrize("joining", [1, 2, 6])
def test_whoever_joins_later_gets_her_share(database: Database, joining: int) -> None:
    held: Held = {"a": frozenset()}
    at = rounds(database, held, NOW)

    held |= {f"b{number}": frozenset() for number in range(joining)}
    rounds(database, held, at, times=3)

    share = -(-PARTS // (1 + joining))
    assert_each_part_is_somebodys(held, share)
    assert min(map(len, held.values())) >= PARTS - joining * share


def test_what_a_worker_gave_back_is_taken_at_once_and_a_dead_ones_when_its_time_is_up(
    database: Database,
) -> None:
    held: Held = {"a": frozenset(), "b": frozenset(), "c": frozenset()}
    at = rounds(database, held, NOW, times=3)

    leases.release(database, "a")
    del held["a"]
    at = rounds(database, held, at)
    assert_each_part_is_somebodys(held, PARTS // 2)

    dead = held.pop("b")
    at = rounds(database, held, at, times=1)
    assert held["c"] & dead == frozenset()
    rounds(database, held, at + leases.LASTS)
    assert held["c"] == frozenset(range(PARTS))


def test_whoever_publishes_is_no_worker_to_share_with(database: Database) -> None:
    leases.take(database, [leases.PUBLISHING], "a-publishes", NOW, leases.PUBLISHING_LASTS)
    held: Held = {"a": frozenset()}

    rounds(database, held, NOW)

    assert held["a"] == frozenset(range(PARTS))


@pytest.mark.parametrize("seed", range(5))
def test_no_part_is_ever_two_workers(database: Database, seed: int) -> None:
    rng, at, held = random.Random(seed), NOW, Held()
    for step in range(40):
        if rng.random() < 0.2 and len(held) < 5:
            held[f"w{step}"] = frozenset()
        if held and rng.random() < 0.1:
            leases.release(database, gone := rng.choice(list(held)))
            del held[gone]
        if held:
            name = rng.choice(list(held))
            held[name] = leases.share_out(database, held[name], name, at)
            with database.read() as connection:
                assert leases.held(connection, name, at) >= held[name]
        for name, parts in held.items():
            assert parts <= leases.of(database, name, at)
        at += SECOND
