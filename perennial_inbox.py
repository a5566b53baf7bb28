"""The command line of the inbox: `perennial inbox --help` lists its verbs."""

import signal
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from perennial_options import HomeOption, JsonOption, print_json, settings_of
from serving.reports.console import console, ends_on_request, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from programme.database import Database
    from programme.settings import Settings

app = typer.Typer(
    name="inbox",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The inbox: purchases and events that were accepted, on their way into the lake.",
)


@app.command(epilog="Example, for a cron: perennial inbox flush --home var/shop")
def flush(home: HomeOption = None) -> None:
    """Bring what was accepted into the lake, each row once; killed, run it again."""
    from serving.online.flush import flush as job
    from serving.reports.terminal import show_ingested

    with _opened(home) as (settings, database), ends_on_request(), progress("flush") as tell:
        done = job(database, settings, now=datetime.now(UTC), tell=tell)
    if done.ingested is None:
        console.print("nothing had come since the last flush", markup=False)
    else:
        show_ingested(console, done.ingested)
    console.print(
        f"the lake holds the inbox up to row {done.position:,}; "
        f"{done.forgotten:,} settled rows were dropped",
        markup=False,
    )


@app.command(epilog="Example: perennial inbox show --json")
def show(home: HomeOption = None, json: JsonOption = False) -> None:
    """Say what is in the inbox: what the lake does not hold, what the store does not show."""
    from serving.online.flush import state

    with _opened(home) as (settings, database):
        found = state(database, settings)
    if json:
        print_json({**asdict(found), "waiting": found.waiting._asdict()})
        return
    since = "" if found.waiting.since is None else f", the oldest since {found.waiting.since}"
    console.print(
        f"last row {found.last:,}; the lake holds all up to {found.position:,}\n"
        f"{found.waiting.rows:,} rows are not shown yet{since}",
        markup=False,
    )


@app.command(epilog="Example: PERENNIAL_KAFKA_BROKERS=kafka-1:9092 perennial inbox kafka")
def kafka(home: HomeOption = None) -> None:
    """Bring messages of Kafka into the inbox until told to end; several share the work."""
    from threading import Event

    from serving.online.kafka_source import KafkaConfig, consume

    settings, stop = settings_of(home), Event()
    config = KafkaConfig.of(settings)
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: stop.set())
    console.print(
        f"reading {', '.join(config.topics)} of {config.brokers} as {config.group}", markup=False
    )
    done = consume(
        settings, config, stop, lambda: datetime.now(UTC),
        lambda said: console.print(said, markup=False),
    )  # fmt: skip
    console.print(
        f"{done.messages:,} messages: {done.accepted:,} accepted, {done.known:,} known, "
        f"{done.dead:,} put aside",
        markup=False,
    )


@app.command(epilog="Example: perennial inbox dead --json")
def dead(home: HomeOption = None, json: JsonOption = False) -> None:
    """Count the messages of Kafka that could not be accepted, by topic and reason."""
    from serving.online.kafka_source import dead_letters

    with _opened(home) as (_, database):
        found = dead_letters(database)
    if json:
        print_json([one._asdict() for one in found])
        return
    for one in found:
        console.print(
            f"{one.messages:,} of {one.topic}: {one.reason} {one.column or ''}", markup=False
        )
    if not found:
        console.print("none was put aside", markup=False)


@contextmanager
def _opened(home: Path | None) -> "Iterator[tuple[Settings, Database]]":
    from programme.database import Database
    from programme.settings import open_programme

    settings = settings_of(home)
    open_programme(settings)
    database = Database.open(settings)
    try:
        yield settings, database
    finally:
        database.close()
