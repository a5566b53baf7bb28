"""Messages of Kafka come into the inbox, each once; what cannot be used holds up nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select

from programme.database import Busy, Database
from programme.errors import InputRefused
from programme.settings import Settings
from serving.online import kafka_source
from serving.online.kafka_source import (
    Consumed,
    KafkaConfig,
    Letter,
    dead_letters,
    keep,
    row_of,
)
from serving.online.rows import EventRow, Fault, PurchaseRow
from serving.online.tables import DEAD_LETTERS
from tests.serving.online.intake import broker
from tests.serving.online.intake.till import NOW, event, found_home, kept, line

REPOSITORY = Path(__file__).parents[4]
LINE = {
    "order_id": "o1", "line_no": "1", "occurred_at": "2024-06-03T13:30:00-04:00", "net_cents": 5,
}  # fmt: skip


def bought(order_id: str, member: str, **more: Any) -> dict[str, Any]:
    return LINE | {"order_id": order_id, "source_key": member} | more


def seen(event_id: str, member: str) -> dict[str, Any]:
    return {
        "event_id": event_id, "source_key": member, "kind": "view",
        "occurred_at": "2024-06-03T17:30:00Z",
    }  # fmt: skip


def test_a_message_is_the_row_that_the_api_would_take() -> None:
    purchase = row_of(json.dumps(bought("o1", "ann", quantity=2)).encode(), "purchase")
    looked = row_of(json.dumps(seen("e1", "ann")).encode(), "event")

    assert isinstance(purchase, PurchaseRow)
    assert (purchase.source, purchase.quantity, purchase.occurred_at) == ("api", 2.0, NOW)
    assert isinstance(looked, EventRow)


@pytest.mark.parametrize(
    ("content", "reason", "column"),
    [
        (b"", "malformed_message", ""),
        (b"no json", "malformed_message", ""),
        (b"\xff\xfe\xfd", "malformed_message", ""),
        (b"[" * 100_000, "malformed_message", ""),
        (b"9" * 10_000, "malformed_message", ""),
        (b"[]", "unreadable", ""),
        (b"null", "unreadable", ""),
        (b"{}", "missing", "order_id"),
        (json.dumps(LINE | {"net_cents": "5"}).encode(), "unreadable", "net_cents"),
        (json.dumps(LINE | {"net_cents": float("nan")}).encode(), "unreadable", "net_cents"),
        (json.dumps(LINE | {"known_at": "x"}).encode(), "unreadable", "known_at"),
        (json.dumps(LINE | {"product_id": "\ud800"}).encode(), "unreadable", "product_id"),
        (json.dumps(LINE | {"occurred_at": "2024-06-03"}).encode(), "unreadable", "occurred_at"),
    ],
)
def test_what_is_no_row_is_named(content: bytes, reason: str, column: str) -> None:
    assert row_of(content, "purchase") == Fault(reason, column)


def letters() -> list[Letter]:
    return [
        Letter("purchases", 0, 7, b"{}", line()),
        Letter("purchases", 0, 8, b"\xff\0" + b"x" * 90_000, Fault("malformed_message", "")),
        Letter("events", 3, 0, b"{}", event()),
        Letter("events", 3, 1, b"{}", Fault("unreadable", "a\0\ud800")),
    ]


def test_what_cannot_be_used_is_kept_once_with_its_place(database: Database) -> None:
    for _ in range(2):
        keep(database, letters(), NOW)

    assert len(kept(database)) == 2
    with database.read() as connection:
        dead = connection.execute(select(DEAD_LETTERS).order_by(DEAD_LETTERS.c.topic)).all()
    assert [(row.topic, row.partition, row.message_no, row.reason) for row in dead] == [
        ("events", 3, 1, "unreadable"), ("purchases", 0, 8, "malformed_message"),
    ]  # fmt: skip
    assert dead[1].content.startswith("\ufffd\ufffdxxx")
    assert (len(dead[1].content), dead[1].received_at) == (10_000, NOW)
    assert [(one.topic, one.messages) for one in dead_letters(database)] == [
        ("events", 1), ("purchases", 1),
    ]  # fmt: skip


def test_a_database_that_is_away_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_source, "PAUSE_SECONDS", 0.01)
    attempts: list[int] = []

    def away(one: Database, some: Any, now: Any) -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise Busy("The database is busy.")
        return keep(one, some, now)

    monkeypatch.setattr(kafka_source, "keep", away)
    done, said = Consumed(), list[str]()

    assert kafka_source._keep_waiting(database, letters(), done, Event(), lambda: NOW, said.append)

    assert said == ["The database is busy."] * 2
    assert done == Consumed(messages=4, accepted=2, known=0, dead=2)


def test_a_row_that_the_database_itself_refuses_is_put_aside_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(one: Database, some: list[Letter], now: Any) -> Any:
        if any(letter.found == line() for letter in some):
            raise ZeroDivisionError
        return keep(one, some, now)

    monkeypatch.setattr(kafka_source, "keep", picky)
    done, said = Consumed(), list[str]()

    assert kafka_source._keep_waiting(database, letters(), done, Event(), lambda: NOW, said.append)

    assert done == Consumed(messages=4, accepted=1, known=0, dead=3)
    assert [one.reason for one in dead_letters(database)] == [
        "unreadable", "malformed_message", "not_kept",
    ]  # fmt: skip
    assert len(said) == 1


@pytest.mark.parametrize("topics", ["", "a", "a=b", "a=purchase,,b=event", "=event"])
def test_topics_that_say_nothing_are_refused(tmp_path: Path, topics: str) -> None:
    settings = Settings(home=tmp_path, kafka_brokers="b:1", kafka_topics=topics)
    with pytest.raises(InputRefused, match="topic=purchase"):
        KafkaConfig.of(settings)


def test_without_a_broker_it_says_which_setting_names_one(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="PERENNIAL_KAFKA_BROKERS"):
        KafkaConfig.of(Settings(home=tmp_path))


def test_secrets_of_the_client_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, kafka_brokers="b:1", kafka_topics="a=purchase, b = event")
    file = tmp_path / "kafka.toml"
    file.write_text(
        '[client]\n"security.protocol" = "SASL_SSL"\n[secrets]\n"sasl.password" = "OUR_PASSWORD"\n'
    )
    with pytest.raises(InputRefused, match="OUR_PASSWORD"):
        KafkaConfig.of(settings)
    monkeypatch.setenv("OUR_PASSWORD", "hush")

    config = KafkaConfig.of(settings)

    assert config.topics == {"a": "purchase", "b": "event"}
    assert config.client == {"security.protocol": "SASL_SSL", "sasl.password": "hush"}
    file.write_text("[clients]\n")
    with pytest.raises(InputRefused, match=r"kafka\.toml"):
        KafkaConfig.of(settings)


def test_properties_that_the_client_does_not_know_are_refused(tmp_path: Path) -> None:
    config = KafkaConfig("b:1", {"a": "purchase"}, "g", {"no.such.property": "1"})
    with pytest.raises(InputRefused, match=r"no\.such\.property"):
        kafka_source.consume(found_home(Settings(home=tmp_path)), config, Event(), lambda: NOW)


def start(settings: Settings, brokers: str) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "PERENNIAL_HOME": str(settings.home), "PERENNIAL_DB_URL": settings.db_url,
        "PERENNIAL_KAFKA_BROKERS": brokers, "PERENNIAL_KAFKA_TOPICS": "till=purchase,web=event",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "perennial", "inbox", "kafka"],
        cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for(what: Callable[[], bool], seconds: float = 150) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_thousands_of_messages_none_is_lost_or_twice_when_consumers_are_killed_and_shared(
    make_settings: Callable[[], Settings],
) -> None:
    settings = found_home(make_settings())
    (settings.home / "kafka.toml").write_text('[client]\n"session.timeout.ms" = "6000"\n')
    database = Database.open(settings)

    def count() -> int:
        return len(kept(database))

    def messages(part: int) -> list[tuple[str, str, Any]]:
        found: list[tuple[str, str, Any]] = []
        for n in range(part * 1_500, (part + 1) * 1_500):
            member = f"m{n % 97}"
            found.append(("till", member, bought(f"o{n}", member)))
            found.append(("web", member, seen(f"e{n}", member)))
            if n % 10 == 0:
                found.append(("till", member, bought(f"o{n}", member)))  # sent again
            if n % 500 == 0:
                found.append(("till", member, b"poison"))
                found.append(("web", member, seen(f"e{n}", "x" * 65)))
        return found

    with broker.running() as brokers:
        broker.make_topics(brokers, "till", "web")
        broker.produce(brokers, messages(0))
        first = start(settings, brokers)
        with first:
            wait_for(lambda: count() > 0)
            first.send_signal(signal.SIGKILL)
            first.communicate()
        broker.produce(brokers, messages(1))
        others = [start(settings, brokers) for _ in range(2)]
        wait_for(lambda: count() >= 6_000)
        broker.produce(brokers, messages(2))
        wait_for(lambda: count() >= 9_000)
        said = []
        for other in others:
            other.send_signal(signal.SIGTERM)
            said.append(other.communicate(timeout=60)[0])
            assert other.returncode == 0, said

    rows = kept(database)
    assert len(rows) == 9_000
    assert {row.version for row in rows} == {1}
    assert {(row.kind, row.key) for row in rows if row.kind == "event"} == {
        ("event", f"e{n}") for n in range(4_500)
    }
    assert sum(one.messages for one in dead_letters(database)) == 18
    assert all("accepted" in one for one in said)
    database.close()
