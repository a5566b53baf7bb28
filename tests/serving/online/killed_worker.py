"""A real worker in a process of its own, to be killed; it flushes every second or so."""

import signal
import sys
from datetime import UTC, datetime, timedelta

from programme.database import Database
from programme.settings import Settings
from serving.online import worker as work
from serving.online.worker import Worker, own_name


def main() -> None:
    settings = Settings.load()
    database = Database.open(settings)
    work.FOLLOW_EVERY = 0.5
    with own_name(settings) as name:
        running = Worker(
            settings, database, name, lambda: datetime.now(UTC),
            flush_after=timedelta(seconds=1),
        )  # fmt: skip
        signal.signal(signal.SIGTERM, lambda *_: running.stopped.set())
        running.run()
    database.close()
    sys.exit(0)


if __name__ == "__main__":
    main()
