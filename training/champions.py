"""The loaded champions applied to a snapshot: the one place where a score is made."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from features.snapshot import Snapshot
from programme.errors import NotReady
from programme.settings import Programme, Settings, open_programme
from training import registry, shelf, surrogate
from training.bundle import columns_of, parts_of
from training.explain import FACT_COLUMNS, Explanation, explain
from training.population import Population, ProductLists, percentiles, product_lists
from training.registry import RegisteredModel
from training.rows import MemberRows
from training.scores import (
    RISK_BANDS,
    ChurnScore,
    MemberScores,
    NextProducts,
    RiskBands,
    ValueScore,
)

MEMBERS_PER_BATCH = 2_000
PRODUCT_LIST = pd.ArrowDtype(pa.list_(pa.string()))


@dataclass(frozen=True, eq=False)
class Champions:
    """The champion of each target; a programme without products has no recommenders."""

    programme: Programme
    churn: RegisteredModel
    value: RegisteredModel
    repeat: RegisteredModel | None = None
    explore: RegisteredModel | None = None
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
            found = registry.load(settings, name)
            _use_threads(found, settings.threads)
            return found

        def recommender(name: str) -> RegisteredModel | None:
            return champion(name) if registry.champion_version(settings, name) else None

        return cls(
            programme=programme,
            churn=champion(registry.name_of("churn", programme)),
            value=champion(registry.name_of("value", programme)),
            repeat=recommender(registry.name_of("repeat", programme)),
            explore=recommender(registry.name_of("explore", programme)),
            risk_bands=risk_bands,
        )

    def population(self, snapshot: Snapshot) -> Population:
        """Apply the champions to every member of a snapshot, once."""
        frame = snapshot.features()
        rows = self._rows(snapshot, frame)
        churn_raw = self.churn.bundle.model.raw_score(rows.features)
        calibration = self.churn.bundle.calibration
        probability = calibration.apply(churn_raw) if calibration else churn_raw
        value_cents = np.asarray(self.value.bundle.model.predict(rows), dtype=np.float64)
        members = frame.index
        products = snapshot.products() if self.repeat or self.explore else pd.DataFrame()
        wanted = [name for name in FACT_COLUMNS if name in frame.columns]
        return Population(
            as_of=snapshot.as_of,
            data_as_of=snapshot.data_as_of,
            members=members,
            population=frame["population"].to_numpy(dtype=object),
            features=rows.features,
            facts=frame[wanted].reset_index(drop=True),
            churn_raw=churn_raw,
            churn_probability=probability,
            churn_percentile=percentiles(probability),
            value_cents=value_cents,
            value_percentile=percentiles(value_cents),
            repeat=_lists(self.repeat, snapshot, products, members, "repeat"),
            explore=_lists(self.explore, snapshot, products, members, "explore"),
        )

    def score(self, population: Population, member_ids: Sequence[str]) -> list[MemberScores]:
        """Score the asked members, in the order asked; one without purchases is not known."""
        positions = population.members.get_indexer(pd.Index(list(member_ids), dtype=object))
        known = positions[positions >= 0]
        rows = population.features.iloc[known].reset_index(drop=True)
        facts = population.facts.iloc[known]
        churn = explain(
            facts,
            columns_of(self.churn.bundle.model),
            self.churn.bundle.model.contributions(rows),
        )
        imitation = self.value.bundle.surrogate
        if imitation is None:  # a bundle for value cannot be made without one
            raise NotReady(f"{self.value.name}/{self.value.version} has no surrogate")
        value = explain(facts, imitation.columns, imitation.contributions(rows))
        made = iter(zip(known.tolist(), churn, value, strict=True))
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

    def _rows(self, snapshot: Snapshot, frame: pd.DataFrame) -> MemberRows:
        consumed = (*self.churn.bundle.facts.columns, *self.value.bundle.facts.columns)
        n_weeks = self.value.bundle.facts.n_weeks
        return MemberRows(
            member_id=frame.index.to_numpy(dtype=object),
            as_of=np.full(len(frame), np.datetime64(snapshot.as_of, "D")),
            features=frame[list(dict.fromkeys(consumed))].reset_index(drop=True),
            weekly=snapshot.weekly(n_weeks)[1] if n_weeks else None,
        )

    def _member(
        self,
        population: Population,
        member_id: str,
        position: int,
        churn: Explanation,
        value: Explanation,
    ) -> MemberScores:
        repeat, explore = population.repeat, population.explore
        return MemberScores(
            member_id=member_id,
            known=True,
            as_of=population.as_of,
            data_as_of=population.data_as_of,
            churn=self._churn(population, position, churn),
            value=self._value(population, position, value),
            next_products=NextProducts(
                repeat=repeat.of(position) if repeat else (),
                explore=explore.of(position) if explore else (),
            ),
        )

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
        return ValueScore(
            value_cents=value_cents,
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
    lists = dict.fromkeys(("repeat_products", "explore_products"), PRODUCT_LIST)
    return table.astype(lists) if len(table) else table


def _record(member: MemberScores) -> dict[str, Any]:
    record: dict[str, Any] = {
        "member_id": member.member_id,
        "as_of": member.as_of,
        "data_as_of": member.data_as_of,
    }
    for prefix, score in (("churn", member.churn), ("value", member.value)):
        if score is None:
            continue
        facts = asdict(score)
        facts["drivers"] = json.dumps(facts["drivers"], ensure_ascii=False)
        record |= {
            name if name.startswith(prefix) else f"{prefix}_{name}": fact
            for name, fact in facts.items()
        }
    lists = member.next_products or NextProducts()
    record["repeat_products"] = [product.product_id for product in lists.repeat]
    record["explore_products"] = [product.product_id for product in lists.explore]
    return record


def _lists(
    champion: RegisteredModel | None,
    snapshot: Snapshot,
    products: pd.DataFrame,
    members: pd.Index,
    reason: str,
) -> ProductLists | None:
    if champion is None or products.empty:
        return None
    facts = champion.bundle.facts
    rules = shelf.read(snapshot.settings, snapshot.as_of, facts.age_restricted, facts.margin_weight)
    return product_lists(champion.bundle.model, products, members, reason, rules)


def _use_threads(champion: RegisteredModel, threads: int) -> None:
    for part in (*parts_of(champion.bundle.model), champion.bundle.surrogate):
        if hasattr(part, "num_threads"):
            part.num_threads = threads
