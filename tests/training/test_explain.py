import json
from dataclasses import asdict
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from features import table
from training.explain import CODES, DRIVERS, OTHER, driver_of, explain, group_contributions

COLUMNS = table.MODEL_COLUMNS
amounts = st.floats(-50, 50, allow_subnormal=False)
tables = st.integers(1, 4).flatmap(
    lambda n: hnp.arrays(np.float64, (n, len(COLUMNS) + 1), elements=amounts)
)


def test_every_column_of_the_feature_table_belongs_to_one_named_driver() -> None:
    # A column that falls to "other" would be a reason nobody can read: name a driver for it.
    assert {column: driver_of(column) for column in COLUMNS if driver_of(column) == OTHER} == {}


def test_a_column_nobody_claims_is_other() -> None:
    assert driver_of("moon_phase") == OTHER


def test_every_driver_with_patterns_gathers_a_column_or_waits_for_one() -> None:
    gathered = {driver_of(column) for column in COLUMNS}

    assert len(gathered) >= 10
    assert gathered <= set(CODES)


def test_the_facts_of_a_driver_are_columns_or_trends() -> None:
    trends = {f"{stem}_{way}" for stem in ("visits", "spend") for way in ("up", "down")}
    columns = {column.name for column in table.COLUMNS}

    for rule in DRIVERS:
        assert set(rule.facts) <= columns | trends, rule.code


@given(contributions=tables)
@settings(max_examples=40)
def test_grouping_moves_contributions_about_and_loses_none(
    contributions: NDArray[np.float64],
) -> None:
    grouped = group_contributions(COLUMNS, contributions)

    assert grouped.shape == (len(contributions), len(CODES) + 1)
    assert grouped[:, -1] == pytest.approx(contributions[:, -1])
    assert grouped.sum(axis=1) == pytest.approx(contributions.sum(axis=1), abs=1e-9)


@given(contributions=tables)
@settings(max_examples=40)
def test_base_and_contributions_add_up_exactly_in_the_json_text(
    contributions: NDArray[np.float64],
) -> None:
    for why in explain(pd.DataFrame(index=range(len(contributions))), COLUMNS, contributions):
        written = json.loads(json.dumps(asdict(why)), parse_float=Decimal, parse_int=Decimal)

        total = written["base"] + sum(driver["contribution"] for driver in written["drivers"])
        assert total == written["raw_score"]


@given(contributions=tables)
@settings(max_examples=40)
def test_the_raw_score_is_the_models_to_within_the_rounding(
    contributions: NDArray[np.float64],
) -> None:
    whys = explain(pd.DataFrame(index=range(len(contributions))), COLUMNS, contributions)

    raw = [why.raw_score for why in whys]
    assert raw == pytest.approx(contributions.sum(axis=1), abs=1e-6 * (len(CODES) + 1))


def one(facts: dict[str, object], **moved: float) -> dict[str, dict[str, object]]:
    """Explain one member from the contributions of some columns; drivers by code."""
    contributions = np.array([[*moved.values(), 0.5]])
    (why,) = explain(pd.DataFrame([facts]), tuple(moved), contributions)
    return {driver.code: asdict(driver) for driver in why.drivers}


def test_a_driver_carries_the_facts_of_its_sentence_and_not_the_rest() -> None:
    found = one(
        {"recency_days": 34.0, "gap_days_mean": 9.0, "hour_mean_182d": 11.0}, recency_days=0.7
    )

    assert found["recency"]["value"] == 34.0
    assert found["recency"]["parameters"] == {"recency_days": 34.0, "gap_days_mean": 9.0}


def test_an_absent_fact_is_left_out() -> None:
    found = one({"recency_days": 34.0, "gap_days_mean": float("nan")}, recency_days=0.7)

    assert found["recency"]["parameters"] == {"recency_days": 34.0}


def test_direction_and_importance_follow_the_contribution() -> None:
    found = one({}, recency_days=-0.8, spend_cents_84d=0.15, tenure_days=0.05)

    assert [(d["direction"], d["importance"]) for d in found.values()] == [
        ("down", "high"),
        ("up", "medium"),
        ("up", "low"),
    ]


def test_the_strongest_driver_comes_first_and_one_that_moved_nothing_is_left_out() -> None:
    found = one({}, recency_days=0.1, spend_cents_84d=-0.9, tenure_days=0.0)

    assert list(found) == ["spend_level", "recency"]


def test_a_trend_compares_the_last_12_weeks_with_the_14_before() -> None:
    # 6 days in 84 against 14 in the 98 before: 6/84 over 14/98 is one half.
    found = one({"purchase_days_84d": 6.0, "purchase_days_182d": 20.0}, purchase_days_trend_28d=0.3)

    assert found["visit_trend"]["parameters"] == pytest.approx({"visits_down": 0.5})


def test_a_member_without_an_earlier_window_has_no_trend() -> None:
    found = one({"spend_cents_84d": 900.0, "spend_cents_182d": 900.0}, spend_trend_84d=0.3)

    assert found["spend_trend"]["value"] is None


def test_contributions_of_another_shape_are_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        group_contributions(("recency_days", "tenure_days"), np.zeros((3, 2)))
