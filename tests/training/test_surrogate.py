from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.models.boosting import Trees
from training.surrogate import ValueSurrogate, cents

TREES = Trees(n_trees=60, num_leaves=8, min_data_in_leaf=5, learning_rate=0.2, bagging_fraction=1.0)


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(rng.gamma(2.0, 50.0, (300, 3)), columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def surrogate(features: pd.DataFrame) -> ValueSurrogate:
    predicted = features["a"] * 30 + features["b"] * 5
    return ValueSurrogate(seed=1, trees=TREES, num_threads=1).fit(features, predicted.to_numpy())


def test_contributions_add_up_to_the_surrogates_answer(
    surrogate: ValueSurrogate, features: pd.DataFrame
) -> None:
    total = surrogate.contributions(features).sum(axis=1)

    assert total == pytest.approx(surrogate.raw_score(features), abs=1e-9)


def test_it_imitates_the_model_it_learned_from(
    surrogate: ValueSurrogate, features: pd.DataFrame
) -> None:
    predicted = (features["a"] * 30 + features["b"] * 5).to_numpy()

    wrong = np.abs(cents(surrogate.raw_score(features)) - predicted)
    assert wrong.mean() < 0.1 * predicted.mean()


def test_a_saved_surrogate_answers_the_same(
    surrogate: ValueSurrogate, features: pd.DataFrame, tmp_path: Path
) -> None:
    surrogate.save(tmp_path / "surrogate")

    again = ValueSurrogate.load(tmp_path / "surrogate")
    assert (again.raw_score(features) == surrogate.raw_score(features)).all()


def test_cents_are_never_negative() -> None:
    assert cents([-3.0, 0.0, np.log(101.0)]).tolist() == pytest.approx([0.0, 0.0, 100.0])
