"""Every model, how it is made, and how to ask any of them the same question.

A new kind of `training/models/__init__.py` gets one entry in CASES, small enough to learn in a
tenth of a second, and with it every test of `test_every_model.py`; a kind without an entry fails
there. What it predicts says how it is fitted and asked:

- "churn": `fit(features, churned)`, `raw_score`, `contributions`;
- "value": `fit(rows, value_cents)`, `predict(rows)`: cents, never below 0;
- "products": `fit(products)`, `recommend(products, member_ids, k)`.

A kind with another signature brings its own `fit` and `ask`: from (unfitted model, world) to a
fitted model, and from (model, world) to one answer a member, in her place: a number, an array of
numbers, or a tuple of (product, score). They call the model as the job does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from tests.training.models.worlds import World
from training.models import MODELS
from training.models.blend import Blend
from training.models.boosting import Trees
from training.models.churn import ChurnModel, ReferenceChurn
from training.models.churn_mean import ChurnMean
from training.models.classical import ClassicChurn, ClassicValue
from training.models.explore import EASE, Popularity
from training.models.habit import Habit, RepeatRanker
from training.models.hazard import Hazard, HazardChurn
from training.models.neighbours import MemberNeighbours
from training.models.next_order import NextOrder
from training.models.order_rules import ClassicOrder, GapRule, PaceRule
from training.models.origin import Origin
from training.models.ranker import ExploreRanker
from training.models.recurrent import Recipe
from training.models.repeat import PersonalFrequency, RepeatPopularity
from training.models.rules import ColumnRule, PastSpend
from training.models.signals import Recipe as SignalRecipe
from training.models.silence import N_GROUPS
from training.models.value_gbm import ValueGBM
from training.models.value_lstm import ValueLSTM
from training.models.value_mean import ValueMean
from training.models.value_stack import ValueStack
from training.models.value_stretched import ValueStretched

TREES = Trees(n_trees=25, min_data_in_leaf=20)
RECIPE = Recipe(units=6, head_units=6, n_epochs=2, batch_size=64)
RECIPE_OF_SIGNALS = SignalRecipe(n_items=40, l2=10.0, n_neighbours=9)
K = 5


@dataclass(frozen=True)
class Case:
    """One model: what it predicts, how to make it from a seed; how to use it, if in its own way."""

    predicts: Literal["churn", "value", "products", "order", "order as churn"]
    make: Callable[[int], Any]
    fit: Callable[[Any, World], Any] | None = None
    ask: Callable[[Any, World], list[Any]] | None = None


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
    "value_lstm": Case("value", lambda seed: ValueLSTM(seed=seed, n_seeds=2, recipe=RECIPE)),
    "value_mean": Case(
        "value",
        lambda seed: ValueMean(
            {"gbm": ValueGBM(seed=seed, trees=TREES), "past": PastSpend("spend_cents_91d")}
        ),
    ),
    "value_stack": Case(
        "value",
        lambda seed: ValueStack(
            {"gbm": ValueGBM(seed=seed, trees=TREES), "past": PastSpend("spend_cents_91d")},
            seed=seed,
        ),
    ),
    "value_stretched": Case(
        "value", lambda _: ValueStretched(PastSpend("spend_cents_91d"), "bgnbd", 91, 273)
    ),
    "hazard": Case("order", lambda seed: Hazard(91, seed=seed, trees=TREES)),
    "hazard_churn": Case("order as churn", lambda seed: HazardChurn(91, seed=seed, trees=TREES)),
    "gap_rule": Case("order", lambda _: GapRule(91)),
    "pace_rule": Case("order", lambda _: PaceRule(91)),
    "classic_order": Case("order", lambda seed: ClassicOrder("bgnbd", 91, seed=seed)),
    "next_order": Case(
        "order", lambda seed: NextOrder(Hazard(91, seed=seed, trees=TREES), [0.2] * N_GROUPS)
    ),
    "past_spend": Case("value", lambda _: PastSpend("spend_cents_91d")),
    "personal_frequency": Case("products", lambda _: PersonalFrequency(half_life_days=30)),
    "repeat_popularity": Case("products", lambda _: RepeatPopularity()),
    "ease": Case("products", lambda _: EASE(n_items=40, l2=10.0)),
    "popularity": Case("products", lambda _: Popularity(n_items=40)),
    "habit": Case("products", lambda _: Habit(half_life_days=60)),
    "repeat_ranker": Case("products", lambda seed: RepeatRanker(seed=seed, trees=TREES)),
    "member_neighbours": Case("products", lambda _: MemberNeighbours(n_items=40, n_neighbours=9)),
    "blend": Case("products", lambda seed: Blend(recipe=RECIPE_OF_SIGNALS, draws=4, seed=seed)),
    "explore_ranker": Case(
        "products",
        lambda seed: ExploreRanker(
            seed=seed, recipe=RECIPE_OF_SIGNALS, n_candidates=15, trees=TREES, members_max=100
        ),
    ),
}


def origin(products: pd.DataFrame) -> Origin:
    """Return a past day: of what is known now, a third was bought in the window after it."""
    later = np.arange(len(products)) % 3 == 0
    before = products[~later].reset_index(drop=True)
    # And half of what was bought before was bought again.
    after = pd.concat([products[later], before[::2]], ignore_index=True)
    return Origin(before, after)


def fit(case: Case, past: World, seed: int = 1, num_threads: int = 1) -> Any:
    model = case.make(seed)
    share_among(model, num_threads)
    if case.fit is not None:
        return case.fit(model, past)
    if case.predicts == "churn":
        return model.fit(past.rows.features, past.churned)
    if case.predicts == "value":
        return model.fit(past.rows, past.value_cents)
    if case.predicts == "order":
        return model.fit(past.rows, past.next_days)
    if case.predicts == "order as churn":
        return model.fit(past.rows.features, past.next_days)
    if getattr(model, "learns_from_origins", False):
        return model.fit(past.products, [origin(past.products)])
    return model.fit(past.products)


def share_among(model: Any, num_threads: int) -> bool:
    """Let a model, and those it is made of, work on so many threads; tell whether any can."""
    can = hasattr(model, "num_threads")
    if can:
        model.num_threads = num_threads
    for held in list(vars(model).values()):
        for part in held.values() if isinstance(held, dict) else [held]:
            if type(part) in set(MODELS.values()):
                can = share_among(part, num_threads) or can
    return can


def answers(case: Case, model: Any, present: World) -> list[Any]:
    """Return what the model says of each member: numbers, or (product, score) by rank."""
    if case.ask is not None:
        return case.ask(model, present)
    if case.predicts == "churn":
        features = present.rows.features
        raw = model.raw_score(features)[:, None]
        return list(np.concatenate([raw, model.contributions(features)], axis=1))
    if case.predicts == "value":
        return list(model.predict(present.rows))
    if case.predicts == "order":
        return list(model.silence(present.rows))
    if case.predicts == "order as churn":
        return list(model.raw_score(present.rows.features))
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
