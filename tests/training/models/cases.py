"""Every model, how it is made, and how to ask any of them the same question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tests.training.models.worlds import World
from training.models.boosting import Trees
from training.models.churn import ChurnModel, ReferenceChurn
from training.models.churn_mean import ChurnMean
from training.models.classical import ClassicChurn, ClassicValue
from training.models.explore import EASE, Popularity
from training.models.recurrent import Recipe
from training.models.repeat import PersonalFrequency, RepeatPopularity
from training.models.rules import ColumnRule, PastSpend
from training.models.value_gbm import ValueGBM
from training.models.value_lstm import ValueLSTM
from training.models.value_mean import ValueMean

TREES = Trees(n_trees=25, min_data_in_leaf=20)
RECIPE = Recipe(units=6, head_units=6, n_epochs=2, batch_size=64)
K = 5


@dataclass(frozen=True)
class Case:
    """One model: how to make it, and what it predicts."""

    predicts: Literal["churn", "value", "products"]
    make: Callable[[int], Any]


CASES = {
    "lightgbm": Case(
        "churn",
        lambda seed: ChurnModel(seed=seed, monotone=["recency_days"], trees=TREES, n_seeds=2),
    ),
    "lightgbm_reference": Case("churn", lambda seed: ReferenceChurn(seed=seed, trees=TREES)),
    "churn_mean": Case(
        "churn",
        lambda seed: ChurnMean(
            {
                "trees": ChurnModel(seed=seed, trees=TREES),
                "bgnbd": ClassicChurn("bgnbd", 28, seed=seed),
            }
        ),
    ),
    "column_rule": Case("churn", lambda _: ColumnRule("recency_days", sign=1)),
    "classic_churn": Case("churn", lambda seed: ClassicChurn("bgnbd", 28, seed=seed)),
    "classic_value": Case("value", lambda seed: ClassicValue("pareto_nbd", 91, seed=seed)),
    "value_gbm": Case("value", lambda seed: ValueGBM(seed=seed, trees=TREES)),
    "value_lstm": Case("value", lambda seed: ValueLSTM(seed=seed, recipe=RECIPE)),
    "value_mean": Case(
        "value",
        lambda seed: ValueMean(
            {"gbm": ValueGBM(seed=seed, trees=TREES), "past": PastSpend("spend_cents_91d")}
        ),
    ),
    "past_spend": Case("value", lambda _: PastSpend("spend_cents_91d")),
    "personal_frequency": Case("products", lambda _: PersonalFrequency(half_life_days=30)),
    "repeat_popularity": Case("products", lambda _: RepeatPopularity()),
    "ease": Case("products", lambda _: EASE(n_items=40, l2=10.0)),
    "popularity": Case("products", lambda _: Popularity(n_items=40)),
}


def fit(case: Case, past: World, seed: int = 1) -> Any:
    model = case.make(seed)
    if case.predicts == "churn":
        return model.fit(past.rows.features, past.churned)
    if case.predicts == "value":
        return model.fit(past.rows, past.value_cents)
    return model.fit(past.products)


def answers(case: Case, model: Any, present: World) -> list[Any]:
    """Return what the model says of each member: numbers, or (product, score) by rank."""
    if case.predicts == "churn":
        features = present.rows.features
        raw = model.raw_score(features)[:, None]
        return list(np.concatenate([raw, model.contributions(features)], axis=1))
    if case.predicts == "value":
        return list(model.predict(present.rows))
    members = list(present.rows.member_id)
    named = model.recommend(present.products, members, K)
    assert named["member_id"].isin(members).all()
    return [
        tuple(zip(part["product_id"], part["score"], strict=True))
        for part in (named[named["member_id"] == member] for member in members)
    ]


def assert_same(one: Sequence[Any], other: Sequence[Any], *, within: float = 0.0) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        if isinstance(left, tuple):
            assert [product for product, _ in left] == [product for product, _ in right]
            left, right = [s for _, s in left], [s for _, s in right]
        np.testing.assert_allclose(left, right, rtol=within, atol=within)
