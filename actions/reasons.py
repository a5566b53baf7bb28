"""Why a member seems to be leaving: inferred from what she did, and always called inferred.

Nobody asked her. A reason is named where signs of it stand (see `actions.signs`) in the weeks
before she came less, and where none stands nothing is named. It may choose what is offered; what
the offer changes is measured, never inferred.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actions.offers import Offer, Reason
from actions.signs import READS, Seen, Sign, signs
from features import engine, identities, snapshot
from features.lake import Lake
from programme.errors import InputRefused
from programme.settings import Settings, open_programme
from programme.words import label

# In the order that decides between equals: what she said comes before what she did.
REASONS: tuple[Reason, ...] = get_args(Reason)
# She is judged as on the latest day on which she had bought in so many days: after that there is
# silence, and no habits.
LATELY_DAYS = 28
# Between two days that are looked at, and between a day and the one its hours are compared with.
STEP_DAYS, CHANGE_DAYS, LOOK_BACK_DAYS = 21, 84, 364
# Drivers of the churn score that speak of the same. They settle which of several signs counts.
DRIVERS: Mapping[Reason, tuple[str, ...]] = {
    "service": ("returns",),
    "price": ("promotion", "spend_level"),
    "need_gone": ("category_change", "breadth"),
    "habit_shift": ("rhythm", "visit_trend", "timing", "channel"),
}
# A driver weighs a sign by its share over the usual one, within these.
WEIGHT_LEAST, WEIGHT_MOST = 0.5, 2.0
# Where nobody has a value of any of these, nothing can be inferred of anybody.
KNOWN_BY: Mapping[Reason, tuple[str, ...]] = {
    "service": ("complaints_364d", "services_364d", "days_since_return", "survey"),
    "price": ("discount_share_84d", "coupon_orders_share_364d", "price_trend_182d"),
    "need_gone": ("lost_category_share_84d", "top_category_momentum"),
    "habit_shift": ("gap_trend", "home_store_changed_84d"),
}
# What she told us decides, whatever else she did.
SAID = ("complaint", "survey")
# Who has held a reason keeps it against another that is hardly stronger.
HOLDS_BY = 0.25


@dataclass(frozen=True)
class Inferred:
    """One member's inferred reason.

    Attributes
    ----------
    evidence : code of the sign; `inferred.<reason>.<evidence>` says it
    facts : of its sentence
    also : codes of further signs of the same reason
    """

    reason: Reason
    evidence: str
    facts: Mapping[str, float | str]
    also: tuple[str, ...] = ()

    def said(self, language: str) -> str:
        """Say it, as what it is: inferred.

        Raises
        ------
        InputRefused : if we do not speak the language.
        """
        facts: dict[str, Any] = dict(self.facts)
        for kind in ("goods", "daypart"):
            if kind in facts:
                facts[kind] = label(f"inferred.{kind}.{facts[kind]}", language)
        evidence = label(f"inferred.{self.reason}.{self.evidence}", language, **facts)
        return label(
            "inferred.said", language, reason=label(f"inferred.reason.{self.reason}", language),
            evidence=evidence, silent_days=facts.get("silent_days"),
        )  # fmt: skip


def infer(
    days: Sequence[Seen],
    asked: NDArray[np.bool_],
    drivers: "pd.Series[str] | None" = None,
    held: "pd.Series[str] | None" = None,
) -> list[Inferred | None]:
    """Infer why members seem to be leaving.

    Parameters
    ----------
    days : the members of the day, then of earlier days, the newest first
    asked : of whom, in the order of the first day's members; others get None
    drivers : `churn_drivers` of the scores, JSON by member_id: codes and contributions are read,
        their facts are not
    held : reason by member_id as inferred a week before, None or absent where there was none

    Returns
    -------
    one reason a member of the first day, in its order, or None

    Raises
    ------
    InputRefused : if there is no day, days are out of order, members are named twice, or `asked`
        is of another length.
    """
    _check(days, asked)
    members = days[0].features.index
    found: list[Inferred | None] = [None] * len(members)
    place = _day_of_each(days)
    shares = _shares(drivers, members, asked)
    held_by = None if held is None else held.reindex(members).to_numpy(dtype=object)
    silent = days[0].features["recency_days"].to_numpy(dtype=np.float64, na_value=np.nan)
    for number, seen in enumerate(days):
        mine = np.flatnonzero(asked & (place == number))
        if not len(mine):
            continue
        at = seen.features.index.get_indexer(members[mine])
        stand = signs(seen, _long_before(seen, days))
        for member, row, chosen in _chosen(stand, at, mine, shares, held_by):
            facts = _facts(chosen[0], row)
            if silent[member] > LATELY_DAYS:
                facts["silent_days"] = float(silent[member])
            found[member] = Inferred(
                chosen[0].reason, chosen[0].code, facts, tuple(one.code for one in chosen[1:])
            )
    return found


def answers(found: Sequence[Inferred | None], offers: Sequence[Offer]) -> NDArray[np.bool_]:
    """Return whether each offer answers each member's reason; one without a reason suits all.

    Returns
    -------
    (members, offers), in the order of both
    """
    of_her = np.array([one.reason if one else None for one in found], dtype=object)
    suits = [of_her == one.reason if one.reason else np.ones(len(found), bool) for one in offers]
    return np.column_stack(suits) if suits else np.ones((len(found), 0), dtype=bool)


def unjudged(seen: Seen) -> list[Reason]:
    """Return the reasons that cannot be inferred of anybody, as nothing they are seen by is known.

    `inferred.unjudged.<reason>` says it.
    """
    known = {str(name) for name, values in seen.features.items() if values.notna().any()}
    return [one for one in REASONS if not known & set(KNOWN_BY[one])]


def read(
    settings: Settings, as_of: date, *, scores: Path | None = None, tags: Path | None = None
) -> "tuple[list[Seen], pd.Series[str] | None]":
    """Return what `infer` is asked with: the days there are, and the drivers of scores.

    Parameters
    ----------
    scores : Parquet file of the day's scores
    tags : folder of the day's tags, whose facts tell of goods that a stage of life needs
    """
    taken = snapshot.build(settings, as_of)
    days = [Seen(as_of, _wide(taken.features(), settings, as_of, tags))]
    for earlier in snapshot.before(settings, as_of):
        apart = (days[-1].as_of - earlier.as_of).days
        if apart >= STEP_DAYS and (as_of - earlier.as_of).days <= LOOK_BACK_DAYS:
            days.append(Seen(earlier.as_of, _wide(earlier.features(), settings, earlier.as_of)))
    if scores is None:
        return days, None
    told = pd.read_parquet(scores, columns=["member_id", "churn_drivers"])
    return days, told.set_index("member_id")["churn_drivers"]


def surveys(settings: Settings, as_of: date) -> "pd.Series[float]":
    """Return the value of each member's last answer to a survey in the year before a day."""
    programme, lake = open_programme(settings), Lake(settings)
    manifest = lake.manifest()
    midnight = identities.midnight_sql(as_of, programme.timezone)
    with engine.connect(settings) as connection:
        identities.resolve(connection, lake, manifest, as_of, programme.timezone)
        rows = identities.with_member(
            f"""select * from ({lake.rows_sql("events", manifest)})
            where kind = 'survey' and value is not null and known_at < {midnight}
                and occurred_at < {midnight}
                and occurred_at >= {midnight} - interval {LOOK_BACK_DAYS} day"""
        )
        found = connection.execute(
            f"""select member_id, cast(arg_max(value, (occurred_at, event_id)) as double) as survey
            from (select member_id, event_id, occurred_at, value from ({rows})
                group by all having sum(sign) > 0)
            group by member_id order by member_id"""
        ).df()
    return found.set_index("member_id")["survey"].astype("float64")


def _wide(
    features: pd.DataFrame, settings: Settings, as_of: date, tags: Path | None = None
) -> pd.DataFrame:
    """Put what is known of goods and surveys beside the features that signs read."""
    parts = [features[[name for name in features.columns if name in READS]]]
    answers = surveys(settings, as_of)
    if len(answers):
        parts.append(answers.reindex(features.index).to_frame())
    if tags is not None:
        facts = pd.read_parquet(tags / "facts.parquet").set_index("member_id")
        parts.append(facts[[name for name in facts if name in READS - set(features.columns)]])
    return pd.concat(parts, axis=1).reindex(features.index)


def _check(days: Sequence[Seen], asked: NDArray[np.bool_]) -> None:
    if not days:
        raise InputRefused(
            "Reasons are inferred from the members of at least one day; there is none. Nothing "
            "was inferred. Build a snapshot: perennial features"
        )
    if any(one.as_of <= other.as_of for one, other in pairwise(days)):
        raise InputRefused(
            f"Days are given newest first, got {', '.join(str(one.as_of) for one in days)}. "
            "Nothing was inferred."
        )
    for seen in days:
        if "recency_days" not in seen.features:
            raise InputRefused(
                f"The members of {seen.as_of} have no recency_days. Nothing was inferred. Hand "
                "over the feature table of a snapshot."
            )
        if not seen.features.index.is_unique:
            twice = seen.features.index[seen.features.index.duplicated()][0]
            raise InputRefused(
                f"Member {str(twice)[:64]!r} has two rows on {seen.as_of}. Nothing was inferred."
            )
    if asked.shape != (len(days[0].features),):
        raise InputRefused(
            f"It was asked of {asked.shape} members, and there are {len(days[0].features)}. "
            "Nothing was inferred."
        )


def _day_of_each(days: Sequence[Seen]) -> NDArray[np.intp]:
    """Return the place of the newest day on which each member had bought lately; -1: none."""
    members = days[0].features.index
    place = np.full(len(members), -1, dtype=np.intp)
    for number, seen in enumerate(days):
        recency = seen.features["recency_days"].reindex(members).to_numpy(np.float64)
        place[(place < 0) & (recency <= LATELY_DAYS)] = number
    # Who said something, or came seldom, is judged as of now rather than not at all.
    place[place < 0] = 0
    return place


def _long_before(seen: Seen, days: Sequence[Seen]) -> Seen | None:
    """Return the newest day that lies a season or more before one."""
    last = seen.as_of - timedelta(days=CHANGE_DAYS)
    return next((one for one in days if one.as_of <= last), None)


def _shares(
    drivers: "pd.Series[str] | None", members: pd.Index, asked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how each reason's signs weigh, by its drivers; (members, reasons).

    What raised her score, as far as it speaks of the reason, over what is usual among those asked.
    """
    weights = np.ones((len(members), len(REASONS)))
    if drivers is None:
        return weights
    reason_of = {code: n for n, one in enumerate(REASONS) for code in DRIVERS[one]}
    raised = np.zeros_like(weights)
    texts = drivers.reindex(members).to_numpy(dtype=object)
    for row in np.flatnonzero(asked):
        if not isinstance(texts[row], str):
            continue
        up = [one for one in json.loads(texts[row]) if one["contribution"] > 0]
        total = sum(one["contribution"] for one in up)
        for one in up:
            if one["code"] in reason_of:
                raised[row, reason_of[one["code"]]] += one["contribution"] / total
    told = raised[asked]
    usual = told.mean(axis=0) if len(told) else np.zeros(len(REASONS))
    known = (raised.sum(axis=1) > 0)[:, None] & (usual > 0)
    ratio = np.divide(raised, usual, out=np.ones_like(weights), where=known)
    return np.clip(ratio, WEIGHT_LEAST, WEIGHT_MOST)


def _chosen(
    stand: Sequence[Sign],
    at: NDArray[np.intp],
    mine: NDArray[np.intp],
    weights: NDArray[np.float64],
    held: "NDArray[np.object_] | None",
) -> "list[tuple[int, int, list[Sign]]]":
    """Return member, row of the day, and the signs of her reason, the strongest first."""
    number = np.array([REASONS.index(sign.reason) for sign in stand])
    holds = np.column_stack([sign.stands[at] for sign in stand])
    strength = np.column_stack([sign.strength[at] for sign in stand])
    told = np.array([WEIGHT_MOST * 2 if sign.code in SAID else 0.0 for sign in stand])
    votes = told + (0.5 + strength) * weights[mine][:, number]
    if held is not None:
        same = held[mine][:, None] == np.array(REASONS, dtype=object)[number][None, :]
        holds |= same & np.column_stack([sign.stays[at] for sign in stand])
        votes = votes + HOLDS_BY * same
    votes = np.where(holds, votes, -np.inf)
    best = votes.argmax(axis=1)  # the first of equals: signs come in the order of `REASONS`
    picked = []
    for one in np.flatnonzero(holds.any(axis=1)):
        order = np.argsort(-votes[one], kind="stable")
        reason = stand[best[one]].reason
        own = [stand[n] for n in order if holds[one, n] and stand[n].reason == reason]
        picked.append((int(mine[one]), int(at[one]), own))
    return picked


def _facts(sign: Sign, row: int) -> dict[str, float | str]:
    """Return the facts of one sentence that are known."""
    told = {str(name): values.iloc[row] for name, values in sign.facts.items()}
    return {
        name: value if isinstance(value, str) else float(value)
        for name, value in told.items()
        if isinstance(value, str) or np.isfinite(value)
    }
