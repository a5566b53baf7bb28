"""Every model and every naive rule on the same members and days; the grade with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from training import metrics, order_metrics
from training.forecasts import Candidate, Forecasts, Role
from training.intervals import Interval, grade, resampled
from training.metrics import Doubles, Metric
from training.splits import Plan

# Fewer rows than this in a population and its figures say nothing.
ROWS_MIN = 30
# Recommendations are judged apart by how many products a member had bought.
HISTORIES = (("short", 1, 20), ("middle", 21, 100), ("long", 101, np.inf))


@dataclass(frozen=True)
class Yardstick:
    """How a target is judged.

    Parameters
    ----------
    target : churn, value, repeat, explore
    primary : the metric that chooses the winner and makes the grade
    metrics : of the answer as given, by the name the table shows
    calibrated : metrics of probabilities; churn only
    truth_is_best : candidates are per-member figures and `truth` the best each could be
    details : shown beside, of further columns of the forecasts: by the name the table shows, the
        column of the truth, what a candidate's name is followed by, and the metric
    """

    target: str
    primary: str
    metrics: Mapping[str, Metric]
    calibrated: Mapping[str, Metric]
    truth_is_best: bool = False
    details: Mapping[str, tuple[str, str, Metric]] = field(default_factory=dict)


def _rmse_in_currency(truth_cents: Doubles, expected_cents: Doubles) -> float:
    return metrics.rmse(truth_cents, expected_cents) / metrics.UNIT_CENTS


CHURN = Yardstick(
    "churn",
    "AP",
    {
        "AUC": metrics.auc,
        "AP": metrics.average_precision,
        "lift@10%": metrics.top_decile_lift,
    },
    {"Brier": metrics.brier, "ECE": metrics.ece},
)
VALUE = Yardstick(
    "value",
    "Gini",
    {
        "Gini": metrics.normalised_gini,
        "Spearman": metrics.spearman,
        "RMSE": _rmse_in_currency,
        "bias": metrics.aggregate_bias,
        "decile MAPE": metrics.decile_mape,
        "top 1%": partial(metrics.share_captured, share=0.01),
        "top 5%": partial(metrics.share_captured, share=0.05),
        "top 10%": partial(metrics.share_captured, share=0.10),
    },
    {},
)
REPEAT = Yardstick("repeat", "recall@10", {"recall@10": metrics.mean_of}, {}, truth_is_best=True)
EXPLORE = replace(REPEAT, target="explore")
NEXT_ORDER = Yardstick(
    "next_order",
    "1-IBS",
    {"1-IBS": metrics.mean_of},
    {},
    truth_is_best=True,
    details={
        "MAE days": ("next_days", ":median", order_metrics.absolute_error),
        "C-index": ("next_days", ":mean", order_metrics.concordance),
        "coverage 80%": ("next_days", ":covered", metrics.mean_of),
        "width days": ("next_days", ":width", metrics.mean_of),
    },
)


@dataclass(frozen=True)
class Entry:
    """One candidate's figures on the test as_ofs of one population, means over as_ofs."""

    name: str
    role: Role
    metrics: Mapping[str, float]
    difference: Interval | None = None


@dataclass(frozen=True)
class Standing:
    """One population's table, in the order of the primary metric."""

    population: str
    rows: int
    base_rate: float
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Leaderboard:
    """One target judged.

    Parameters
    ----------
    validation : primary metric of every candidate on the validation as_ofs, active members
    winner : best on validation; may be a rule
    best_rule : the strongest rule on the test as_ofs: the rival the grade is against
    skill : (winner - best rule) / (perfect - best rule), with its 95 % interval over members
    served : the winner, or the best rule when the grade is C
    beside : what is served minus each reference, on the primary metric, paired over members
    """

    target: str
    horizon_days: int
    primary: str
    plan: Plan
    validation: Mapping[str, float]
    winner: str
    best_rule: str
    served: str
    skill: Interval
    grade: str
    standings: tuple[Standing, ...]
    beside: Mapping[str, Interval]
    deciles: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        """Return what the winner is registered as; see `registry.name_of`."""
        own = self.target == "next_order"
        return self.target if own else f"{self.target}_{self.horizon_days}d"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, as the command line shows it; undefined: None."""
        days = [str(day) for day in self.plan.test]
        return {
            "name": self.name,
            "target": self.target,
            "horizon_days": self.horizon_days,
            "primary": self.primary,
            "validation_as_ofs": [str(day) for day in self.plan.validation],
            "validation": _defined(self.validation),
            "winner": self.winner,
            "served": self.served,
            "best_rule": self.best_rule,
            "skill": _defined(vars(self.skill)),
            "grade": self.grade,
            "beside": {name: _defined(vars(gain)) for name, gain in self.beside.items()},
            "verdict": self.verdict(),
            "populations": [
                {
                    "name": standing.population,
                    "rows": standing.rows,
                    "base_rate": standing.base_rate,
                    "test_as_ofs": days,
                    "metrics": list(standing.entries[0].metrics),
                    "entries": [
                        {
                            "name": entry.name,
                            "role": entry.role,
                            "metrics": _defined(entry.metrics),
                            "difference": _defined(vars(entry.difference))
                            if entry.difference
                            else None,
                        }
                        for entry in standing.entries
                    ],
                }
                for standing in self.standings
            ],
        }

    def verdict(self) -> str:
        """Say in one sentence what is served and why."""
        won = (
            f"Best on validation ({self.primary}): {self.winner}. On the test days its skill over "
            f"the best rule, {self.best_rule}, is {self.skill.mean:.3f} "
            f"[{self.skill.low:.3f}, {self.skill.high:.3f}]: grade {self.grade}."
        )
        if self.served != self.winner:
            won += f" That is not enough to replace a rule: {self.served} is served."
        else:
            won += f" Served: {self.served}."
        for name, gain in self.beside.items():
            won += (
                f" Beside {name} it stands at {gain.mean:+.4f} "
                f"[{gain.low:+.4f}, {gain.high:+.4f}] {self.primary}."
            )
        return won


def judge(
    yardstick: Yardstick,
    forecasts: Forecasts,
    candidates: tuple[Candidate, ...],
    plan: Plan,
    *,
    seed: int,
    draws: int,
) -> Leaderboard:
    """Choose on validation, grade on test.

    Parameters
    ----------
    forecasts : of every candidate at every judged as_of
    seed, draws : of the bootstrap over members; a member is drawn in all her as_ofs at once

    Returns
    -------
    the leaderboard; the headline and the choice are of active members, dormant ones stand apart
    """
    primary = yardstick.metrics[yardstick.primary]
    names = [candidate.name for candidate in candidates]
    chosen_on = headline(forecasts.at(plan.validation))
    validation = {name: _mean(primary, chosen_on, name) for name in names}
    eligible = [c.name for c in candidates if c.role != "reference"]
    winner = max(eligible, key=lambda name: validation[name])
    tested = headline(forecasts.at(plan.test))
    # Of recommendations, `truth` is what a perfect list would reach, judged like a candidate.
    columns = [*names, "truth"] if yardstick.truth_is_best else names
    observed, drawn = resampled(primary, tested, columns, seed=seed, draws=draws)
    best_rule = max(
        (c.name for c in candidates if c.role == "rule"), key=lambda name: observed[name]
    )
    skill = Interval.of(
        _skill(observed[winner], observed[best_rule], observed.get("truth", 1.0)),
        _skill(drawn[winner], drawn[best_rule], drawn.get("truth", 1.0)),
    )
    earned = grade(skill)
    served = best_rule if earned == "C" else winner
    return Leaderboard(
        target=yardstick.target,
        horizon_days=plan.horizon_days,
        primary=yardstick.primary,
        plan=plan,
        validation=validation,
        winner=winner,
        best_rule=best_rule,
        served=served,
        skill=skill,
        grade=earned,
        standings=tuple(
            _standing(yardstick, population, rows, forecasts, candidates, plan, seed, draws)
            for population, rows in _populations(forecasts.at(plan.test))
        ),
        beside={
            c.name: Interval.of(observed[served] - observed[c.name], drawn[served] - drawn[c.name])
            for c in candidates
            if c.role == "reference"
        },
        deciles=_deciles(yardstick, forecasts, tested, winner, plan),
    )


def difference(
    yardstick: Yardstick,
    forecasts: Forecasts,
    as_ofs: tuple[date, ...],
    challenger: str,
    incumbent: str,
    *,
    seed: int,
    draws: int,
) -> Interval:
    """Return the primary metric of one candidate minus another's, paired over members."""
    tested = headline(forecasts.at(as_ofs))
    primary = yardstick.metrics[yardstick.primary]
    observed, drawn = resampled(primary, tested, (challenger, incumbent), seed=seed, draws=draws)
    return Interval.of(
        observed[challenger] - observed[incumbent], drawn[challenger] - drawn[incumbent]
    )


def _defined(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return the figures with None for NaN, which JSON does not have."""
    return {name: figure if np.isfinite(figure) else None for name, figure in figures.items()}


def _skill(model: Any, rule: Any, perfect: Any) -> Any:
    """Return the share of the way from the rule to perfection that the model goes.

    Undefined where the rule is perfect: nothing can be won, so the rule is served.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(model - rule, perfect - rule)


def headline(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the active members; everybody where too few are active."""
    active = frame[frame["active"]]
    return active if len(active) >= ROWS_MIN else frame


def _populations(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the populations that are large enough to be judged, the headline first."""
    judged, dormant = headline(frame), frame[~frame["active"]]
    others = [("dormant", dormant)]
    if "history" in frame.columns:
        others += [
            (f"{name} history", judged[judged["history"].between(low, high)])
            for name, low, high in HISTORIES
        ]
    first = ("all" if judged is frame else "active", judged)
    return [first, *((name, rows) for name, rows in others if len(rows) >= ROWS_MIN)]


def _standing(
    yardstick: Yardstick,
    population: str,
    rows: pd.DataFrame,
    forecasts: Forecasts,
    candidates: tuple[Candidate, ...],
    plan: Plan,
    seed: int,
    draws: int,
) -> Standing:
    names = [candidate.name for candidate in candidates]
    primary = yardstick.metrics[yardstick.primary]
    observed, drawn = resampled(primary, rows, names, seed=seed, draws=draws)
    rules = [c.name for c in candidates if c.role == "rule"]
    rival = max(rules, key=lambda name: observed[name])
    entries = []
    for candidate in candidates:
        name = candidate.name
        figures = {label: _mean(metric, rows, name) for label, metric in yardstick.metrics.items()}
        for label, metric in yardstick.calibrated.items():
            figures[label] = _mean(metric, _as_probability(rows, forecasts, name, plan), name)
        for label, (truth, suffix, metric) in yardstick.details.items():
            told = rows[["as_of"]].assign(truth=rows[truth], told=rows[f"{name}{suffix}"])
            figures[label] = _mean(metric, told, "told")
        figures |= _of_lists(forecasts, rows, name)
        gain = Interval.of(observed[name] - observed[rival], drawn[name] - drawn[rival])
        entries.append(Entry(name, candidate.role, figures, None if name == rival else gain))
    entries.sort(key=lambda entry: -entry.metrics[yardstick.primary])
    return Standing(population, len(rows), float(rows["truth"].mean()), tuple(entries))


def _of_lists(forecasts: Forecasts, rows: pd.DataFrame, name: str) -> dict[str, float]:
    """Return further figures of a recommender's lists to these members, means over as_ofs."""
    if forecasts.lists is None:
        return {}
    own = forecasts.lists[forecasts.lists["candidate"] == name].drop(columns="candidate")
    asked = rows[["as_of", "member_id"]].merge(own, on=["as_of", "member_id"])
    means = asked.drop(columns="member_id").groupby("as_of").mean().mean()
    return {str(label): float(figure) for label, figure in means.items()}


def _as_probability(
    rows: pd.DataFrame, forecasts: Forecasts, name: str, plan: Plan
) -> pd.DataFrame:
    """Return the rows with raw scores calibrated on the as_of a horizon before each."""
    parts = []
    for day in plan.test:
        part = rows[rows["as_of"] == np.datetime64(day, "D")]
        calibration = forecasts.calibrations[day, name]
        parts.append(part.assign(**{name: calibration.apply(part[name].to_numpy())}))
    return pd.concat(parts)


def _deciles(
    yardstick: Yardstick, forecasts: Forecasts, tested: pd.DataFrame, winner: str, plan: Plan
) -> pd.DataFrame | None:
    if yardstick.truth_is_best:
        return None
    rows = tested
    if yardstick.calibrated:
        rows = _as_probability(tested, forecasts, winner, plan)
    return metrics.decile_table(rows["truth"].to_numpy(), rows[winner].to_numpy())


def _mean(metric: Metric, frame: pd.DataFrame, name: str) -> float:
    """Return the mean over as_ofs; as_ofs on which the figure is undefined are left out."""
    figures = [
        metric(part["truth"].to_numpy(dtype=np.float64), part[name].to_numpy(dtype=np.float64))
        for _, part in frame.groupby("as_of", sort=True)
    ]
    kept = [figure for figure in figures if np.isfinite(figure)]
    return float(np.mean(kept)) if kept else float("nan")
