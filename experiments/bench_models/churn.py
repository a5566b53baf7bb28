"""Churn beside every naive rival: Complete Journey four and eight weeks ahead, CDNOW thirteen."""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from experiments.bench_models.homes import home_of
from experiments.bench_models.lines import Aim, Line, Progress, Protocol
from programme.settings import Settings
from training import candidates as rivals
from training.config import ChurnConfig, SplitConfig, TrainConfig
from training.dataset import Dataset, Labelled
from training.forecasts import Candidate, Forecasts, churn_forecasts
from training.intervals import Interval, resampled
from training.leaderboard import CHURN, in_money
from training.models.bgnbd import BgNbd
from training.models.histories import Histories
from training.splits import Plan
from training.standings import as_probability, headline, mean_over_days

DRAWS = 300
SEED = 20_171_204
# Twice as many days to learn from, 7 apart, took twice as long for AUC .0007 and AP .0022.
LIKE_A_JOB = SplitConfig()
WITH_INTERVAL = ("AUC", "AP")


def protocols(arguments: argparse.Namespace, progress: Progress) -> Iterator[Protocol]:
    """Measure the three protocols of the issue, nothing of a test window seen before."""
    journey = home_of(arguments.home, "completejourney", progress)
    yield four_weeks(journey, progress)
    yield eight_weeks(journey, progress)
    yield thirteen_weeks(home_of(arguments.home, "cdnow", progress), progress)


def four_weeks(settings: Settings, progress: Progress) -> Protocol:
    """Judge P(no purchase in 28 days) on Complete Journey at three as_ofs of autumn 2017."""
    return _measured(
        "Complete Journey, 28-day churn, active in the last 56 days, mean of 2017-10-09, 11-06, "
        "12-04 (New York)",
        journey_plan(28),
        Dataset(settings, 28),
        config(n_seeds=2),
        (
            Aim("AUC", 0.860),
            Aim("AP", 0.44),
            Aim("lift@10%", 3.8),
            Aim("ECE", 0.015, "at most"),
        ),
        progress,
        alive=True,
    )


def eight_weeks(settings: Settings, progress: Progress) -> Protocol:
    """Judge P(no purchase in 56 days) on Complete Journey at three as_ofs of autumn 2017."""
    return _measured(
        "Complete Journey, 56-day churn, active in the last 56 days, mean of 2017-09-11, 10-09, "
        "11-06 (New York)",
        journey_plan(56),
        Dataset(settings, 56),
        config(n_seeds=2),
        (
            Aim("AUC", 0.865),
            Aim("AP", 0.27),
            Aim("lift@10%", 4.5),
            Aim("ECE", 0.014, "at most"),
        ),
        progress,
    )


def thirteen_weeks(settings: Settings, progress: Progress) -> Protocol:
    """Judge P(no purchase in 91 days) of everybody on CDNOW at 1997-10-01."""
    plan = Plan(
        horizon_days=91,
        validation=(date(1997, 7, 2),),
        test=(date(1997, 10, 1),),
        serve=date(1997, 12, 31),
        begins=date(1997, 1, 1),
        warmup_days=56,
        step_days=14,
        train_max=6,
    )
    return _measured(
        "CDNOW, 13 weeks from 1997-10-01, everybody, nothing later than 1997-09-30 in training",
        plan,
        Everybody(settings, 91),
        config(n_seeds=1),
        (Aim("AUC", 0.780), Aim("Brier", 0.1155, "at most")),
        progress,
        alive=True,
    )


class Everybody(Dataset):
    """The members of a data set, of whom none stands apart as dormant."""

    def at(self, as_of: date) -> Labelled:
        """Return the members of one as_of, all of them judged."""
        labelled = super().at(as_of)
        return replace(labelled, active=np.ones(len(labelled), dtype=bool))


def journey_plan(horizon_days: int) -> Plan:
    """Return the as_ofs of Complete Journey that the issue names, and two before them."""
    days = (date(2017, 10, 9), date(2017, 11, 6), date(2017, 12, 4))
    chosen_on = (date(2017, 8, 14), date(2017, 9, 11))
    if horizon_days == 56:
        days = (date(2017, 9, 11), date(2017, 10, 9), date(2017, 11, 6))
        chosen_on = (date(2017, 7, 17), date(2017, 8, 14))
    return Plan(
        horizon_days=horizon_days,
        validation=chosen_on,
        test=days,
        serve=date(2018, 1, 1),
        begins=date(2017, 1, 1),
        warmup_days=56,
        step_days=LIKE_A_JOB.step_days,
        train_max=LIKE_A_JOB.train_max,
    )


def config(*, n_seeds: int) -> TrainConfig:
    """Return how the benchmark trains: as a job does, with fewer seeds where time is short."""
    return TrainConfig(seed=SEED, churn=ChurnConfig(n_seeds=n_seeds))


def _measured(
    name: str,
    plan: Plan,
    dataset: Dataset,
    how: TrainConfig,
    aims: tuple[Aim, ...],
    progress: Progress,
    *,
    alive: bool = False,
) -> Protocol:
    began = time.perf_counter()
    candidates = rivals.churn(how, plan.horizon_days, dataset.settings.threads)
    forecasts = churn_forecasts(candidates, dataset, plan, progress)
    if alive:
        candidates = (*candidates, Candidate("1 - P(alive)", "reference", dict))
        forecasts = _with_alive(forecasts, dataset, plan)
    validation = headline(forecasts.at(plan.validation))
    primary = CHURN.metrics[CHURN.primary]
    winner = max(
        (c.name for c in candidates if c.role == "model"),
        key=lambda name: mean_over_days(primary, validation, name),
    )
    lines = _lines(candidates, forecasts, plan, how, {winner: aims})
    note = (
        f"Chosen on {', '.join(map(str, plan.validation))} by {CHURN.primary}: {winner}; the aims "
        f"are asked of it. {how.churn.n_seeds} seed(s) a booster."
    )
    return Protocol(name, lines, time.perf_counter() - began, note)


def _lines(
    candidates: tuple[Candidate, ...],
    forecasts: Forecasts,
    plan: Plan,
    how: TrainConfig,
    aims: Mapping[str, tuple[Aim, ...]],
) -> tuple[Line, ...]:
    tested = headline(forecasts.at(plan.test))
    names = [candidate.name for candidate in candidates]
    yardstick = in_money(how.churn.campaign)
    drawn = {
        label: resampled(CHURN.metrics[label], tested, names, seed=SEED, draws=DRAWS)
        for label in WITH_INTERVAL
    }
    observed, again = drawn[CHURN.primary]
    rule = max((c.name for c in candidates if c.role == "rule"), key=lambda name: observed[name])
    lines = []
    for candidate in candidates:
        name = candidate.name
        figures = {
            label: mean_over_days(metric, tested, name)
            for label, metric in yardstick.metrics.items()
        }
        if (plan.test[0], name) in forecasts.calibrations:
            said = as_probability(tested, forecasts, name, plan)
            for label, metric in CHURN.calibrated.items():
                figures[label] = mean_over_days(metric, said, name)
        intervals = {
            label: Interval.of(figure[name], draws[name])
            for label, (figure, draws) in drawn.items()
        }
        gain = Interval.of(observed[name] - observed[rule], again[name] - again[rule])
        differences = {} if name == rule else {CHURN.primary: gain}
        role = {"rule": "rule", "model": "ours", "reference": "rival"}[candidate.role]
        lines.append(Line(name, role, figures, intervals, differences, aims.get(name, ())))  # type: ignore[arg-type]
    return tuple(lines)


def _with_alive(forecasts: Forecasts, dataset: Dataset, plan: Plan) -> Forecasts:
    """Add what P(alive) of BG/NBD says, the score that calls a one-time buyer loyal."""
    parts = []
    for as_of in plan.judged:
        histories = Histories.of(dataset.at(as_of).rows.features)
        said = 1 - BgNbd.fit(histories).alive_probability(histories)
        rows = forecasts.at((as_of,))
        parts.append(rows.assign(**{"1 - P(alive)": said}))
    return Forecasts(pd.concat(parts, ignore_index=True), forecasts.calibrations)
