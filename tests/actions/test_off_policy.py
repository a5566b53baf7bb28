"""Values of policies from logs: by hand, unbiased under known chances, and bad logs by name."""

from typing import Any

import numpy as np
import pytest

from actions.effects import Numbers
from actions.off_policy import Cohort, Places, scores_of, uniform, value_of
from programme.errors import InputRefused

# What each of three actions brings a member with x: a constant and a slope.
BASE, SLOPE = np.array([1.0, 1.2, 0.8]), np.array([0.0, 0.6, -0.5])


def logged(
    members: int, seed: int, *, guesses: str = "fair", rare: float | None = None
) -> tuple[Numbers, Cohort]:
    """A cohort whose actions depended on what is known of the members, with known chances."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=members)
    lean = 1 / (1 + np.exp(-x))
    chances = 0.1 + 0.7 * np.column_stack([1 - lean, lean / 2, lean / 2])
    if rare is not None:
        chances = np.tile([1 - 2 * rare, rare, rare], (members, 1))
    taken = (rng.random(members)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    means = BASE + SLOPE * x[:, None]
    outcome = means[np.arange(members), taken] + rng.normal(0, 1, members)
    known = {"fair": 0.7 * means, "none": None, "wrong": -means + 3, "true": means}
    expected = known[guesses]
    return x, Cohort(taken, outcome, chances[np.arange(members), taken], expected)


def truth(policy: Places, x: Numbers) -> float:
    return float((BASE + SLOPE * x[:, None])[np.arange(len(x)), policy].mean())


# By hand: weights 2, 0, 4, 0 for members of the policy's action; IPS (2*1 + 4*3) / 4.
def test_four_members_by_hand() -> None:
    cohort = Cohort(
        np.array([1, 0, 1, 0]), np.array([1.0, 5.0, 3.0, 7.0]), np.array([0.5, 0.5, 0.25, 0.75]),
        np.array([[0.0, 2.0], [0.0, 2.0], [0.0, 1.0], [0.0, 1.0]]),
    )  # fmt: skip

    found = value_of(np.ones(4, dtype=int), cohort)

    assert found.ips.value == pytest.approx(14 / 4)
    assert found.snips.value == pytest.approx(14 / 6)
    assert scores_of(np.ones(4, dtype=int), cohort) == pytest.approx([0.0, 2.0, 9.0, 1.0])
    assert found.dr is not None and found.dr.value == pytest.approx(3.0)
    assert found.effective_members == pytest.approx(36 / 20)
    assert (found.smallest_propensity, found.clipped_share) == (0.25, 0.0)


@pytest.mark.parametrize("guesses", ["fair", "wrong"])
def test_values_are_right_on_average_and_their_intervals_nineteen_times_in_twenty(
    guesses: str,
) -> None:
    runs, held = 200, {"ips": 0, "snips": 0, "dr": 0}
    values: dict[str, list[float]] = {name: [] for name in held}
    wanted = truth_of_the_endless()
    for seed in range(runs):
        x, cohort = logged(800, seed, guesses=guesses)
        found = value_of(np.where(x > 0.5, 1, np.where(x < -0.5, 2, 0)), cohort)
        for name in held:
            estimate = getattr(found, name)
            values[name].append(estimate.value)
            held[name] += estimate.interval[0] <= wanted <= estimate.interval[1]

    for name, all_of in values.items():
        error = float(np.std(all_of)) / np.sqrt(runs)
        assert np.mean(all_of) == pytest.approx(wanted, abs=4 * error), name
        # Binomial(200, .95) is outside 180 to 199 with probability .003.
        assert 180 <= held[name] <= 199, name
    if guesses == "fair":
        assert np.std(values["dr"]) < 0.9 * np.std(values["ips"])


def truth_of_the_endless() -> float:
    x = np.random.default_rng(12345).normal(size=2_000_000)
    return truth(np.where(x > 0.5, 1, np.where(x < -0.5, 2, 0)), x)


def test_the_logging_policy_is_worth_what_was_seen() -> None:
    _, cohort = logged(500, 1, guesses="none")
    fair = Cohort(cohort.taken % 2, cohort.outcome, np.full(500, 0.5))

    found = value_of(np.full((500, 2), 0.5), fair)

    assert found.ips.value == pytest.approx(fair.outcome.mean())
    assert found.snips.value == pytest.approx(fair.outcome.mean())
    assert found.dr is None
    assert found.effective_members == pytest.approx(500)
    assert found.trusted and found.trust.startswith("trusted: 500 of 500 members carry it")


def test_members_in_another_order_are_worth_the_same() -> None:
    x, cohort = logged(300, 2)
    order = np.random.default_rng(0).permutation(300)
    assert cohort.expected is not None
    moved = Cohort(
        cohort.taken[order], cohort.outcome[order], cohort.propensity[order], cohort.expected[order]
    )
    policy = np.where(x > 0, 1, 2)

    one, other = value_of(policy, cohort), value_of(policy[order], moved)

    assert one.ips.value == pytest.approx(other.ips.value)
    assert one.dr is not None and other.dr is not None
    assert one.dr.standard_error == pytest.approx(other.dr.standard_error)


def test_with_perfect_guesses_only_luck_is_left_and_a_shifted_outcome_shifts_the_value() -> None:
    x, cohort = logged(4_000, 3, guesses="true")
    policy = np.where(x > 0, 1, 2)
    assert cohort.expected is not None
    shifted = Cohort(cohort.taken, cohort.outcome + 10, cohort.propensity, cohort.expected + 10)

    one, other = value_of(policy, cohort), value_of(policy, shifted)

    assert one.dr is not None and other.dr is not None
    assert one.dr.value == pytest.approx(truth(policy, x), abs=4 * one.dr.standard_error)
    assert other.dr.value == pytest.approx(one.dr.value + 10)
    assert other.snips.value == pytest.approx(one.snips.value + 10)
    # IPS does not know that it should.
    assert other.ips.standard_error > 2 * other.snips.standard_error


def test_a_rare_action_is_cut_counted_and_not_trusted() -> None:
    _, cohort = logged(4_000, 4, rare=0.01)

    found = value_of(uniform(1, 4_000), cohort)

    assert found.clipped_share == pytest.approx((cohort.taken == 1).mean())
    assert found.smallest_propensity == 0.01
    assert found.effective_members == pytest.approx((cohort.taken == 1).sum())
    assert not found.trusted
    assert found.trust.startswith("not trusted: ")
    assert "probability 0.01" in found.trust and "20% of the members" in found.trust
    uncut = value_of(uniform(1, 4_000), cohort, clip=1_000)
    assert uncut.clipped_share == 0 and uncut.ips.value > found.ips.value


def test_a_policy_that_took_what_nobody_got_rests_on_nobody() -> None:
    cohort = Cohort(np.zeros(50, dtype=int), np.ones(50), np.full(50, 0.5))

    found = value_of(uniform(1, 50), cohort)

    assert np.isnan(found.snips.value) and found.effective_members == 0 and not found.trusted


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"taken": np.array([0])}, "1 actions"), ({"outcome": np.ones(3)}, "3 outcomes"),
     ({"outcome": np.full(4, np.nan)}, "4 outcomes"), ({"propensity": np.zeros(4)}, "such as 0.0"),
     ({"propensity": np.full(4, 1.5)}, "such as 1.5"),
     ({"propensity": np.full(4, np.nan)}, "such as nan"),
     ({"expected": np.ones((3, 2))}, r"shape \(3, 2\)"),
     ({"expected": np.full((4, 2), np.inf)}, "8 outcomes or guesses")],
)  # fmt: skip
def test_a_bad_log_is_refused_by_name(changed: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {
        "taken": np.array([0, 1, 0, 1]), "outcome": np.ones(4), "propensity": np.full(4, 0.5),
    }  # fmt: skip

    with pytest.raises(InputRefused, match=said):
        Cohort(**{**good, **changed})


@pytest.mark.parametrize(
    ("policy", "said"),
    [(np.ones(3, dtype=int), "not of these 4 members"), (np.full((4, 2), 0.4), "do not make one"),
     (np.tile([1.5, -0.5], (4, 1)), "do not make one"), (np.ones((4, 1)), "action 1 was taken"),
     (np.full((4, 2), np.nan), "4 members do not"), (np.full(4, -1), "not one of 0")],
)  # fmt: skip
def test_a_bad_policy_is_refused_by_name(policy: Numbers, said: str) -> None:
    cohort = Cohort(np.array([0, 1, 0, 1]), np.ones(4), np.full(4, 0.5))

    with pytest.raises(InputRefused, match=said):
        value_of(policy, cohort)
