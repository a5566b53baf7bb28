"""The command line of the inbox: `perennial inbox --help` lists its verbs."""

import signal
from dataclasses import asdict
from datetime import UTC, datetime

import typer

from perennial_options import HomeOption, JsonOption, database_of, print_json, settings_of
from serving.reports.console import console, ends_on_request, progress

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

    with database_of(home) as database, ends_on_request(), progress("flush") as tell:
        done = job(database, settings_of(home), now=datetime.now(UTC), tell=tell)
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

    with database_of(home) as database:
        found = state(database, settings_of(home))
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

    with database_of(home) as database:
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
