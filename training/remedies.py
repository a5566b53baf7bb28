"""What could lower one member's risk: three answers of different standing, never mixed.

The model's own arithmetic, what became of members like her, and what an experiment measured. Only
the last says what an offer does; until there is one, it says that there is none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.snapshot import Snapshot, build
from programme.errors import InputRefused
from training import labels
from training.bundle import Bundle
from training.dataset import member_rows
from training.explain import (
    CODES,
    FACT_COLUMNS,
    driver_of,
    explain,
    facts_of,
)
from training.faithfulness import parts_by_driver
from training.scores import Driver

# What somebody could act on: what is offered, priced, said and rewarded. That she comes less
# often is the risk itself, not a lever.
ACTIONABLE = ("breadth", "promotion", "engagement", "contact", "points")
SWAPS_MAX = 3
ALIKE_MEMBERS = 50
# Donors of other values: enough to choose among, near enough to be like her.
DONORS = 20
CATEGORIES_SHOWN = 3
# A smaller step in probability is not worth a sentence.
STEP_MIN = 0.005
# Beyond so many members, an even part of them stands for all.
COMPARED_MAX = 5_000


@dataclass(frozen=True)
class Swap:
    """One lever as a real member like her has it, and what the model then says.

    Parameters
    ----------
    code : the driver whose columns were exchanged
    now, then : its facts as they are and as the other member's are; see `Driver.parameters`
    churn_probability : after this exchange and those before it
    """

    code: str
    now: Mapping[str, float | str]
    then: Mapping[str, float | str]
    churn_probability: float


@dataclass(frozen=True)
class Alike:
    """What became of the members of an earlier day whose scores were made up most like hers.

    Parameters
    ----------
    as_of : that day, a horizon before
    members, came_back : how many they are, and how many bought again within the horizon
    days_median : from that day to the first purchase of those who did; None if nobody did
    first_categories : what that first day's baskets held most often, with the share of those
        who came back; the programme's most frequent where nothing distinguishes them
    """

    as_of: date
    members: int
    came_back: int
    days_median: float | None
    first_categories: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Measured:
    """What an experiment found of an offer to members like her: its effect with n and interval."""

    offer: str
    members: int
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Remedies:
    """The three boxes of one member.

    Parameters
    ----------
    churn_probability : hers, as served
    swaps : the model's arithmetic, best first; each is taken on top of those before it
    alike : None where no earlier day can be looked at
    measured : empty: not yet measured
    """

    member_id: str
    as_of: date
    horizon_days: int
    churn_probability: float
    drivers: tuple[Driver, ...]
    swaps: tuple[Swap, ...]
    alike: Alike | None
    measured: tuple[Measured, ...] = ()


def remedies(
    taken: Snapshot,
    churn: Bundle,
    member_id: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Remedies:
    """Answer for one member.

    Parameters
    ----------
    taken : the snapshot she is scored on
    churn : the champion of churn

    Raises
    ------
    InputRefused : if nothing is known of her on that day
    """
    everyone = taken.features()
    if member_id not in everyone.index:
        raise InputRefused(
            f"No member {member_id[:80]!r} is known to have bought before {taken.as_of}. Nothing "
            "is shown. Give a member_id as the purchases carry it, or a later day with --as-of."
        )
    place = int(everyone.index.get_indexer(pd.Index([member_id]))[0])
    compared = _evenly(len(everyone), place)
    progress("asking the model about everybody")
    rows = everyone.iloc[compared].reset_index(drop=True)
    hers = int(np.flatnonzero(compared == place)[0])
    parts = parts_by_driver(churn.model, rows)[:, :-1]
    (why,) = explain(
        rows.loc[[hers], [name for name in FACT_COLUMNS if name in rows.columns]],
        churn.model.columns,
        churn.model.contributions(rows.loc[[hers], list(churn.model.columns)]),
    )
    return Remedies(
        member_id=member_id,
        as_of=taken.as_of,
        horizon_days=churn.facts.horizon_days,
        churn_probability=_probability(churn, np.array([why.raw_score])),
        drivers=why.drivers,
        swaps=_swaps(churn, rows, parts, hers),
        alike=_alike(taken, churn, parts[hers], progress),
    )


def _swaps(
    churn: Bundle, rows: pd.DataFrame, parts: NDArray[np.float64], hers: int
) -> tuple[Swap, ...]:
    """Exchange one driver's columns after the other, each with whoever lowers the score most.

    The values come from a real member whose other drivers are like hers, all columns of a driver
    at once: single columns moved alone would describe nobody (a coupon share without a coupon).
    """
    model, columns = churn.model, list(churn.model.columns)
    present = rows.loc[[hers], columns].reset_index(drop=True)
    facts = rows.loc[hers].to_dict()
    probability = _probability(churn, model.raw_score(present))
    levers = {
        code: own
        for code in ACTIONABLE
        if (own := [name for name in columns if driver_of(name) == code])
    }
    made: list[Swap] = []
    while levers and len(made) < SWAPS_MAX:
        found = {
            code: _best_donor(churn, rows, parts, hers, present, (code, own))
            for code, own in levers.items()
        }
        code = min(found, key=lambda each: found[each][1])
        donor, lowered = found[code]
        if probability - lowered < STEP_MIN:
            break
        present = _exchanged(present, rows.loc[[donor], levers.pop(code)])
        then = facts_of(code, rows.loc[donor].to_dict())
        made.append(Swap(code, facts_of(code, facts), then, lowered))
        probability = lowered
    return tuple(made)


def _best_donor(
    churn: Bundle,
    rows: pd.DataFrame,
    parts: NDArray[np.float64],
    hers: int,
    present: pd.DataFrame,
    lever: tuple[str, list[str]],
) -> tuple[int, float]:
    """Return which neighbour's values lower her probability most, and to what."""
    code, own = lever
    others = [position for position, each in enumerate(CODES) if each != code]
    near = _nearest(parts[:, others], parts[hers, others], DONORS + 1)
    donors = near[near != hers]
    if len(donors) == 0:
        return hers, float("inf")
    tried = pd.concat([present] * len(donors), ignore_index=True)
    tried[own] = rows.loc[donors, own].to_numpy()
    raw = churn.model.raw_score(tried)
    best = int(np.argmin(raw))
    return int(donors[best]), _probability(churn, raw[[best]])


def _exchanged(present: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    changed = present.copy()
    changed[list(values.columns)] = values.to_numpy()
    return changed


def _alike(
    taken: Snapshot, churn: Bundle, part: NDArray[np.float64], progress: Callable[[str], None]
) -> Alike | None:
    """Look at the day a horizon earlier, whose members' next purchases are known by now."""
    horizon = churn.facts.horizon_days
    day = taken.as_of - timedelta(days=horizon)
    progress(f"looking at the members of {day}")
    try:
        earlier = build(taken.settings, day, progress)
        followed = labels.first_days(taken.settings, day, horizon, earlier.lake_version)
    except InputRefused:  # the data begin after that day, or end before its window does
        return None
    then, _ = member_rows(earlier)
    if len(then) == 0:
        return None
    kept = _evenly(len(then))
    parts = parts_by_driver(churn.model, then.features.iloc[kept])[:, :-1]
    near = kept[_nearest(parts, part, ALIKE_MEMBERS)]
    back = followed[followed["member_id"].isin(then.member_id[near])]
    return Alike(
        as_of=day,
        members=len(near),
        came_back=len(back),
        days_median=float(back["days_after"].median()) if len(back) else None,
        first_categories=_most_frequent(back, followed),
    )


def _most_frequent(back: pd.DataFrame, all_back: pd.DataFrame) -> tuple[tuple[str, float], ...]:
    """Return the categories most over-represented in first baskets, with their share there."""
    if back.empty:
        return ()
    own, everyones = (
        frame["categories"].explode().dropna().value_counts() / len(frame)
        for frame in (back, all_back)
    )
    gain = (own - everyones.reindex(own.index).fillna(0.0)).round(12)
    order = sorted(own.index, key=lambda name: (-gain[name], -own[name], name))
    return tuple((str(name), float(own[name])) for name in order[:CATEGORIES_SHOWN])


def _nearest(parts: NDArray[np.float64], to: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    distance = ((parts - to) ** 2).sum(axis=1)
    return np.argsort(distance, kind="stable")[:k]


def _evenly(n_members: int, always: int | None = None) -> NDArray[np.intp]:
    """Return positions of at most `COMPARED_MAX` members evenly apart, and of one in any case."""
    step = max(1, -(-n_members // COMPARED_MAX))
    kept = np.arange(0, n_members, step)
    return kept if always is None else np.union1d(kept, [always]).astype(np.intp)


def _probability(churn: Bundle, raw: NDArray[np.float64]) -> float:
    calibrated = churn.calibration.apply(raw) if churn.calibration is not None else raw
    return float(np.asarray(calibrated)[0])
