import numpy as np
import pandas as pd
import pytest

from programme.errors import InputRefused
from tests.training.models.worlds import World, world
from training.metrics import auc
from training.models.boosting import Trees
from training.models.churn import ChurnModel, best_n_trees, reference_churn

TREES = Trees(n_trees=60, min_data_in_leaf=20)


@pytest.fixture(scope="module")
def past() -> World:
    return world(1_500, seed=1)


@pytest.fixture(scope="module")
def present() -> World:
    return world(500, seed=2)


@pytest.fixture(scope="module")
def model(past: World) -> ChurnModel:
    churn = ChurnModel(seed=1, monotone=["recency_days"], trees=TREES)
    return churn.fit(past.rows.features, past.churned)


def test_the_reasons_add_up_to_the_log_odds(model: ChurnModel, present: World) -> None:
    contributions = model.contributions(present.rows.features)

    assert contributions.dtype == np.float64
    assert contributions.shape == (500, len(model.columns) + 1)
    assert contributions.sum(axis=1) == pytest.approx(
        model.raw_score(present.rows.features), abs=1e-9
    )


def test_several_boosters_answer_with_the_mean_of_each_and_reasons_still_add_up(
    past: World, present: World
) -> None:
    few = Trees(n_trees=10, min_data_in_leaf=20)
    alone = [
        ChurnModel(seed=seed, trees=few).fit(past.rows.features, past.churned) for seed in (4, 5, 6)
    ]

    model = ChurnModel(seed=4, trees=few, n_seeds=3).fit(past.rows.features, past.churned)

    raw = model.raw_score(present.rows.features)
    each = [one.raw_score(present.rows.features) for one in alone]
    assert raw == pytest.approx(np.mean(each, axis=0), abs=1e-12)
    assert np.ptp(each, axis=0).max() > 0
    contributions = model.contributions(present.rows.features)
    assert contributions.sum(axis=1) == pytest.approx(raw, abs=1e-9)


def test_a_model_of_no_booster_is_refused() -> None:
    with pytest.raises(InputRefused, match="0 boosters"):
        ChurnModel(seed=1, n_seeds=0)


def test_the_base_is_the_same_for_everyone(model: ChurnModel, present: World) -> None:
    base = model.contributions(present.rows.features)[:, -1]

    assert np.ptp(base) == 0


def test_longer_silence_never_lowers_the_risk(model: ChurnModel, present: World) -> None:
    scores = [
        model.raw_score(present.rows.features.assign(recency_days=float(days)))
        for days in range(0, 190, 10)
    ]

    assert (np.diff(scores, axis=0) >= 0).all()


def test_without_the_constraint_the_trees_bend(past: World, present: World) -> None:
    free = ChurnModel(seed=1, trees=TREES).fit(past.rows.features, past.churned)

    scores = [
        free.raw_score(present.rows.features.assign(recency_days=float(days)))
        for days in range(0, 190, 10)
    ]

    assert (np.diff(scores, axis=0) < 0).any()  # the constraint above does hold something back


def test_it_ranks_nearly_as_well_as_the_truth(model: ChurnModel, present: World) -> None:
    found = auc(present.churned, model.raw_score(present.rows.features))

    assert found >= auc(present.churned, -present.expected_cents)


def test_the_number_of_threads_changes_nothing(
    past: World, present: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.models.boosting.ROWS_TO_SHARE_TRAINING", 1)
    few = Trees(n_trees=4, num_leaves=4)

    one, two = (
        ChurnModel(seed=1, trees=few, num_threads=n).fit(past.rows.features, past.churned)
        for n in (1, 2)
    )

    assert np.array_equal(
        one.raw_score(present.rows.features), two.raw_score(present.rows.features)
    )


def test_only_the_named_columns_are_read(past: World) -> None:
    named = ("recency_days", "purchase_days")

    model = ChurnModel(seed=1, trees=TREES, columns=named).fit(past.rows.features, past.churned)

    assert model.columns == named


def test_a_model_fitted_again_reads_the_columns_it_is_given(past: World) -> None:
    model = ChurnModel(seed=1, trees=TREES).fit(past.rows.features, past.churned)

    model.fit(past.rows.features[["recency_days"]], past.churned)

    assert model.columns == ("recency_days",)


def test_a_monotone_column_it_does_not_read_is_refused(past: World) -> None:
    model = ChurnModel(seed=1, monotone=["silence"], trees=TREES)

    with pytest.raises(InputRefused, match=r"silence.* not among"):
        model.fit(past.rows.features, past.churned)


def test_the_reference_is_plain_and_says_so(past: World) -> None:
    model = reference_churn(seed=1).fit(past.rows.features, past.churned)

    assert model.kind == "lightgbm_reference"
    assert model.monotone == ()


def test_growing_stops_when_later_members_no_longer_gain(past: World, present: World) -> None:
    def n_trees(columns: list[str]) -> int:
        model = ChurnModel(seed=1, columns=columns, trees=TREES)
        return best_n_trees(
            model,
            (past.rows.features, past.churned),
            (present.rows.features, present.churned),
            n_trees_max=600,
            patience=10,
        )

    assert 1 <= n_trees(["noise"]) < n_trees(["recency_days", "purchase_days"]) < 600


def test_a_text_column_is_refused(model: ChurnModel, present: World) -> None:
    features = present.rows.features.assign(noise="blue")

    with pytest.raises(InputRefused, match="not a number"):
        model.raw_score(features)


def test_an_integer_column_with_absent_values_is_read_as_numbers(
    model: ChurnModel, present: World
) -> None:
    features = present.rows.features
    counted = features.assign(purchase_days=features["purchase_days"].astype("Int64"))
    counted.loc[3, "purchase_days"] = pd.NA
    blank = features.copy()
    blank.loc[3, "purchase_days"] = np.nan

    assert np.array_equal(model.raw_score(counted), model.raw_score(blank))
