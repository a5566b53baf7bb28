"""A row of the store, a frame, a batch and a reloaded model give a member the same score."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from programme.errors import InputRefused
from serving.hot import ChurnScorer, NotFromRow, facts_of, unexplained
from serving.online.publish import texts_of
from serving.online.store import NUMBERS
from tests.little_programme import AS_OF, LittleProgramme
from training import registry
from training.bundle import Bundle, Saveable
from training.bundle import facts_of as facts_of_model
from training.champions import Champions
from training.explain import FACT_COLUMNS, explain
from training.lookup import RegisteredModel
from training.models.calibration import PlattCalibration
from training.models.churn_mean import ChurnMean
from training.models.classical import ClassicChurn
from training.models.hazard import HazardChurn
from training.models.inputs import Numbers, matrix
from training.models.rules import ColumnRule
from training.percentiles import percentiles, placed, thresholds

CALIBRATION = PlattCalibration(slope=1.3, intercept=-0.2)
scores = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9]) | st.floats(0, 1), min_size=1)


@pytest.fixture(scope="module")
def frame(trained: LittleProgramme) -> pd.DataFrame:
    return trained.snapshot.features()


@pytest.fixture(scope="module")
def rows(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the members as the store keeps them."""
    return frame[list(NUMBERS)].to_numpy(np.float64)


@pytest.fixture(scope="module")
def texts(frame: pd.DataFrame) -> list[Mapping[str, str]]:
    return list(texts_of(frame))


@pytest.fixture(scope="module")
def models(frame: pd.DataFrame, trained: LittleProgramme) -> dict[str, RegisteredModel]:
    """Return one of each kind that may be champion."""
    champion = registry.load(trained.settings, trained.name("churn"))
    days = frame["recency_days"].to_numpy()
    churned = (days > np.median(days)).astype(float)
    features = frame[list(NUMBERS)].reset_index(drop=True)
    rule = ColumnRule("recency_days", 1).fit(features, churned)
    classic = ClassicChurn("bgnbd", 28, seed=1).fit(features, churned)
    mean = ChurnMean({"trees": champion.bundle.model, "classic": classic, "rule": rule})
    made: dict[str, Saveable] = {"rule": rule, "classic": classic, "mean": mean}
    return {"trees": champion} | {name: registered(model) for name, model in made.items()}


def registered(model: Saveable) -> RegisteredModel:
    facts = facts_of_model(
        model,
        "churn",
        28,
        data_window=(date(2024, 1, 1), AS_OF),
        git_sha="0" * 40,
    )
    return RegisteredModel("churn_28d", 3, Bundle(model, facts, CALIBRATION))


KINDS = ("trees", "rule", "classic", "mean")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_one_by_one_all_at_once_and_a_frame_are_scored_alike(
    kind: str, models: dict[str, RegisteredModel], frame: pd.DataFrame, rows: NDArray[np.float64]
) -> None:
    bundle = models[kind].bundle
    scorer = ChurnScorer.of(models[kind], [0.5] * 100)
    raw = bundle.model.raw_score(frame)
    assert bundle.calibration is not None

    together = scorer.score(rows)
    alone = [scorer.score(row[None, :]) for row in rows]

    np.testing.assert_allclose(together.raw, raw, rtol=0, atol=1e-9)
    np.testing.assert_allclose(together.probability, bundle.calibration.apply(raw), atol=1e-9)
    np.testing.assert_allclose([one.raw[0] for one in alone], raw, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_reasons_of_rows_are_those_of_a_frame(
    kind: str,
    models: dict[str, RegisteredModel],
    frame: pd.DataFrame,
    rows: NDArray[np.float64],
    texts: list[Mapping[str, str]],
) -> None:
    model = models[kind].bundle.model
    facts = frame[[name for name in FACT_COLUMNS if name in frame.columns]]

    told = ChurnScorer.of(models[kind], [0.5] * 100).explain(rows, texts)

    assert told == explain(facts, model.columns, model.contributions(frame))
    np.testing.assert_allclose(
        [one.raw_score for one in told], model.raw_score(frame), rtol=0, atol=2e-5
    )


def test_a_member_is_the_same_in_the_batch_the_store_and_a_reloaded_model(
    trained: LittleProgramme, rows: NDArray[np.float64], texts: list[Mapping[str, str]]
) -> None:
    champions = Champions.load(trained.settings)
    population = champions.population(trained.snapshot)
    batch = champions.score(population, [str(one) for one in population.members])
    scorer = ChurnScorer.of(
        registry.load(trained.settings, trained.name("churn")),
        thresholds(population.churn_probability),
    )

    scored, why = scorer.score(rows), scorer.explain(rows, texts)

    for place, member in enumerate(batch):
        assert member.churn is not None
        assert scored.probability[place] == pytest.approx(member.churn.churn_probability, abs=1e-9)
        assert scored.percentile[place] == member.churn.percentile
        assert scorer.band(scored.probability[place]) == member.churn.risk_band
        assert why[place].drivers == member.churn.drivers
        assert (why[place].base, why[place].raw_score) == (
            member.churn.base,
            member.churn.raw_score,
        )


@given(scores)
def test_percentiles_by_thresholds_are_those_of_the_population(said: list[float]) -> None:
    one = np.array(said)

    np.testing.assert_array_equal(placed(one, thresholds(one)), percentiles(one))


@given(scores, st.floats(-1, 2))
def test_a_score_nobody_had_has_a_percentile_too(said: list[float], new: float) -> None:
    assert 1 <= int(placed(new, thresholds(np.array(said)))) <= 100


def test_what_no_row_tells_is_refused_at_the_door(frame: pd.DataFrame) -> None:
    columns = ("recency_days", "gap_days_shrunk", "purchase_days_84d")
    days = np.minimum(frame["recency_days"].to_numpy(), 28.0).round()
    features = frame[list(NUMBERS)].reset_index(drop=True)
    hazard = HazardChurn(28, seed=1, columns=columns).fit(features, days)
    with pytest.raises(NotFromRow, match="reasons do not add up"):
        ChurnScorer.of(registered(hazard), [0.5] * 100)

    outcomes = np.arange(len(frame)) % 2
    renamed = features.rename(columns={"recency_days": "moon_phase"})
    rule = ColumnRule("moon_phase", 1).fit(renamed, outcomes)
    known = ColumnRule("recency_days", 1).fit(features, outcomes)
    strange = registered(known)
    strange = replace(strange, bundle=replace(strange.bundle, model=rule))
    with pytest.raises(NotFromRow, match="moon_phase"):
        ChurnScorer.of(strange, [0.5] * 100)


def test_an_infinite_feature_is_refused(
    models: dict[str, RegisteredModel], rows: NDArray[np.float64]
) -> None:
    broken = rows[:1].copy()
    broken[0, NUMBERS.index("recency_days")] = np.inf

    with pytest.raises(InputRefused, match="recency_days"):
        ChurnScorer.of(models["rule"], [0.5] * 100).score(broken)


def test_a_stored_probability_has_log_odds_and_no_reasons() -> None:
    why = unexplained(0.5)

    assert (why.base, why.raw_score, why.drivers) == (0.0, 0.0, ())
    assert unexplained(0.0).raw_score < -20 and unexplained(1.0).raw_score > 20


def test_facts_of_a_row_are_the_columns_of_the_sentences(
    rows: NDArray[np.float64], texts: list[Mapping[str, str]]
) -> None:
    (facts,) = facts_of(rows[:1], texts[:1])

    assert set(facts) <= set(FACT_COLUMNS)
    assert facts["recency_days"] == rows[0, NUMBERS.index("recency_days")]


def test_named_numbers_are_picked_as_from_a_frame(frame: pd.DataFrame) -> None:
    wanted = ("tenure_days", "recency_days")
    there = Numbers(tuple(NUMBERS), frame[list(NUMBERS)].to_numpy(np.float64))

    np.testing.assert_array_equal(matrix(there, wanted), matrix(frame, wanted))
    with pytest.raises(InputRefused, match="moon_phase missing"):
        matrix(there, ("moon_phase",))
    with pytest.raises(ValueError, match="2 columns"):
        Numbers(wanted, there.values)
