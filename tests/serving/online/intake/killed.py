"""Run by the kill tests in a process of its own: it takes rows and flushes until it is killed."""

import json
import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from features import engine, lake
from programme.database import Database
from programme.settings import Settings
from serving.online.flush import flush
from tests.features.killed_writer import after_calls, around_rename
from tests.serving.online.intake.till import event, hand_in, line


def arm(point: str) -> None:
    what, _, detail = point.partition(":")
    if what == "copy":
        after_calls(engine, "copy_to_parquet", int(detail))
    elif what == "sync":
        after_calls(lake, "sync_file", int(detail))
    elif what == "manifest":
        around_rename("manifest.json", before=detail == "before")
    elif what == "forget":
        from serving.online import flush as flushing

        after_calls(flushing, "forget", 1)
    elif what == "accept":
        from tests.serving.online.intake import till

        after_calls(till, "accept", int(detail))


def live(settings: Settings, seed: int) -> None:
    """Take rows and flush for ever; say what was acknowledged, once it was."""
    chance = random.Random(seed)
    database = Database.open(settings)
    n = 0
    while True:
        n += 1
        rows: list[Any] = []
        for _ in range(chance.randint(1, 30)):
            name = f"{seed}-{n}-{len(rows)}"
            rows.append(
                line(name, chance.randint(1, 999)) if chance.random() < 0.6 else event(name)
            )
        if chance.random() < 0.3:
            rows.append(line(f"corrected-{chance.randint(1, 5)}", chance.randint(1, 10**6)))
        hand_in(database, rows, datetime.now(UTC))
        said = [row.order_id if row.kind == "purchase" else row.event_id for row in rows]
        os.write(1, ("\n".join(said) + "\n").encode())
        if chance.random() < 0.3:
            flush(database, settings, now=datetime.now(UTC) + timedelta(seconds=1))


def once(settings: Settings, point: str) -> None:
    """Take two rows if it is to die of that, and flush."""
    arm(point)
    database = Database.open(settings)
    now = datetime.now(UTC)
    if point.startswith("accept"):
        hand_in(database, [line("killed"), event("killed")], now)
    flush(database, settings, now=now)


def main(homes: list[tuple[str, str, str]]) -> list[int]:
    """Do it in a child for each home, one after the other; return how each ended."""
    codes = []
    for home, url, what in homes:
        process = os.fork()
        if not process:
            settings = Settings(home=Path(home), db_url=url, threads=1)
            try:
                once(settings, what)
            finally:
                os._exit(1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    return codes


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if isinstance(given, dict):
        live(Settings(home=Path(given["home"]), db_url=given["url"], threads=1), given["seed"])
    sys.stdout.write(json.dumps(main(given)))
