"""The loaded champions applied to a snapshot: the one place where a score is made."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features.snapshot import Snapshot
from programme.errors import NotReady
from programme.settings import Programme, Settings, open_programme
from training import lookup, surrogate
from training.bundle import columns_of, parts_of
from training.explain import FACT_COLUMNS, Explanation, explain
from training.lookup import RegisteredModel
from training.percentiles import placed
from training.population import (
    Look,
    Population,
    ProductLists,
    orders,
    product_lists,
)
from training.rows import MemberRows
from training.scores import (
    RISK_BANDS,
    ChurnScore,
    MemberScores,
    NextOrderScore,
    NextProducts,
    RiskBands,
    ValueScore,
)
from training.views import MemberView, SnapshotView

MEMBERS_PER_BATCH = 2_000
HISTORIC_COLUMN = "spend_cents_life"
PRODUCT_LIST = pd.ArrowDtype(pa.list_(pa.string()))
# Columns of a table that are empty where the value model's errors were not measured.
MAYBE_COLUMNS = (
    "value_low_cents",
    "value_high_cents",
    "value_interval_level",
    "value_margin_cents",
)
# Of the weekly probabilities of a purchase, those a table holds, in days.
ORDER_DAYS = (7, 28)
ORDER_TYPES = {
    **dict.fromkeys(
        (f"next_order_{name}_on" for name in ("expected", "earliest", "latest")),
        pd.ArrowDtype(pa.date32()),
    ),
    **{f"next_order_probability_{days}d": pd.ArrowDtype(pa.float64()) for days in ORDER_DAYS},
    "next_order_horizon_days": pd.ArrowDtype(pa.int64()),
    "next_order_model_version": pd.ArrowDtype(pa.int64()),
}


@dataclass(frozen=True, eq=False)
class Champions:
    """The champion of each target; a programme without products has no recommenders.

    The next order is left unsaid where none was trained for it.
    """

    programme: Programme
    churn: RegisteredModel
    value: RegisteredModel
    repeat: RegisteredModel | None = None
    explore: RegisteredModel | None = None
    next_order: RegisteredModel | None = None
    risk_bands: RiskBands = RISK_BANDS

    @classmethod
    def load(cls, settings: Settings, risk_bands: RiskBands = RISK_BANDS) -> Self:
        """Load what the registry of a home says is champion.

        Raises
        ------
        NotReady : if there is no programme, or no champion for churn or value, or one of them
            was trained on other features.
        PerennialError : if a model's files were changed.
        """
        programme = open_programme(settings)

        def champion(name: str) -> RegisteredModel:
            found = lookup.load_alias(settings, name)
            _use_threads(found, settings.threads)
            return found

        def if_any(name: str) -> RegisteredModel | None:
            return champion(name) if lookup.find(settings, name, lookup.CHAMPION) else None

        return cls(
            programme=programme,
            churn=champion(lookup.name_of("churn", programme)),
            value=champion(lookup.name_of("value", programme)),
            repeat=if_any(lookup.name_of("repeat", programme)),
            explore=if_any(lookup.name_of("explore", programme)),
            next_order=if_any(lookup.name_of("next_order", programme)),
            risk_bands=risk_bands,
        )

    def models(self) -> tuple[RegisteredModel | None, ...]:
        """Return churn, value, repeat, explore, next order; None: there is no champion."""
        return self.churn, self.value, self.repeat, self.explore, self.next_order

    @property
    def versions(self) -> dict[str, int]:
        """Return registered name -> version of the champions there are."""
        return {model.name: model.version for model in self.models() if model is not None}

    def population(self, snapshot: Snapshot) -> Population:
        """Apply the champions to every member of a snapshot, once."""
        return self.expect(SnapshotView(snapshot))

    def expect(
        self,
        view: MemberView,
        among: Mapping[str, Sequence[float]] | None = None,
        seen: Look | None = None,
    ) -> Population:
        """Apply the champions to the members of a view.

        Parameters
        ----------
        among : of "churn" and "value", the `thresholds` of all members, where the view holds only
            some; None: the members of the view are compared with each other
        seen : what `look` returned of the same view, where that was asked before
        """
        frame = view.features()
        rows = self._rows(view, frame)
        look = seen or self._look(rows)
        among = among or look.thresholds()
        value_cents = look.value_cents
        intervals = self.value.bundle.intervals
        members = frame.index
        products = view.products() if self.repeat or self.explore else pd.DataFrame()
        wanted = [name for name in FACT_COLUMNS if name in frame.columns]
        return Population(
            as_of=view.as_of,
            data_as_of=view.data_as_of,
            members=members,
            population=frame["population"].to_numpy(dtype=object),
            features=rows.features,
            facts=frame[wanted].reset_index(drop=True),
            churn_raw=look.churn_raw,
            churn_probability=look.churn_probability,
            churn_percentile=placed(look.churn_probability, among["churn"]),
            value_cents=value_cents,
            value_percentile=placed(value_cents, among["value"]),
            value_interval=intervals.apply(value_cents) if intervals else None,
            historic_cents=frame[HISTORIC_COLUMN].fillna(0.0).to_numpy(dtype=np.float64),
            margin_share=np.asarray(view.margin_shares().reindex(members), dtype=np.float64),
            repeat=_lists(self.repeat, view, products, members, "repeat"),
            explore=_lists(self.explore, view, products, members, "explore"),
            orders=orders(self.next_order.bundle.model, rows, view, members)
            if self.next_order
            else None,
        )

    def look(self, view: MemberView) -> Look:
        """Return what churn and value say of the members of a view."""
        return self._look(self._rows(view, view.features()))

    def churn_of(self, frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the log-odds of churn and their calibration, of rows of a feature table."""
        columns = list(self.churn.bundle.facts.columns)
        return self._churn_of(frame[columns].reset_index(drop=True))

    def _churn_of(self, features: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raw = self.churn.bundle.model.raw_score(features)
        calibration = self.churn.bundle.calibration
        return raw, calibration.apply(raw) if calibration else raw

    def _look(self, rows: MemberRows) -> Look:
        value = np.asarray(self.value.bundle.model.predict(rows), dtype=np.float64)
        return Look(*self._churn_of(rows.features), value)

    def score(
        self, population: Population, member_ids: Sequence[str], *, churn: bool = True
    ) -> list[MemberScores]:
        """Score the asked members, in the order asked; one without purchases is not known.

        Parameters
        ----------
        churn : False leaves churn out, whose reasons cost most of the time
        """
        positions = population.members.get_indexer(pd.Index(list(member_ids), dtype=object))
        known = positions[positions >= 0]
        rows = population.features.iloc[known].reset_index(drop=True)
        facts = population.facts.iloc[known]
        why: Sequence[Explanation | None] = [None] * len(known)
        if churn:
            why = explain(
                facts,
                columns_of(self.churn.bundle.model),
                self.churn.bundle.model.contributions(rows),
            )
        imitation = self.value.bundle.surrogate
        if imitation is None:  # a bundle for value cannot be made without one
            raise NotReady(f"{self.value.name}/{self.value.version} has no surrogate")
        value = explain(facts, imitation.columns, imitation.contributions(rows))
        made = iter(zip(known.tolist(), why, value, strict=True))
        return [
            self._member(population, member_id, *next(made))
            if position >= 0
            else MemberScores(member_id, known=False)
            for member_id, position in zip(member_ids, positions, strict=True)
        ]

    def batches(
        self, population: Population, size: int = MEMBERS_PER_BATCH
    ) -> Iterator[pd.DataFrame]:
        """Score everybody, `size` members at a time; each part as in `score_all`."""
        for start in range(0, len(population), size):
            members = [str(member) for member in population.members[start : start + size]]
            yield as_table(self.score(population, members))

    def score_all(self, population: Population) -> pd.DataFrame:
        """Score everybody: one row per member, as the service answers, drivers as JSON text."""
        parts = list(self.batches(population))
        return pd.concat(parts, ignore_index=True) if parts else as_table([])

    def _rows(self, view: MemberView, frame: pd.DataFrame) -> MemberRows:
        asked = (self.churn, self.value, *([self.next_order] if self.next_order else []))
        consumed = [name for champion in asked for name in champion.bundle.facts.columns]
        n_weeks = self.value.bundle.facts.n_weeks
        return MemberRows(
            member_id=frame.index.to_numpy(dtype=object),
            as_of=np.full(len(frame), np.datetime64(view.as_of, "D")),
            features=frame[list(dict.fromkeys(consumed))].reset_index(drop=True),
            weekly=view.weekly(n_weeks) if n_weeks else None,
        )

    def _member(
        self,
        population: Population,
        member_id: str,
        position: int,
        churn: Explanation | None,
        value: Explanation,
    ) -> MemberScores:
        repeat, explore = population.repeat, population.explore
        return MemberScores(
            member_id=member_id,
            known=True,
            as_of=population.as_of,
            data_as_of=population.data_as_of,
            churn=self._churn(population, position, churn) if churn else None,
            value=self._value(population, position, value),
            next_products=NextProducts(
                repeat=repeat.of(position) if repeat else (),
                explore=explore.of(position) if explore else (),
            ),
            next_order=self._next_order(population, position),
        )

    def _next_order(self, population: Population, position: int) -> NextOrderScore | None:
        champion, known = self.next_order, population.orders
        if champion is None or known is None:
            return None
        return known.of(position, population.as_of, champion.name, champion.version)

    def _churn(self, population: Population, position: int, why: Explanation) -> ChurnScore:
        probability = float(population.churn_probability[position])
        kind = population.population[position]
        return ChurnScore(
            churn_probability=probability,
            horizon_days=self.churn.bundle.facts.horizon_days,
            percentile=int(population.churn_percentile[position]),
            risk_band=self.risk_bands.of(probability),
            population=kind,
            eligible=kind == "active",
            base=why.base,
            raw_score=why.raw_score,
            drivers=why.drivers,
            model_name=self.churn.name,
            model_version=self.churn.version,
        )

    def _value(self, population: Population, position: int, why: Explanation) -> ValueScore:
        value_cents = float(population.value_cents[position])
        historic_cents = float(population.historic_cents[position])
        margin_share = float(population.margin_share[position])
        intervals, around = self.value.bundle.intervals, population.value_interval
        low, high = (None, None) if around is None else map(float, around[position])
        return ValueScore(
            value_cents=value_cents,
            low_cents=low,
            high_cents=high,
            interval_level=intervals.level if intervals else None,
            historic_cents=historic_cents,
            total_cents=historic_cents + value_cents,
            margin_cents=None if math.isnan(margin_share) else value_cents * margin_share,
            horizon_days=self.value.bundle.facts.horizon_days,
            percentile=int(population.value_percentile[position]),
            base=why.base,
            raw_score=why.raw_score,
            drivers=why.drivers,
            exact=False,
            error_cents=abs(value_cents - float(surrogate.cents(why.raw_score))),
            model_name=self.value.name,
            model_version=self.value.version,
        )


def as_table(scores: Sequence[MemberScores]) -> pd.DataFrame:
    """Lay known members' scores out flat: one row each, drivers as JSON text, products as lists."""
    table = pd.DataFrame([_record(member) for member in scores if member.known])
    # Typed, so that a batch in which nobody has a next product fits the file of the others.
    lists = dict.fromkeys(("repeat_products", "explore_products", "next_order_due"), PRODUCT_LIST)
    types: dict[str, Any] = lists | ORDER_TYPES
    types |= dict.fromkeys(MAYBE_COLUMNS, np.dtype(np.float64))
    return table.astype(types) if len(table) else table


def _record(member: MemberScores) -> dict[str, Any]:
    record: dict[str, Any] = {
        "member_id": member.member_id,
        "as_of": member.as_of,
        "data_as_of": member.data_as_of,
    }
    for prefix, score in (("churn", member.churn), ("value", member.value)):
        if score is None:
            continue
        # Not `asdict`, which copies every fact of every driver: a sixth of a batch's time.
        drivers = json.dumps([vars(driver) for driver in score.drivers], ensure_ascii=False)
        facts = vars(score) | {"drivers": drivers}
        record |= {
            name if name.startswith(prefix) else f"{prefix}_{name}": fact
            for name, fact in facts.items()
        }
    lists = member.next_products or NextProducts()
    record["repeat_products"] = [product.product_id for product in lists.repeat]
    record["explore_products"] = [product.product_id for product in lists.explore]
    return record | _order_record(member.next_order)


def _order_record(score: NextOrderScore | None) -> dict[str, Any]:
    """Return the columns of the next order; absent days lie beyond the horizon, or nobody asked."""
    if score is None:
        return dict.fromkeys(ORDER_TYPES) | {"next_order_due": []}
    chance = dict(score.p_by)
    values = (
        score.expected_on, score.earliest_on, score.latest_on,
        *(chance.get(days) for days in ORDER_DAYS),
        score.horizon_days, score.model_version,
    )  # fmt: skip
    due = [category.category for category in score.due]
    return dict(zip(ORDER_TYPES, values, strict=True)) | {"next_order_due": due}


def _lists(
    champion: RegisteredModel | None,
    view: MemberView,
    products: pd.DataFrame,
    members: pd.Index,
    reason: str,
) -> ProductLists | None:
    if champion is None or products.empty:
        return None
    facts = champion.bundle.facts
    rules = view.shelf(facts.age_restricted, facts.margin_weight)
    return product_lists(champion.bundle.model, products, members, reason, rules)


def _use_threads(champion: RegisteredModel, threads: int) -> None:
    for part in (*parts_of(champion.bundle.model), champion.bundle.surrogate):
        if hasattr(part, "num_threads"):
            part.num_threads = threads
