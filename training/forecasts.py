"""Every candidate's answer at every as_of it is judged at, each learned from that day's past."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from programme.errors import InputRefused
from training.dataset import Baskets, Dataset, Labelled
from training.metrics import judge_members
from training.models.calibration import PlattCalibration
from training.splits import Plan, require_past

Role = Literal["rule", "model", "reference"]
Progress = Callable[[str], None]
# Products named to a member; the yardstick is recall among these.
LIST_LENGTH = 10
# A line needs so many active members who left, and who stayed; else everybody makes it.
CALIBRATED_MIN = 20
# Whoever first bought at most so many days ago is new; her first order is the rule about her.
NEWCOMER_DAYS = 60
FIRST_ORDER = "first_order_cents"


class NothingToJudge(InputRefused):
    """A window in which nobody bought anything a recommender could have named."""


@dataclass(frozen=True)
class Candidate:
    """Something that may answer for a target.

    Parameters
    ----------
    name : as the leaderboard shows it
    role : rules are the naive rivals; a reference is shown but never served
    make : returns an unfitted model; a mean of others is made from the fitted ones
    parts : names of the candidates a mean is made of
    rows_max : beyond so many rows it learns from a seeded sample; None: from all
    label_days : churn only; length of the labels it learns from; None: the horizon's
    """

    name: str
    role: Role
    make: Callable[..., Any]
    parts: tuple[str, ...] = ()
    rows_max: int | None = None
    label_days: int | None = None


@dataclass(frozen=True)
class Forecasts:
    """Answers side by side.

    Parameters
    ----------
    frame : one row per judged as_of and member: as_of, member_id, active, truth, then one column
        per candidate; of recommendations, `truth` is the best recall the list could reach; of
        churn and value also newcomer, of value first_order_cents
    calibrations : churn only; per as_of and candidate, fitted on the as_of a horizon earlier
    """

    frame: pd.DataFrame
    calibrations: Mapping[tuple[date, str], PlattCalibration]

    def at(self, as_ofs: tuple[date, ...]) -> pd.DataFrame:
        """Return the rows judged at the given as_ofs."""
        days = [np.datetime64(day, "D") for day in as_ofs]
        return self.frame[self.frame["as_of"].isin(days)].reset_index(drop=True)


def churn_forecasts(
    candidates: tuple[Candidate, ...], dataset: Dataset, plan: Plan, progress: Progress
) -> Forecasts:
    """Return raw scores (log-odds) of every churn candidate, and their calibrations."""
    frames = []
    calibrations: dict[tuple[date, str], PlattCalibration] = {}
    for as_of in plan.judged:
        fitted = fit_churn(candidates, dataset, plan, as_of, progress)
        present = dataset.at(as_of)
        frame = _frame(as_of, present, present.churned)
        following = as_of + timedelta(days=plan.horizon_days)
        for name, model in fitted.items():
            raw = model.raw_score(present.rows.features)
            frame[name] = raw
            calibrations[following, name] = _calibrated(raw, present)
        frames.append(frame)
    return Forecasts(pd.concat(frames, ignore_index=True), calibrations)


def fit_churn(
    candidates: tuple[Candidate, ...],
    dataset: Dataset,
    plan: Plan,
    as_of: date,
    progress: Progress,
) -> dict[str, Any]:
    """Fit churn candidates on what was known by an as_of; a mean is made of the others.

    A candidate with `label_days` learns from labels of that length, which end sooner, so that
    newer as_ofs may teach it; its log-odds are calibrated to the horizon like all others.
    """
    progress(f"churn: learning for {as_of}")
    fitted: dict[str, Any] = {}
    pasts: dict[int, Labelled] = {}
    for candidate in candidates:
        if candidate.parts:
            parts = {part: fitted[part] for part in candidate.parts}
            fitted[candidate.name] = candidate.make(parts)
            continue
        days = candidate.label_days or plan.horizon_days
        if days not in pasts:
            learned = plan.train_as_ofs(as_of, days)
            require_past(learned, as_of, days)
            pasts[days] = dataset.labelled_for(days).past(learned)
        past = pasts[days]
        fitted[candidate.name] = candidate.make().fit(past.rows.features, past.churned)
    return fitted


def _calibrated(raw: npt.NDArray[np.float64], present: Labelled) -> PlattCalibration:
    """Fit the calibration on active members, whose probabilities are budgeted with.

    On Complete Journey, as_ofs July and August 2017, a line through the active alone has an
    expected calibration error .002-.003 lower among them, and a lower one among the dormant too.
    """
    active = present.active
    judged = present.churned[active]
    enough = min(judged.sum(), len(judged) - judged.sum()) >= CALIBRATED_MIN
    which = active if enough else np.ones(len(active), dtype=bool)
    return PlattCalibration.fit(raw[which], present.churned[which])


def value_forecasts(
    candidates: tuple[Candidate, ...],
    dataset: Dataset,
    plan: Plan,
    seed: int,
    progress: Progress,
) -> Forecasts:
    """Return the spend in cents that every value candidate expects."""
    frames = []
    for as_of in plan.judged:
        learned = plan.train_as_ofs(as_of)
        require_past(learned, as_of, plan.horizon_days)
        past, present = dataset.past(learned), dataset.at(as_of)
        frame = _frame(as_of, present, np.maximum(present.value_cents, 0.0))
        frame[FIRST_ORDER] = dataset.first_order_cents(as_of)
        for name, model in fit_value(candidates, past, seed, progress, as_of).items():
            frame[name] = model.predict(present.rows)
        frames.append(frame)
    return Forecasts(pd.concat(frames, ignore_index=True), {})


def fit_value(
    candidates: tuple[Candidate, ...],
    past: Labelled,
    seed: int,
    progress: Progress,
    as_of: date,
) -> dict[str, Any]:
    """Fit value candidates on the same past; a mean is made of the others, not fitted again.

    Parameters
    ----------
    seed : of the sample a candidate with `rows_max` learns from
    """
    fitted: dict[str, Any] = {}
    for candidate in candidates:
        progress(f"value: learning {candidate.name} for {as_of}")
        if candidate.parts:
            parts = {part: fitted[part] for part in candidate.parts}
            fitted[candidate.name] = candidate.make(parts)
            continue
        rows, value_cents = past.rows, past.value_cents
        if candidate.rows_max is not None and len(rows) > candidate.rows_max:
            rng = np.random.default_rng(seed)
            kept = np.sort(rng.choice(len(rows), candidate.rows_max, replace=False))
            rows, value_cents = rows.take(kept), value_cents[kept]
        fitted[candidate.name] = candidate.make().fit(rows, value_cents)
    return fitted


def product_forecasts(
    kind: Literal["repeat", "explore"],
    candidates: tuple[Candidate, ...],
    baskets: Baskets,
    plan: Plan,
    progress: Progress,
) -> Forecasts:
    """Return the recall@10 every recommender reaches for every member with something to find.

    Notes
    -----
    Repeat is judged on products bought before and bought again; explore on products never bought
    before. A member with none of them in the window is left out: there was nothing to find.

    Raises
    ------
    NothingToJudge : if that leaves nobody.
    """
    frames = []
    for as_of in plan.judged:
        progress(f"{kind}: learning for {as_of}")
        before = baskets.before(as_of)
        truth = wanted_products(kind, before, baskets.after(as_of))
        if truth.empty:
            raise NothingToJudge(
                f"Of the members who had bought products before {as_of}, none bought one "
                f"{'again' if kind == 'repeat' else 'that was new to her'} in the "
                f"{plan.horizon_days} days from then, so {kind} cannot be judged. Nothing was "
                "trained for it. Check that the product column is filled over the whole history."
            )
        members = sorted(truth["member_id"].unique())
        active = set(baskets.active(as_of))
        frame = pd.DataFrame(
            {
                "as_of": np.full(len(members), np.datetime64(as_of, "D")),
                "member_id": members,
                "active": [member in active for member in members],
            }
        )
        for candidate in candidates:
            named = candidate.make().fit(before).recommend(before, members, LIST_LENGTH)
            judged = judge_members(named, truth, LIST_LENGTH).reindex(members)
            frame["truth"] = judged["recall_possible"].to_numpy()
            frame[candidate.name] = judged["recall"].to_numpy()
        frames.append(frame)
    return Forecasts(pd.concat(frames, ignore_index=True), {})


def wanted_products(
    kind: Literal["repeat", "explore"], before: pd.DataFrame, after: pd.DataFrame
) -> pd.DataFrame:
    """Return what there was to find: products bought in the window, and before it or not.

    Parameters
    ----------
    before, after : member_id and product_id, one row per pair
    """
    pair = ["member_id", "product_id"]
    known = after.merge(before[pair], on=pair, how="left", indicator=True)
    # A member who had bought nothing has no history to recommend from: she is not scored.
    seen = known["member_id"].isin(before["member_id"].unique())
    wanted = (known["_merge"] == "both") == (kind == "repeat")
    return known.loc[seen & wanted, pair]


def _frame(as_of: date, present: Labelled, truth: npt.NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "as_of": np.full(len(present), np.datetime64(as_of, "D")),
            "member_id": present.rows.member_id,
            "active": present.active,
            "truth": truth,
            "newcomer": present.rows.features["tenure_days"].to_numpy() <= NEWCOMER_DAYS,
        }
    )
