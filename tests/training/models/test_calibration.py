import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from programme.errors import InputRefused
from training.models.calibration import PlattCalibration

RNG = np.random.default_rng(4)
RAW = RNG.normal(-1.5, 1.2, 4_000)


def happened(probability: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(5).random(len(probability)) < probability).astype(float)


def test_it_finds_the_line_the_world_was_made_with() -> None:
    calibration = PlattCalibration.fit(RAW, happened(expit(0.6 * RAW - 0.4)))

    assert calibration.slope == pytest.approx(0.6, abs=0.07)
    assert calibration.intercept == pytest.approx(-0.4, abs=0.12)


def test_the_mean_probability_is_the_share_that_churned() -> None:
    churned = happened(expit(0.6 * RAW - 0.4))

    probability = PlattCalibration.fit(RAW, churned).apply(RAW)

    assert probability.mean() == pytest.approx(churned.mean(), abs=1e-3)


def test_it_is_scikit_learns_regression_on_platts_targets() -> None:
    churned = happened(expit(RAW))
    n_churned, n_stayed = churned.sum(), (1 - churned).sum()
    target = np.where(churned == 1, (n_churned + 1) / (n_churned + 2), 1 / (n_stayed + 2))
    theirs = LogisticRegression(C=1e12, tol=1e-10, max_iter=1_000).fit(
        np.r_[RAW, RAW][:, None], np.repeat([1, 0], len(RAW)), np.r_[target, 1 - target]
    )

    ours = PlattCalibration.fit(RAW, churned)

    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], rel=1e-5)


@given(
    st.lists(
        st.tuples(st.floats(-50, 50), st.sampled_from([0, 1])), min_size=2, max_size=30
    ).filter(lambda rows: len({outcome for _, outcome in rows}) == 2)
)
def test_the_order_never_changes_and_no_probability_is_0_or_1(
    rows: list[tuple[float, int]],
) -> None:
    raw = np.array([score for score, _ in rows])

    calibration = PlattCalibration.fit(raw, [outcome for _, outcome in rows])
    probability = calibration.apply(np.sort(raw))

    assert calibration.slope > 0
    assert (np.diff(probability) >= 0).all()
    assert np.isfinite(probability).all()


def test_scores_that_say_nothing_get_the_base_rate() -> None:
    calibration = PlattCalibration.fit(np.zeros(100), np.repeat([1, 0], [20, 80]))

    assert calibration.apply([0.0]) == pytest.approx([0.2], abs=0.01)


def test_scores_that_point_the_wrong_way_are_not_turned_round() -> None:
    churned = happened(expit(-RAW))

    calibration = PlattCalibration.fit(RAW, churned)

    assert calibration.slope > 0
    assert calibration.apply(RAW).mean() == pytest.approx(churned.mean(), abs=1e-3)


def test_it_survives_json() -> None:
    calibration = PlattCalibration.fit(RAW, happened(expit(RAW)))

    again = PlattCalibration.from_dict(json.loads(json.dumps(calibration.to_dict())))

    assert again == calibration


def test_one_class_is_refused() -> None:
    with pytest.raises(InputRefused, match="0 of 3 churned"):
        PlattCalibration.fit([0.1, 0.2, 0.3], [0, 0, 0])
