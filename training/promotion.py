"""When a new version becomes the champion: the rules of first, replacement and refresh."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from programme.errors import PerennialError
from programme.settings import Settings
from training import leaderboard, registry
from training.baskets import Baskets
from training.bundle import Bundle, Target
from training.config import TrainConfig
from training.dataset import Dataset
from training.forecasts import LIST_LENGTH, Candidate, Forecasts, wanted_products
from training.intervals import Interval
from training.leaderboard import Leaderboard, Yardstick
from training.metrics import ece, judge_members
from training.models.calibration import PlattCalibration
from training.models.conformal import ValueIntervals
from training.order_metrics import share_right
from training.rows import MemberRows
from training.surrogate import ValueSurrogate

# The tag that says which candidate a version was, so that recipes can be compared later.
CANDIDATE_TAG = "candidate"
# A refresh may lose this much of the primary metric, or of calibration, to chance.
REFRESH_TOLERANCE = 0.01
_INCUMBENT = "champion"


@dataclass(frozen=True)
class Job:
    """One target learned and judged, not yet stored.

    `shown` are rows whose contributions the run's plot shows: the last test day's, churn only.
    """

    target: Target
    yardstick: Yardstick
    candidates: tuple[Candidate, ...]
    forecasts: Forecasts
    board: Leaderboard
    model: Any
    calibration: PlattCalibration | None = None
    surrogate: ValueSurrogate | None = None
    intervals: ValueIntervals | None = None
    shown: pd.DataFrame | None = None


def decide(
    settings: Settings, config: TrainConfig, job: Job, name: str, version: int
) -> tuple[bool, str]:
    """Promote a version if it earned it; return whether, and why.

    The first champion has only the best rule to beat, and a job never serves less than that. A
    new recipe replaces the champion's when the lower bound of the difference of the two recipes
    is above 0 on the same test days. A refresh of the same recipe must not lose more than chance
    to the champion itself, on test days that lie after everything the champion learned from.
    """
    present = registry.champion_version(settings, name)
    served = job.board.served
    if present is None:
        registry.promote(settings, name, version, expected=None)
        return True, "the first champion."
    incumbent = registry.tag(settings, name, present, CANDIDATE_TAG)
    if incumbent == served:
        earned, why = _refresh(settings, config, job, name)
    elif incumbent in {candidate.name for candidate in job.candidates}:
        gain = leaderboard.difference(
            job.yardstick, job.forecasts, job.board.plan.test, served, incumbent,
            seed=config.seed, draws=config.draws,
        )  # fmt: skip
        earned = gain.low > 0
        why = f"{served} against the champion's {incumbent}: {_said(gain, job)}."
    else:
        earned, why = False, f"the champion {present} is of a recipe no longer judged here."
    if earned:
        registry.promote(settings, name, version, expected=present)
    return earned, f"{'promoted' if earned else 'kept as challenger'}; {why}"


def _refresh(settings: Settings, config: TrainConfig, job: Job, name: str) -> tuple[bool, str]:
    try:
        champion = registry.load(settings, name).bundle
    except PerennialError as error:
        return True, f"the champion cannot be loaded any more ({type(error).__name__})."
    fresh = tuple(day for day in job.board.plan.test if day >= champion.facts.data_until)
    if not fresh:
        return True, "the same recipe, and no test day yet that the champion has not learned from."
    forecasts = _with_champion(settings, job, champion, fresh)
    gain = leaderboard.difference(
        job.yardstick, forecasts, fresh, job.board.served, _INCUMBENT,
        seed=config.seed, draws=config.draws,
    )  # fmt: skip
    worse = _calibration_lost(job, champion, forecasts, fresh)
    earned = gain.low > -REFRESH_TOLERANCE and worse <= REFRESH_TOLERANCE
    calibration = f", calibration error {worse:+.4f}" if job.calibration is not None else ""
    return earned, f"the same recipe, refreshed: {_said(gain, job)}{calibration}."


def _with_champion(
    settings: Settings, job: Job, champion: Bundle, days: tuple[date, ...]
) -> Forecasts:
    """Return the forecasts of some days with one more column: what the champion itself says."""
    parts = []
    for day in days:
        rows = job.forecasts.at((day,))
        said = answers(settings, champion, day, list(rows["member_id"]))
        parts.append(rows.assign(**{_INCUMBENT: said}))
    return Forecasts(pd.concat(parts, ignore_index=True), job.forecasts.calibrations)


def answers(
    settings: Settings, champion: Bundle, day: date, members: list[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a registered model says at a day, or of a recommender the recall it reached.

    Parameters
    ----------
    members : of a recommender, those with something to find; else as many members as these are
        answered for, the ones a job of that size reads, in the order of the snapshot

    Returns
    -------
    array of shape (len(members),): log-odds, cents or recall, as the leaderboard judges them
    """
    target, horizon = champion.facts.target, champion.facts.horizon_days
    if target in ("repeat", "explore"):
        baskets = Baskets(settings, horizon)
        before = baskets.before(day)
        truth = wanted_products(target, before, baskets.after(day))
        named = champion.model.recommend(before, members, LIST_LENGTH)
        found = judge_members(named, truth, LIST_LENGTH)["recall"]
        return np.asarray(found.reindex(members), dtype=np.float64)
    # As many members as were judged are the members that were judged.
    members_max = len(members)
    if target == "next_order":
        labelled = Dataset(settings, horizon, members_max=members_max).at(day)
        return share_right(champion.model.silence(labelled.rows), labelled.next_days)
    dataset = Dataset(settings, horizon, champion.facts.n_weeks, members_max=members_max)
    return told(champion, dataset.at(day).rows)


def told(champion: Bundle, rows: MemberRows) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a champion of churn or value says of rows: log-odds or cents, shape (n,)."""
    if champion.facts.target == "churn":
        return np.asarray(champion.model.raw_score(rows.features), dtype=np.float64)
    return np.asarray(champion.model.predict(rows), dtype=np.float64)


def _calibration_lost(
    job: Job, champion: Bundle, forecasts: Forecasts, days: tuple[date, ...]
) -> float:
    """Return how much larger the calibration error is than the champion's; churn only."""
    if champion.calibration is None:
        return 0.0
    lost = []
    for day in days:
        rows = forecasts.at((day,))
        rows = rows[rows["active"]]
        if rows.empty:
            continue
        served = forecasts.calibrations[day, job.board.served].apply(rows[job.board.served])
        present = champion.calibration.apply(rows[_INCUMBENT])
        lost.append(ece(rows["truth"], served) - ece(rows["truth"], present))
    return float(np.mean(lost)) if lost else 0.0


def _said(gain: Interval, job: Job) -> str:
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] {job.board.primary}"
