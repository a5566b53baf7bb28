"""What training costs at 2,500, 25,000 and 100,000 members: seconds and peak memory.

Run with `make bench-scale`, or `python -m experiments.bench_scale --members 2500 25000`. Each size
is a made-up programme of a year (`experiments/synthetic`), kept in the home; snapshots are built
first, by a process of their own. Then each target learns, is judged beside its rivals and is fitted
for service, one process after the other, so that one's memory is not the next one's. Times are of
this machine on this day; that memory stops growing is what travels.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.synthetic import Recipe, grow
from experiments.synthetic.source import Synthetic, write
from experiments.synthetic.tables import TIMEZONE
from features import snapshot
from features.ingest import ingest
from features.lake import Lake
from programme.calendar import local_midnight
from programme.settings import Settings, open_programme
from training import labels, splits
from training.bundle import Target
from training.config import SplitConfig, TrainConfig
from training.train import learn

DAYS, SEED = 364, 1
TARGETS: tuple[Target, ...] = ("churn", "value")
SNAPSHOTS = "snapshots"


def main() -> None:
    """Make each size, run each task in a process of its own, print the table."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 132)
    if arguments.task:
        home = _home(arguments, arguments.members[0])
        sys.stdout.write(json.dumps(_measure(home, arguments.task, arguments)))
        return
    shown = Table(title=_title(arguments), title_justify="left")
    for heading in ("members", "task", "as_ofs", "rows learned", "seconds", "peak MB"):
        shown.add_column(heading, justify="left" if heading == "task" else "right")
    for members in arguments.members:
        _prepare(_home(arguments, members), members, console)
        for task in (SNAPSHOTS, *arguments.targets):
            console.print(f"measuring {members:,} members: {task}")
            found = _in_a_process(arguments, members, task)
            shown.add_row(
                f"{members:,}", task, f"{found['as_ofs']:.0f}", f"{found['rows']:,.0f}",
                f"{found['seconds']:.0f}", f"{found['peak_mb']:,.0f}",
            )  # fmt: skip
    console.print(shown)


def _title(arguments: argparse.Namespace) -> str:
    limit = TrainConfig().members_max if arguments.members_max is None else arguments.members_max
    return f"Synthetic, {DAYS} days; at most {limit:,} members of an as_of are learned from"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python -m experiments.bench_scale --members 2500",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--members", type=int, nargs="+", default=[2_500, 25_000, 100_000])
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--home", type=Path, default=Path("var/bench"), help="keeps the worlds")
    parser.add_argument(
        "--members-max", type=int, help="members of an as_of learned from; the config's"
    )
    parser.add_argument("--judged", type=int, default=1, help="test and validation as_ofs, each")
    parser.add_argument("--task", choices=(SNAPSHOTS, *TARGETS), help="measure one, here")
    return parser.parse_args()


def _home(arguments: argparse.Namespace, members: int) -> Settings:
    return Settings(home=arguments.home.resolve() / f"synthetic-{members}")


def _config(arguments: argparse.Namespace) -> TrainConfig:
    plain, judged = TrainConfig(), {"tests": arguments.judged, "validations": arguments.judged}
    limit = plain.members_max if arguments.members_max is None else arguments.members_max
    sections = {
        target: {"split": getattr(plain, target).split.model_dump() | judged} for target in TARGETS
    }
    return TrainConfig.model_validate({"members_max": limit, **sections})


def _prepare(settings: Settings, members: int, console: Console) -> None:
    """Grow and ingest a world, unless that was done before."""
    if Lake(settings).manifest().lake_version:
        return
    console.print(f"growing {members:,} members")
    recipe = Recipe(members=members, days=DAYS, seed=SEED, joining_days=DAYS // 2)
    folder = settings.home / "raw"
    if not folder.exists():
        write(grow(recipe), folder)
    ended = local_midnight(recipe.first_day + timedelta(days=DAYS), TIMEZONE)
    ingest(Synthetic(folder), settings, ended - timedelta(seconds=1), console.print)


def _in_a_process(arguments: argparse.Namespace, members: int, task: str) -> dict[str, float]:
    command = [
        sys.executable, "-m", "experiments.bench_scale", "--members", str(members),
        "--home", str(arguments.home), "--judged", str(arguments.judged), "--task", task,
        "--targets", *arguments.targets,
    ]  # fmt: skip
    if arguments.members_max is not None:
        command += ["--members-max", str(arguments.members_max)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measure(settings: Settings, task: str, arguments: argparse.Namespace) -> dict[str, float]:
    config = _config(arguments)
    started = time.perf_counter()
    if task == SNAPSHOTS:
        days = sorted(
            {day for target in arguments.targets for day in _days(settings, config, target)}
        )
        for day in days:
            snapshot.build(settings, day)
        as_ofs, rows = len(days), 0
    else:
        target: Target = "churn" if task == "churn" else "value"
        plan = _plan(settings, config, target)
        said = Console(stderr=True)
        job = learn(settings, config, target, lambda text: said.print(f"[dim]{text}[/dim]"))
        served = plan.train_as_ofs(job.board.plan.serve)
        as_ofs = len(_days(settings, config, target))
        rows = sum(
            min(config.members_max, len(snapshot.build(settings, day).features())) for day in served
        )
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "as_ofs": as_ofs, "rows": rows}


def _plan(settings: Settings, config: TrainConfig, target: Target) -> splits.Plan:
    programme = open_programme(settings)
    split: SplitConfig = config.churn.split if target == "churn" else config.value.split
    horizons = {"churn": programme.churn_horizon_days, "value": programme.value_horizon_days}
    return splits.plan(
        begins=labels.data_begins(settings), ends=labels.data_ends(settings),
        horizon_days=horizons[target], tests=split.tests, validations=split.validations,
        step_days=split.step_days, train_max=split.train_max, warmup_days=split.warmup_days,
    )  # fmt: skip


def _days(settings: Settings, config: TrainConfig, target: Target) -> set[date]:
    """Return every day on which a job of this target reads the members."""
    plan = _plan(settings, config, target)
    learned = (plan.train_as_ofs(day) for day in (*plan.judged, plan.serve))
    return {*plan.judged, *(day for days in learned for day in days)}


if __name__ == "__main__":
    main()
