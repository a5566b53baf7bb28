"""The command line of the refresh worker: `perennial worker --help`."""

import logging
import os
import signal
import sys
from contextlib import ExitStack
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
        help="Name that no other living worker has. \\[default: of this machine, numbered]",
    ),
]
TogetherOption = Annotated[
    bool,
    typer.Option(
        "--together",
        help="Make scores in the same process: about half the memory, but features wait for them.",
    ),
]
ScoresOfOption = Annotated[str | None, typer.Option("--scores-of", hidden=True)]

# Scores may wait; features and answers may not.
SCORES_NICE = 19


def worker(
    home: HomeOption = None,
    once: OnceOption = False,
    workers_name: NameOption = None,
    together: TogetherOption = False,
    scores_of: ScoresOfOption = None,
) -> None:
    """Show in the online store what comes in, within seconds; several share the members out.

    It needs champions and a snapshot: perennial train, perennial features. Value, next products and
    next order are made by a second process that it starts and ends. It ends by itself when it is
    asked to (SIGTERM, Ctrl-C), after the step it is at.
    """
    from programme.database import Database
    from programme.settings import open_programme
    from serving.online.worker import Scorer, Worker, check_name, own_name
    from serving.supervisor import Supervisor

    if workers_name is not None:
        check_name(workers_name)
    settings = settings_of(home)
    open_programme(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    with ExitStack() as stack:
        database = Database.open(settings)
        stack.callback(database.close)
        running: Worker
        if scores_of:
            os.nice(SCORES_NICE)
            running = Scorer(settings, database, scores_of, lambda: datetime.now(UTC))
        else:
            name = workers_name or stack.enter_context(own_name(settings))
            apart = not (once or together)
            running = Worker(
                settings, database, name, lambda: datetime.now(UTC), scores_apart=apart
            )
            if apart:
                command = ["-m", "perennial", "worker", "--scores-of", name]
                home_of_it = ["--home", str(settings.home)]
                scorer = Supervisor([sys.executable, *command, *home_of_it], os.environ)
                scorer.start()
                stack.callback(scorer.stop)

        def stop(_number: int, _frame: FrameType | None) -> None:
            running.stopped.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        totals = running.once() if once else running.run()
    typer.echo(
        f"{totals.rows:,} rows shown, {totals.members:,} members refreshed, {totals.scored:,} "
        f"of them scored, {len(totals.set_aside):,} set aside"
        if not running.scores_apart
        else f"{totals.rows:,} rows shown, {totals.members:,} members refreshed, "
        f"{len(totals.set_aside):,} set aside; scores were made by another process"
    )
