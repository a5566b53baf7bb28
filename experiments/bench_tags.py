"""What all tags cost beside a bare scan of the feature table, in one run.

Run with `make bench-tags`, or `python -m experiments.bench_tags --copies 40`. Complete Journey is
replicated as `bench_features` does; the feature snapshot is built first and not timed. Every task
then runs in its own process: the median of the timed runs after one warm-up, and the process's
peak memory. Only the ratio travels between machines.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.bench_features import _prepare
from features import engine, snapshot, table
from features.tags import store
from programme.settings import Settings

# With another window's tags behind it, as a night's run has.
BEFORE, AS_OF = date(2017, 10, 2), date(2017, 10, 30)
TASKS = ("scan of the features", "all tags")


def main() -> None:
    """Prepare the data, run each task in a process of its own, print the ratio."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 132)
    home = Path(arguments.home).resolve() / f"completejourney-x{arguments.copies}"
    settings = Settings(home=home, memory_limit_mb=arguments.memory_limit_mb)
    if arguments.task:
        sys.stdout.write(json.dumps(_measure(settings, arguments.task, arguments.runs)))
        return
    _prepare(settings, arguments.copies, console)
    for day in (BEFORE, AS_OF):
        console.print(f"building the features of {day}")
        built = snapshot.build(settings, day)
    console.print(f"making the tags of {BEFORE}")
    store.build(settings, BEFORE)
    measured = {}
    for task in TASKS:
        console.print(f"measuring: {task}")
        command = [
            sys.executable, "-m", "experiments.bench_tags", "--copies", str(arguments.copies),
            "--home", arguments.home, "--memory-limit-mb", str(arguments.memory_limit_mb),
            "--runs", str(arguments.runs), "--task", task,
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured[task] = json.loads(done.stdout)
    console.print(_as_table(measured, len(built.features()), arguments.runs))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: --copies 40")
    parser.add_argument("--copies", type=int, default=40, help="how often the data are repeated")
    parser.add_argument("--home", default="var/bench", help="folder that keeps the copies")
    parser.add_argument("--memory-limit-mb", type=int, default=2000, help="limit of the engine")
    parser.add_argument("--runs", type=int, default=3, help="timed runs after the warm-up")
    parser.add_argument("--task", choices=TASKS, help="measure one task in this process")
    return parser.parse_args()


def _measure(settings: Settings, task: str, runs: int) -> dict[str, float]:
    work = _work(settings, task)
    seconds, tags = [], 0
    for _ in range(runs + 1):
        started = time.perf_counter()
        tags = work()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds[1:] or seconds), "peak_mb": peak, "tags": tags}


def _work(settings: Settings, task: str) -> Callable[[], int]:
    features = snapshot.build(settings, AS_OF).path / snapshot.FEATURES

    def scan() -> int:
        columns = ", ".join(f"max({engine.name(name)})" for name in table.ALL_COLUMNS)
        with engine.connect(settings) as connection:
            connection.execute(
                f"select {columns} from read_parquet({engine.text(features)})"
            ).fetchall()
        return 0

    def tags() -> int:
        before = store.build(settings, BEFORE)
        shutil.rmtree(settings.home / "tags" / features.parent.name, ignore_errors=True)
        return len(store.build(settings, AS_OF, earlier=before).rules.tags)

    return {TASKS[0]: scan, TASKS[1]: tags}[task]


def _as_table(measured: dict[str, dict[str, float]], members: int, runs: int) -> Table:
    scan = measured[TASKS[0]]["seconds"]
    shown = Table(
        title=f"{members:,} members, {measured[TASKS[1]]['tags']:.0f} tags as of {AS_OF}, "
        f"median of {runs} warm runs",
        title_justify="left",
    )
    for heading in ("task", "seconds", "x scan", "peak MB"):
        shown.add_column(heading, justify="left" if heading == "task" else "right")
    for task, figures in measured.items():
        shown.add_row(
            task, f"{figures['seconds']:.2f}", f"{figures['seconds'] / scan:.1f}",
            f"{figures['peak_mb']:,.0f}",
        )  # fmt: skip
    return shown


if __name__ == "__main__":
    main()
