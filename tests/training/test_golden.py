"""A loaded model answers as it did when it was registered, or is refused."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from programme.errors import InputRefused
from programme.settings import Settings
from tests.little_programme import LittleProgramme
from tests.training.test_registry import NAME, churn_bundle, point, register, rule
from training import lookup, registry
from training.golden import ROWS, Golden, GoldenMissed, require_probabilities
from training.models.calibration import PlattCalibration
from training.models.rules import ColumnRule

CALIBRATION = PlattCalibration(slope=1.5, intercept=-0.25)
EDGES = 6


def members(n: int = 400, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = np.where(rng.uniform(size=n) < 0.1, np.nan, rng.integers(0, 300, n))
    return pd.DataFrame({"spend_cents_84d": rng.uniform(0, 9e5, n), "recency_days": days})


def golden(model: ColumnRule | None = None) -> Golden:
    made = Golden.of(model or rule(), CALIBRATION, members())
    assert made is not None
    return made


def test_a_sound_model_passes_its_own_rows() -> None:
    golden().check(rule(), CALIBRATION)


def test_there_are_edges_beside_the_rows_made_up() -> None:
    made = golden()

    assert made.rows.shape == (ROWS + EDGES, 1)
    assert np.isnan(made.rows).all(axis=1).any()
    assert (made.rows == 0).all(axis=1).any()
    assert made.rows.min() < 0 if not np.isnan(made.rows).any() else np.nanmin(made.rows) < 0
    assert np.nanmax(made.rows) > members()["recency_days"].max()


def test_recorded_scores_are_the_rules_own_arithmetic() -> None:
    made = golden()
    raw = rule().raw_score(pd.DataFrame(made.rows, columns=["recency_days"]))

    np.testing.assert_array_equal(made.raw_score, raw)
    np.testing.assert_allclose(made.churn_probability, expit(1.5 * raw - 0.25), rtol=1e-15)


def test_what_is_written_is_read() -> None:
    made = golden()
    read = Golden.from_json(made.to_json())

    assert read.columns == made.columns
    np.testing.assert_array_equal(read.rows, made.rows)
    np.testing.assert_array_equal(read.raw_score, made.raw_score)
    np.testing.assert_array_equal(read.churn_probability, made.churn_probability)
    json.loads(made.to_json(), parse_constant=lambda name: pytest.fail(name))


def test_no_golden_row_is_a_members_and_no_id_is_kept(trained: LittleProgramme) -> None:
    found = registry.load(trained.settings, "churn_28d").bundle.golden
    assert found is not None
    frame = trained.snapshot.features()
    theirs = {row.tobytes() for row in frame[list(found.columns)].to_numpy(np.float64)}

    assert len(found.rows) > ROWS
    assert not theirs & {row.tobytes() for row in found.rows}
    assert not any(member in found.to_json() for member in frame.index)


def test_too_few_members_to_hide_in_give_no_golden_rows() -> None:
    assert Golden.of(rule(), CALIBRATION, members(19)) is None


def drifted(model: ColumnRule, by: float) -> ColumnRule:
    model.intercept_ += by
    return model


@pytest.mark.parametrize("by", [1e-7, -0.3, float("nan")])
def test_another_answer_is_refused_by_its_row(by: float) -> None:
    made = golden()

    with pytest.raises(GoldenMissed, match="not loaded"):
        made.check(drifted(rule(), by), CALIBRATION)


def test_a_difference_in_the_last_digits_is_none() -> None:
    golden().check(drifted(rule(), 1e-13), CALIBRATION)


def test_another_calibration_is_refused() -> None:
    with pytest.raises(GoldenMissed, match="churn probability of golden row"):
        golden().check(rule(), replace(CALIBRATION, intercept=-0.26))


def test_another_number_or_order_of_columns_is_refused() -> None:
    model = rule()
    made = golden()
    model.columns = ("recency_days", "spend_cents_84d")

    with pytest.raises(GoldenMissed, match=r"reads 2 columns, its golden rows have 1"):
        made.check(model, CALIBRATION)


def test_reasons_that_do_not_add_up_are_refused() -> None:
    class Unfaithful(ColumnRule):
        def raw_score(self, features: pd.DataFrame) -> np.ndarray:
            return np.asarray(super().contributions(features).sum(axis=1))

        def contributions(self, features: pd.DataFrame) -> np.ndarray:
            return super().contributions(features) + 0.001

    days = pd.DataFrame({"recency_days": [1.0, 5.0, 20.0, 60.0, 90.0, 200.0]})
    model = Unfaithful("recency_days", 1).fit(days, np.array([0, 0, 1, 0, 1, 1]))

    with pytest.raises(GoldenMissed, match="contributions of row"):
        golden().check(model, CALIBRATION)


def test_rows_that_a_model_of_histories_refuses_are_left_out() -> None:
    class Careful(ColumnRule):
        def raw_score(self, features: pd.DataFrame) -> np.ndarray:
            if (features["recency_days"] > 150).any():
                raise InputRefused("1 purchase histories are impossible. Nothing was computed.")
            return super().raw_score(features)

    days = pd.DataFrame({"recency_days": [1.0, 5.0, 20.0, 60.0, 90.0, 140.0]})
    model = Careful("recency_days", 1).fit(days, np.array([0, 0, 1, 0, 1, 1]))

    made = golden(model)

    made.check(model, CALIBRATION)
    assert 0 < len(made.rows) < ROWS
    assert not (made.rows > 150).any()


def test_a_model_without_any_finite_score_is_not_registered() -> None:
    with pytest.raises(InputRefused, match="no finite score at any of its 70 golden rows"):
        Golden.of(drifted(rule(), float("nan")), CALIBRATION, members())


@given(arrays(np.float64, st.integers(1, 9), elements=st.floats(allow_nan=True)))
def test_probabilities_are_those_in_the_unit_interval(values: np.ndarray) -> None:
    sound = bool((np.isfinite(values) & (values >= 0) & (values <= 1)).all())

    if sound:
        require_probabilities(values)
    else:
        with pytest.raises(GoldenMissed, match="churn probabilities are none"):
            require_probabilities(values)


def registered(settings: Settings, made: Golden) -> int:
    return register(settings, replace(churn_bundle(), golden=made))


def test_golden_rows_lie_with_the_version_and_are_asked_at_every_load(
    new_settings: Callable[[], Settings],
) -> None:
    settings = new_settings()
    registry.promote(settings, NAME, registered(settings, golden()), expected=None)

    found = registry.load(settings, NAME).bundle.golden

    assert found is not None
    np.testing.assert_array_equal(found.rows, golden().rows)


def test_a_version_that_answers_otherwise_is_neither_promoted_nor_loaded(
    new_settings: Callable[[], Settings],
) -> None:
    settings = new_settings()
    registry.promote(settings, NAME, registered(settings, golden()), expected=None)
    made = golden()
    off = registered(settings, replace(made, raw_score=made.raw_score + 0.01))

    with pytest.raises(InputRefused, match=r"churn_28d/2 cannot be served.*golden row"):
        registry.promote(settings, NAME, off, expected=1)
    assert registry.champion_version(settings, NAME) == 1

    point(settings, off)
    with pytest.raises(GoldenMissed, match="raw score of golden row"):
        registry.load(settings, NAME)


def test_a_version_of_before_golden_rows_still_loads(
    new_settings: Callable[[], Settings],
) -> None:
    settings = new_settings()
    registry.promote(settings, NAME, register(settings), expected=None)
    version = lookup.find(settings, NAME, registry.CHAMPION)
    assert version is not None

    assert lookup.load(settings, version).bundle.golden is None
