"""What logged decisions teach, and the gate before it may decide: planted effects are found."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from actions.drawing import decide
from actions.gate import Verdict
from actions.learned import CHANCE_LEAST, WITHOUT_FOR_EACH, ActionModel, Logged, learn
from actions.plan import NOBODY, Numbers, Resource
from actions.policy import Costs
from actions.promotion import case, verdict
from programme.errors import InputRefused
from training.uplift_rankings import ranks_of

COSTS = Costs(np.array([8.0, 5.0]), np.array([0.0, 60.0]))


@functools.cache
def campaign(members: int, seed: int, *, apart: float = 0.25, gain: float = 0.05) -> Logged:
    """Return a campaign that drew two actions at random; the first works where a column is high."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((members, 4))
    drawing = decide(
        np.zeros((members, 2)), [Resource("messages", 0.5 * members, np.ones((1, 2)))],
        [f"{seed}-{n}" for n in range(members)], salt=f"{seed}", explore_share=1.0,
        control_share=0.1, rng=rng,
    )  # fmt: skip
    base = 0.25 + 0.1 * np.tanh(x[:, 1])
    rise = effects(x, apart, gain)[np.arange(members), np.maximum(drawing.done, 0)]
    bought = rng.random(members) < base + rise * (drawing.done != NOBODY)
    redeemed = bought & (drawing.done == 1) & (rng.random(members) < expit(x[:, 2]))
    value = np.full(members, 1_000.0)
    return Logged(x, drawing.done, drawing.chances, drawing.nobody, bought.astype(float),
                  redeemed.astype(float), value)  # fmt: skip


def effects(x: Numbers, apart: float, gain: float) -> Numbers:
    first = gain + apart * np.where(x[:, 0] > 0, 0.5, -0.5)
    return np.column_stack([first, np.full(len(x), gain)])


def judged(model: ActionModel, *cohorts: Logged) -> Verdict:
    cases = [case(one, 0, model, COSTS.of(0), seed=1) for one in cohorts]
    return verdict(cases, name="letter", unit="cents")


def test_planted_effects_are_found_with_the_error_they_have() -> None:
    logged = campaign(15_000, 1)

    model = learn(logged, 0, redeem_rate=0.0, seed=1)

    fresh = np.random.default_rng(9).standard_normal((4_000, 4))
    found, true = model.changes(fresh), effects(fresh, 0.25, 0.05)[:, 0]
    assert np.corrcoef(found.mean, true)[0, 1] > 0.9
    assert found.mean.mean() == pytest.approx(0.05, abs=3 * model.uplift.effect_error)
    assert model.redeems(fresh).mean.max() < 0.01


def test_where_everybody_changes_alike_everybody_gets_the_average() -> None:
    model = learn(campaign(15_000, 2, apart=0.0), 1, redeem_rate=0.1, seed=1)

    fresh = np.random.default_rng(9).standard_normal((4_000, 4))
    found = model.changes(fresh)
    assert found.mean.std() < 0.02
    assert found.mean.mean() == pytest.approx(0.05, abs=3 * model.uplift.effect_error)


def test_who_redeems_is_learned_from_those_who_could() -> None:
    logged = campaign(15_000, 3)

    model = learn(logged, 1, redeem_rate=0.9, seed=1)

    fresh = np.random.default_rng(9).standard_normal((4_000, 4))
    true = (0.25 + 0.1 * np.tanh(fresh[:, 1]) + 0.05) * expit(fresh[:, 2])
    redeems = model.redeems(fresh)
    assert np.corrcoef(redeems.mean, true)[0, 1] > 0.9
    assert redeems.mean.mean() == pytest.approx(true.mean(), abs=0.02)
    profit, spend = model.profit(fresh, np.full(4_000, 1_000.0), COSTS.of(1))
    expected = 1_000 * model.changes(fresh).mean - 5 - 60 * redeems.mean
    assert profit.mean[:, 0] == pytest.approx(expected)
    assert spend.mean[:, 0] == pytest.approx(5 + 60 * redeems.mean)


@pytest.mark.parametrize("far", [50.0, -50.0])
def test_nothing_is_concluded_beyond_what_was_seen(far: float) -> None:
    model = learn(campaign(15_000, 3), 0, redeem_rate=0.1, seed=1)
    low, high = model.ends
    end = np.array([[high[0] if far > 0 else low[0], 0.0, 0.0, 0.0]])

    beyond = end.copy()
    beyond[0, 0] = far

    assert model.changes(beyond).mean == model.changes(end).mean
    assert model.redeems(beyond).mean == model.redeems(end).mean


def test_what_is_not_known_stays_so() -> None:
    logged = campaign(15_000, 3)
    x = logged.x.copy()
    x[:, 3] = np.nan
    x[::3, 2] = np.nan

    model = learn(replace(logged, x=x), 0, redeem_rate=0.1, seed=1)

    assert np.isnan(model.ends[:, 3]).all()
    assert np.isnan(model.within(x)[:, 3]).all()
    assert np.isnan(model.within(x)[::3, 2]).all()
    assert np.isfinite(model.changes(x).mean).all()
    # A column that was empty then and is not now: it is as it was, and says nothing.
    assert np.isfinite(model.changes(logged.x).mean).all()


def test_with_few_contacts_the_catalogue_is_believed() -> None:
    logged = campaign(400, 4)

    model = learn(logged, 1, redeem_rate=0.5, seed=1)

    got = logged.done == 1
    assert model.redeem is None
    assert model.redeem_rate == pytest.approx((logged.redeemed[got].sum() + 25) / (got.sum() + 50))


def test_leaving_out_some_of_those_without_changes_no_average() -> None:
    logged = campaign(30_000, 5, apart=0.0)
    means = []
    for seed in range(20):
        few, logged_share, share = logged.thinned(0, np.random.default_rng(seed))
        got = few.done == 0
        weights = np.where(got, 1 / share, -1 / (1 - share))
        means.append(float((weights * few.outcome).mean()))
        assert (few.done != 1).all()
        assert (~got).sum() <= 1.1 * WITHOUT_FOR_EACH * got.sum()
        assert (share >= logged_share).all() and (share >= CHANCE_LEAST).all()

    assert np.mean(means) == pytest.approx(0.05, abs=0.02)


def test_a_rule_that_earns_more_is_promoted_and_says_by_how_much() -> None:
    model = learn(campaign(15_000, 6), 0, redeem_rate=0.0, seed=1)

    found = judged(model, campaign(15_000, 7))

    assert found.promoted
    assert found.reason.startswith("letter promoted: +")
    assert "cents a member against as many by chance" in found.reason
    # The better half gains 175 - 8 each and is reached at three quarters of all sizes, the others
    # would lose 75 + 8 and are reached at none; by chance everybody is at a half.
    low, high = found.difference.interval
    assert low < 0.5 * 0.25 * 167 + 0.5 * 0.5 * 83 < high


def test_a_rule_that_learned_from_noise_is_refused_with_a_sentence() -> None:
    refused = 0
    for seed in range(3):
        model = learn(campaign(4_000, 10 + seed, apart=0.0, gain=0.008), 0, redeem_rate=0.0, seed=1)
        found = judged(model, campaign(4_000, 20 + seed, apart=0.0, gain=0.008))
        refused += not found.promoted
        assert found.promoted == found.reason.startswith("letter promoted")
        assert found.promoted or found.reason.startswith("letter refused: ")

    assert refused >= 2


def test_those_are_reached_first_of_whom_most_profit_is_expected() -> None:
    cohort = campaign(8_000, 7)
    model = learn(cohort, 0, redeem_rate=0.0, seed=1)

    found = case(cohort, 0, model, COSTS.of(0), seed=1)

    few, _, _ = cohort.thinned(0, np.random.default_rng(1))
    profit = model.profit(few.x, few.value, COSTS.of(0))[0].mean[:, 0]
    assert (found.reached[profit <= 0] == 0).all() and (profit <= 0).any()
    assert found.reached[profit > 0] == pytest.approx(ranks_of(profit)[profit > 0])


def test_more_cohorts_make_a_verdict_surer() -> None:
    model = learn(campaign(15_000, 6), 0, redeem_rate=0.0, seed=1)

    one, both = judged(model, campaign(9_000, 7)), judged(
        model, campaign(9_000, 7), campaign(9_000, 8)
    )  # fmt: skip

    assert both.difference.standard_error < 0.8 * one.difference.standard_error


def test_an_action_nobody_got_teaches_nothing() -> None:
    logged = campaign(2_000, 8)
    without = logged.take(logged.done != 0)

    with pytest.raises(InputRefused, match="0 of"):
        learn(without, 0, redeem_rate=0.1, seed=1)


def test_campaigns_are_put_one_after_the_other() -> None:
    one, other = campaign(500, 1), campaign(300, 2)

    both = Logged.of([one, other])

    assert len(both) == 800
    assert (both.done[500:] == other.done).all() and (both.value == 1_000).all()
