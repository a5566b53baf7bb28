"""The value models against a world whose true expected spend is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_tweedie_deviance

from programme.errors import InputRefused
from tests.training.models.worlds import World, world
from training.metrics import aggregate_bias, normalised_gini
from training.models import load_model
from training.models.boosting import Trees
from training.models.recurrent import Recipe, tweedie_deviance
from training.models.rules import PastSpend
from training.models.value_gbm import ValueGBM
from training.models.value_lstm import ValueLSTM
from training.models.value_mean import ValueMean
from training.models.weekly import ScaledRows, Scaling, weekly_inputs, weekly_summary
from training.rows import MemberRows


@pytest.fixture(scope="module")
def past() -> World:
    return world(3_000, seed=1)


@pytest.fixture(scope="module")
def present() -> World:
    return world(2_000, seed=2)


@pytest.fixture(scope="module")
def lstm(past: World) -> ValueLSTM:
    model = ValueLSTM(seed=1, n_seeds=3, recipe=Recipe(units=12, head_units=12, batch_size=128))
    return model.fit(past.rows, past.value_cents)


@pytest.fixture(scope="module")
def gbm(past: World) -> ValueGBM:
    return ValueGBM(seed=1, trees=Trees(n_trees=120, num_leaves=6)).fit(past.rows, past.value_cents)


@pytest.mark.parametrize(("kind", "short_of_truth"), [("lstm", 0.03), ("gbm", 0.04)])
def test_it_ranks_nearly_as_well_as_the_truth_with_little_bias(
    kind: str, short_of_truth: float, present: World, request: pytest.FixtureRequest
) -> None:
    expected = request.getfixturevalue(kind).predict(present.rows)

    reachable = normalised_gini(present.value_cents, present.expected_cents)
    naive = PastSpend("spend_cents_91d").predict(present.rows)
    assert normalised_gini(present.value_cents, expected) > reachable - short_of_truth
    assert normalised_gini(present.value_cents, expected) > normalised_gini(
        present.value_cents, naive
    )
    assert abs(aggregate_bias(present.expected_cents, expected)) < 0.10


def test_the_networks_differ_and_are_averaged(lstm: ValueLSTM, present: World) -> None:
    def alone(number: int) -> Any:
        model = ValueLSTM(seed=1, n_seeds=1, recipe=lstm.recipe)
        model.__dict__.update({**vars(lstm), "networks_": [lstm.networks_[number]]})
        return model.predict(present.rows)

    each = [alone(number) for number in range(3)]

    assert not np.allclose(each[0], each[1], rtol=1e-3)
    assert lstm.predict(present.rows) == pytest.approx(np.mean(each, axis=0), rel=1e-12)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_the_number_of_threads_changes_nothing(num_threads: int, past: World) -> None:
    some = past.take(np.arange(300))
    recipe = Recipe(units=4, head_units=4, n_epochs=1, batch_size=64)

    one, other = (
        ValueLSTM(seed=1, n_seeds=3, recipe=recipe, num_threads=n).fit(some.rows, some.value_cents)
        for n in (2, num_threads)
    )

    assert np.array_equal(one.predict(some.rows), other.predict(some.rows))


def test_torch_keeps_the_threads_it_had(lstm: ValueLSTM, present: World) -> None:
    before = torch.get_num_threads()

    lstm.predict(present.rows)

    assert torch.get_num_threads() == before


def test_the_weeks_matter(lstm: ValueLSTM, present: World) -> None:
    rows = present.rows
    assert rows.weekly is not None
    silent = MemberRows(rows.member_id, rows.as_of, rows.features, np.zeros_like(rows.weekly))

    assert lstm.predict(silent).mean() < lstm.predict(rows).mean() / 2


def test_a_far_outlier_gets_a_bounded_answer(lstm: ValueLSTM, present: World) -> None:
    rows = present.rows.take(np.array([0]))
    assert rows.weekly is not None
    huge = MemberRows(rows.member_id, rows.as_of, rows.features * 1e9, rows.weekly * 1e9)

    assert np.isfinite(lstm.predict(huge)).all()
    assert lstm.predict(huge).max() < 1e5 * lstm.mean_cents_.sum()


def test_other_weeks_than_learned_are_refused(lstm: ValueLSTM, present: World) -> None:
    rows = present.rows
    assert rows.weekly is not None
    shorter = MemberRows(rows.member_id, rows.as_of, rows.features, rows.weekly[:, 1:])
    none = MemberRows(rows.member_id, rows.as_of, rows.features)

    with pytest.raises(InputRefused, match="reads 26 weeks and these rows have 25"):
        lstm.predict(shorter)
    with pytest.raises(InputRefused, match="these rows have none"):
        lstm.predict(none)


def test_less_than_one_network_is_refused() -> None:
    with pytest.raises(InputRefused, match="n_seeds is 0"):
        ValueLSTM(seed=1, n_seeds=0)


SMALL = Recipe(units=6, head_units=6, n_epochs=3, batch_size=128)


@pytest.fixture(scope="module")
def by_horizon(past: World) -> ValueLSTM:
    cents = np.stack([past.value_cents * share for share in (0.3, 0.6, 1.0)], axis=1)
    model = ValueLSTM(seed=1, n_seeds=2, recipe=SMALL, horizons_days=(28, 56, 91))
    return model.fit(past.rows, cents)


def test_no_answer_falls_from_one_horizon_to_the_next(
    by_horizon: ValueLSTM, present: World, tmp_path: Path
) -> None:
    answers = by_horizon.predict_horizons(present.rows)

    assert answers.shape == (len(present.rows), 3)
    assert (np.diff(answers, axis=1) >= 0).all()
    assert np.array_equal(answers[:, -1], by_horizon.predict(present.rows))
    # Each horizon's total is the one it learned, not a share of the last.
    assert answers.sum(axis=0) / answers[:, -1].sum() == pytest.approx([0.3, 0.6, 1.0], abs=0.05)
    by_horizon.save(tmp_path)
    again = load_model(tmp_path)
    assert again.horizons_days == (28, 56, 91)
    assert np.array_equal(again.predict_horizons(present.rows), answers)


def test_beyond_its_limit_each_network_learns_from_a_sample_that_the_seed_decides(
    past: World, present: World
) -> None:
    def answers(rows_max: int | None, seed: int = 1) -> list[float]:
        model = ValueLSTM(seed=seed, n_seeds=1, recipe=SMALL, rows_max=rows_max)
        return list(model.fit(past.rows, past.value_cents).predict(present.rows))

    assert answers(None) == answers(len(past.rows))
    assert answers(100) == answers(100)
    assert answers(100) != answers(None)
    assert answers(100) != answers(100, seed=2)


def test_a_row_that_knows_its_first_horizon_only_still_teaches_it(
    past: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sums would be put right by whole rows alone: what the others taught would not be seen.
    monkeypatch.setattr("training.models.value_lstm.ROWS_TO_RECALIBRATE", len(past.rows) + 1)
    recent = np.arange(len(past.rows)) % 2 == 0
    cents = np.stack([0.3 * past.value_cents, past.value_cents], axis=1)
    # Recent rows spend twice as much by the first horizon; what follows is not known yet.
    cents[recent] = np.stack([2 * cents[recent, 0], np.full(recent.sum(), np.nan)], axis=1)

    model = ValueLSTM(seed=1, n_seeds=1, recipe=SMALL, horizons_days=(28, 91))
    first, last = model.fit(past.rows, cents).predict_horizons(past.rows).sum(axis=0)

    whole = past.value_cents.sum()
    assert first == pytest.approx(0.45 * whole, rel=0.12)
    assert last - first == pytest.approx(0.70 * whole, rel=0.12)


@pytest.mark.parametrize(
    ("cents", "said"),
    [
        ([[1.0, np.nan], [np.nan, 2.0]], "known for a later horizon only"),
        ([[1.0, np.inf], [1.0, 2.0]], "not finite"),
        ([[1.0, np.nan], [1.0, np.nan]], "is 0 within horizon 2 of 2"),
        ([[0.0, 1.0], [0.0, 1.0]], "is 0 within horizon 1 of 2"),
        ([1.0, 2.0], "answers for \\[28, 91\\] days and was given values for 1 horizons"),
        ([[1.0, 2.0]], "2 rows and values of shape"),
    ],
)
def test_values_by_horizon_that_cannot_be_are_refused(
    cents: list[Any], said: str, past: World
) -> None:
    model = ValueLSTM(seed=1, n_seeds=1, recipe=SMALL, horizons_days=(28, 91))

    with pytest.raises(InputRefused, match=said):
        model.fit(past.rows.take(np.arange(2)), np.array(cents))


@pytest.mark.parametrize("horizons", [(91, 28), (28, 28), (30,), (0,)])
def test_horizons_are_growing_whole_weeks(horizons: tuple[int, ...]) -> None:
    with pytest.raises(InputRefused, match="not multiples of 7 days"):
        ValueLSTM(seed=1, horizons_days=horizons)


def test_a_gpu_that_is_not_there_is_refused(past: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(InputRefused, match="sees no GPU"):
        ValueLSTM(seed=1, device="cuda").fit(past.rows, past.value_cents)


def test_the_weeks_are_laid_out_a_batch_at_a_time(past: World) -> None:
    rows = past.rows
    assert rows.weekly is not None
    scaling = Scaling.of(rows.features, rows.weekly, ("recency_days", "noise"))
    inputs = ScaledRows(scaling, rows.features, rows.weekly)
    which = np.array([5, 2_999, 5])

    steps, static = inputs.batch(which)

    assert len(inputs) == len(rows)
    assert steps.numpy() == pytest.approx(scaling.steps(rows.weekly[which]), abs=1e-6)
    whole = scaling.static(rows.features, rows.weekly)
    assert static.numpy() == pytest.approx(whole[which], abs=1e-6)


def test_the_two_losses_differ_and_neither_answers_below_zero(past: World, present: World) -> None:
    said = {
        objective: ValueGBM(seed=1, objective=objective, trees=Trees(n_trees=60))
        .fit(past.rows, past.value_cents)
        .predict(present.rows)
        for objective in ("tweedie", "l2")
    }

    assert not np.allclose(said["tweedie"], said["l2"], rtol=0.01)
    assert min(answer.min() for answer in said.values()) >= 0
    for answer in said.values():
        assert normalised_gini(present.value_cents, answer) > 0.5


def test_a_loss_nobody_knows_is_refused() -> None:
    with pytest.raises(InputRefused, match="no loss 'mape'"):
        ValueGBM(seed=1, objective="mape")  # type: ignore[arg-type]


def test_a_member_who_returns_more_than_she_buys_is_worth_nothing(past: World) -> None:
    some = past.take(np.arange(500))
    trees = Trees(n_trees=10)

    negative = np.where(some.value_cents == 0, -5_000.0, some.value_cents)
    one = ValueGBM(seed=1, trees=trees).fit(some.rows, some.value_cents).predict(some.rows)
    other = ValueGBM(seed=1, trees=trees).fit(some.rows, negative).predict(some.rows)

    assert np.array_equal(one, other)


def test_the_loss_is_half_of_scikit_learns_deviance_up_to_a_constant() -> None:
    rng = np.random.default_rng(6)
    value, mean = rng.gamma(0.5, 2.0, 50), rng.gamma(2.0, 1.0, 50)

    def theirs(mu: np.ndarray) -> float:
        return float(mean_tweedie_deviance(value, mu, power=1.5))

    def ours(mu: np.ndarray) -> float:
        return float(tweedie_deviance(torch.from_numpy(np.log(mu)), torch.from_numpy(value)))

    # The term without the mean cancels between two means.
    assert 2 * (ours(mean) - ours(2 * mean)) == pytest.approx(theirs(mean) - theirs(2 * mean))


def test_the_mean_is_the_mean_of_fitted_models(
    lstm: ValueLSTM, gbm: ValueGBM, present: World, tmp_path: Path
) -> None:
    both = ValueMean({"gbm": gbm, "lstm": lstm})  # no fit: its models are fitted already

    expected = (gbm.predict(present.rows) + lstm.predict(present.rows)) / 2

    assert both.predict(present.rows) == pytest.approx(expected, rel=1e-12)
    both.save(tmp_path)
    assert np.array_equal(load_model(tmp_path).predict(present.rows), both.predict(present.rows))


@pytest.mark.parametrize("name", ["../gbm", "", "a/b"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(InputRefused, match="plain name"):
        ValueMean({name: PastSpend("spend_cents_91d")})


def test_the_weekly_inputs_are_as_counted_by_hand() -> None:
    # Silent, two orders of 3.00 with 1.00 off, silent, one return of 2.00 beside one order.
    weekly = np.zeros((1, 4, 4), np.float32)
    weekly[0, 1] = [2, 300, 100, 0]
    weekly[0, 3] = [1, -200, 0, 200]

    inputs = weekly_inputs(weekly)[0]

    assert inputs[:, 0] == pytest.approx(np.log1p([0, 2, 0, 1]))
    assert inputs[:, 1] == pytest.approx([0, np.log(301), 0, -np.log(201)])
    assert np.expm1(inputs[:, 4]) == pytest.approx([4, 0, 1, 0])  # weeks since the last order
    assert np.expm1(inputs[:, 5]) == pytest.approx([0, 2, 2, 3])  # orders so far
    assert np.expm1(inputs[:, 6]) == pytest.approx([0, 0, 1, 2])  # weeks since the first
    assert np.expm1(weekly_summary(weekly)[0, 0]) == pytest.approx(3)  # orders in four weeks


def test_scaled_inputs_stay_within_their_bounds_and_survive_json(past: World) -> None:
    weekly = past.rows.weekly
    assert weekly is not None
    scaling = Scaling.of(past.rows.features, weekly, ("recency_days", "noise"))

    again = Scaling.from_dict(scaling.to_dict())

    assert np.array_equal(
        again.static(past.rows.features, weekly), scaling.static(past.rows.features, weekly)
    )
    assert np.abs(scaling.steps(weekly * 1e6)).max() <= 5
    assert np.isfinite(scaling.static(past.rows.features * np.nan, weekly)).all()
