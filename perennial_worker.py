"""The command line of the refresh worker: `perennial worker --help`."""

import logging
import signal
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import typer

from perennial_options import HomeOption, settings_of

OnceOption = Annotated[
    bool, typer.Option("--once", help="Refresh what waits now, then end; for a cron or a test.")
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--workers-name",
        help="Name that no other living worker has. [default: of this machine, numbered]",
    ),
]


def worker(
    home: HomeOption = None, once: OnceOption = False, workers_name: NameOption = None
) -> None:
    """Show in the online store what comes in, within seconds; several share the members out.

    It needs champions and a snapshot: perennial train, perennial features. It ends by itself when
    it is asked to (SIGTERM, Ctrl-C), after the step it is at.
    """
    from contextlib import nullcontext

    from programme.database import Database
    from programme.settings import open_programme
    from serving.online.worker import Worker, own_name

    settings = settings_of(home)
    open_programme(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    database = Database.open(settings)
    named = nullcontext(workers_name) if workers_name else own_name(settings)
    try:
        with named as name:
            running = Worker(settings, database, name, lambda: datetime.now(UTC))

            def stop(_number: int, _frame: FrameType | None) -> None:
                running.stopped.set()

            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
            totals = running.once() if once else running.run()
    finally:
        database.close()
    typer.echo(
        f"{totals.rows:,} rows shown, {totals.members:,} members refreshed, {totals.scored:,} "
        f"of them scored, {len(totals.set_aside):,} set aside"
    )
