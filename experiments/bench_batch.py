"""What scores for everybody cost at 25,000, 250,000 and 1,000,000 members: rate and peak memory.

Run with `make bench-batch`, or `python -m experiments.bench_batch --copies 10`. Complete Journey is
replicated under other household and basket numbers, one basket in twenty kept, which leaves a
member some thirty lines: as many as most programmes have of one. Champions are those of a home that
learned from all baskets. Features are built first; then `perennial score` runs as a process of its
own, drivers and next products and all, and the memory of its processes is watched. Rates are of
this machine; that rate and memory stay as they are while members grow is what travels.
"""

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from experiments import replicated
from experiments.processes import tree, used_by
from features import snapshot as snapshots
from programme.settings import Settings

KEPT_ONE_IN = 20


def measure(settings: Settings, out: Path) -> dict[str, float]:
    """Score everybody of a home in a process of its own."""
    command = [
        sys.executable, "-m", "perennial", "--home", str(settings.home), "score", "--out", str(out),
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with _Watched(process.pid) as watched:
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    members = pq.read_metadata(out).num_rows
    return {
        "members": members,
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": watched.peak / 2**20,
        "file_mb": out.stat().st_size / 2**20,
    }


class _Watched:
    """Looks at the memory of a process and of those it began; what they share counts for each."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.25):
            resident = sum(used_by(pid)[1] for pid in tree(self._pid))
            self.peak = max(self.peak, resident)


def main() -> None:
    """Make each size, score it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/bench"), help="keeps the copies")
    parser.add_argument("--trained", type=Path, default=Path("var/completejourney"))
    parser.add_argument("--copies", type=int, nargs="+", default=[14, 130, 525])
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 132)
    shown = Table(title="perennial score: everybody, with drivers", title_justify="left")
    for name in ("members", "seconds", "members/s", "CPU ms a member", "peak MB", "file MB"):
        shown.add_column(name, justify="right")
    for copies in given.copies:
        home = given.home.resolve() / f"sparse-x{copies}"
        settings = Settings(home=home)
        replicated.lay_out(settings, copies, kept_one_in=KEPT_ONE_IN, tell=console.print)
        shutil.copy(given.trained.resolve() / "mlflow.db", home / "mlflow.db")
        snapshots.build(settings, snapshots.default_as_of(settings), console.print)
        console.print(f"scoring {copies} copies")
        found = measure(settings, home / "scores.parquet")
        shown.add_row(
            f"{found['members']:,.0f}", f"{found['seconds']:,.0f}",
            f"{found['members'] / found['seconds']:,.0f}",
            f"{1000 * found['cpu'] / found['members']:.1f}", f"{found['peak_mb']:,.0f}",
            f"{found['file_mb']:,.0f}",
        )  # fmt: skip
        console.print(shown)


if __name__ == "__main__":
    main()
