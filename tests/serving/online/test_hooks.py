"""Whoever wants to be told of changes is told each once, in order, whatever becomes of others."""

import functools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.dispatch import Undelivered
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from serving.online import changes, cursor, hooks, outward, receivers
from serving.online.changes import KINDS
from serving.online.hooks import CLAIM, LONGEST_PAUSE
from tests.actions.receiver import SECRET, Receiver

NOW = datetime(2018, 1, 1, 3, tzinfo=UTC)
VARIABLE = "CRM_HOOK_SECRET"


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at

    def on(self, by: timedelta) -> None:
        self.at += by


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv(VARIABLE, SECRET)
    made = Receiver()
    yield made
    made.close()


def add(database: Database, url: str, hook_id: str = "crm", wanted: Any = KINDS) -> receivers.Hook:
    return receivers.add(database, hook_id, url, VARIABLE, wanted, inside=True, now=NOW)


def move(database: Database, *member_ids: str) -> None:
    """Let members come into the stage "new": one change each."""
    database.write(
        lambda connection: changes.record_many(
            connection, [(member_id, None, {"stage": "new"}) for member_id in member_ids], NOW
        )
    )


def told(receiver: Receiver) -> list[str]:
    return [one["member_id"] for body in receiver.done.values() for one in body["changes"]]


def one(database: Database) -> receivers.Hook:
    (hook,) = receivers.every(database)
    return hook


def test_a_hook_is_told_of_what_changed_since_it_was_added(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    move(database, "before")
    add(database, receiver.url)
    move(database, "会员 1", "2")

    done = hooks.deliver_due(database, clock)

    assert (done.batches, done.changes, done.failed) == (1, 2, {})
    (body,) = receiver.done.values()
    assert body == {
        "changes": [
            {"member_id": name, "what": "stage", "name": "", "before": None, "after": "new",
             "changed_at": "2018-01-01T03:00:00+00:00"}
            for name in ("会员 1", "2")
        ],
        "next_cursor": cursor.written(3),
        "missed": False,
    }  # fmt: skip
    assert one(database).position == 3
    assert hooks.deliver_due(database, clock).batches == 0  # nothing is told twice


def test_many_changes_are_told_in_batches(
    database: Database, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "BATCH", 3)
    add(database, receiver.url)
    names = [f"m{number}" for number in range(8)]
    move(database, *names)

    done = hooks.deliver_due(database, clock)

    assert (done.batches, done.changes) == (3, 8)
    assert told(receiver) == names


def test_only_the_kinds_that_are_wanted_are_told(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, receiver.url, wanted=["tag"])
    move(database, "1", "2")

    assert hooks.deliver_due(database, clock).batches == 0
    assert one(database).position == 2  # they are not looked at again
    traits = {"stage": "new", "tags": ["tea"]}
    database.write(lambda connection: changes.record(connection, "3", None, traits, NOW))
    hooks.deliver_due(database, clock)
    assert [c["name"] for body in receiver.done.values() for c in body["changes"]] == ["tea"]


@pytest.mark.parametrize("status", [302, 400, 404, 410, 429, 500, 503])
def test_the_position_moves_only_when_the_receiver_took_it(
    database: Database, receiver: Receiver, clock: Clock, status: int
) -> None:
    add(database, receiver.url)
    move(database, "1")
    receiver.answers = [status]

    failed = hooks.deliver_due(database, clock).failed

    assert failed == {"crm": f"answered {status}"}
    assert (one(database).position, one(database).attempts) == (0, 1)
    assert one(database).why == f"answered {status}"
    assert hooks.deliver_due(database, clock).batches == 0  # it waits
    clock.on(timedelta(seconds=2))
    assert hooks.deliver_due(database, clock).batches == 1
    assert (one(database).position, one(database).attempts, one(database).why) == (1, 0, None)


def test_pauses_double_up_to_a_quarter_of_an_hour(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, receiver.url)
    move(database, "1")
    receiver.answers = [500] * 30
    pauses = []
    for _ in range(14):
        hooks.deliver_due(database, clock)
        pauses.append((one(database).due_at - clock.at).total_seconds())
        clock.on(one(database).due_at - clock.at)

    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses[-3:] == [LONGEST_PAUSE.total_seconds()] * 3
    receiver.answers = []
    assert hooks.deliver_due(database, clock).batches == 1  # however long it was away


def test_a_batch_whose_answer_was_not_heard_is_sent_again_as_it_was(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, receiver.url)
    move(database, "1")
    receiver.after = lambda: time.sleep(1.0)  # it did it, and answers too late

    impatient = functools.partial(outward.post, seconds=0.3)
    assert "crm" in hooks.deliver_due(database, clock, post=impatient).failed
    receiver.after = lambda: None
    move(database, "2")
    clock.on(timedelta(seconds=2))
    hooks.deliver_due(database, clock)

    assert receiver.calls == 3  # the first batch twice, then what came after it
    assert len(receiver.done) == 2  # it did each key once
    assert told(receiver) == ["1", "2"]


def test_a_teller_that_was_killed_while_it_sent_leaves_the_batch_to_the_next(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, receiver.url)
    move(database, "1")

    def killed(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hooks._deliver(database, "crm", clock, killed)

    assert hooks.deliver_due(database, clock).batches == 0  # it may still be on its way
    clock.on(CLAIM)
    move(database, "2")
    hooks.deliver_due(database, clock)
    assert [len(body["changes"]) for body in receiver.done.values()] == [1, 1]
    assert told(receiver) == ["1", "2"]


def test_one_hook_that_fails_keeps_no_other_waiting(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, "http://127.0.0.1:1/nobody", "away")
    add(database, receiver.url, "crm")
    move(database, "1")

    done = hooks.deliver_due(database, clock)

    assert list(done.failed) == ["away"]
    assert told(receiver) == ["1"]


def test_one_hook_that_hangs_keeps_no_other_waiting(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    let_go = threading.Event()

    def post(url: str, headers: dict[str, str], body: bytes, *, inside: bool) -> int:
        if "hang" in url:
            let_go.wait(20)
            raise Undelivered("too late", for_good=False)
        return outward.post(url, headers, body, inside=inside)

    add(database, "http://127.0.0.1:1/hangs", "a-hanging-one")
    add(database, receiver.url, "crm")
    teller = hooks.Teller(database, clock, post=post)
    try:
        for number in range(3):
            move(database, f"m{number}")
            # Told again and again, as a worker does: one that is being told is not told twice.
            for _ in range(1_000):
                teller.tell()
                if len(told(receiver)) == number + 1:
                    break
                time.sleep(0.02)

        assert told(receiver) == ["m0", "m1", "m2"]
    finally:
        let_go.set()
        found = teller.close()
    assert found.failed == {"a-hanging-one": "too late"}


def test_two_tellers_send_each_batch_once(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, receiver.url)
    receiver.after = lambda: time.sleep(0.05)
    for number in range(6):
        move(database, f"m{number}")
        tellers = [hooks.Teller(Database(database.engine), clock) for _ in range(2)]
        for teller in tellers:
            teller.tell()
        for teller in tellers:
            teller.wait()
            teller.close()

    assert told(receiver) == [f"m{number}" for number in range(6)]
    assert receiver.calls == len(receiver.done)


def test_whoever_was_away_for_too_long_is_told_that_something_is_missing(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, receiver.url)
    move(database, "1", "2", "3")
    changes.forget(database, NOW + timedelta(days=1))

    hooks.deliver_due(database, clock)

    (body,) = receiver.done.values()
    assert body["missed"] is True
    assert [change["member_id"] for change in body["changes"]] == ["3"]
    assert one(database).position == 3


def test_a_hook_whose_secret_is_gone_waits_and_says_so(
    database: Database, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, receiver.url)
    move(database, "1")
    monkeypatch.delenv(VARIABLE)

    assert "holds no key of 16 characters" in hooks.deliver_due(database, clock).failed["crm"]
    assert receiver.calls == 0
    monkeypatch.setenv(VARIABLE, SECRET)
    clock.on(timedelta(seconds=2))
    assert hooks.deliver_due(database, clock).batches == 1


def test_a_hook_that_is_removed_is_told_nothing_more(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    add(database, receiver.url)
    move(database, "1")
    receivers.remove(database, "crm")

    assert hooks.deliver_due(database, clock).batches == 0
    with pytest.raises(InputRefused, match="no hook 'crm'"):
        receivers.remove(database, "crm")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hook_id": "No Id"}, "small letters"),
        ({"hook_id": ""}, "small letters"),
        ({"url": "https://10.0.0.1/"}, "private network's"),
        ({"url": "http://crm.example.com/"}, "not encrypted"),
        ({"secret_variable": "crm_secret"}, "secret_env"),
        ({"secret_variable": "PERENNIAL_SECRET"}, "settings of Perennial's own"),
        ({"wanted": []}, "is told of some of"),
        ({"wanted": ["score"]}, "is told of some of"),
    ],
)
def test_a_hook_that_could_not_work_is_refused(
    database: Database, receiver: Receiver, changed: dict[str, Any], said: str
) -> None:
    asked = {"hook_id": "crm", "url": "https://crm.example.com/", "secret_variable": VARIABLE}

    with pytest.raises(InputRefused, match=said):
        receivers.add(database, **{**asked, **changed}, now=NOW)
    assert receiver.calls == 0
    assert receivers.every(database) == []


def test_a_hook_needs_its_secret_when_it_is_added(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "short")

    with pytest.raises(NotReady, match="16 characters"):
        receivers.add(database, "crm", "https://crm.example.com/", VARIABLE, now=NOW)


def test_an_id_is_given_once_and_there_is_an_end_of_hooks(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, receiver.url)
    with pytest.raises(InputRefused, match="already"):
        add(database, receiver.url)
    monkeypatch.setattr(receivers, "HOOKS_MOST", 1)
    with pytest.raises(InputRefused, match="the most"):
        add(database, receiver.url, "another")


def test_an_empty_home_has_nobody_to_tell(
    make_settings: Callable[[], Settings], clock: Clock
) -> None:
    database = Database.open(make_settings())

    assert hooks.deliver_due(database, clock) == hooks.Told()
    database.close()
