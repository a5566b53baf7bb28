"""Metrics by hand arithmetic, against scikit-learn, and their laws."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from programme.errors import InputRefused
from training import metrics

scores = st.integers(-6, 6).map(lambda number: number / 4)  # few values, so many ties
outcomes = st.lists(st.tuples(st.sampled_from([0, 1]), scores), min_size=2, max_size=60).filter(
    lambda rows: len({happened for happened, _ in rows}) == 2
)
values = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=2, max_size=60
).filter(lambda rows: len({value for value, _ in rows}) > 1)


def columns(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    truth, score = zip(*rows, strict=True)
    return np.array(truth, float), np.array(score, float)


@given(outcomes)
def test_auc_average_precision_and_brier_are_scikit_learns(rows: list[tuple[int, float]]) -> None:
    truth, score = columns(rows)

    assert metrics.auc(truth, score) == pytest.approx(theirs.roc_auc_score(truth, score))
    assert metrics.average_precision(truth, score) == pytest.approx(
        theirs.average_precision_score(truth, score)
    )
    probability = (score + 2) / 4
    assert metrics.brier(truth, probability) == pytest.approx(
        theirs.brier_score_loss(truth, probability)
    )


def test_auc_by_hand() -> None:
    # Positives at 3 and 1, negatives at 2 and 1: of four pairs, 3 > 2, 3 > 1, 1 < 2, 1 = 1.
    assert metrics.auc([1, 0, 1, 0], [3, 2, 1, 1]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_average_precision_by_hand() -> None:
    # Found at places 1 and 3: recall .5 at precision 1, then 1 at 2/3.
    assert metrics.average_precision([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)


def test_ece_by_hand() -> None:
    # Twenty members, bins of two. The highest two said .9 and one churned: gap .4; the others
    # said .1 and none did: gap .1.
    probability = np.r_[[0.9, 0.9], np.full(18, 0.1)]
    churned = np.r_[[1, 0], np.zeros(18)]

    assert metrics.ece(churned, probability) == pytest.approx(0.1 * 0.4 + 0.9 * 0.1)


def test_lift_by_hand() -> None:
    # Two of twenty are the top decile; both churned, as did two more: 1 / .2.
    score = np.arange(20)[::-1]
    churned = np.r_[1, 1, np.zeros(16), 1, 1]

    assert metrics.top_decile_lift(churned, score) == pytest.approx(1 / 0.2)


def test_gini_by_hand() -> None:
    # Values 6, 3, 1. By truth the gain is .6, .9, 1: trapezoids .3 + .75 + .95 = 2.0, over 3,
    # twice, less 1: 1/3. By the prediction (3, 6, 1) it is .3, .9, 1: .15 + .6 + .95 = 1.7: .4/3.
    assert metrics.normalised_gini([6, 3, 1], [5, 9, 2]) == pytest.approx((0.4 / 3) / (1 / 3))


def test_equal_predictions_keep_the_order_of_the_rows() -> None:
    assert metrics.normalised_gini([6, 3, 1], [1, 1, 1]) == pytest.approx(1)
    assert metrics.normalised_gini([1, 3, 6], [1, 1, 1]) == pytest.approx(-1)


def test_decile_mape_by_hand() -> None:
    # Ten members, a bin each: nine exact; the last was worth 0.20 and promised 0.70: the error
    # of 50 cents counts against one unit of currency.
    truth = np.r_[np.arange(1_000, 100, -100), 20]
    promised = np.r_[truth[:9], 70]

    assert metrics.decile_mape(truth, promised) == pytest.approx(0.5 / 10)
    assert metrics.decile_mape(truth, promised, unit=1) == pytest.approx(50 / 20 / 10)


def test_rmse_bias_and_rank_correlation_by_hand() -> None:
    truth, predicted = [100, 200, 300], [130, 160, 310]

    assert metrics.rmse(truth, predicted) == pytest.approx(np.sqrt((900 + 1_600 + 100) / 3))
    assert metrics.aggregate_bias(truth, predicted) == pytest.approx(0)
    assert metrics.aggregate_bias(truth, [210, 210, 210]) == pytest.approx(0.05)
    assert metrics.spearman(truth, [1, 3, 2]) == pytest.approx(0.5)


@given(values)
def test_rank_correlation_is_scipys(rows: list[tuple[int, float]]) -> None:
    truth, predicted = columns(rows)

    ours = metrics.spearman(truth, predicted)

    if len(set(predicted)) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(truth, predicted).statistic)


@given(outcomes)
def test_auc_lies_between_0_and_1_and_turns_round_with_the_score(
    rows: list[tuple[int, float]],
) -> None:
    truth, score = columns(rows)

    assert 0 <= metrics.auc(truth, score) <= 1
    assert metrics.auc(truth, -score) == pytest.approx(1 - metrics.auc(truth, score))


@given(outcomes, st.sampled_from(["auc", "average_precision", "top_decile_lift"]))
def test_stretching_the_score_changes_no_ranking_metric(
    rows: list[tuple[int, float]], name: str
) -> None:
    truth, score = columns(rows)
    metric: Callable[[np.ndarray, np.ndarray], float] = getattr(metrics, name)

    assert metric(truth, np.exp(score) * 5 - 3) == pytest.approx(metric(truth, score))


@given(outcomes, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter_to_auc_and_average_precision(
    rows: list[tuple[int, float]], random: st.DataObject
) -> None:
    turned = list(rows)
    random.shuffle(turned)  # type: ignore[attr-defined]

    for metric in (metrics.auc, metrics.average_precision):
        assert metric(*columns(turned)) == pytest.approx(metric(*columns(rows)))


@given(outcomes)
def test_a_perfect_score_is_perfect(rows: list[tuple[int, float]]) -> None:
    truth, _ = columns(rows)

    assert metrics.auc(truth, truth) == 1
    assert metrics.average_precision(truth, truth) == 1
    assert metrics.brier(truth, truth) == 0
    assert metrics.ece(truth, truth) == 0
    assert metrics.top_decile_lift(truth, truth) == pytest.approx(
        min(1, truth.sum() / np.ceil(len(truth) / 10)) / truth.mean()
    )


@given(values)
def test_the_gini_is_1_at_most_and_turns_round_with_a_tieless_prediction(
    rows: list[tuple[int, float]],
) -> None:
    truth, predicted = columns(rows)
    tieless = predicted + np.linspace(0, 0.5, len(predicted))

    gini = metrics.normalised_gini(truth, tieless)

    assert -1 - 1e-9 <= gini <= 1 + 1e-9
    assert metrics.normalised_gini(truth, -tieless) == pytest.approx(-gini)
    assert metrics.normalised_gini(truth, truth) == pytest.approx(1)
    assert metrics.normalised_gini(truth * 3, tieless) == pytest.approx(gini)


@given(values)
def test_the_decile_table_accounts_for_everybody(rows: list[tuple[int, float]]) -> None:
    truth, predicted = columns(rows)

    table = metrics.decile_table(truth, predicted)

    assert table["members"].sum() == len(truth)
    assert table["members"].max() - table["members"].min() <= 1
    assert table["predicted_mean"].is_monotonic_decreasing
    assert (table["members"] * table["actual_mean"]).sum() == pytest.approx(truth.sum())
    assert table["cumulative_share"].iloc[-1] == pytest.approx(1)
    assert (table["members"] * table["lift"]).sum() == pytest.approx(len(truth))


def test_the_first_decile_of_the_table_is_the_lift() -> None:
    rng = np.random.default_rng(1)
    truth, score = (rng.random(403) < 0.2).astype(float), rng.normal(size=403)

    table = metrics.decile_table(truth, score)

    assert table["lift"].iloc[0] == pytest.approx(metrics.top_decile_lift(truth, score))
    assert table["members"].tolist() == [41, 41, 41, 40, 40, 40, 40, 40, 40, 40]


def test_brier_skill_and_the_share_of_the_top_tenth_by_hand() -> None:
    happened = np.array([1.0, 0, 0, 0])

    # The base rate, 1/4, has a Brier score of 3/16; halving every error quarters the score.
    assert metrics.brier_skill(happened, [0.25] * 4) == pytest.approx(0)
    assert metrics.brier_skill(happened, happened) == 1
    assert metrics.brier_skill(happened, [0.625, 0.125, 0.125, 0.125]) == pytest.approx(0.75)
    spent = np.r_[50.0, np.full(19, 2.0)]
    assert metrics.top_decile_share(spent, spent) == pytest.approx(52 / 88)
    assert metrics.top_decile_share(spent, -spent) == pytest.approx(4 / 88)


@pytest.mark.parametrize(
    ("metric", "truth"),
    [
        (metrics.brier_skill, [0, 0]),
        (metrics.brier_skill, [1, 1]),
        (metrics.top_decile_share, [0, 0]),
        (metrics.auc, [0, 0]),
        (metrics.auc, [1, 1]),
        (metrics.average_precision, [0, 0]),
        (metrics.top_decile_lift, [0, 0]),
        (metrics.normalised_gini, [0, 0]),
        (metrics.normalised_gini, [5, 5]),
        (metrics.aggregate_bias, [0, 0]),
        (metrics.spearman, [5, 5]),
    ],
)
def test_what_the_rows_do_not_define_is_not_a_number(
    metric: metrics.Metric, truth: list[float]
) -> None:
    assert np.isnan(metric(np.array(truth, float), np.array([0.2, 0.4])))


@pytest.mark.parametrize(
    ("truth", "score", "words"),
    [
        ([0, 1], [0.5], "one length"),
        ([], [], "at least one row"),
        ([[0, 1]], [[0.1, 0.2]], "one length"),
        ([0, 1], [0.5, np.nan], "1 of 2 rows"),
        ([0, np.inf], [0.5, 0.5], "not finite"),
    ],
)
def test_columns_that_do_not_belong_together_are_refused(
    truth: list[float], score: list[float], words: str
) -> None:
    with pytest.raises(InputRefused, match=words):
        metrics.auc(truth, score)


NAMED = pd.DataFrame(
    {
        "member_id": ["ann", "ann", "ann", "bob", "bob", "eve"],
        "rank": [1, 2, 3, 1, 2, 1],
        "product_id": ["tea", "milk", "soap", "tea", "milk", "tea"],
    }
)
BOUGHT = pd.DataFrame(
    {
        "member_id": ["ann", "ann", "ann", "bob", "zoe", "ann"],
        "product_id": ["milk", "soap", "beer", "rice", "tea", "milk"],  # milk twice counts once
    }
)


def test_recommendations_by_hand() -> None:
    judged = metrics.judge_members(NAMED, BOUGHT, k=2)

    # Ann bought three, of which milk was named second; bob's rice was not; zoe got no list; eve
    # bought nothing and is not judged.
    assert judged.index.tolist() == ["ann", "bob", "zoe"]
    assert judged["recall"].tolist() == pytest.approx([1 / 3, 0, 0])
    assert judged["hit"].tolist() == [1, 0, 0]
    gain, best = 1 / np.log2(3), 1 + 1 / np.log2(3)
    assert judged["ndcg"].tolist() == pytest.approx([gain / best, 0, 0])
    assert judged["recall_possible"].tolist() == pytest.approx([2 / 3, 1, 1])


def test_each_figure_of_a_member_has_its_own_function() -> None:
    judged = metrics.judge_members(NAMED, BOUGHT, k=3)

    assert metrics.recall_at_k(NAMED, BOUGHT, 3).equals(judged["recall"])
    assert metrics.hit_at_k(NAMED, BOUGHT, 3).equals(judged["hit"])
    assert metrics.ndcg_at_k(NAMED, BOUGHT, 3).equals(judged["ndcg"])


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True),
    st.permutations("abcdefgh"),
    st.integers(1, 8),
)
def test_ndcg_is_scikit_learns_and_recall_is_bounded_by_what_is_possible(
    bought: list[str], named: list[str], k: int
) -> None:
    recommended = pd.DataFrame({"member_id": "m", "rank": range(1, 9), "product_id": named})
    truth = pd.DataFrame({"member_id": "m", "product_id": bought})

    judged = metrics.judge_members(recommended, truth, k).loc["m"]

    relevant = [[float(product in bought) for product in named]]
    assert judged["ndcg"] == pytest.approx(
        theirs.ndcg_score(relevant, [np.arange(8, 0, -1)], k=k), abs=1e-9
    )
    assert 0 <= judged["recall"] <= judged["recall_possible"] <= 1
    assert judged["hit"] == (judged["recall"] > 0)


def test_nobody_bought_anything_is_an_empty_judgement() -> None:
    assert metrics.judge_members(NAMED, BOUGHT.head(0), k=2).empty


def test_the_share_captured_is_that_of_the_members_ranked_first() -> None:
    truth = [0.0, 50.0, 30.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    said = [1.0, 9.0, 2.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]

    assert metrics.share_captured(truth, said, share=0.1) == pytest.approx(0.5)
    assert metrics.share_captured(truth, said, share=0.2) == pytest.approx(0.7)
    assert metrics.share_captured(truth, said, share=0.25) == pytest.approx(1.0)  # rounded up
    assert metrics.share_captured(truth, said, share=1.0) == pytest.approx(1.0)


def test_of_nothing_no_share_is_captured() -> None:
    assert np.isnan(metrics.share_captured([0.0, 0.0], [1.0, 2.0], share=0.5))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_of_members_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputRefused, match="share of members"):
        metrics.share_captured([1.0], [1.0], share=share)


def test_covered_counts_both_ends() -> None:
    assert metrics.covered([1.0, 2.0, 3.0, 4.0], [1.0] * 4, [3.0] * 4) == 0.75
