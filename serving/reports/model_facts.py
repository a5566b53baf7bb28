"""What a marketer's page about a target says, as plain numbers and names: no words yet."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import snapshot
from features.segments import segmentation
from programme.errors import NotReady
from programme.settings import Programme, Settings
from training.bundle import Target
from training.champions import Champions
from training.config import TrainConfig
from training.explain import CODES, group_contributions
from training.faithfulness import parts_by_driver
from training.population import Population
from training.records import Evidence, evidence
from training.registry import name_of
from training.retrain import Review, review
from training.scores import MemberScores

SAMPLES = 5
TOP_DRIVERS = 10
# Beyond so many members, an even part of them stands for all where reasons are averaged.
EXPLAINED_MAX = 5_000
SHARES = (0.01, 0.05, 0.10)
HISTOGRAM_BINS = 20
BANDS = ("high", "medium", "low")
PRODUCTS_SHOWN = 15

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Facts:
    """One target on one day.

    Parameters
    ----------
    evidence : how the champion was judged
    population : everybody, scored
    review : whether it is due to be trained again, with what was measured
    samples : members worth a look, scored with their reasons
    next_training : the day of data from which age alone makes it due
    """

    target: Target
    programme: Programme
    evidence: Evidence
    population: Population
    review: Review
    samples: tuple[MemberScores, ...]
    next_training: str
    segments: pd.DataFrame | None
    drivers: pd.DataFrame | None


def gather(
    settings: Settings,
    target: Target,
    champions: Champions,
    taken: snapshot.Snapshot,
    population: Population,
    progress: Progress,
) -> Facts:
    """Collect what a page says of one target.

    Raises
    ------
    NotReady : if the target has no champion with a model card
    """
    programme = champions.programme
    found = evidence(settings, name_of(target, programme))
    progress(f"{target}: looking for drift")
    (looked,) = review(settings, TrainConfig(), [target])
    champion = getattr(champions, target)
    by_driver = target in ("churn", "value")
    limit = timedelta(days=TrainConfig().retrain.age_days_max)
    return Facts(
        target=target,
        programme=programme,
        evidence=found,
        population=population,
        review=looked,
        samples=tuple(champions.score(population, _worth_a_look(target, population))),
        next_training=str(champion.bundle.facts.data_until + limit),
        segments=_stages(settings, taken, progress) if by_driver else None,
        drivers=_drivers(target, champions, population) if by_driver else None,
    )


def bands(population: Population, champions: Champions) -> pd.DataFrame:
    """Return per risk band, the highest first: members, share and members expected to leave."""
    said = _bands_of(population, champions)
    rows = []
    for band in BANDS:
        own = said == band
        rows.append(
            {
                "band": band,
                "members": int(own.sum()),
                "share": float(own.mean()),
                "expected": float(population.churn_probability[own].sum()),
            }
        )
    return pd.DataFrame(rows)


def held_by_top(values: NDArray[np.float64]) -> dict[float, float]:
    """Return the share of the sum that the first 1, 5 and 10 % of the members hold."""
    ordered = np.sort(np.maximum(values, 0.0))[::-1]
    total = float(ordered.sum()) or 1.0
    return {
        share: float(ordered[: max(1, round(share * len(ordered)))].sum()) / total
        for share in SHARES
    }


def histogram(values: NDArray[np.float64], *, upper: float | None = None) -> pd.DataFrame:
    """Return members per equal step from 0 to `upper`, or to the 99th percentile; rest last."""
    top = upper if upper is not None else float(np.quantile(values, 0.99)) or 1.0
    edges = np.linspace(0.0, top, HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(np.clip(values, 0.0, top), edges)
    return pd.DataFrame({"begins": edges[:-1], "members": counts})


def most_named(population: Population, kind: str) -> pd.DataFrame:
    """Return the products that stand on most lists, with the share of members they stand for."""
    lists = population.repeat if kind == "repeat" else population.explore
    assert lists is not None
    counts = pd.Series(lists.product_id).value_counts().sort_index(kind="stable")
    most = counts.sort_values(ascending=False, kind="stable").head(PRODUCTS_SHOWN)
    return pd.DataFrame(
        {"product": most.index, "share": most.to_numpy() / len(population)}
    ).reset_index(drop=True)


def _bands_of(population: Population, champions: Champions) -> NDArray[np.str_]:
    """Return each member's risk band, as `RiskBands.of` names it."""
    bounds, said = champions.risk_bands, population.churn_probability
    return np.select([said >= bounds.high, said >= bounds.medium], BANDS[:2], BANDS[2])


def _worth_a_look(target: Target, population: Population) -> list[str]:
    """Return active members: of churn those with most value at risk, else the most valuable."""
    worth = population.value_cents * (population.churn_probability if target == "churn" else 1.0)
    active = population.population == "active"
    order = np.argsort(-np.where(active, worth, -1.0), kind="stable")
    return [str(population.members[place]) for place in order[:SAMPLES] if active[place]]


def _stages(
    settings: Settings, taken: snapshot.Snapshot, progress: Progress
) -> pd.DataFrame | None:
    """Return the members' stages; None where the programme is too young for them."""
    progress("making the segments")
    try:
        members = segmentation.build(settings, taken.as_of).members()
    except NotReady:
        return None
    return members if members["stage"].notna().any() else None


def _drivers(target: Target, champions: Champions, population: Population) -> pd.DataFrame:
    """Return mean |contribution| per driver as shares: over all, and within each risk band."""
    step = max(1, -(-len(population) // EXPLAINED_MAX))
    kept = np.arange(0, len(population), step)
    rows = population.features.iloc[kept].reset_index(drop=True)
    if target == "churn":
        parts = parts_by_driver(champions.churn.bundle.model, rows)[:, :-1]
    else:
        imitation = champions.value.bundle.surrogate
        assert imitation is not None, "a value bundle cannot be made without one"
        made = np.asarray(imitation.contributions(rows), dtype=np.float64)
        parts = group_contributions(imitation.columns, made)[:, :-1]
    strength = np.abs(parts)
    said = _bands_of(population, champions)[kept]
    columns: dict[str, Any] = {"all": strength.mean(axis=0)}
    for band in BANDS:
        if target == "churn" and (said == band).any():
            columns[band] = strength[said == band].mean(axis=0)
    shares = pd.DataFrame(columns, index=list(CODES))
    shares = shares / shares.sum().replace(0.0, 1.0)
    return shares[shares["all"] > 0].sort_values("all", ascending=False).head(TOP_DRIVERS)
