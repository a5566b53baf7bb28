"""What features cost beside a bare scan, one hand-written query and `lifetimes`, in one run.

Run with `make bench-features`, or `python -m experiments.bench_features --copies 10`. Complete
Journey is replicated under other household and basket numbers, ingested once and kept; every
task then runs in its own process: a warm-up, then timed runs, their median and the process's
peak memory. Only the ratios travel between machines.

The last table compares one summary that both make: frequency, recency, T and monetary value per
member, by `lifetimes` from a pandas frame that is loaded already, by our engine from Parquet into
a frame. `lifetimes` 0.11.3 imports under pandas 3 with warnings only; its amounts must be floats,
because it writes NaN into that column. Both must say the same.
"""

import argparse
import importlib
import json
import math
import resource
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments import replicated
from features import contracts, engine, identities, table
from features.lake import Batch, Lake, Manifest
from features.rollup_writer import RollupWriter
from programme.settings import Settings, open_programme

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


# The summary is made of as many copies as pandas holds in a few gigabytes: 11.8 million lines.
SUMMARY_COPIES = 8
SUMMARY_TASKS = ("summary by lifetimes", "summary by our engine")
SAID = ("frequency", "recency", "T", "monetary_value")
SUMMARY = """
    select source_key, count(*) - 1 as frequency,
        date_diff('day', min(day), max(day)) as recency,
        date_diff('day', min(day), (select max(day) from days)) as "T",
        coalesce((sum(net_cents) - min_by(net_cents, day)) / nullif(count(*) - 1, 0), 0)
            as monetary_value
    from days group by source_key"""


def main() -> None:
    """Prepare the data, run each task in a process of its own, print the ratios."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 132)
    root = Path(arguments.home).resolve()
    homes = {n: _settings(root, n, arguments.memory_limit_mb) for n in arguments.copies}
    if arguments.task:
        measure = _measure(homes[arguments.copies[0]], arguments.task, arguments.runs)
        sys.stdout.write(json.dumps(measure))
        return
    lines, measured = {}, {}
    for copies, settings in homes.items():
        lines[copies] = _prepare(settings, copies, console)
        measured[copies] = {t: _in_a_process(arguments, copies, t, console) for t in TASKS}
        title = f"Complete Journey x {copies}: {lines[copies]:,} lines, {len(table.COLUMNS)} "
        title += f"columns, median of {arguments.runs} warm runs"
        console.print(_as_table(measured[copies], title))
    if len(homes) > 1:
        console.print(_slopes(measured, lines))
    largest = max(homes)
    summaries = {t: _in_a_process(arguments, largest, t, console) for t in SUMMARY_TASKS}
    console.print(_summary_table(summaries))


def _settings(root: Path, copies: int, memory_limit_mb: int) -> Settings:
    return Settings(home=root / f"completejourney-x{copies}", memory_limit_mb=memory_limit_mb)


def _in_a_process(
    arguments: argparse.Namespace, copies: int, task: str, console: Console
) -> dict[str, float]:
    console.print(f"measuring {copies} x: {task}")
    command = [
        sys.executable, "-m", "experiments.bench_features", "--copies", str(copies),
        "--home", arguments.home, "--memory-limit-mb", str(arguments.memory_limit_mb),
        "--runs", str(arguments.runs), "--task", task,
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: --copies 1 10")
    parser.add_argument(
        "--copies", type=int, nargs="+", default=[1, 10, 40], help="how often the data are repeated"
    )
    parser.add_argument("--runs", type=int, default=3, help="timed runs, after one to warm up")
    parser.add_argument("--home", default="var/bench", help="folder that keeps the copies")
    parser.add_argument("--memory-limit-mb", type=int, default=2500, help="limit of the engine")
    parser.add_argument(
        "--task", choices=(*TASKS, *SUMMARY_TASKS), help="measure one task in this process"
    )
    return parser.parse_args()


def _prepare(settings: Settings, copies: int, console: Console) -> int:
    """Replicate and ingest, unless that was done before; return the number of lines."""
    replicated.lay_out(settings, copies, tell=console.print)
    manifest = Lake(settings).manifest()
    return sum(batch.rows.get("purchases", 0) for batch in manifest.batches)


def _measure(settings: Settings, task: str, runs: int) -> dict[str, float]:
    lake = Lake(settings)
    manifest = lake.ready()
    work = _summary(settings, lake, manifest, task) or _work(settings, lake, manifest, task)
    seconds, said = [], None
    for _ in range(runs + 1):
        started = time.perf_counter()
        with engine.connect(settings) as connection:
            said = work(connection)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"seconds": statistics.median(seconds[1:]), "peak_mb": peak}
    if said is not None:
        found |= {"lines": said.attrs["lines"]} | {name: float(said[name].sum()) for name in SAID}
    return found


def _summary(
    settings: Settings, lake: Lake, manifest: Manifest, task: str
) -> Callable[[duckdb.DuckDBPyConnection], pd.DataFrame] | None:
    """Return how a summary of the first copies is made of their stored lines, written apart."""
    if task not in SUMMARY_TASKS:
        return None
    apart = settings.home / "tmp" / "bench" / "summary.parquet"
    with engine.connect(settings) as connection:
        lines = engine.copy_to_parquet(
            connection,
            f"""select source_key, occurred_at, net_cents
            from ({lake.rows_sql("purchases", manifest)})
            where cast(source_key as bigint) < {10_000 * SUMMARY_COPIES}""",
            apart,
        )
    stored = f"read_parquet({engine.text(apart)})"

    def by_engine(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
        days = f"""select source_key, cast(occurred_at as date) as day,
            sum(net_cents) as net_cents from {stored} group by source_key, day"""
        made = connection.execute(f"with days as materialized ({days}) {SUMMARY}").df()
        made.attrs["lines"] = lines
        return made

    if task == SUMMARY_TASKS[1]:
        return by_engine
    warnings.simplefilter("ignore")
    summarise = importlib.import_module("lifetimes.utils").summary_data_from_transaction_data
    frame = pd.read_parquet(apart)
    frame["net_cents"] = frame["net_cents"].astype(float)

    def by_lifetimes(_: duckdb.DuckDBPyConnection) -> pd.DataFrame:
        made: pd.DataFrame = summarise(frame, "source_key", "occurred_at", "net_cents")
        made.attrs["lines"] = lines
        return made

    return by_lifetimes


def _work(
    settings: Settings, lake: Lake, manifest: Manifest, task: str
) -> Callable[[duckdb.DuckDBPyConnection], pd.DataFrame | None]:
    lines = lake.rows_sql("purchases", manifest)
    programme = open_programme(settings)
    now = identities.midnight_sql(AS_OFS[0], programme.timezone)
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


def _as_table(measured: dict[str, dict[str, float]], title: str) -> Table:
    shown = Table(title=title, title_justify="left")
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


def _slopes(measured: dict[int, dict[str, dict[str, float]]], lines: dict[int, int]) -> Table:
    """Show how seconds grow with lines: the slope of their logarithms, 1 is linear."""
    shown = Table(title="seconds by lines, and the slope of their logarithms")
    shown.add_column("task")
    for copies in measured:
        shown.add_column(f"{lines[copies]:,}", justify="right")
    shown.add_column("slope", justify="right")
    sizes = [math.log(lines[copies]) for copies in measured]
    for task in TASKS:
        seconds = [figures[task]["seconds"] for figures in measured.values()]
        slope = statistics.linear_regression(sizes, [math.log(one) for one in seconds]).slope
        shown.add_row(task, *(f"{one:.2f}" for one in seconds), f"{slope:.2f}")
    return shown


def _summary_table(summaries: dict[str, dict[str, float]]) -> Table:
    theirs, ours = (summaries[task] for task in SUMMARY_TASKS)
    for name in SAID:
        if not math.isclose(theirs[name], ours[name], rel_tol=1e-9):
            raise RuntimeError(f"lifetimes and our engine differ in {name}: {theirs}, {ours}")
    shown = Table(title=f"the same RFM summary of the same {int(ours['lines']):,} lines")
    for heading in ("task", "seconds", "x ours", "peak MB"):
        shown.add_column(heading, justify="left" if heading == "task" else "right")
    for task, figures in summaries.items():
        shown.add_row(
            task,
            f"{figures['seconds']:.2f}",
            f"{figures['seconds'] / ours['seconds']:.1f}",
            f"{figures['peak_mb']:,.0f}",
        )
    return shown


if __name__ == "__main__":
    main()
