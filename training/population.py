"""Every member of a snapshot beside what the champions expect of her."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.snapshot import Snapshot
from programme.calendar import DAYS_PER_WEEK
from training.models import replenishment
from training.models.replenishment import DueLists
from training.rows import MemberRows
from training.scores import NextOrderScore, ProductScore

NEXT_PRODUCTS = 10
BOUGHT_FACTS = ("purchase_days", "last_days")


@dataclass(frozen=True, eq=False)
class ProductLists:
    """What one recommender names for every member of a population.

    Parameters
    ----------
    starts : array of shape (n_members + 1,); member i owns rows `starts[i]:starts[i + 1]`
    product_id, score : arrays of shape (n_rows,), in order of member, then rank
    facts : more to say of each row, arrays of shape (n_rows,)
    reason : code of why
    """

    starts: NDArray[np.intp]
    product_id: NDArray[np.object_]
    score: NDArray[np.float64]
    facts: Mapping[str, NDArray[np.float64]]
    reason: str

    def of(self, position: int) -> tuple[ProductScore, ...]:
        """Return the products of the member at a position, best first."""
        first, end = int(self.starts[position]), int(self.starts[position + 1])
        return tuple(
            ProductScore(
                product_id=self.product_id[row],
                rank=row - first + 1,
                score=float(self.score[row]),
                reason=self.reason,
                parameters={name: float(values[row]) for name, values in self.facts.items()},
            )
            for row in range(first, end)
        )


@dataclass(frozen=True, eq=False)
class Orders:
    """When every member of a population is expected to buy next.

    Parameters
    ----------
    median, earliest, latest : arrays of shape (n,), days from `as_of`, whole; `horizon_days` and
        more: beyond the horizon
    bought_by : array of shape (n, n_weeks), probability of a purchase within so many weeks
    due : what she will need soon; None where no category is known
    """

    horizon_days: int
    median: NDArray[np.float64]
    earliest: NDArray[np.float64]
    latest: NDArray[np.float64]
    bought_by: NDArray[np.float64]
    due: DueLists | None

    def of(self, position: int, as_of: date, name: str, version: int) -> NextOrderScore:
        """Return the score of the member at a position."""

        def day(days: NDArray[np.float64]) -> date | None:
            ahead = int(days[position])
            return as_of + timedelta(days=ahead) if ahead < self.horizon_days else None

        return NextOrderScore(
            expected_on=day(self.median),
            earliest_on=day(self.earliest),
            latest_on=day(self.latest),
            horizon_days=self.horizon_days,
            p_by=tuple(
                (DAYS_PER_WEEK * (week + 1), float(probability))
                for week, probability in enumerate(self.bought_by[position])
            ),
            due=tuple(self.due.of_member(position)) if self.due else (),
            exact=False,
            model_name=name,
            model_version=version,
        )


@dataclass(frozen=True, eq=False)
class Population:
    """Every member of one snapshot with what the champions expect of her; arrays are (n,).

    Parameters
    ----------
    members : member_ids, unique; all else is in this order
    population : "active" or "dormant"
    features : the columns the models consume
    facts : the columns the sentences may use
    churn_raw, churn_probability, churn_percentile : log-odds, its calibration, 1 .. 100
    value_cents, value_percentile : expected spend within the horizon, 1 .. 100
    value_interval : low and high around it, shape (n, 2); None where errors were not measured
    historic_cents : spend net of returns before `as_of`
    orders : when the next one is expected; None without a champion for it
    """

    as_of: date
    data_as_of: datetime
    members: pd.Index
    population: NDArray[np.object_]
    features: pd.DataFrame
    facts: pd.DataFrame
    churn_raw: NDArray[np.float64]
    churn_probability: NDArray[np.float64]
    churn_percentile: NDArray[np.int64]
    value_cents: NDArray[np.float64]
    value_percentile: NDArray[np.int64]
    value_interval: NDArray[np.float64] | None
    historic_cents: NDArray[np.float64]
    repeat: ProductLists | None
    explore: ProductLists | None
    orders: Orders | None = None

    def __len__(self) -> int:
        """Count the members."""
        return len(self.members)


def percentiles(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each score the share of scores not above it, in whole per cents from 1 to 100."""
    not_above = np.searchsorted(np.sort(scores), scores, side="right")
    return np.ceil(100 * not_above / max(len(scores), 1)).astype(np.int64)


def product_lists(
    model: Any, products: pd.DataFrame, members: pd.Index, reason: str
) -> ProductLists:
    """Ask a recommender about every member.

    Parameters
    ----------
    model : with `recommend`
    products : as `Snapshot.products` returns them
    members : member_ids in the order the lists are wanted
    reason : "repeat" for products bought before, whose days are kept, or "explore"
    """
    named = model.recommend(products, list(members), NEXT_PRODUCTS)
    owner = members.get_indexer(named["member_id"])
    facts: dict[str, NDArray[np.float64]] = {}
    if reason == "repeat":
        keys = ["member_id", "product_id"]
        bought = named[keys].merge(products, how="left", on=keys)
        facts = {name: bought[name].to_numpy(dtype=np.float64) for name in BOUGHT_FACTS}
    return ProductLists(
        starts=np.searchsorted(owner, np.arange(len(members) + 1)),
        product_id=named["product_id"].to_numpy(dtype=object),
        score=named["score"].to_numpy(dtype=np.float64),
        facts=facts,
        reason=reason,
    )


def orders(model: Any, rows: MemberRows, snapshot: Snapshot, members: pd.Index) -> Orders:
    """Ask a model of the next order about every member.

    Parameters
    ----------
    model : with `expect`
    rows, members : of the snapshot, in the same order
    """
    told = model.expect(rows)
    habits = replenishment.habits(snapshot)
    dated = None if habits.empty else replenishment.due_dates(habits)
    return Orders(
        horizon_days=model.horizon_days,
        median=told.median,
        earliest=told.earliest,
        latest=told.latest,
        bought_by=1 - told.silence[:, DAYS_PER_WEEK - 1 :: DAYS_PER_WEEK],
        due=None if dated is None else DueLists.of(dated, members),
    )
