"""Money by a score: published defaults, another implementation's figures, and sums by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import beta

from training.config import Campaign
from training.profit import (
    campaign_curve,
    campaign_metric,
    expected_maximum_profit,
    maximum_profit,
)

PUBLISHED = Campaign()
OTHER = Campaign(
    member_cents=5_000, offer_cents=700, contact_cents=30, save_rate=0.2, save_rate_weight=10
)
CHURNED = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0.0])
SAID = np.array(
    [0.10, 0.20, 0.30, 0.40, 0.50, 0.70, 0.80, 0.90, 0.05, 0.15, 0.35, 0.35, 0.55, 0.25, 0.45, 0.60]
)


@pytest.mark.parametrize(
    ("campaign", "expected", "share", "fixed"),
    [
        (PUBLISHED, 12.180558013152305, 0.7197333176599758, 12.0),
        (OTHER, 0.8654436162821989, 0.2134429174986617, 0.64375),
    ],
)
def test_profits_are_those_of_empulse(
    campaign: Campaign, expected: float, share: float, fixed: float
) -> None:
    # empulse 0.13.1, empc_score, its optimal_rate, and mpc_score, in units of currency.
    profit, contacted = expected_maximum_profit(CHURNED, SAID, campaign)

    assert profit / 100 == pytest.approx(expected, rel=1e-6)
    assert contacted == pytest.approx(share, rel=1e-6)
    assert maximum_profit(CHURNED, SAID, campaign)[0] / 100 == pytest.approx(fixed)
    assert campaign_metric(campaign)(CHURNED, SAID) == pytest.approx(expected, rel=1e-6)


def test_a_contact_pays_from_the_published_probability() -> None:
    # (10 + 1) / (.3 * (200 - 10) + 10)
    assert PUBLISHED.least_probability == pytest.approx(11 / 67)


rows = st.integers(0, 2**31).map(np.random.default_rng)


def draw(rng: np.random.Generator, n: int = 60) -> tuple[Any, Any]:
    churned = (rng.random(n) < 0.3).astype(float)
    churned[:2] = 0, 1
    return churned, np.round(churned + rng.normal(0, 1, n), 1)


@examples(max_examples=25, deadline=None)
@given(rows)
def test_the_integral_is_the_mean_over_save_rates_of_the_best_threshold(
    rng: np.random.Generator,
) -> None:
    churned, said = draw(rng)
    alpha = OTHER.save_rate * OTHER.save_rate_weight
    rates = beta.ppf((np.arange(2_000) + 0.5) / 2_000, alpha, OTHER.save_rate_weight - alpha)
    order = np.argsort(-said, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(said[order])), len(said) - 1]
    leavers = np.r_[0, np.cumsum(churned[order])[ends]]
    stayers = np.r_[0, np.cumsum(1 - churned[order])[ends]]
    gain = np.array([OTHER.gain_cents(rate) for rate in rates])
    best = (np.outer(gain, leavers) - OTHER.loss_cents * stayers).max(axis=1)

    profit, _ = expected_maximum_profit(churned, said, OTHER)

    assert profit == pytest.approx(best.mean() / len(churned), rel=2e-3, abs=1e-3)


@examples(max_examples=25, deadline=None)
@given(rows)
def test_nobody_earns_more_than_who_knows_and_nobody_loses(rng: np.random.Generator) -> None:
    churned, said = draw(rng)

    profit, share = expected_maximum_profit(churned, said, PUBLISHED)
    most, _ = expected_maximum_profit(churned, churned, PUBLISHED)

    assert 0 <= profit <= most + 1e-9
    assert 0 <= share <= 1
    # Only the order counts.
    assert expected_maximum_profit(churned, 3 * said - 7, PUBLISHED) == (profit, share)
    # Not knowing the save rate and choosing for each is worth at least as much as one choice.
    assert profit >= maximum_profit(churned, said, PUBLISHED)[0] - 1e-9


def test_the_curve_by_hand() -> None:
    # Two leavers first, then two who stay: .3 * 190 - 1 = 56 for each leaver, -11 for the others.
    curve = campaign_curve([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], PUBLISHED)

    assert curve["members"].tolist() == [0, 1, 2, 3, 4]
    assert curve["profit_cents"].tolist() == pytest.approx([0, 5_600, 11_200, 10_100, 9_000])
    assert curve["saved"].tolist() == pytest.approx([0, 0.3, 0.6, 0.6, 0.6])
    assert maximum_profit([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], PUBLISHED) == (2_800.0, 0.5)


def test_a_long_curve_has_a_point_for_each_hundredth() -> None:
    churned, said = draw(np.random.default_rng(0), 1_000)

    curve = campaign_curve(churned, said, PUBLISHED)

    assert len(curve) == 101
    assert curve["share"].iloc[[0, -1]].tolist() == [0, 1]
    assert curve["leavers"].iloc[-1] == churned.sum()


@pytest.mark.parametrize("same", [0.0, 1.0])
def test_where_nobody_or_everybody_left_there_is_no_figure(same: float) -> None:
    assert np.isnan(expected_maximum_profit([same] * 3, [0.1, 0.2, 0.3], PUBLISHED)).all()
    assert np.isnan(maximum_profit([same] * 3, [0.1, 0.2, 0.3], PUBLISHED)).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"offer_cents": 20_000}, "member_cents must be above offer_cents"),
        ({"contact_cents": -1}, "greater than or equal to 0"),
        ({"save_rate": 1}, "less than 1"),
        ({"save_rate": 0}, "greater than 0"),
        ({"save_rate_weight": 0}, "greater than 0"),
        ({"member_cents": float("nan")}, "finite"),
        ({"clv": 3}, "Extra inputs"),
    ],
)
def test_a_campaign_that_makes_no_sense_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Campaign(**wrong)
