"""The stack of value models: weights that are earned on members not seen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programme.errors import InputRefused
from tests.training.models.worlds import World, world
from training.models import load_model
from training.models.boosting import Trees
from training.models.rules import PastSpend
from training.models.value_gbm import ValueGBM
from training.models.value_stack import ValueStack, nonnegative_weights, unseen
from training.rows import MemberRows

TREES = Trees(n_trees=30, num_leaves=4)


class Memory:
    """Answers what it was shown of a row, and the mean for rows it was not shown."""

    columns = ()

    def fit(self, rows: MemberRows, value_cents: np.ndarray) -> Self:
        self.known = dict(
            zip(zip(rows.member_id, rows.as_of, strict=True), value_cents, strict=True)
        )
        self.mean = float(np.mean(value_cents))
        return self

    def predict(self, rows: MemberRows) -> np.ndarray:
        asked = zip(rows.member_id, rows.as_of, strict=True)
        return np.array([self.known.get(row, self.mean) for row in asked])


@pytest.fixture(scope="module")
def past() -> World:
    return world(800, seed=1)


def test_a_model_that_remembers_earns_nothing(past: World) -> None:
    stack = ValueStack({"memory": Memory(), "past": PastSpend("spend_cents_91d")}, seed=3)

    stack.fit(past.rows, past.value_cents)

    assert stack.models["memory"].predict(past.rows) == pytest.approx(past.value_cents)
    assert stack.weights["past"] > 3 * stack.weights["memory"]


def test_nobody_is_asked_by_a_model_that_learned_from_her(past: World) -> None:
    both = MemberRows.concat([past.rows, _later(past.rows)])
    values = np.r_[past.value_cents, past.value_cents]
    shown: list[set[str]] = []

    def learn(mask: np.ndarray) -> Mapping[str, Any]:
        members = set(both.member_id[mask])
        shown.append(members)

        class Judge:
            def predict(self, rows: MemberRows) -> np.ndarray:
                assert not members & set(rows.member_id)
                assert (rows.as_of == both.as_of.max()).all()
                return np.ones(len(rows))

        return {"judge": Judge()}

    newest, answers = unseen(learn, both, values, seed=1)

    assert newest.sum() == len(past.rows)
    assert (answers["judge"] == 1).all()
    assert not shown[0] & shown[1]
    assert shown[0] | shown[1] == set(past.rows.member_id)


def _later(rows: MemberRows) -> MemberRows:
    return MemberRows(
        rows.member_id, rows.as_of + np.timedelta64(28, "D"), rows.features, rows.weekly
    )


def test_the_true_mixture_is_found_again() -> None:
    rng = np.random.default_rng(4)
    answers = {name: rng.gamma(1.0, 1_000.0, 20_000) for name in ("one", "two", "three")}
    mean = 0.7 * answers["one"] + 0.3 * answers["three"]
    came = rng.gamma(2.0, mean / 2)

    weights = nonnegative_weights(answers, came)

    assert weights["one"] == pytest.approx(0.7, abs=0.06)
    assert weights["two"] == pytest.approx(0.0, abs=0.06)
    assert weights["three"] == pytest.approx(0.3, abs=0.06)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**31 - 1), st.floats(0.01, 1_000))
def test_weights_are_never_negative_and_know_no_currency(n: int, seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    answers = {name: rng.gamma(0.5, 10_000.0, n) + 1.0 for name in ("one", "two")}
    came = rng.gamma(0.5, 10_000.0, n) + 1.0

    weights = nonnegative_weights(answers, came)
    other = nonnegative_weights({k: v * unit for k, v in answers.items()}, came * unit)

    assert min(weights.values()) >= 0
    assert list(other.values()) == pytest.approx(list(weights.values()), abs=1e-6)


def test_too_few_members_are_weighed_alike(past: World) -> None:
    few = past.take(np.arange(20))
    stack = ValueStack({"gbm": ValueGBM(seed=1, trees=TREES), "past": PastSpend("spend_cents_91d")})

    stack.fit(few.rows, few.value_cents)

    assert stack.weights == {"gbm": 0.5, "past": 0.5}


def test_the_answer_is_the_weighted_sum_and_the_weights_are_data(
    past: World, tmp_path: Path
) -> None:
    gbm = ValueGBM(seed=1, trees=TREES).fit(past.rows, past.value_cents)
    rule = PastSpend("spend_cents_91d")
    stack = ValueStack({"gbm": gbm, "past": rule}, weights={"gbm": 0.6, "past": 0.25})

    expected = 0.6 * gbm.predict(past.rows) + 0.25 * rule.predict(past.rows)

    assert stack.predict(past.rows) == pytest.approx(expected, rel=1e-12)
    stack.save(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.weights == stack.weights
    assert np.array_equal(loaded.predict(past.rows), stack.predict(past.rows))


@pytest.mark.parametrize("weights", [{"past": -0.1}, {"other": 1.0}])
def test_weights_that_do_not_fit_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InputRefused, match="weight of 0 or more"):
        ValueStack({"past": PastSpend("spend_cents_91d")}, weights=weights)
