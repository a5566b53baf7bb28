"""Kafka as a source: messages go into the inbox, and only then are they done with.

Each message holds one row as JSON, with the names of `POST /v1/purchases` or `POST /v1/events`.
Producers key messages by member, so that one member's rows stay in their order; the consumers of a
group share the partitions. A batch of messages is one transaction, and Kafka is told how far we are
after it: killed between the two, the batch comes again and its rows are known. What cannot be
accepted is kept with its place and reason in the same transaction and holds up nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from os import environ
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Self, get_args

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from programme import declared
from programme.calendar import coming_midnight, local_midnight
from programme.database import Database, StorageFailed
from programme.errors import InputRefused, NotReady
from programme.settings import Settings, open_programme
from serving.api.intake_schemas import IntakeEvent, IntakeLine
from serving.online.inbox import Accepted, accept
from serving.online.rows import Fault, Kind, Row, fault_of
from serving.online.tables import DEAD_LETTERS

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

CONFIG_FILE = "kafka.toml"
MESSAGES_AT_ONCE = 1_000
# How long a message may wait for others to share its commit.
LINGER_SECONDS = 0.1
# How long between two attempts while the database is away; Kafka keeps what waits.
PAUSE_SECONDS = 1.0
CONTENT_LENGTH_MAX = 10_000
_MODEL: Mapping[Kind, type[IntakeLine] | type[IntakeEvent]] = {
    "purchase": IntakeLine,
    "event": IntakeEvent,
}


@dataclass(frozen=True)
class KafkaConfig:
    """Where messages come from.

    Parameters
    ----------
    brokers : "host:port,host:port"
    topics : name -> what its messages are
    group : consumers of one group share the partitions
    client : further properties of librdkafka, such as those of TLS and SASL
    """

    brokers: str
    topics: Mapping[str, Kind]
    group: str
    client: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the settings, and `kafka.toml` of the home where there is one.

        Raises
        ------
        InputRefused : if no broker is named, or a topic's kind is none.
        """
        if not settings.kafka_brokers:
            raise InputRefused(
                "No Kafka broker is named. Nothing was read. Set PERENNIAL_KAFKA_BROKERS, for "
                "example to kafka-1:9092,kafka-2:9092."
            )
        topics: dict[str, Kind] = {}
        for part in settings.kafka_topics.split(","):
            name, _, kind = (one.strip() for one in part.partition("="))
            if not name or kind not in get_args(Kind):
                raise InputRefused(
                    f"PERENNIAL_KAFKA_TOPICS has {part!r:.80}. Nothing was read. Write "
                    "topic=purchase or topic=event, with commas between them."
                )
            topics[name] = kind  # type: ignore[assignment]  # it is one of them
        return cls(settings.kafka_brokers, topics, settings.kafka_group, _client(settings))


@dataclass
class Consumed:
    """What a consumer did since it began."""

    messages: int = 0
    accepted: int = 0
    known: int = 0
    dead: int = 0


class Letter(NamedTuple):
    """A message and what it turned out to be: a row, or the first thing wrong with it."""

    topic: str
    partition: int
    message_no: int
    content: bytes
    found: Row | Fault


class Dead(NamedTuple):
    """Messages of one topic that could not be accepted for one reason."""

    topic: str
    reason: str
    column: str | None
    messages: int


def consume(
    settings: Settings,
    config: KafkaConfig,
    stop: Event,
    now: Callable[[], datetime],
    tell: Callable[[str], None] = lambda _: None,
) -> Consumed:
    """Bring messages into the inbox until told to stop.

    Parameters
    ----------
    now : says when rows became known
    tell : is told of trouble with Kafka or the database, which is waited out

    Raises
    ------
    InputRefused : if the client library is not installed, or its properties are wrong.
    """
    timezone = open_programme(settings).timezone
    database = Database.open(settings)
    done = Consumed()
    try:
        consumer = _consumer(config)
        try:
            while not stop.is_set():
                messages = _usable(consumer.consume(MESSAGES_AT_ONCE, LINGER_SECONDS), tell)
                if not messages:
                    continue
                moment = now()
                until = local_midnight(coming_midnight(moment, timezone), timezone)
                letters = [read(one, config.topics, moment, until) for one in messages]
                if not _keep_waiting(database, letters, done, stop, now, tell):
                    break
                _commit(consumer, letters, tell)
        finally:
            consumer.close()
    finally:
        database.close()
    return done


def read(
    message: "Message", topics: Mapping[str, Kind], now: datetime, readable_until: datetime
) -> Letter:
    """Read one message."""
    topic, content = message.topic() or "", message.value() or b""
    place = (topic, int(message.partition() or 0), int(message.offset() or 0))
    found = row_of(content, topics[topic])
    if not isinstance(found, Fault):
        found = fault_of(found, now, readable_until) or found
    return Letter(*place, bytes(content), found)


def row_of(content: bytes, kind: Kind) -> Row | Fault:
    """Return the row that JSON text holds, or why it holds none."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
        return Fault("malformed_message", "")
    try:
        return _MODEL[kind].model_validate(values).as_row()
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        return Fault("missing" if fault["type"] == "missing" else "unreadable", place[:200])


def keep(database: Database, letters: Sequence[Letter], now: datetime) -> list[Accepted]:
    """Keep the rows of messages, and what is none, in one transaction."""

    def work(connection: Connection) -> list[Accepted]:
        _bury(connection, [one for one in letters if isinstance(one.found, Fault)], now)
        rows = [one.found for one in letters if not isinstance(one.found, Fault)]
        return accept(connection, rows, now)

    return database.write(work)


def dead_letters(database: Database) -> list[Dead]:
    """Return how many messages could not be accepted, by topic and reason."""
    why = (DEAD_LETTERS.c.topic, DEAD_LETTERS.c.reason, DEAD_LETTERS.c.column_name)
    counted = select(*why, func.count()).group_by(*why).order_by(*why)
    with database.read() as connection:
        return [Dead(*row) for row in connection.execute(counted)]


def _keep_waiting(
    database: Database,
    letters: Sequence[Letter],
    done: Consumed,
    stop: Event,
    now: Callable[[], datetime],
    tell: Callable[[str], None],
) -> bool:
    """Keep letters, however long the database is away; return False if told to stop before."""
    while not stop.is_set():
        try:
            found = keep(database, letters, now())
        except (NotReady, StorageFailed) as error:
            tell(str(error))
            stop.wait(PAUSE_SECONDS)
            continue
        except Exception as error:
            if len(letters) > 1:
                # One of them spoils the transaction: each in its own shows which.
                return all(_keep_waiting(database, [one], done, stop, now, tell) for one in letters)
            if isinstance(letters[0].found, Fault):
                raise
            tell(f"a message could not be kept ({type(error).__name__}) and was put aside")
            letters = [letters[0]._replace(found=Fault("not_kept", ""))]
            continue
        known = sum(one.what == "known" for one in found)
        done.messages += len(letters)
        done.accepted += len(found) - known
        done.known += known
        done.dead += len(letters) - len(found)
        return True
    return False


def _bury(connection: Connection, letters: Sequence[Letter], now: datetime) -> None:
    """Keep messages that hold no row we can take; each once, however often it comes."""
    if not letters:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = [dict(_buried(one, now)) for one in letters]
    connection.execute(dialect.insert(DEAD_LETTERS).on_conflict_do_nothing(), rows)


def _buried(letter: Letter, now: datetime) -> Iterator[tuple[str, Any]]:
    assert isinstance(letter.found, Fault)
    text = letter.content[: 4 * CONTENT_LENGTH_MAX].decode("utf-8", "replace")
    yield "topic", letter.topic
    yield "partition", letter.partition
    yield "message_no", letter.message_no
    yield "reason", letter.found.reason
    column = letter.found.column.encode("utf-8", "replace").decode().replace("\0", "")
    yield "column_name", column or None
    yield "content", text[:CONTENT_LENGTH_MAX].replace("\0", "\ufffd")
    yield "received_at", now


def _consumer(config: KafkaConfig) -> "Consumer":
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise InputRefused(
            "Kafka's client is not installed. Nothing was read. Install it: "
            "pip install -e '.[kafka]'"
        ) from error
    properties: dict[str, Any] = {
        **config.client,
        "bootstrap.servers": config.brokers,
        "group.id": config.group,
        # How far we are is said by us, after the rows are on disk, and by nobody else.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
    }
    try:
        consumer = Consumer(properties)
    except (KafkaException, TypeError, ValueError) as error:
        raise InputRefused(
            f"Kafka's client does not take its properties: {error}. Nothing was read. Correct "
            f"{CONFIG_FILE} in the home."
        ) from error
    consumer.subscribe(list(config.topics))
    return consumer


def _usable(messages: "Sequence[Message]", tell: Callable[[str], None]) -> "list[Message]":
    """Return the messages; what is none tells of trouble that the client itself mends."""
    for message in messages:
        error = message.error()
        if error is not None:
            tell(f"Kafka: {error.str()}")
            if error.fatal():
                raise NotReady(f"Kafka's client gave up: {error.str()}. Start the consumer again.")
    return [message for message in messages if message.error() is None]


def _commit(consumer: "Consumer", letters: Sequence[Letter], tell: Callable[[str], None]) -> None:
    """Tell Kafka how far we are; where it does not listen, the messages come again and are known.

    A partition that was taken from us meanwhile is somebody else's to go on with.
    """
    from confluent_kafka import KafkaException, TopicPartition

    reached: dict[tuple[str, int], int] = {}
    for one in letters:
        reached[one.topic, one.partition] = one.message_no + 1
    offsets = [TopicPartition(topic, part, number) for (topic, part), number in reached.items()]
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        tell(f"Kafka: {error}; these messages will come again and change nothing")


def _client(settings: Settings) -> dict[str, str]:
    """Return the properties of `kafka.toml`; secrets are named by the variables that hold them."""
    path = settings.home / CONFIG_FILE
    if not path.exists():
        return {}
    undone = "Nothing was read."
    tables = declared.tables_of(declared.text_of(path, undone), str(path), undone)
    found = declared.checked(_ClientFile, tables, str(path), undone)
    absent = sorted(name for name in found.secrets.values() if name not in environ)
    if absent:
        raise InputRefused(
            f"{path} names {', '.join(absent)}, which the environment does not set. Nothing was "
            "read. Set it."
        )
    return found.client | {key: environ[name] for key, name in found.secrets.items()}


class _ClientFile(BaseModel, extra="forbid", hide_input_in_errors=True):
    client: dict[str, str] = {}
    secrets: dict[str, str] = {}
