"""Lanes: bounded, in order, and nobody's place is lost."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.admission import RETRY_SECONDS_MAX, Lane, Room


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def lane(at_once: int = 2, line: int = 2, patience: float = 5.0) -> Lane:
    return Lane("test", at_once=at_once, line=line, patience_seconds=patience)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_so_many_work_so_many_wait_and_the_rest_are_turned_away() -> None:
    async def story() -> None:
        narrow = lane()
        assert [await narrow.enter(), await narrow.enter()] == [True, True]
        waiting = [asyncio.create_task(narrow.enter()) for _ in range(2)]
        await settle()
        assert (narrow.in_work, narrow.in_line) == (2, 2)

        assert await narrow.enter() is False

        narrow.leave()
        await settle()
        assert [task.done() for task in waiting] == [True, False]  # the longest waiting first
        narrow.leave()
        await settle()
        assert all(task.result() for task in waiting)
        narrow.leave()
        narrow.leave()
        assert (narrow.in_work, narrow.in_line) == (0, 0)

    run(story())


def test_who_waits_too_long_is_turned_away_and_keeps_nobodys_place() -> None:
    async def story() -> None:
        narrow = lane(at_once=1, patience=0.01)
        assert await narrow.enter()
        assert await narrow.enter() is False

        narrow.leave()
        assert narrow.in_work == 0
        assert await narrow.enter()

    run(story())


def test_a_place_given_to_somebody_who_is_just_leaving_passes_on() -> None:
    async def story() -> None:
        narrow = lane(at_once=1)
        assert await narrow.enter()
        leaving = asyncio.create_task(narrow.enter())
        next_one = asyncio.create_task(narrow.enter())
        await settle()

        narrow.leave()  # gives the place to `leaving` ...
        leaving.cancel()  # ... who goes before she knows
        await settle()

        assert leaving.cancelled()
        assert next_one.result() is True
        narrow.leave()
        assert narrow.in_work == 0

    run(story())


@given(st.lists(st.sampled_from(["enter", "leave", "cancel", "breathe"]), max_size=60))
def test_places_are_never_lost_and_never_more_than_there_are(steps: list[str]) -> None:
    async def story() -> None:
        narrow = lane(at_once=2, line=3)
        tasks: list[asyncio.Task[bool]] = []
        inside = 0
        for step in steps:
            if step == "enter":
                tasks.append(asyncio.create_task(narrow.enter()))
            elif step == "cancel" and tasks:
                tasks[-1].cancel()
            elif step == "leave" and inside:
                narrow.leave()
                inside -= 1
            await settle()
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                inside += not task.cancelled() and task.result()
            assert inside == narrow.in_work <= 2
            assert narrow.in_line == len(tasks) <= 3
        for task in tasks:
            task.cancel()
        await settle()

    run(story())


def test_retry_after_follows_the_measured_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    async def story() -> None:
        wide = lane(at_once=40, line=0)
        for _ in range(40):
            await wide.enter()
        assert wide.retry_after() == RETRY_SECONDS_MAX  # nothing has ended yet: nobody knows
        for _ in range(20):
            clock[0] += 0.25  # four a second
            wide.leave()
            await wide.enter()
        assert wide.retry_after() == 10  # 40 ahead of her, at four a second
        clock[0] += 60
        assert wide.retry_after() == RETRY_SECONDS_MAX

    run(story())


def test_room_for_bodies_is_bounded_and_comes_back() -> None:
    room = Room(10)

    assert room.take(6)
    assert not room.take(5)
    assert room.take(4)
    room.give_back(10)
    assert room.take(10)
