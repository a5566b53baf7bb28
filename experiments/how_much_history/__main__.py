"""Judge churn with the last few weeks of purchases only, as a shop that has just begun to collect.

Run: `python -m experiments.how_much_history`. Writes `result.json` and the table in the README.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from rich.console import Console

from experiments.run import with_table
from features import engine
from features.ingest import ingest
from features.sources.completejourney import CompleteJourney
from features.sources.staging import Staged
from programme.calendar import local_midnight
from programme.errors import PerennialError
from programme.files import write_durably
from programme.settings import Programme, Settings
from training import candidates as rivals
from training.config import ChurnConfig, SplitConfig, TrainConfig
from training.dataset import Dataset
from training.forecasts import Forecasts, churn_forecasts
from training.intervals import Interval, resampled
from training.leaderboard import CHURN
from training.models.calibration import PlattCalibration
from training.splits import Plan
from training.standings import as_probability, headline, mean_over_days

FOLDER = Path(__file__).parent
HORIZON_DAYS = 28
WEEKS = (16, 20, 28, 40)
TEST_DAYS = (date(2017, 10, 9), date(2017, 11, 6), date(2017, 12, 4))
MODEL, RULES = "churn_mean", ("recency_rule", "frequency_rule")
DRAWS, SEED = 500, 20_171_204


class LastWeeks(CompleteJourney):
    """Complete Journey as a shop has it that began to collect on some day."""

    def __init__(self, begins: date) -> None:
        super().__init__()
        self._begins = local_midnight(begins, self.programme.timezone)

    def stage(
        self, connection: duckdb.DuckDBPyConnection, scratch: Path, programme: Programme
    ) -> Iterator[Staged]:
        """Yield the same tables without what happened before."""
        begins = engine.text(self._begins.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
        for staged in super().stage(connection, scratch, programme):
            sql = staged.sql
            if "occurred_at" in staged.table.column_names:
                sql = f"select * from ({sql}) where occurred_at >= timestamp {begins}"
            yield Staged(staged.table, sql)


def judged(weeks: int, folder: Path, progress: Callable[[str], None]) -> tuple[Forecasts, Plan]:
    """Answer at every test day with what so many weeks before it can teach.

    Parameters
    ----------
    folder : each history gets a home in it, removed when it was judged
    """
    frames: list[pd.DataFrame] = []
    calibrations: dict[tuple[date, str], PlattCalibration] = {}
    how = TrainConfig(seed=SEED, churn=ChurnConfig(n_seeds=1))
    for day in TEST_DAYS:
        begins = day - timedelta(weeks=weeks)
        settings = Settings.load(folder / f"{begins}")
        ingest(LastWeeks(begins), settings, datetime.now(UTC), progress)
        plan = _plan((day,), begins)
        known = rivals.churn(how, HORIZON_DAYS, settings.threads)
        parts = next(c.parts for c in known if c.name == MODEL)
        chosen = tuple(c for c in known if c.name in (*RULES, *parts, MODEL))
        said = churn_forecasts(chosen, Dataset(settings, HORIZON_DAYS), plan, progress)
        frames.append(said.at((day,)))
        calibrations.update(said.calibrations)
        shutil.rmtree(settings.home)
    whole = Forecasts(pd.concat(frames, ignore_index=True), calibrations)
    return whole, _plan(TEST_DAYS, TEST_DAYS[0] - timedelta(weeks=weeks))


def _plan(days: tuple[date, ...], begins: date) -> Plan:
    horizon = timedelta(days=HORIZON_DAYS)
    split = SplitConfig()
    return Plan(
        horizon_days=HORIZON_DAYS,
        validation=(days[0] - horizon,),
        test=days,
        serve=days[-1] + horizon,
        begins=begins,
        warmup_days=split.warmup_days,
        step_days=split.step_days,
        train_max=split.train_max,
    )


def figures(forecasts: Forecasts, plan: Plan) -> dict[str, Any]:
    """Return the model's figures among active members, and its gain over the best rule."""
    rows = headline(forecasts.frame)
    names = [*RULES, MODEL]
    observed, again = resampled(CHURN.metrics["AP"], rows, names, seed=SEED, draws=DRAWS)
    rule = max(RULES, key=lambda name: observed[name])
    gain = Interval.of(observed[MODEL] - observed[rule], again[MODEL] - again[rule])
    probability = as_probability(rows, forecasts, MODEL, plan)
    said = {
        label: mean_over_days(metric, rows, MODEL)
        for label, metric in CHURN.metrics.items()
        if label in ("AUC", "AP", "lift@10%")
    }
    said |= {
        label: mean_over_days(metric, probability, MODEL)
        for label, metric in CHURN.calibrated.items()
    }
    return {
        "rows": len(rows),
        **{label: float(np.round(figure, 5)) for label, figure in said.items()},
        "best_rule": rule,
        "best_rule_AP": round(observed[rule], 5),
        "gain_AP": [round(gain.mean, 5), round(gain.low, 5), round(gain.high, 5)],
    }


def as_markdown(result: dict[str, dict[str, Any]]) -> str:
    """Return a row a history."""
    lines = [
        "| weeks before the day | AUC | AP | lift@10% | Brier | ECE | best rule's AP "
        "| AP - best rule (95 %) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for weeks, found in result.items():
        mean, low, high = found["gain_AP"]
        said = " | ".join(f"{found[name]:.4f}" for name in ("AUC", "AP", "lift@10%"))
        calibrated = " | ".join(f"{found[name]:.4f}" for name in ("Brier", "ECE"))
        lines.append(
            f"| {weeks} | {said} | {calibrated} | {found['best_rule_AP']:.4f} "
            f"({found['best_rule']}) | {mean:+.4f} [{low:+.4f}, {high:+.4f}] |"
        )
    return "\n".join(lines)


def main() -> None:
    """Judge every history and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--home", type=Path, default=Path("var/how_much_history"), help="folder for the homes"
    )
    arguments = parser.parse_args()
    console = Console(stderr=True)
    result = {}
    try:
        for weeks in WEEKS:
            console.print(f"{weeks} weeks")
            result[str(weeks)] = figures(*judged(weeks, arguments.home, console.print))
    except PerennialError as error:
        console.print(str(error), markup=False)
        sys.exit(error.exit_code)
    write_durably(FOLDER / "result.json", (json.dumps(result, indent=1) + "\n").encode())
    readme = FOLDER / "README.md"
    table = as_markdown(result)
    write_durably(readme, with_table(readme.read_text("utf-8"), table).encode())
    sys.stdout.write(table + "\n")


if __name__ == "__main__":
    main()
