"""What features cost beside a bare scan and one hand-written query, in one run.

Run with `make bench-features`, or `python -m experiments.bench_features --copies 10`. Complete
Journey is replicated under other household and basket numbers, ingested once and kept; every
task then runs in its own process: one warm-up, three timed runs, the median and the process's
peak memory. Only the ratios travel between machines.
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
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from features import contracts, engine, table
from features.ingest import ingest
from features.lake import Batch, Lake, Manifest
from features.rollup_writer import RollupWriter
from features.sources.completejourney import CompleteJourney
from programme.settings import Settings, open_programme

RUNS = 3
AS_OFS = (date(2017, 12, 4), date(2017, 11, 6))
TASKS = ("scan", "query", "rollups and features", "another as_of from rollups")

# A dozen columns an analyst would write in an afternoon, straight from the lines.
DOZEN = """
    select source_key,
        min(days_ago) as recency_days,
        max(days_ago) as tenure_days,
        count(distinct order_id) as orders,
        count(distinct order_id) filter (where days_ago <= 28) as orders_28d,
        count(distinct order_id) filter (where days_ago <= 84) as orders_84d,
        sum(net_cents) as spend,
        sum(net_cents) filter (where days_ago <= 28) as spend_28d,
        sum(net_cents) filter (where days_ago <= 84) as spend_84d,
        sum(discount_cents) / sum(net_cents + discount_cents) as discount_share,
        count(distinct product_id) as products,
        count(distinct store_id) as stores
    from (select *, date_diff('day', occurred_at, {now}) as days_ago from ({lines}))
    where known_at < {now} group by source_key"""


def main() -> None:
    """Prepare the data, run each task in a process of its own, print the ratios."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 132)
    home = Path(arguments.home).resolve() / f"completejourney-x{arguments.copies}"
    settings = Settings(home=home, memory_limit_mb=arguments.memory_limit_mb)
    if arguments.task:
        sys.stdout.write(json.dumps(_measure(settings, arguments.task)))
        return
    lines = _prepare(settings, arguments.copies, console)
    measured = {}
    for task in TASKS:
        console.print(f"measuring: {task}")
        command = [
            sys.executable, "-m", "experiments.bench_features", "--copies", str(arguments.copies),
            "--home", arguments.home, "--memory-limit-mb", str(arguments.memory_limit_mb),
            "--task", task,
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured[task] = json.loads(done.stdout)
    console.print(_as_table(measured, lines, arguments.copies))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: --copies 10")
    parser.add_argument("--copies", type=int, default=10, help="how often the data are repeated")
    parser.add_argument("--home", default="var/bench", help="folder that keeps the copies")
    parser.add_argument("--memory-limit-mb", type=int, default=3000, help="limit of the engine")
    parser.add_argument("--task", choices=TASKS, help="measure one task in this process")
    return parser.parse_args()


def _prepare(settings: Settings, copies: int, console: Console) -> int:
    """Replicate and ingest, unless that was done before; return the number of lines."""
    manifest = Lake(settings).manifest()
    if not manifest.lake_version:
        console.print(f"replicating Complete Journey {copies} times and ingesting it")
        folder = settings.home / "raw"
        folder.mkdir(parents=True, exist_ok=True)
        with engine.connect(settings) as connection:
            for path in CompleteJourney().files():
                _replicate(connection, path, folder / path.name, copies)
        ingest(CompleteJourney(folder), settings, datetime.now(UTC), console.print)
        shutil.rmtree(folder)
        manifest = Lake(settings).manifest()
    return sum(batch.rows.get("purchases", 0) for batch in manifest.batches)


def _replicate(connection: duckdb.DuckDBPyConnection, path: Path, copy: Path, copies: int) -> None:
    rows = f"select * from read_parquet({engine.text(path)})"
    if path.stem == "transactions":
        # Other households, baskets of their own: as many members, not fuller baskets.
        rows = f"""select r.* replace (household_id + 10000 * i as household_id,
            basket_id + 100000000000 * i as basket_id)
            from ({rows}) r, range({copies}) copies(i)"""
    engine.copy_to_parquet(connection, rows, copy)


def _measure(settings: Settings, task: str) -> dict[str, float]:
    lake = Lake(settings)
    manifest = lake.ready()
    work = _work(settings, lake, manifest, task)
    seconds = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        with engine.connect(settings) as connection:
            work(connection)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds[1:]), "peak_mb": peak}


def _work(
    settings: Settings, lake: Lake, manifest: Manifest, task: str
) -> Callable[[duckdb.DuckDBPyConnection], None]:
    lines = lake.rows_sql("purchases", manifest)
    programme = open_programme(settings)
    now = table.midnight_sql(AS_OFS[0], programme.timezone)
    scratch = settings.home / "tmp" / "bench"

    def scan(connection: duckdb.DuckDBPyConnection) -> None:
        columns = ", ".join(f"max({name})" for name in contracts.PURCHASES.column_names)
        connection.execute(f"select {columns} from ({lines})").fetchall()

    def query(connection: duckdb.DuckDBPyConnection) -> None:
        engine.copy_to_parquet(
            connection, DOZEN.format(lines=lines, now=now), scratch / "dozen.parquet"
        )

    def features(
        connection: duckdb.DuckDBPyConnection, as_of: date, lake: Lake, manifest: Manifest
    ) -> None:
        used = table.prepare(connection, lake, manifest, as_of, programme.timezone)
        table.compute(connection)
        sql = table.select_sql(programme.active_days, used.tables)
        engine.copy_to_parquet(connection, sql, scratch / "features.parquet")

    def from_raw(connection: duckdb.DuckDBPyConnection) -> None:
        # The stored lines under another roof, as if they had only just come in.
        raw = Lake(Settings(home=scratch))
        shutil.rmtree(raw.folder, ignore_errors=True)
        for name in ("purchases", "products"):
            raw.path_of(name, 1).parent.mkdir(parents=True)
            raw.path_of(name, 1).hardlink_to(lake.path_of(name, 1))
        rolled_up = RollupWriter(connection, raw, Manifest(), 1, programme.timezone)
        rolled_up.write()
        rows = {"purchases": 1, "products": 1} | rolled_up.rows
        made = Manifest((Batch(1, "", "", rows, files=rolled_up.files),))
        features(connection, AS_OFS[0], raw, made)

    return {
        "scan": scan,
        "query": query,
        "rollups and features": from_raw,
        "another as_of from rollups": lambda connection: features(
            connection, AS_OFS[1], lake, manifest
        ),
    }[task]


def _as_table(measured: dict[str, dict[str, float]], lines: int, copies: int) -> Table:
    shown = Table(
        title=f"Complete Journey x {copies}: {lines:,} lines, {len(table.COLUMNS)} columns, "
        f"median of {RUNS} warm runs",
        title_justify="left",
    )
    for heading in ("task", "seconds", "x scan", "x query", "peak MB"):
        shown.add_column(heading, justify="left" if heading == "task" else "right")
    for task, figures in measured.items():
        shown.add_row(
            task,
            f"{figures['seconds']:.2f}",
            f"{figures['seconds'] / measured['scan']['seconds']:.1f}",
            f"{figures['seconds'] / measured['query']['seconds']:.1f}",
            f"{figures['peak_mb']:,.0f}",
        )
    return shown


if __name__ == "__main__":
    main()
