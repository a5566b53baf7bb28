import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programme.errors import InputRefused
from training import metrics
from training.intervals import Interval, grade, paired_bootstrap, resampled
from training.reweighted import prepare

CHURN_METRICS: list[metrics.Metric] = [
    metrics.auc,
    metrics.average_precision,
    metrics.top_decile_lift,
    metrics.top_decile_share,
    metrics.brier_skill,
    metrics.ece,
    metrics.brier,
    metrics.mean_of,
]
VALUE_METRICS: list[metrics.Metric] = [
    metrics.normalised_gini,
    metrics.decile_mape,
    metrics.rmse,
    metrics.spearman,
    metrics.aggregate_bias,
]

rows = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.integers(0, 4).map(lambda number: number / 4),
        st.integers(0, 3),
    ),
    min_size=3,
    max_size=40,
).filter(lambda drawn: sum(count for *_, count in drawn) > 0)


@pytest.mark.parametrize("metric", [*CHURN_METRICS, *VALUE_METRICS], ids=lambda m: m.__name__)
@given(rows=rows)
@settings(max_examples=60)
def test_counting_rows_equals_repeating_them(
    metric: metrics.Metric, rows: list[tuple[int, float, int]]
) -> None:
    truth, score, count = (np.array(column, float) for column in zip(*rows, strict=True))
    if metric in VALUE_METRICS:
        truth = truth * (1 + np.arange(len(truth))) * 150

    counted = prepare(metric, truth, score)(count[None, :])[0]

    times = count.astype(int)
    repeated = metric(np.repeat(truth, times), np.repeat(score, times))
    assert counted == pytest.approx(repeated, nan_ok=True, abs=1e-9)


def churn_world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    churned = (rng.random(n) < 1 / (1 + np.exp(2 - risk))).astype(float)
    return churned, risk + rng.normal(0, 0.5, n), risk + rng.normal(0, 2.0, n)


def test_a_surely_better_model_has_an_interval_above_0() -> None:
    churned, good, poor = churn_world(1_500, seed=1)

    gain = paired_bootstrap(metrics.average_precision, churned, good, poor, seed=1, draws=300)

    assert 0 < gain.low < gain.mean < gain.high
    assert gain.mean == pytest.approx(
        metrics.average_precision(churned, good) - metrics.average_precision(churned, poor)
    )


def test_a_model_does_not_differ_from_itself() -> None:
    churned, good, _ = churn_world(300, seed=1)

    assert paired_bootstrap(metrics.auc, churned, good, good, seed=1, draws=50) == Interval(0, 0, 0)


def test_two_models_change_places() -> None:
    churned, good, poor = churn_world(400, seed=2)

    one = paired_bootstrap(metrics.auc, churned, good, poor, seed=3, draws=200)
    other = paired_bootstrap(metrics.auc, churned, poor, good, seed=3, draws=200)

    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))


def test_the_same_seed_gives_the_same_interval() -> None:
    churned, good, poor = churn_world(400, seed=2)

    one, again, other = (
        paired_bootstrap(metrics.auc, churned, good, poor, seed=seed, draws=150)
        for seed in (3, 3, 4)
    )

    assert one == again
    assert one != other


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    rng = np.random.default_rng(7)
    gain = rng.normal(0.1, 1.0, 2_000)

    interval = paired_bootstrap(
        metrics.mean_of, np.ones(2_000), gain, np.zeros(2_000), seed=1, draws=2_000
    )

    half_width = 1.96 * gain.std() / np.sqrt(2_000)
    assert interval.high - interval.mean == pytest.approx(half_width, rel=0.1)
    assert interval.mean - interval.low == pytest.approx(half_width, rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        gain = np.random.default_rng(seed).exponential(1.0, 150)
        interval = paired_bootstrap(
            metrics.mean_of, np.ones(150), gain, np.zeros(150), seed=seed, draws=200
        )
        covered += interval.low <= 1.0 <= interval.high

    assert 0.88 <= covered / 200 <= 0.99


def test_a_member_is_drawn_in_all_her_folds_at_once() -> None:
    # Three folds that repeat each other say no more than one: resampled row by row the interval
    # would be narrower by the root of three.
    churned, good, poor = churn_world(500, seed=5)
    member = np.arange(500)
    one = paired_bootstrap(metrics.brier, churned, good, poor, groups=member, seed=1, draws=800)

    repeated = paired_bootstrap(
        metrics.brier,
        np.tile(churned, 3),
        np.tile(good, 3),
        np.tile(poor, 3),
        groups=np.tile(member, 3),
        folds=np.repeat(["a", "b", "c"], 500),
        seed=1,
        draws=800,
    )

    assert (repeated.mean, repeated.low, repeated.high) == pytest.approx(
        (one.mean, one.low, one.high)
    )


def test_the_figure_is_the_mean_over_folds_that_define_it() -> None:
    frame = pd.DataFrame(
        {
            "as_of": ["2024-01-01"] * 4 + ["2024-02-01"] * 4 + ["2024-03-01"] * 2,
            "member_id": [*"abcd", *"abcd", *"ab"],
            "truth": [1, 0, 0, 1, 0, 1, 0, 1, 0, 0],  # in March nobody churned
            "model": [0.9, 0.8, 0.1, 0.7, 0.2, 0.9, 0.1, 0.8, 0.3, 0.1],
        }
    )

    observed, drawn = resampled(metrics.auc, frame, ["model"], seed=1, draws=20)

    assert observed["model"] == pytest.approx((3 / 4 + 1) / 2)
    assert drawn["model"].shape == (20,)


def test_an_interval_of_mostly_undefined_resamples_is_not_a_number_and_grades_c() -> None:
    churned = np.r_[1, np.zeros(9)]  # one churner: absent from a third of the resamples

    interval = paired_bootstrap(
        metrics.auc, churned, np.arange(10), -np.arange(10), seed=1, draws=200
    )

    assert np.isnan([interval.mean, interval.low, interval.high]).all()
    assert grade(interval) == "C"


@pytest.mark.parametrize(
    ("low", "expected"),
    [(0.06, "A"), (0.05, "A"), (0.049, "B"), (0.001, "B"), (0.0, "C"), (-1, "C")],
)
def test_the_grade_follows_the_lower_bound(low: float, expected: str) -> None:
    assert grade(Interval(mean=0.2, low=low, high=0.5)) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"b": np.zeros(3)},
        {"groups": np.zeros(3)},
        {"folds": np.zeros(5)},
        {"draws": 0},
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {"truth": np.r_[0, 1, 0, 1], "a": np.zeros(4), "b": np.ones(4)}

    with pytest.raises(InputRefused, match="No interval was made"):
        paired_bootstrap(metrics.auc, seed=1, **(arguments | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", [metrics.average_precision, metrics.normalised_gini])
def test_a_thousand_resamples_of_three_folds_take_seconds(
    metric: Callable[[np.ndarray, np.ndarray], float],
) -> None:
    parts = [churn_world(2_200, seed=seed) for seed in range(3)]
    truth, good, poor = (np.concatenate(column) for column in zip(*parts, strict=True))
    start = time.process_time()

    paired_bootstrap(
        metric,
        truth,
        good,
        poor,
        groups=np.tile(np.arange(2_200), 3),
        folds=np.repeat([1, 2, 3], 2_200),
        seed=1,
        draws=1_000,
    )

    assert time.process_time() - start < 10
