"""One population's table: every candidate's figures, each with how sure we are of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from training.config import Campaign
from training.forecasts import FIRST_ORDER, Candidate, Forecasts, Role
from training.intervals import Interval, resampled
from training.metrics import Metric
from training.splits import Plan

# Fewer rows than this in a population and its figures say nothing.
ROWS_MIN = 30
NEWCOMERS = "newcomers"
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
    newcomers : what members who joined lately are judged by instead of `primary`: name -> metric
    campaign : what money says of the answer; churn only
    details : shown beside, of further columns of the forecasts: by the name the table shows, the
        column of the truth, what a candidate's name is followed by, and the metric
    """

    target: str
    primary: str
    metrics: Mapping[str, Metric]
    calibrated: Mapping[str, Metric]
    truth_is_best: bool = False
    newcomers: Mapping[str, Metric] = field(default_factory=dict)
    campaign: Campaign | None = None
    details: Mapping[str, tuple[str, str, Metric]] = field(default_factory=dict)

    def of(self, population: str) -> "Yardstick":
        """Return the yardstick of a population: newcomers may have one of their own."""
        if population != NEWCOMERS or not self.newcomers:
            return self
        first = next(iter(self.newcomers))
        return replace(self, primary=first, metrics={**self.newcomers, **self.metrics})


@dataclass(frozen=True)
class Entry:
    """One candidate's figures on the test as_ofs of one population, means over as_ofs.

    Parameters
    ----------
    interval : the primary metric with its 95 % interval over members
    difference : that less the population's best rule, paired over members; None for the rule
    """

    name: str
    role: Role
    metrics: Mapping[str, float]
    interval: Interval
    difference: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; undefined: None."""
        return {
            "name": self.name,
            "role": self.role,
            "metrics": defined(self.metrics),
            "interval": defined(vars(self.interval)),
            "difference": defined(vars(self.difference)) if self.difference else None,
        }


@dataclass(frozen=True)
class Standing:
    """One population's table, in the order of its primary metric."""

    population: str
    primary: str
    rows: int
    base_rate: float
    entries: tuple[Entry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; undefined: None."""
        return {
            "name": self.population,
            "primary": self.primary,
            "rows": self.rows,
            "base_rate": self.base_rate,
            "metrics": list(self.entries[0].metrics),
            "entries": [entry.to_dict() for entry in self.entries],
        }


def standings(
    yardstick: Yardstick,
    forecasts: Forecasts,
    candidates: tuple[Candidate, ...],
    plan: Plan,
    *,
    seed: int,
    draws: int,
) -> tuple[Standing, ...]:
    """Judge every population that is large enough, the headline first.

    Parameters
    ----------
    seed, draws : of the bootstrap over members; a member is drawn in all her as_ofs at once
    """
    rivals = [(candidate.name, candidate.role) for candidate in candidates]
    found = []
    for population, rows in populations(forecasts.at(plan.test)):
        own, judged = yardstick.of(population), list(rivals)
        if own is not yardstick and FIRST_ORDER in rows:
            judged.append((FIRST_ORDER, "rule"))
        found.append(_standing(own, population, rows, forecasts, judged, plan, seed, draws))
    return tuple(found)


def headline(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the active members; everybody where too few are active."""
    active = frame[frame["active"]]
    return active if len(active) >= ROWS_MIN else frame


def populations(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the populations that are large enough to be judged, the headline first."""
    judged, dormant = headline(frame), frame[~frame["active"]]
    found = [("all" if judged is frame else "active", judged), ("dormant", dormant)]
    if "newcomer" in frame:
        found.append((NEWCOMERS, frame[frame["newcomer"]]))
    if "history" in frame:
        found += [
            (f"{name} history", judged[judged["history"].between(low, high)])
            for name, low, high in HISTORIES
        ]
    return [(name, rows) for name, rows in found if rows is judged or len(rows) >= ROWS_MIN]


def as_probability(rows: pd.DataFrame, forecasts: Forecasts, name: str, plan: Plan) -> pd.DataFrame:
    """Return the rows with raw scores calibrated on the as_of a horizon before each."""
    parts = []
    for day in plan.test:
        part = rows[rows["as_of"] == np.datetime64(day, "D")]
        calibration = forecasts.calibrations[day, name]
        parts.append(part.assign(**{name: calibration.apply(part[name].to_numpy())}))
    return pd.concat(parts)


def mean_over_days(metric: Metric, frame: pd.DataFrame, name: str) -> float:
    """Return the mean over as_ofs; as_ofs on which the figure is undefined are left out."""
    figures = [
        metric(part["truth"].to_numpy(dtype=np.float64), part[name].to_numpy(dtype=np.float64))
        for _, part in frame.groupby("as_of", sort=True)
    ]
    kept = [figure for figure in figures if np.isfinite(figure)]
    return float(np.mean(kept)) if kept else float("nan")


def defined(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return the figures with None for NaN, which JSON does not have."""
    return {name: figure if np.isfinite(figure) else None for name, figure in figures.items()}


def _standing(
    yardstick: Yardstick,
    population: str,
    rows: pd.DataFrame,
    forecasts: Forecasts,
    judged: list[tuple[str, Role]],
    plan: Plan,
    seed: int,
    draws: int,
) -> Standing:
    names = [name for name, _ in judged]
    primary = yardstick.metrics[yardstick.primary]
    observed, drawn = resampled(primary, rows, names, seed=seed, draws=draws)
    rules = [name for name, role in judged if role == "rule"]
    rival = max(rules, key=lambda name: np.nan_to_num(observed[name], nan=-np.inf))
    entries = []
    for name, role in judged:
        gain = Interval.of(observed[name] - observed[rival], drawn[name] - drawn[rival])
        entries.append(
            Entry(
                name,
                role,
                _figures(yardstick, rows, forecasts, name, plan),
                Interval.of(observed[name], drawn[name]),
                None if name == rival else gain,
            )
        )
    entries.sort(key=lambda entry: -np.nan_to_num(observed[entry.name], nan=-np.inf))
    base_rate = float(rows["truth"].mean())
    return Standing(population, yardstick.primary, len(rows), base_rate, tuple(entries))


def _figures(
    yardstick: Yardstick, rows: pd.DataFrame, forecasts: Forecasts, name: str, plan: Plan
) -> dict[str, float]:
    figures = {
        label: mean_over_days(metric, rows, name) for label, metric in yardstick.metrics.items()
    }
    for label, metric in yardstick.calibrated.items():
        figures[label] = mean_over_days(metric, as_probability(rows, forecasts, name, plan), name)
    for label, (truth, suffix, metric) in yardstick.details.items():
        told = rows[["as_of"]].assign(truth=rows[truth], told=rows[f"{name}{suffix}"])
        figures[label] = mean_over_days(metric, told, "told")
    return figures | _of_lists(forecasts, rows, name)


def _of_lists(forecasts: Forecasts, rows: pd.DataFrame, name: str) -> dict[str, float]:
    """Return further figures of a recommender's lists to these members, means over as_ofs."""
    if forecasts.lists is None:
        return {}
    own = forecasts.lists[forecasts.lists["candidate"] == name].drop(columns="candidate")
    asked = rows[["as_of", "member_id"]].merge(own, on=["as_of", "member_id"])
    means = asked.drop(columns="member_id").groupby("as_of").mean().mean()
    return {str(label): float(figure) for label, figure in means.items()}
