"""The classical models of buying against the numbers of their papers."""

from importlib.metadata import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programme.errors import InputRefused
from training.models.bgnbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.histories import Histories
from training.models.pareto_nbd import ParetoNbd

Counting = BgNbd | ParetoNbd
# The parameters the papers print for the 2,357 customers of the CDNOW sample.
BG_PAPER = BgNbd(0.243, 4.414, 0.793, 2.426)
PARETO_PAPER = ParetoNbd(0.553, 10.578, 0.606, 11.669)
GG_PAPER = GammaGamma(6.25, 3.74, 15.44)


def one(x: float, t_x: float, T: float) -> Histories:
    return Histories(np.array([x]), np.array([t_x]), np.array([T]))


@pytest.fixture(scope="module")
def sample() -> pd.DataFrame:
    listed = files("lifetimes") or []
    (path,) = (f for f in listed if f.name == "cdnow_customers_summary_with_transactions.csv")
    return pd.read_csv(Path(str(path.locate())))


@pytest.fixture(scope="module")
def cdnow(sample: pd.DataFrame) -> Histories:
    return Histories(*sample[["x", "t_x", "T"]].to_numpy(float).T)


def test_bgnbd_finds_the_parameters_of_the_paper(cdnow: Histories) -> None:
    found = BgNbd.fit(cdnow)

    assert found.r == pytest.approx(0.243, abs=1e-3)
    assert found.alpha == pytest.approx(4.414, abs=5e-3)
    assert found.a == pytest.approx(0.793, abs=5e-3)
    assert found.b == pytest.approx(2.426, abs=1e-2)
    assert found.log_likelihood(cdnow).sum() == pytest.approx(-9582.4, abs=0.1)


def test_pareto_nbd_finds_the_parameters_of_the_paper(cdnow: Histories) -> None:
    found = ParetoNbd.fit(cdnow)

    assert found.r == pytest.approx(0.553, abs=1e-3)
    assert found.alpha == pytest.approx(10.578, abs=1e-2)
    assert found.s == pytest.approx(0.606, abs=2e-3)
    assert found.beta == pytest.approx(11.669, abs=5e-2)
    assert found.log_likelihood(cdnow).sum() == pytest.approx(-9595.0, abs=0.1)


def test_gamma_gamma_finds_the_parameters_of_the_paper(sample: pd.DataFrame) -> None:
    found = GammaGamma.fit(sample["x"], sample["zbar"])

    assert (sample["x"] > 0).sum() == 946
    assert found.p == pytest.approx(6.25, abs=0.02)
    assert found.q == pytest.approx(3.74, abs=0.01)
    assert found.v == pytest.approx(15.44, abs=0.05)


def test_the_papers_customer_buys_1_226_times_in_39_weeks() -> None:
    assert BG_PAPER.expected_purchases(one(2, 30.43, 38.86), 39)[0] == pytest.approx(
        1.226, abs=1e-3
    )


def test_gamma_gamma_expects_of_all_what_the_paper_says() -> None:
    # p v / (q - 1) = 6.25 x 15.44 / 2.74
    assert GG_PAPER.expected_value([0], [0])[0] == pytest.approx(35.22, abs=0.01)


def test_one_purchase_day_is_alive_for_certain_and_may_still_not_buy() -> None:
    once = one(0, 0, 30)

    assert BG_PAPER.alive_probability(once)[0] == 1
    assert 0.5 < BG_PAPER.no_purchase_probability(once, 13)[0] < 0.95


@pytest.mark.parametrize("model", [BG_PAPER, PARETO_PAPER])
def test_simulated_members_do_what_the_formulas_say(model: Counting) -> None:
    # Members are drawn from the model itself; those with one history are followed further.
    rng = np.random.default_rng(8)
    n, T, weeks = 400_000, 20.0, 13.0
    rates = rng.gamma(model.r, 1 / model.alpha, n)
    if isinstance(model, BgNbd):
        chance = rng.beta(model.a, model.b, n)
        left_after = rng.geometric(np.clip(chance, 1e-12, 1))
        ends = np.full(n, np.inf)
    else:
        left_after = np.full(n, 10**9)
        ends = rng.exponential(1 / rng.gamma(model.s, 1 / model.beta, n))
    before, after, at = np.zeros(n), np.zeros(n), np.zeros(n)
    going = np.ones(n, dtype=bool)
    last = np.zeros(n)
    for purchase in range(1, 400):
        at = at + rng.exponential(1 / np.maximum(rates, 1e-300))
        going &= (at < T + weeks) & (at < ends) & (purchase <= left_after)
        if not going.any():
            break
        before += going & (at < T)
        last = np.where(going & (at < T), at, last)
        after += going & (at >= T)
    histories = Histories(before, last, np.full(n, T))

    for x in (0, 1, 3):
        own = before == x
        seen = Histories(before[own], last[own], np.full(own.sum(), T))
        expected = model.expected_purchases(seen, weeks)
        silent = model.no_purchase_probability(seen, weeks)
        error = 4 * after[own].std() / np.sqrt(own.sum())
        assert expected.mean() == pytest.approx(after[own].mean(), abs=error)
        assert silent.mean() == pytest.approx(
            (after[own] == 0).mean(), abs=4 * 0.5 / np.sqrt(own.sum())
        )
    assert len(histories) == n


@pytest.mark.parametrize("model", [BG_PAPER, PARETO_PAPER])
@settings(max_examples=60)
@given(
    x=st.integers(0, 500), share=st.floats(0, 1), T=st.floats(0.1, 500),
    weeks=st.floats(0.1, 200), more=st.floats(0.1, 200),
)  # fmt: skip
def test_laws_of_every_history(
    model: Counting, x: int, share: float, T: float, weeks: float, more: float
) -> None:
    history = one(x, share * T if x else 0.0, T)
    silent, longer = (model.no_purchase_probability(history, w)[0] for w in (weeks, weeks + more))
    expected, further = (model.expected_purchases(history, w)[0] for w in (weeks, weeks + more))

    assert -1e-12 <= longer <= silent + 1e-12 <= 1 + 2e-12
    assert 0 <= expected <= further * (1 + 1e-9)
    # Markov: who is expected to buy seldom is silent at least as likely as that.
    assert 1 - silent <= expected + 1e-9
    assert 0 <= model.alive_probability(history)[0] <= 1


def test_a_chance_to_leave_near_one_has_its_limit() -> None:
    history, near = one(3, 12, 20), BgNbd(0.25, 4, 1.001, 2.4)

    assert BgNbd(0.25, 4, 1.0, 2.4).expected_purchases(history, 13)[0] == pytest.approx(
        near.expected_purchases(history, 13)[0], rel=1e-2
    )


def test_pareto_nbd_takes_rates_in_either_order_and_a_shape_of_one() -> None:
    history = one(3, 12, 20)
    near = ParetoNbd(0.5, 10, 1.0, 12).expected_purchases(history, 13)[0]

    assert near == pytest.approx(
        ParetoNbd(0.5, 10, 1.0001, 12).expected_purchases(history, 13)[0], rel=1e-3
    )
    once, other = ParetoNbd(0.5, 10, 0.6, 12), ParetoNbd(0.5, 12, 0.6, 10)
    for model in (once, other):
        assert np.isfinite(model.log_likelihood(history)).all()
    same = ParetoNbd(0.5, 11, 0.6, 11)
    assert same.log_likelihood(history)[0] == pytest.approx(
        ParetoNbd(0.5, 11.0001, 0.6, 11).log_likelihood(history)[0], abs=1e-3
    )


@given(count=st.integers(1, 50), mean=st.floats(0.1, 1e6))
def test_a_value_lies_between_the_members_own_and_that_of_all(count: int, mean: float) -> None:
    expected = GG_PAPER.expected_value([count], [mean])[0]
    low, high = sorted((mean, 6.25 * 15.44 / 2.74))

    assert low * (1 - 1e-9) <= expected <= high * (1 + 1e-9)


def test_the_unit_of_money_does_not_matter(sample: pd.DataFrame) -> None:
    units = GammaGamma.fit(sample["x"], sample["zbar"]).expected_value([3], [20.0])
    cents = GammaGamma.fit(sample["x"], 100 * sample["zbar"]).expected_value([3], [2_000.0])

    assert cents[0] == pytest.approx(100 * units[0], rel=1e-4)


@pytest.mark.parametrize(
    "row", [(-1, 0, 5), (2, 6, 5), (0, 3, 5), (2, -1, 5), (np.nan, 0, 5), (2, 1, np.inf)]
)
def test_a_history_nobody_can_have_is_refused(row: tuple[float, float, float]) -> None:
    with pytest.raises(InputRefused, match="Nothing was computed"):
        one(*row)


def test_without_members_nothing_is_fitted() -> None:
    nobody = Histories(np.empty(0), np.empty(0), np.empty(0))

    with pytest.raises(InputRefused, match="Nothing was fitted"):
        BgNbd.fit(nobody)
    with pytest.raises(InputRefused, match="Nothing was fitted"):
        GammaGamma.fit([0, 2], [0.0, -5.0])


def test_features_become_weeks() -> None:
    features = pd.DataFrame({"purchase_days": [3], "recency_days": [7], "tenure_days": [70]})

    history = Histories.of(features)

    assert (history.x[0], history.t_x[0], history.T[0]) == (2, 9, 10)
