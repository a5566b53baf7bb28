"""Whether the grade tells luck from skill: shuffled labels, and the best rule with noise."""

import argparse
import time
from dataclasses import replace
from datetime import date

import numpy as np

from experiments.bench_models.churn import DRAWS, SEED, journey_plan
from experiments.bench_models.homes import home_of
from experiments.bench_models.lines import Aim, Line, Progress, Protocol
from training import leaderboard
from training.candidates import churn
from training.config import ChurnConfig, TrainConfig
from training.dataset import Dataset, Labelled
from training.forecasts import Candidate, Forecasts, churn_forecasts
from training.splits import Plan

NOISY_SEEDS = 40
SHUFFLED_SEEDS = 3
# Of the spread of the rule's log-odds: enough to reorder neighbours, too little to hide the rule.
NOISE = 0.3
RULES = ("recency_rule", "frequency_rule")


class Shuffled(Dataset):
    """The same members with everybody's outcome dealt to somebody else."""

    deal = 0

    def at(self, as_of: date) -> Labelled:
        """Return the members of one as_of with outcomes dealt by `deal` and the day."""
        labelled = super().at(as_of)
        rng = np.random.default_rng([self.deal, as_of.toordinal()])
        return replace(labelled, churned=labelled.churned[rng.permutation(len(labelled))])


def protocols(arguments: argparse.Namespace, progress: Progress) -> list[Protocol]:
    """Count the C's that models without any skill get, on Complete Journey, 28-day churn."""
    settings = home_of(arguments.home, "completejourney", progress)
    began = time.perf_counter()
    plan = replace(journey_plan(28), step_days=28, train_max=3)
    config = TrainConfig(seed=SEED, draws=DRAWS, churn=ChurnConfig(n_trees=60, n_seeds=1))
    candidates = tuple(
        candidate
        for candidate in churn(config, plan.horizon_days, settings.threads)
        if candidate.name in (*RULES, "lightgbm")
    )
    honest = Dataset(settings, plan.horizon_days)
    noisy = _noisy(honest, candidates, plan, progress)
    shuffled = []
    for deal in range(SHUFFLED_SEEDS):
        dealt = type("Dealt", (Shuffled,), {"deal": deal})(settings, plan.horizon_days)
        forecasts = churn_forecasts(candidates, dealt, plan, progress)
        shuffled.append(_grade(forecasts, candidates, plan))
    return [
        Protocol(
            "Grades without skill: Complete Journey, 28-day churn",
            (
                _line("LightGBM on shuffled labels", shuffled, SHUFFLED_SEEDS),
                _line("best rule + noise", noisy, NOISY_SEEDS - 2),
            ),
            time.perf_counter() - began,
            f"Of {SHUFFLED_SEEDS} deals and of {NOISY_SEEDS} noises, each judged as a job would.",
        )
    ]


def _noisy(
    dataset: Dataset, candidates: tuple[Candidate, ...], plan: Plan, progress: Progress
) -> list[str]:
    """Grade the best rule with noise of forty seeds, as if it were the only model."""
    rules = tuple(candidate for candidate in candidates if candidate.role == "rule")
    forecasts = churn_forecasts(rules, dataset, plan, progress)
    best = leaderboard.judge(
        leaderboard.CHURN, forecasts, rules, plan, seed=SEED, draws=DRAWS
    ).best_rule
    judged = (*rules, Candidate("rule_with_noise", "model", dict))
    grades = []
    for seed in range(NOISY_SEEDS):
        said = forecasts.frame[best]
        noise = np.random.default_rng(seed).normal(0, NOISE * float(said.std()), len(said))
        same = {
            (day, "rule_with_noise"): calibration
            for (day, name), calibration in forecasts.calibrations.items()
            if name == best
        }
        frame = forecasts.frame.assign(rule_with_noise=said + noise)
        told = Forecasts(frame, {**forecasts.calibrations, **same})
        grades.append(_grade(told, judged, plan, only="rule_with_noise"))
    return grades


def _grade(
    forecasts: Forecasts, candidates: tuple[Candidate, ...], plan: Plan, only: str = "lightgbm"
) -> str:
    """Return the grade of one candidate, were it the winner on validation, whatever it is."""
    board = leaderboard.judge(
        leaderboard.CHURN, _winning(forecasts, only, plan), candidates, plan, seed=SEED, draws=DRAWS
    )
    return board.grade


def _winning(forecasts: Forecasts, name: str, plan: Plan) -> Forecasts:
    """Let a candidate know the truth on the validation days, so that it is the one graded."""
    frame = forecasts.frame.copy()
    early = frame["as_of"].isin([np.datetime64(day, "D") for day in plan.validation])
    frame.loc[early, name] = frame.loc[early, "truth"]
    return Forecasts(frame, forecasts.calibrations)


def _line(model: str, grades: list[str], least: int) -> Line:
    counted = {f"graded {grade}": float(grades.count(grade)) for grade in "ABC"}
    return Line(model, "ours", counted, aims=(Aim("graded C", least),))
