import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from programme.errors import InputRefused
from tests.training.models.worlds import world
from training.models.rules import ColumnRule, PastSpend, signed_log

PAST = world(400, seed=3)
RULE = ColumnRule("recency_days", sign=1).fit(PAST.rows.features, PAST.churned)


@given(st.lists(st.floats(0, 5_000), min_size=2, max_size=20))
def test_more_of_the_column_is_never_less_churn(days: list[float]) -> None:
    scores = RULE.raw_score(pd.DataFrame({"recency_days": sorted(days)}))

    assert (np.diff(scores) >= 0).all()


def test_a_rule_ranks_as_stated_even_where_the_data_disagree() -> None:
    upside_down = ColumnRule("recency_days", sign=-1).fit(PAST.rows.features, PAST.churned)

    scores = upside_down.raw_score(pd.DataFrame({"recency_days": [1.0, 10.0, 100.0]}))

    assert (np.diff(scores) < 0).all()


def test_the_line_is_the_logistic_regression_of_scikit_learn() -> None:
    column = PAST.rows.features["recency_days"]
    filled = signed_log(column.fillna(column.median()).to_numpy())
    standard = ((filled - filled.mean()) / filled.std())[:, None]
    # The ridge of the rule, 1e-3 b^2 / 2, in scikit-learn's terms.
    theirs = LogisticRegression(C=1e3, tol=1e-10, max_iter=1_000).fit(standard, PAST.churned)

    assert RULE.raw_score(PAST.rows.features) == pytest.approx(
        theirs.decision_function(standard), abs=1e-5
    )


def test_an_absent_value_counts_as_the_median() -> None:
    features = PAST.rows.features
    median = features["recency_days"].median()

    absent, present = RULE.raw_score(pd.DataFrame({"recency_days": [np.nan, median]}))

    assert absent == pytest.approx(present, rel=1e-12)


def test_a_column_that_separates_the_classes_gives_finite_log_odds() -> None:
    features = pd.DataFrame({"silence": [1.0, 2, 3, 4, 5, 6]})

    rule = ColumnRule("silence", sign=1).fit(features, [0, 0, 0, 1, 1, 1])

    assert np.isfinite(rule.raw_score(features)).all()
    assert (rule.raw_score(features)[3:] > 3).all()


def test_the_column_and_the_base_add_up() -> None:
    contributions = RULE.contributions(PAST.rows.features)

    assert contributions.shape == (400, 2)
    assert np.array_equal(contributions.sum(axis=1), RULE.raw_score(PAST.rows.features))


def test_a_sign_other_than_plus_or_minus_one_is_refused() -> None:
    with pytest.raises(InputRefused, match="sign of the rule on recency_days is 0"):
        ColumnRule("recency_days", sign=0)


def test_past_spend_is_repeated_as_it_is() -> None:
    rows = world(3, seed=1).rows
    features = pd.DataFrame({"spend_cents_91d": [1_234.5, np.nan, -50.0]})
    rows = type(rows)(rows.member_id, rows.as_of, features, rows.weekly)

    expected = PastSpend("spend_cents_91d").fit(rows, np.ones(3)).predict(rows)

    assert expected.tolist() == [1_234.5, 0.0, 0.0]
