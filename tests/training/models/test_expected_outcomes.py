"""Expected outcomes: learned elsewhere, of every action, whatever the order of the rows."""

import numpy as np
import pytest

from programme.errors import InputRefused
from training.models.expected_outcomes import expected_outcomes


def test_each_action_is_expected_to_bring_what_it_brings() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3_000, 3))
    taken = rng.integers(3, size=3_000)
    truth = np.column_stack([x[:, 0], x[:, 1], np.full(3_000, 1.0)])
    outcome = truth[np.arange(3_000), taken] + rng.normal(0, 0.5, 3_000)

    expected = expected_outcomes(x, taken, outcome, actions=3, seed=1)

    assert np.corrcoef(expected[:, 0], truth[:, 0])[0, 1] > 0.95
    assert np.corrcoef(expected[:, 1], truth[:, 1])[0, 1] > 0.95
    assert expected[:, 2].mean() == pytest.approx(1.0, abs=0.05)


def test_a_member_does_not_teach_what_is_expected_of_her() -> None:
    rng = np.random.default_rng(1)
    x, taken, outcome = rng.normal(size=(400, 2)), np.arange(400) % 2, rng.random(400)
    last = int(x[:, 0].argmax())
    changed = outcome.copy()
    changed[last] += 50

    one = expected_outcomes(x, taken, outcome, actions=2, seed=1)
    other = expected_outcomes(x, taken, changed, actions=2, seed=1)

    assert np.array_equal(one[last], other[last])
    assert not np.array_equal(one, other)


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    x, taken, outcome = rng.normal(size=(400, 2)), np.arange(400) % 2, rng.random(400)
    order = rng.permutation(400)

    one = expected_outcomes(x, taken, outcome, actions=2, seed=1)
    other = expected_outcomes(x[order], taken[order], outcome[order], actions=2, seed=1)

    assert np.array_equal(one[order], other)


def test_an_action_of_few_is_expected_to_bring_their_mean_and_one_of_nobody_is_refused() -> None:
    x, taken = np.arange(60.0)[:, None], np.r_[np.zeros(40, int), np.ones(20, int)]
    outcome = taken * 2.0

    assert (expected_outcomes(x, taken, outcome, actions=2, seed=1)[:, 1] == 2.0).all()
    with pytest.raises(InputRefused, match="Action 2 was taken for fewer than two"):
        expected_outcomes(x, taken, outcome, actions=3, seed=1)
