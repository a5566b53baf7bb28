"""What members will spend: CDNOW over 13 and 39 weeks, Complete Journey over 13."""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.bench_models.homes import home_of
from experiments.bench_models.lines import Aim, Line, Progress, Protocol
from features import snapshot
from features.table import MODEL_COLUMNS
from programme.settings import Settings
from training import candidates as rivals
from training import metrics
from training.config import TrainConfig
from training.dataset import Dataset, member_rows
from training.forecasts import Weighed, fit_value, weigh
from training.intervals import Interval, resampled
from training.labels import data_begins, outcomes
from training.metrics import Metric
from training.models.classical import COUNTING, ClassicValue
from training.models.conformal import ValueIntervals
from training.models.histories import Histories
from training.models.rules import PastSpend
from training.models.value_stack import ValueStack
from training.models.value_stretched import ValueStretched
from training.rows import MemberRows
from training.windows import settled

CONFIG = TrainConfig()
QUARTER, THREE_QUARTERS = 91, 273
DRAWS = 300
FIGURES: Mapping[str, Metric] = {
    "nGini": metrics.normalised_gini,
    "decile MAPE": metrics.decile_mape,
    "bias": metrics.aggregate_bias,
    "Spearman": metrics.spearman,
    "RMSE": lambda truth, said: metrics.rmse(truth, said) / metrics.UNIT_CENTS,
    "top 1%": partial(metrics.share_captured, share=0.01),
    "top 5%": partial(metrics.share_captured, share=0.05),
    "top 10%": partial(metrics.share_captured, share=0.10),
}
COVERED = (Aim("coverage", 0.77), Aim("coverage", 0.83, "at most"))


@dataclass(frozen=True)
class Data:
    """One home and the days a protocol learns at.

    Parameters
    ----------
    as_of : the day all answers are for; nothing from then on is learned
    n_past, step_days : training days, the newest a quarter before `as_of`
    """

    source: str
    as_of: date
    n_past: int
    step_days: int = 14

    @property
    def past(self) -> tuple[date, ...]:
        """Return the training days, newest first; each one's quarter ends by `as_of`."""
        newest = self.as_of - timedelta(days=QUARTER)
        return tuple(newest - timedelta(days=self.step_days * k) for k in range(self.n_past))


# CDNOW's members all came in the first quarter of 1997: before 9 April few had any past.
CDNOW = Data("cdnow", date(1997, 10, 1), n_past=7)
JOURNEY = Data("completejourney", date(2017, 10, 1), n_past=8)


@dataclass(frozen=True)
class Learned:
    """Everything fitted on one past, and the members it answers for."""

    settings: Settings
    rows: MemberRows
    models: Mapping[str, Any]
    weighed: Weighed
    seconds: Mapping[str, float]

    def truth(self, data: Data, horizon_days: int) -> NDArray[np.float64]:
        """Return what the members spent within a horizon, shape (n,), >= 0."""
        version = snapshot.build(self.settings, data.as_of).lake_version
        members = list(self.rows.member_id)
        came = outcomes(self.settings, data.as_of, horizon_days, members, version)
        return np.maximum(came.value_cents, 0.0)


def protocols(arguments: argparse.Namespace, progress: Progress) -> Iterator[Protocol]:
    """Measure the three rows of the table."""
    begun = time.monotonic()
    cdnow = _learned(arguments.home, CDNOW, progress)
    yield _quarter("CDNOW, value of 13 weeks from 1997-10-01", cdnow, CDNOW, _CDNOW_AIMS, begun)
    yield _three_quarters(cdnow, time.monotonic())
    begun = time.monotonic()
    journey = _learned(arguments.home, JOURNEY, progress)
    name = "Complete Journey, value of 13 weeks from 2017-10-01"
    yield _quarter(name, journey, JOURNEY, _JOURNEY_AIMS, begun)


_CDNOW_AIMS = {
    "value_lstm": (Aim("nGini", 0.692),),
    "value_stack": (
        Aim("nGini", 0.698), Aim("decile MAPE", 0.09, "at most"), Aim("bias", 0.05, "within"),
        *COVERED,
    ),
}  # fmt: skip
_LONGER_AIMS = {
    "value_lstm": (Aim("nGini", 0.70),),
    "value_stack": (
        Aim("nGini", 0.73), Aim("decile MAPE", 0.09, "at most"), Aim("bias", 0.05, "within"),
    ),
}  # fmt: skip
_JOURNEY_AIMS = {
    "value_stack": (
        Aim("nGini", 0.873), Aim("decile MAPE", 0.06, "at most"), Aim("bias", 0.02, "within"),
        *COVERED,
    ),
}  # fmt: skip


def _learned(home: Path, data: Data, progress: Progress) -> Learned:
    """Fit every candidate as a training job would on that day."""
    settings = home_of(home, data.source, progress)
    shorter = rivals.shorter_horizons(CONFIG, QUARTER)
    dataset = Dataset(settings, QUARTER, CONFIG.value.n_weeks, shorter)
    past = dataset.past(data.past)
    rows, _ = member_rows(snapshot.build(settings, data.as_of), CONFIG.value.n_weeks)
    columns = settled(MODEL_COLUMNS, data_begins(settings), data.past)
    everybody = rivals.value(CONFIG, QUARTER, settings.threads, columns)
    alone = tuple(c for c in everybody if not c.parts)
    models: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for candidate in alone:
        begun = time.monotonic()
        models |= fit_value((candidate,), past, CONFIG.seed, progress, data.as_of)
        seconds[candidate.name] = time.monotonic() - begun
    progress(f"value: weighing the models of the stack for {data.as_of}")
    begun = time.monotonic()
    weighed = weigh([c for c in alone if c.name in rivals.STACKED], past, CONFIG.seed)
    assert weighed is not None  # thousands of members are enough
    seconds["value_stack"] = time.monotonic() - begun
    stacked = {name: models[name] for name in rivals.STACKED}
    models["value_stack"] = ValueStack(stacked, weights=weighed.weights)
    return Learned(settings, rows, models, weighed, seconds)


def _quarter(
    name: str, learned: Learned, data: Data, aims: Mapping[str, tuple[Aim, ...]], begun: float
) -> Protocol:
    """Judge the models on the quarter they learned."""
    answers = {label: model.predict(learned.rows) for label, model in learned.models.items()}
    # The literature fits the classical models to all that is known of the members judged.
    answers |= {
        f"{counting}_gamma_gamma": _classic(counting, QUARTER, learned.rows)
        for counting in COUNTING
    }
    truth = learned.truth(data, QUARTER)
    intervals = ValueIntervals.fit(learned.weighed.said_cents, learned.weighed.came_cents)
    around = intervals.apply(answers["value_stack"])
    open_ended = around[:, 1] > 0
    covering = {
        "coverage": metrics.covered(truth, around[:, 0], around[:, 1]),
        "coverage where spend is in sight": metrics.covered(
            truth[open_ended], around[open_ended, 0], around[open_ended, 1]
        ),
    }
    lines = _lines(learned, answers, truth, aims, {"value_stack": covering})
    return Protocol(name, lines, time.monotonic() - begun, _note(learned, truth, open_ended))


def _three_quarters(learned: Learned, begun: float) -> Protocol:
    """Judge the quarter's models over 39 weeks: no past day has a window as long behind it."""
    counting = COUNTING["bgnbd"].fit(Histories.of(learned.rows.features))
    answers = {}
    for label, model in learned.models.items():
        if isinstance(model, PastSpend):
            share = model.share * THREE_QUARTERS / QUARTER
            answers[label] = PastSpend(model.column, share=share).predict(learned.rows)
        elif isinstance(model, ClassicValue):
            answers[label] = _classic(model.counting, THREE_QUARTERS, learned.rows)
        else:
            longer = ValueStretched(
                model, "bgnbd", QUARTER, THREE_QUARTERS, counting_fitted=counting
            )
            answers[label] = longer.predict(learned.rows)
    truth = learned.truth(CDNOW, THREE_QUARTERS)
    lines = _lines(learned, answers, truth, _LONGER_AIMS, {})
    note = (
        "Models of a quarter, each member's answer times the purchases BG/NBD expects of her in "
        "39 weeks over those in 13: with 39 weeks of history no past day has 39 weeks behind it."
    )
    return Protocol(
        "CDNOW, value of 39 weeks from 39", lines, time.monotonic() - begun, note
    )  # fmt: skip


def _classic(counting: str, horizon_days: int, rows: MemberRows) -> NDArray[np.float64]:
    model = ClassicValue(counting, horizon_days, seed=CONFIG.seed)
    # Outcomes are only checked, never learned from: any will do.
    return model.fit(rows, np.ones(len(rows))).predict(rows)


def _lines(
    learned: Learned,
    answers: Mapping[str, NDArray[np.float64]],
    truth: NDArray[np.float64],
    aims: Mapping[str, tuple[Aim, ...]],
    further: Mapping[str, Mapping[str, float]],
) -> tuple[Line, ...]:
    """Judge every answer on the same members, and beside the best rule on the same resamples."""
    frame = pd.DataFrame(
        {"member_id": learned.rows.member_id, "as_of": 0, "truth": truth, **answers}
    )
    observed, drawn = resampled(
        metrics.normalised_gini, frame, list(answers), seed=CONFIG.seed, draws=DRAWS
    )
    rules = [label for label in answers if _role(label) == "rule"]
    best = max(rules, key=lambda label: observed[label])
    lines = []
    for label, said in answers.items():
        gain = Interval.of(observed[label] - observed[best], drawn[label] - drawn[best])
        figures = {name: metric(truth, said) for name, metric in FIGURES.items()}
        seconds = {"seconds": learned.seconds.get(label, 0.0)}
        lines.append(
            Line(
                label,
                _role(label),
                {**figures, **further.get(label, {}), **seconds},
                {"nGini": Interval.of(observed[label], drawn[label])},
                {} if label == best else {"nGini": gain},
                aims.get(label, ()),
            )
        )
    return tuple(lines)


def _role(label: str) -> Literal["rule", "rival", "ours"]:
    if label.startswith("past_spend"):
        return "rule"
    return "ours" if label in ("value_lstm", "value_stack") else "rival"


def _note(learned: Learned, truth: NDArray[np.float64], open_ended: NDArray[np.bool_]) -> str:
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in learned.weighed.weights.items())
    return (
        f"{len(truth):,} members, {(truth == 0).mean():.0%} of whom spent nothing. Weights of the "
        f"stack: {weights}. Of {open_ended.mean():.0%} the 80 % interval is more than nothing; of "
        "the others more than 80 % spend nothing, and no interval that is true can hold fewer."
    )
