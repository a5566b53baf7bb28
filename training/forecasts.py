"""Every candidate's answer at every as_of it is judged at, each learned from that day's past."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from programme.errors import InputRefused
from training.baskets import Baskets
from training.dataset import Dataset, Labelled
from training.metrics import covered, judge_members
from training.models.calibration import PlattCalibration
from training.models.conformal import ValueIntervals
from training.models.value_stack import nonnegative_weights, unseen
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
    all_horizons : value only; it learns the spend by each horizon, not only by the last
    weighed : value only; it is made of its parts and of the weights they earned
    lighter : what stands in for it where only its weight is sought; None: itself
    outcome : of `Labelled`, what a candidate for churn learns from
    label_days : churn only; length of the labels it learns from; None: the horizon's
    """

    name: str
    role: Role
    make: Callable[..., Any]
    parts: tuple[str, ...] = ()
    all_horizons: bool = False
    weighed: bool = False
    lighter: Callable[..., Any] | None = None
    outcome: Literal["churned", "next_days"] = "churned"
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
    lists : recommendations only; further figures of each list, one row per as_of, member and
        candidate: as_of, member_id, candidate, then a column per figure
    """

    frame: pd.DataFrame
    calibrations: Mapping[tuple[date, str], PlattCalibration]
    lists: pd.DataFrame | None = None

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
    fitted: dict[str, Any] = {}
    pasts: dict[int, Labelled] = {}
    for candidate in candidates:
        progress(f"churn: learning {candidate.name} for {as_of}")
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
        taught = getattr(past, candidate.outcome)
        fitted[candidate.name] = candidate.make().fit(past.rows.features, taught)
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
        del past
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
    seed : of the halves of the members that weigh the parts of a stack
    """
    fitted: dict[str, Any] = {}
    for candidate in candidates:
        progress(f"value: learning {candidate.name} for {as_of}")
        if not candidate.parts:
            fitted[candidate.name] = _learned(candidate, past)
            continue
        parts = {part: fitted[part] for part in candidate.parts}
        if candidate.weighed:
            weighed = weigh([c for c in candidates if c.name in parts], past, seed)
            fitted[candidate.name] = candidate.make(parts, weighed and weighed.weights)
        else:
            fitted[candidate.name] = candidate.make(parts)
    return fitted


def _learned(candidate: Candidate, past: Labelled) -> Any:
    spent = past.horizon_cents if candidate.all_horizons else past.value_cents
    return candidate.make().fit(past.rows, spent)


@dataclass(frozen=True)
class Weighed:
    """What the parts of a stack are worth.

    Parameters
    ----------
    weights : by part
    said_cents, came_cents : of members the parts had not learned from, shape (n,)
    """

    weights: Mapping[str, float]
    said_cents: npt.NDArray[np.float64]
    came_cents: npt.NDArray[np.float64]


def weigh(parts: list[Candidate], past: Labelled, seed: int) -> Weighed | None:
    """Weigh parts by what each, taught by half of the members, said of the other half.

    The day they are weighed on is the newest one with a whole window behind it, a horizon before
    the day they will answer for. None, which means the plain mean, where members are too few.
    """

    def learn(shown: npt.NDArray[np.bool_]) -> dict[str, Any]:
        half = past.take(shown)
        lighter = (replace(part, make=part.lighter or part.make) for part in parts)
        return {part.name: _learned(part, half) for part in lighter}

    newest, answers = unseen(learn, past.rows, past.value_cents, seed)
    if not answers:
        return None
    came = np.maximum(past.value_cents[newest], 0.0)
    weights = nonnegative_weights(answers, came)
    said = np.sum([weights[name] * answer for name, answer in answers.items()], axis=0)
    return Weighed(weights, said, came)


def intervals(forecasts: Forecasts, plan: Plan, name: str) -> ValueIntervals:
    """Learn how far off a value candidate was on the last test day, for the day of service.

    The coverage it carries was measured forward in time: intervals learned on each judged day
    but the last, held against the judged day that follows it.
    """

    def learned(day: date) -> ValueIntervals:
        rows = forecasts.at((day,))
        return ValueIntervals.fit(rows[name], rows["truth"])

    held = []
    for before, after in pairwise(plan.judged):
        rows = forecasts.at((after,))
        around = learned(before).apply(rows[name])
        held.append(covered(rows["truth"], around[:, 0], around[:, 1]))
    return replace(learned(plan.judged[-1]), coverage=float(np.mean(held)))


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
    `history` are the products she had bought. A candidate that learns from origins is given the
    training as_ofs of the plan, whose windows end by the day it is judged at.

    Raises
    ------
    NothingToJudge : if that leaves nobody.
    """
    frames, lists = [], []
    for as_of in plan.judged:
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
        frame = _members(as_of, members, before, set(baskets.active(as_of)))
        for candidate in candidates:
            progress(f"{kind}: learning {candidate.name} for {as_of}")
            model = fit_products(candidate, baskets, plan, as_of)
            named = model.recommend(before, members, LIST_LENGTH)
            judged = judge_members(named, truth, LIST_LENGTH).reindex(members)
            frame["truth"] = judged["recall_possible"].to_numpy()
            frame[candidate.name] = judged["recall"].to_numpy()
            figures = list_figures(named, truth, before).reindex(members)
            lists.append(
                figures.reset_index(names="member_id").assign(
                    as_of=np.datetime64(as_of, "D"), candidate=candidate.name
                )
            )
        frames.append(frame)
    return Forecasts(pd.concat(frames, ignore_index=True), {}, pd.concat(lists, ignore_index=True))


def fit_products(candidate: Candidate, baskets: Baskets, plan: Plan, as_of: date) -> Any:
    """Fit a recommender for one day; one that learns from origins gets the days of the plan."""
    model = candidate.make()
    if not getattr(model, "learns_from_origins", False):
        return model.fit(baskets.before(as_of))
    origins = [baskets.origin(day) for day in plan.train_as_ofs(as_of)]
    return model.fit(baskets.before(as_of), origins, baskets.items(as_of))


def list_figures(named: pd.DataFrame, truth: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Return further figures of each member's list, indexed by member_id, one column a figure.

    Returns
    -------
    DataFrame with recall, nDCG and hit at 5 and 10, `novelty` (mean of -log2 of the share of
    members who have a named product, in bits; NaN for an empty list) and `coverage` (share of
    the products ever bought that are named to anybody; the same for all)
    """
    columns = {}
    for k in (5, LIST_LENGTH):
        judged = judge_members(named, truth, k)
        for name, label in (("recall", "recall"), ("ndcg", "nDCG"), ("hit", "hit")):
            columns[f"{label}@{k}"] = judged[name]
    n_members = before["member_id"].nunique()
    share = before.groupby("product_id", observed=True).size() / n_members
    known = named["product_id"].map(share).fillna(1 / n_members)
    bits = pd.Series(-np.log2(known.to_numpy(dtype=np.float64)))
    figures = pd.DataFrame(columns)
    figures["novelty"] = bits.groupby(named["member_id"].to_numpy()).mean()
    figures["coverage"] = named["product_id"].nunique() / len(share)
    return figures


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


def _members(
    as_of: date, members: list[str], before: pd.DataFrame, active: set[str]
) -> pd.DataFrame:
    history = before.groupby("member_id", observed=True).size()
    return pd.DataFrame(
        {
            "as_of": np.full(len(members), np.datetime64(as_of, "D")),
            "member_id": members,
            "active": [member in active for member in members],
            "history": history.reindex(members).to_numpy(),
        }
    )


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
