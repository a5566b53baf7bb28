"""The next order on Complete Journey and CDNOW: dates, curves, and how often the interval held."""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.bench_models.homes import home_of
from experiments.bench_models.lines import Aim, Line, Progress, Protocol
from training import candidates as rivals
from training import labels
from training.config import TrainConfig
from training.forecasts import Candidate
from training.intervals import Interval, resampled
from training.leaderboard import NEXT_ORDER
from training.metrics import mean_of
from training.order_forecasts import OrderHistory, next_order_forecasts
from training.splits import Plan

HORIZON_DAYS = 91
PRIMARY = NEXT_ORDER.primary
COVERAGE = "coverage 80%"
# Two sides of one aim: 80 % give or take 3.
HELD = (Aim(COVERAGE, 0.77), Aim(COVERAGE, 0.83, "at most"))


@dataclass(frozen=True)
class Data:
    """One data set and the days it is judged on.

    Parameters
    ----------
    source : as `ingest` names it, and the folder below the bench's home
    tests : as_ofs whose 91 days lie within the data and after every day a choice was made on
    aims : asked of the hazard
    """

    source: str
    title: str
    tests: tuple[date, ...]
    aims: tuple[Aim, ...] = ()


DATA = (
    Data(
        "completejourney",
        "Complete Journey, next order within 91 days, all members",
        (date(2017, 9, 4), date(2017, 9, 18), date(2017, 10, 2)),
        HELD,
    ),
    Data("cdnow", "CDNOW, next order within 91 days, all customers", (date(1997, 10, 1),)),
)
NOTE = (
    "1-IBS: one minus the integrated Brier score of the silence curve; a date is a curve that "
    "falls at once. Each interval's level comes from the as_of 91 days earlier. An order that "
    "did not come counts as covered only where the interval is open beyond the 91 days."
)


def protocols(arguments: argparse.Namespace, progress: Progress) -> Iterator[Protocol]:
    """Measure every data set; `arguments.home` keeps what was ingested."""
    for data in DATA:
        yield _measured(data, Path(arguments.home), progress)


def _measured(data: Data, home: Path, progress: Progress) -> Protocol:
    settings = home_of(home, data.source, progress)
    started = time.monotonic()
    config = TrainConfig()
    candidates = rivals.next_order(config, HORIZON_DAYS, settings.threads)
    history = OrderHistory(settings, HORIZON_DAYS)
    frames = []
    for as_of in data.tests:
        plan = _plan(as_of, labels.data_begins(settings), config)
        told, _ = next_order_forecasts(candidates, history, plan, progress)
        frames.append(told.at((as_of,)))
    rows = pd.concat(frames, ignore_index=True)
    lines = _lines(rows, candidates, data.aims, config)
    days = ", ".join(str(day) for day in data.tests)
    return Protocol(f"{data.title}: mean of {days}", lines, time.monotonic() - started, NOTE)


def _plan(as_of: date, begins: date, config: TrainConfig) -> Plan:
    """Return a plan that judges one day and takes its interval from the as_of a horizon before."""
    split = config.next_order.split
    horizon = timedelta(days=HORIZON_DAYS)
    return Plan(
        horizon_days=HORIZON_DAYS,
        validation=(as_of - horizon,),
        test=(as_of,),
        serve=as_of + horizon,
        begins=begins,
        warmup_days=split.warmup_days,
        step_days=split.step_days,
        train_max=split.train_max,
    )


def _lines(
    rows: pd.DataFrame, candidates: Sequence[Candidate], aims: tuple[Aim, ...], config: TrainConfig
) -> tuple[Line, ...]:
    names = [candidate.name for candidate in candidates]
    observed, drawn = resampled(mean_of, rows, names, seed=config.seed, draws=config.draws)
    held = rows[["as_of", "member_id", "truth"]].assign(
        **{name: rows[f"{name}:covered"] for name in names}
    )
    share, shares = resampled(mean_of, held, names, seed=config.seed, draws=config.draws)
    rule = max((c.name for c in candidates if c.role == "rule"), key=lambda name: observed[name])
    lines = []
    for candidate in candidates:
        name, ours = candidate.name, candidate.role == "model"
        gain = Interval.of(observed[name] - observed[rule], drawn[name] - drawn[rule])
        lines.append(
            Line(
                model=name,
                role="ours" if ours else "rule" if candidate.role == "rule" else "rival",
                figures={PRIMARY: observed[name], **_beside(rows, name)},
                intervals={COVERAGE: Interval.of(share[name], shares[name])},
                differences={} if name == rule else {PRIMARY: gain},
                aims=aims if ours else (),
            )
        )
    return tuple(lines)


def _beside(rows: pd.DataFrame, name: str) -> dict[str, float]:
    """Return the mean over as_ofs of the figures that stand beside the primary one."""
    return {
        label: float(
            np.mean(
                [
                    metric(part[truth].to_numpy(), part[f"{name}{suffix}"].to_numpy())
                    for _, part in rows.groupby("as_of")
                ]
            )
        )
        for label, (truth, suffix, metric) in NEXT_ORDER.details.items()
    }
