"""The command line of the inbox: `perennial inbox --help` lists its verbs."""

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
