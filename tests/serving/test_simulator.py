"""The simulator: what it says is the truth is the mean of what it draws."""

import numpy as np
import pandas as pd
import pytest

from serving import simulator
from serving.simulator import People, Told, World

HORIZON = 28
WORLD = World()


def features(n: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "gap_days_shrunk": rng.gamma(2.0, 8.0, n),
            "recency_days": rng.integers(0, 200, n).astype(float),
            "purchase_days_84d": rng.poisson(4.0, n).astype(float),
            "spend_cents_mean": rng.gamma(2.0, 1_500.0, n),
        },
        index=[f"m{place}" for place in range(n)],
    )


def everybody(n: int, seed: int = 1) -> People:
    rng = np.random.default_rng(seed)
    return simulator.people(features(n), WORLD, horizon_days=HORIZON, rng=rng)


def told(n: int, *, reached: bool = True, days: float = HORIZON) -> Told:
    return Told(np.full(n, reached), np.full(n, 6.0), np.full(n, 500.0), np.full(n, days))


def drawn(who: People, what: Told, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    return simulator.respond(who, what, WORLD, horizon_days=HORIZON, rng=rng)


@pytest.mark.parametrize("days", [HORIZON, 7])
def test_the_truth_is_the_mean_of_what_is_drawn(days: int) -> None:
    n = 60_000
    who, what = everybody(n), told(n, days=days)
    truth = simulator.true_profit(who, what, WORLD, margin_rate=0.25, horizon_days=HORIZON)

    bought, redeemed = drawn(who, what, 5)
    nobody, _ = drawn(who, told(n, reached=False), 6)
    gained = 0.25 * (bought["amount_cents"].sum() - nobody["amount_cents"].sum())
    profit = gained - 6.0 * n - 500.0 * len(redeemed)

    # Spend of a member has a standard deviation of some 10,000 cents.
    noise = 0.25 * 10_000 * np.sqrt(2 / n)
    assert profit / n == pytest.approx(truth.mean(), abs=4 * noise)


def test_the_same_seed_gives_the_same_responses_and_another_gives_others() -> None:
    who, what = everybody(500), told(500)

    for first, again in zip(drawn(who, what, 3), drawn(who, what, 3), strict=True):
        pd.testing.assert_frame_equal(first, again)
    assert not drawn(who, what, 3)[0].equals(drawn(who, what, 4)[0])


def test_most_of_how_responses_differ_is_explained_by_no_feature_and_some_come_less() -> None:
    who = everybody(5_000)

    assert 0.5 < who.untold < 1.0
    assert 0.05 < who.come_less < 0.5


def test_whom_no_message_reached_neither_changes_nor_redeems_nor_costs() -> None:
    who, what = everybody(2_000), told(2_000, reached=False)

    _, redeemed = drawn(who, what, 2)

    assert redeemed.empty
    assert not simulator.true_profit(who, what, WORLD, margin_rate=0.25, horizon_days=HORIZON).any()


def test_nobody_redeems_twice_nor_before_she_comes_nor_after_it_ends() -> None:
    who, what = everybody(4_000), told(4_000, days=10)

    bought, redeemed = drawn(who, what, 8)

    assert redeemed["member"].is_unique
    first = bought.groupby("member")["day"].min()
    assert (redeemed["day"].to_numpy() == first[redeemed["member"]].to_numpy()).all()
    assert redeemed["day"].lt(10).all()
    assert bought["day"].between(0, HORIZON).all()
    assert bought["amount_cents"].ge(1).all()


def test_the_longer_she_is_silent_the_less_she_is_expected_and_never_not_at_all() -> None:
    rows = (
        features(1)
        .iloc[[0, 0, 0]]
        .assign(recency_days=[10.0, 150.0, 1_000.0], purchase_days_84d=[5.0, 0.0, 0.0])
    )

    visits = simulator.people(
        rows, WORLD, horizon_days=HORIZON, rng=np.random.default_rng(0)
    ).visits

    assert visits[0] > visits[1] > visits[2] > 0
