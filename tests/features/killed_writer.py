"""Run by the crash tests in a process of its own: children that write until they are killed.

Children are forked before any engine is open.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from features import engine, lake, snapshot
from features.ingest import ingest
from programme.errors import PerennialError
from programme.settings import Settings
from tests.features import shop

Kill = Callable[[], None]


def die() -> None:
    """End without any clean-up, as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def second_batch() -> shop.Till:
    """Rows for every file a batch has: lines, products, identities, a bad row."""
    year = shop.year(seed=4)
    fresh = [{**row, "order_id": f"second-{row['order_id']}"} for row in year.purchases]
    bad = shop.line("ann", shop.MIDNIGHT, order_id="bad", store_id="x" * 2_000)
    moved = [shop.product("soap", "elsewhere", shop.MIDNIGHT)]
    return shop.Till([*fresh, bad], moved, [shop.identity("cid", "bob", shop.MIDNIGHT)])


def after_calls(owner: Any, name: str, calls: int) -> None:
    """Die when a function has returned so many times."""
    original, made = getattr(owner, name), [0]

    def counted(*given: Any, **named: Any) -> Any:
        result = original(*given, **named)
        made[0] += 1
        if made[0] == calls:
            die()
        return result

    setattr(owner, name, counted)


def around_rename(name: str, *, before: bool) -> None:
    """Die just before or just after a file takes its final name."""
    original = Path.replace

    def replace(self: Path, target: Any) -> Path:
        if before and Path(target).name == name:
            die()
        moved = original(self, target)
        if Path(target).name == name:
            die()
        return moved

    Path.replace = replace  # type: ignore[method-assign, assignment]


def arm(point: str) -> float | None:
    """Prepare the death of this process; return after how many seconds it must be killed."""
    what, _, detail = point.partition(":")
    if what == "copy":
        after_calls(engine, "copy_to_parquet", int(detail))
    elif what == "sync":
        after_calls(lake, "sync_file", int(detail))
    elif what == "before":
        around_rename(detail, before=True)
    elif what == "after":
        around_rename(detail, before=False)
    elif what == "half":
        half_a_file(detail)
    return float(detail) if what == "seconds" else None


def half_a_file(name: str) -> None:
    """Die with half of a durable file on disk under its unfinished name."""
    original = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        if path.name.startswith(f".{name}"):
            os.truncate(path, path.stat().st_size // 2)
            die()
        original(descriptor)

    os.fsync = fsync  # type: ignore[assignment]


def write(home: Path) -> int:
    try:
        ingest(second_batch(), Settings(home=home, threads=1), shop.NOW)
    except PerennialError as error:
        return error.exit_code
    return 0


def build(home: Path) -> int:
    snapshot.build(Settings(home=home, threads=1), shop.AS_OF)
    return 0


def child(work: Callable[[Path], int], home: Path, point: str = "") -> int:
    """Fork a writer; return its process id."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        seconds = arm(point) if point else None
        if seconds is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds)
        status = work(home)
    finally:
        os._exit(status)


def ended(process: int) -> int:
    """Return the exit code of a child, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main(groups: list[list[tuple[str, str, str]]]) -> list[list[int]]:
    """Run one group of children after the other, those of a group at the same time."""
    codes = []
    for group in groups:
        works = {"write": write, "build": build}
        started = [child(works[what], Path(home), point) for what, home, point in group]
        codes.append([ended(process) for process in started])
    return codes


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
