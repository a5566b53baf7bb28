"""Every member of a snapshot beside what the champions expect of her."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from programme.calendar import DAYS_PER_WEEK
from training.models import replenishment
from training.models.replenishment import DueLists
from training.percentiles import thresholds
from training.rows import MemberRows
from training.scores import NextOrderScore, ProductScore
from training.shelf import CONSIDERED, Shelf
from training.views import MemberView

NEXT_PRODUCTS = 10
BOUGHT_FACTS = ("purchase_days", "last_days")
# A recommender lays out hundreds of rows a member: so many members bound what that takes.
MEMBERS_AT_ONCE = 2_000
# Purchase days from which the gap between them is a rhythm.
RHYTHM_DAYS = 3


@dataclass(frozen=True, eq=False)
class ProductLists:
    """What one recommender names for every member of a population.

    Parameters
    ----------
    starts : array of shape (n_members + 1,); member i owns rows `starts[i]:starts[i + 1]`
    product_id, score : arrays of shape (n_rows,), in order of member, then rank
    reason : code of why each is named, array of shape (n_rows,)
    facts : more to say of each row, arrays of shape (n_rows,)
    because : what the reason is about, array of shape (n_rows,) of text; empty: about nothing
    """

    starts: NDArray[np.intp]
    product_id: NDArray[np.object_]
    score: NDArray[np.float64]
    reason: NDArray[np.object_]
    facts: Mapping[str, NDArray[np.float64]]
    because: NDArray[np.object_]

    @classmethod
    def joined(cls, parts: "Sequence[ProductLists]") -> "ProductLists":
        """Put the lists of some members one after the other; there is at least one part."""
        ends = np.cumsum([0, *(int(part.starts[-1]) for part in parts)])
        starts = [part.starts[:-1] + end for part, end in zip(parts, ends, strict=False)]
        names = ("product_id", "score", "reason", "because")
        return cls(
            starts=np.concatenate([*starts, ends[-1:]]),
            facts={
                name: np.concatenate([part.facts[name] for part in parts])
                for name in parts[0].facts
            },
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        )

    def of(self, position: int) -> tuple[ProductScore, ...]:
        """Return the products of the member at a position, best first."""
        first, end = int(self.starts[position]), int(self.starts[position + 1])
        return tuple(
            ProductScore(
                product_id=self.product_id[row],
                rank=row - first + 1,
                score=float(self.score[row]),
                reason=str(self.reason[row]),
                parameters=self._parameters(row),
            )
            for row in range(first, end)
        )

    def _parameters(self, row: int) -> dict[str, float | str]:
        """Return the facts of one row that are known."""
        known: dict[str, float | str] = {
            name: float(values[row])
            for name, values in self.facts.items()
            if np.isfinite(values[row])
        }
        return known | ({"because": str(self.because[row])} if self.because[row] else {})


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
    margin_share : what the shop keeps of her spend; NaN where no margin is known
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
    margin_share: NDArray[np.float64]
    repeat: ProductLists | None
    explore: ProductLists | None
    orders: Orders | None = None

    def __len__(self) -> int:
        """Count the members."""
        return len(self.members)


@dataclass(frozen=True, eq=False)
class Look:
    """What churn and value say of some members, arrays of shape (n,): all that ranks need.

    Parameters
    ----------
    churn_raw, churn_probability : log-odds, and its calibration
    value_cents : expected spend within the horizon
    """

    churn_raw: NDArray[np.float64]
    churn_probability: NDArray[np.float64]
    value_cents: NDArray[np.float64]

    @classmethod
    def of(cls, parts: "Sequence[Look]") -> "Look":
        """Put the looks at some members one below the other."""
        names = ("churn_raw", "churn_probability", "value_cents")
        return cls(*(
            np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])
            for name in names
        ))  # fmt: skip

    def thresholds(self) -> dict[str, list[float]]:
        """Return the `thresholds` of "churn" and "value" among these members."""
        return {
            "churn": thresholds(self.churn_probability),
            "value": thresholds(self.value_cents),
        }


def product_lists(
    model: Any, products: pd.DataFrame, members: pd.Index, reason: str, shelf: Shelf
) -> ProductLists:
    """Ask a recommender about every member, and name only what may be named.

    Parameters
    ----------
    model : with `recommend`
    products : as `Snapshot.products` returns them
    members : member_ids in the order the lists are wanted
    reason : "repeat" for products bought before, whose days are kept, or "explore" where the
        model gives none of its own
    shelf : what is out of stock or age-restricted, what things are called and what they earn
    """
    owner = members.get_indexer(pd.Index(products["member_id"]))
    if (np.diff(owner) < 0).any():
        order = np.argsort(owner, kind="stable")
        products, owner = products.iloc[order], owner[order]
    firsts = np.arange(0, len(members), MEMBERS_AT_ONCE)
    bounds = np.searchsorted(owner, [*firsts, len(members)])
    return ProductLists.joined([
        _some_lists(
            model, products.iloc[bounds[number] : bounds[number + 1]],
            members[first : first + MEMBERS_AT_ONCE], reason, shelf,
        )
        for number, first in enumerate(firsts)
    ])  # fmt: skip


def _some_lists(
    model: Any, products: pd.DataFrame, members: pd.Index, reason: str, shelf: Shelf
) -> ProductLists:
    asked = NEXT_PRODUCTS * (CONSIDERED if shelf.weighs else 1)
    named = shelf.weighed(
        model.recommend(products, list(members), asked, shelf.barred), NEXT_PRODUCTS
    )
    owner = members.get_indexer(pd.Index(named["member_id"]))
    codes = named.get("reason", pd.Series(reason, index=named.index)).to_numpy(dtype=object)
    facts: dict[str, NDArray[np.float64]] = {}
    if reason == "repeat":
        facts = _habits(named, products)
        codes = np.where(np.isfinite(facts["gap_days"]), "rhythm", codes)
    about = named.get("because", pd.Series("", index=named.index)).astype("str")
    return ProductLists(
        starts=np.searchsorted(owner, np.arange(len(members) + 1)),
        product_id=named["product_id"].to_numpy(dtype=object),
        score=named["score"].to_numpy(dtype=np.float64),
        reason=codes,
        facts=facts,
        because=np.array([shelf.names.get(name, name) for name in about], dtype=object),
    )


def orders(model: Any, rows: MemberRows, view: MemberView, members: pd.Index) -> Orders:
    """Ask a model of the next order about every member.

    Parameters
    ----------
    model : with `expect`
    rows, members : of the view, in the same order
    """
    told = model.expect(rows)
    habits = view.habits()
    dated = None if habits.empty else replenishment.due_dates(habits, view.usual_gaps())
    return Orders(
        horizon_days=model.horizon_days,
        median=told.median,
        earliest=told.earliest,
        latest=told.latest,
        bought_by=1 - told.silence[:, DAYS_PER_WEEK - 1 :: DAYS_PER_WEEK],
        due=None if dated is None else DueLists.of(dated, members),
    )


def _habits(named: pd.DataFrame, products: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return how often and when each named product was bought, and the gap between if it has one.

    A gap is worth saying from the third purchase day on.
    """
    keys = ["member_id", "product_id"]
    bought = named[keys].merge(products, how="left", on=keys)
    facts = {name: bought[name].to_numpy(dtype=np.float64) for name in BOUGHT_FACTS}
    days = facts["purchase_days"]
    span = np.full(len(bought), np.nan)
    if "first_days" in bought.columns:
        span = bought["first_days"].to_numpy(dtype=np.float64) - facts["last_days"]
    return facts | {
        "gap_days": np.where(days >= RHYTHM_DAYS, span / np.maximum(days - 1, 1), np.nan)
    }
