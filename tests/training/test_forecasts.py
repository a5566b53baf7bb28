"""What every candidate says when it may look at nothing but the past."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from programme.errors import InputRefused
from programme.settings import Settings
from tests.features import shop
from tests.training import grocer
from training import candidates as rivals
from training.baskets import Baskets
from training.dataset import Dataset, Labelled
from training.forecasts import (
    Candidate,
    Forecasts,
    NothingToJudge,
    churn_forecasts,
    fit_churn,
    fit_value,
    intervals,
    product_forecasts,
    value_forecasts,
    weigh,
)
from training.models import value_stack
from training.models.calibration import PlattCalibration
from training.models.churn_mean import ChurnMean
from training.models.conformal import ValueIntervals
from training.models.repeat import PersonalFrequency, RepeatPopularity
from training.rows import MemberRows
from training.splits import Plan, plan

HORIZON = timedelta(days=28)
PLAN: Plan = plan(
    begins=date(2024, 1, 1),
    ends=date(2024, 7, 29),
    horizon_days=28,
    tests=2,
    validations=1,
    step_days=14,
    train_max=2,
    warmup_days=56,
)
NOWHERE = Settings()


def quiet(step: str) -> None:
    del step


class MadeUp(Dataset):
    """Members whose features say which day it is, and whose outcome follows a signal."""

    def __init__(
        self, everybody_churns_at: date | None = None, n: int = 40, horizon_days: int = 28
    ) -> None:
        super().__init__(NOWHERE, horizon_days)
        self.everybody_churns_at = everybody_churns_at
        self.n = n

    def labelled_for(self, days: int) -> "MadeUp":
        return MadeUp(self.everybody_churns_at, self.n, days)

    def first_order_cents(self, as_of: date) -> NDArray[np.float64]:
        return np.asarray(10.0 * np.arange(self.n) + as_of.day, dtype=np.float64)

    def at(self, as_of: date) -> Labelled:
        n = self.n
        signal = np.random.default_rng(as_of.toordinal()).normal(size=n)
        churned = (signal + np.sin(np.arange(n)) > 0).astype(np.float64)
        if as_of == self.everybody_churns_at:
            churned[:] = 1.0
        features = pd.DataFrame(
            {
                "signal": signal,
                "day": float(as_of.toordinal()),
                "label_days": float(self.horizon_days),
                "tenure_days": 58.0 + np.arange(n),
            }
        )
        rows = MemberRows(
            member_id=np.array([f"m{number:02d}" for number in range(n)], dtype=object),
            as_of=np.full(n, np.datetime64(as_of, "D")),
            features=features,
        )
        return Labelled(rows, np.arange(n) % 2 == 0, churned, 100 * signal)


@dataclass
class Spy:
    """A model for either target that notes what it was shown, and answers with the signal."""

    notes: list[set[date]]
    n_rows: int = 0
    fits: int = 0

    def fit(self, shown: Any, outcome: NDArray[np.float64]) -> Self:
        features = shown.features if isinstance(shown, MemberRows) else shown
        assert len(features) == len(outcome)
        self.label_days = set(features["label_days"]) if "label_days" in features else set()
        self.notes.append({date.fromordinal(int(day)) for day in features["day"]})
        self.n_rows, self.fits = len(outcome), self.fits + 1
        return self

    def raw_score(self, features: pd.DataFrame) -> NDArray[np.float64]:
        return features["signal"].to_numpy(dtype=np.float64)

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        return self.raw_score(rows.features)


def spying(**more: Any) -> tuple[Candidate, list[set[date]]]:
    notes: list[set[date]] = []
    return Candidate("spy", "model", lambda: Spy(notes), **more), notes


def test_a_churn_model_learns_only_from_windows_that_had_ended() -> None:
    candidate, notes = spying()

    churn_forecasts((candidate,), MadeUp(), PLAN, quiet)

    assert notes == [set(PLAN.train_as_ofs(as_of)) for as_of in PLAN.judged]
    for learned_at, judged_at in zip(notes, PLAN.judged, strict=True):
        assert max(learned_at) + HORIZON <= judged_at


def test_a_value_model_learns_only_from_windows_that_had_ended() -> None:
    candidate, notes = spying()

    value_forecasts((candidate,), MadeUp(), PLAN, 1, quiet)

    assert notes == [set(PLAN.train_as_ofs(as_of)) for as_of in PLAN.judged]


def test_every_member_is_answered_for_at_every_judged_as_of() -> None:
    candidate, _ = spying()

    made = churn_forecasts((candidate,), MadeUp(), PLAN, quiet)

    for as_of in PLAN.judged:
        frame, present = made.at((as_of,)), MadeUp().at(as_of)
        np.testing.assert_array_equal(frame["member_id"], present.rows.member_id)
        np.testing.assert_array_equal(frame["truth"], present.churned)
        np.testing.assert_array_equal(frame["active"], present.active)
        np.testing.assert_array_equal(frame["spy"], present.rows.features["signal"])
    assert len(made.frame) == 40 * len(PLAN.judged)


def test_a_calibration_is_fitted_on_the_as_of_a_horizon_earlier() -> None:
    candidate, _ = spying()

    made = churn_forecasts((candidate,), MadeUp(), PLAN, quiet)

    assert set(made.calibrations) == {(day + HORIZON, "spy") for day in PLAN.judged}
    assert (PLAN.serve, "spy") in made.calibrations
    for day in PLAN.judged:
        present = MadeUp().at(day)
        expected = PlattCalibration.fit(present.rows.features["signal"], present.churned)
        assert made.calibrations[day + HORIZON, "spy"] == expected


def test_a_calibration_is_of_active_members_where_they_are_enough() -> None:
    candidate, _ = spying()
    present = MadeUp(n=200).at(PLAN.judged[0])

    made = churn_forecasts((candidate,), MadeUp(n=200), PLAN, quiet)

    signal = present.rows.features["signal"][present.active]
    expected = PlattCalibration.fit(signal, present.churned[present.active])
    assert made.calibrations[PLAN.judged[0] + HORIZON, "spy"] == expected


def test_labels_that_end_sooner_let_newer_as_ofs_teach() -> None:
    candidate, notes = spying(label_days=14)

    fitted = fit_churn((candidate,), MadeUp(), PLAN, PLAN.serve, quiet)

    assert fitted["spy"].label_days == {14}
    assert notes == [{PLAN.serve - timedelta(days=14), PLAN.serve - timedelta(days=28)}]


def test_a_mean_of_churn_models_is_made_of_the_fitted_ones() -> None:
    candidate, notes = spying()
    mean = Candidate("mean", "model", ChurnMean, parts=("spy",))

    fitted = fit_churn((candidate, mean), MadeUp(), PLAN, PLAN.serve, quiet)

    assert fitted["mean"].models["spy"] is fitted["spy"]
    assert len(notes) == 1


def test_who_is_new_and_what_her_first_order_was_stand_beside_the_answers() -> None:
    candidate, _ = spying()

    made = value_forecasts((candidate,), MadeUp(), PLAN, 1, quiet)

    frame = made.at((PLAN.judged[0],))
    # Tenure is 58, 59, 60, 61, ... days; new is whoever first bought at most 60 days ago.
    assert frame["newcomer"].tolist() == [True] * 3 + [False] * 37
    first = MadeUp().first_order_cents(PLAN.judged[0])
    assert frame["first_order_cents"].tolist() == first.tolist()


def test_a_judged_day_on_which_everybody_churned_is_refused() -> None:
    candidate, _ = spying()

    with pytest.raises(InputRefused, match="calibration needs members who churned and members"):
        churn_forecasts((candidate,), MadeUp(PLAN.test[-1]), PLAN, quiet)


def test_spend_below_zero_counts_as_nothing() -> None:
    candidate, _ = spying()

    made = value_forecasts((candidate,), MadeUp(), PLAN, 1, quiet)

    assert made.frame["truth"].min() == 0
    assert made.calibrations == {}


def test_a_mean_is_made_of_the_fitted_models_and_not_fitted_again() -> None:
    one, notes = spying()
    mean = Candidate("mean", "model", dict, parts=("spy",))

    fitted = fit_value((one, mean), MadeUp().past(PLAN.judged), 1, quiet, PLAN.serve)

    assert fitted["mean"] == {"spy": fitted["spy"]}
    assert fitted["spy"].fits == len(notes) == 1


def test_a_stack_is_made_of_the_fitted_models_and_of_weights_earned_on_other_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(value_stack, "MEMBERS_MIN", 10)
    halves: list[set[date]] = []
    one, notes = spying(lighter=lambda: Spy(halves))
    stack = Candidate("stack", "model", lambda *made: made, parts=("spy",), weighed=True)
    past = MadeUp().past(PLAN.judged)

    fitted = fit_value((one, stack), past, 1, quiet, PLAN.serve)
    weighed = weigh([one], past, 1)

    assert len(notes) == 1  # learned once from everybody; its weight took a lighter one
    assert len(halves) == 4
    assert weighed is not None
    assert fitted["stack"] == ({"spy": fitted["spy"]}, weighed.weights)
    assert weighed.weights["spy"] > 0
    assert len(weighed.said_cents) == len(weighed.came_cents) == 40  # of the newest day
    assert weighed.came_cents.min() == 0


def test_too_few_members_leave_a_stack_without_weights() -> None:
    one, _ = spying()
    stack = Candidate("stack", "model", lambda *made: made, parts=("spy",), weighed=True)

    fitted = fit_value((one, stack), MadeUp().past(PLAN.judged), 1, quiet, PLAN.serve)

    assert fitted["stack"] == ({"spy": fitted["spy"]}, None)


def test_a_network_is_taught_every_horizon_and_the_others_the_last() -> None:
    past = MadeUp().past(PLAN.judged)
    by_horizon = replace(past, value_by_horizon=np.stack([past.value_cents] * 2, axis=1))
    shapes = []

    class Shape(Spy):
        def fit(self, shown: Any, outcome: NDArray[np.float64]) -> Self:
            shapes.append(outcome.shape)
            return super().fit(shown, outcome)

    for all_horizons in (False, True):
        taught = Candidate("shape", "model", lambda: Shape([]), all_horizons=all_horizons)
        fit_value((taught,), by_horizon, 1, quiet, PLAN.serve)

    assert shapes == [(len(past),), (len(past), 2)]


def test_intervals_come_from_the_last_test_day_and_say_what_they_held_before() -> None:
    candidate, _ = spying()
    made = value_forecasts((candidate,), MadeUp(), PLAN, 1, quiet)
    last = made.at(PLAN.test[-1:])

    found = intervals(made, PLAN, "spy")

    assert replace(found, coverage=None) == ValueIntervals.fit(last["spy"], last["truth"])
    held = []
    for before, after in pairwise(PLAN.judged):
        learned, asked = made.at((before,)), made.at((after,))
        around = ValueIntervals.fit(learned["spy"], learned["truth"]).apply(asked["spy"])
        held.append(np.mean((around[:, 0] <= asked["truth"]) & (asked["truth"] <= around[:, 1])))
    assert found.coverage == pytest.approx(np.mean(held))


@pytest.mark.parametrize("horizon_days", [28, 91])
def test_every_naive_rule_expects_of_a_steady_member_what_she_spends_in_a_horizon(
    horizon_days: int,
) -> None:
    spend_a_day = 30.0
    steady = {f"spend_cents_{days}d": [days * spend_a_day] for days in (28, 84, 182, 364)}
    row = MemberRows(
        member_id=np.array(["ann"], dtype=object),
        as_of=np.array([np.datetime64(PLAN.serve, "D")]),
        features=pd.DataFrame(steady),
    )

    rules = [c for c in rivals.value(grocer.tiny_config(), horizon_days, 1) if c.role == "rule"]

    assert len(rules) >= 2
    for rule in rules:
        assert rule.make().predict(row) == pytest.approx([horizon_days * spend_a_day])


@dataclass
class MadeUpBaskets(Baskets):
    """The same purchases before and after every as_of."""

    bought: Mapping[str, str]
    wanted: Mapping[str, str]
    lately: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)

    def before(self, as_of: date) -> pd.DataFrame:
        del as_of
        return pairs(self.bought).assign(purchase_days=1, last_days=5)

    def after(self, as_of: date) -> pd.DataFrame:
        del as_of
        return pairs(self.wanted)

    def active(self, as_of: date) -> NDArray[np.object_]:
        del as_of
        return np.array(self.lately, dtype=object)


def pairs(bought: Mapping[str, str]) -> pd.DataFrame:
    """Write products as letters: ann: "ab" bought a and b."""
    rows = [(member, product) for member, letters in bought.items() for product in letters]
    return pd.DataFrame(rows, columns=["member_id", "product_id"])


def test_repeat_is_judged_on_products_bought_before_and_again() -> None:
    baskets = MadeUpBaskets(
        bought={"ann": "abc", "bob": "a", "cid": "z"},
        wanted={"ann": "axy", "bob": "xy", "dee": "a"},
        lately=("ann", "dee"),
    )
    rule = Candidate("rule", "rule", RepeatPopularity)

    made = product_forecasts("repeat", (rule,), baskets, PLAN, quiet).at(PLAN.test[-1:])

    # bob bought only what was new to him, cid nothing, and dee had no history to recommend from.
    assert made[["member_id", "active", "truth", "rule"]].to_numpy().tolist() == [
        ["ann", True, 1.0, 1.0]
    ]


def test_explore_is_judged_on_products_never_bought_before() -> None:
    baskets = MadeUpBaskets(
        bought={"ann": "abc", "bob": "ad", "cid": "abx"},
        wanted={"ann": "ax", "bob": "bcn", "dee": "a"},
        lately=("bob",),
    )
    rule = rivals.explore(grocer.tiny_config())[0]

    made = product_forecasts("explore", (rule,), baskets, PLAN, quiet).at(PLAN.test[-1:])

    # Of bob's three new products one is in no basket before, so no list could have named it.
    assert made[["member_id", "active", "truth"]].to_numpy().tolist() == [
        ["ann", False, 1.0],
        ["bob", True, 1.0],
    ]
    assert made["popularity"].tolist() == pytest.approx([1.0, 2 / 3])


@pytest.mark.parametrize(
    ("kind", "wanted", "said"),
    [("repeat", {"ann": "xy"}, "bought one again"), ("explore", {"ann": "a"}, "was new to her")],
)
def test_a_window_with_nothing_to_find_is_refused(
    kind: Literal["repeat", "explore"], wanted: dict[str, str], said: str
) -> None:
    baskets = MadeUpBaskets(bought={"ann": "abc"}, wanted=wanted)
    rule = Candidate("rule", "rule", RepeatPopularity)

    with pytest.raises(NothingToJudge, match=f"{said} in the 28 days.*{kind} cannot be judged"):
        product_forecasts(kind, (rule,), baskets, PLAN, quiet)


def test_a_list_of_ten_cannot_reach_more_than_ten_products() -> None:
    letters = "abcdefghijklmnopqrst"
    baskets = MadeUpBaskets(bought={"ann": letters}, wanted={"ann": letters})
    model = Candidate("habit", "model", PersonalFrequency)

    made = product_forecasts("repeat", (model,), baskets, PLAN, quiet)

    assert made.frame["truth"].tolist() == made.frame["habit"].tolist()
    assert made.frame["truth"].tolist() == pytest.approx([10 / 20] * len(PLAN.judged))


@contextmanager
def small_grocer(receipts: pd.DataFrame) -> Iterator[Settings]:
    with shop.new_home() as home:
        yield grocer.take(home, receipts)


@pytest.mark.slow
def test_shifting_what_was_bought_after_the_last_test_day_by_a_year_changes_no_forecast() -> None:
    receipts = grocer.purchases(n_members=60, n_days=36 * 7)
    ends = grocer.FIRST_DAY + timedelta(weeks=36)
    laid_out = plan(
        begins=grocer.FIRST_DAY,
        ends=ends,
        horizon_days=28,
        tests=2,
        validations=1,
        step_days=28,
        train_max=2,
        warmup_days=56,
    )
    when = pd.to_datetime(receipts["at"])
    later = when >= pd.Timestamp(laid_out.test[-1])
    # Somebody has to stay, or there is no calibration to fit for service.
    staying = receipts.loc[later, "member"].iloc[0]
    moved = when.where(~later | (receipts["member"] == staying), when + pd.DateOffset(years=1))
    shifted = receipts.assign(at=moved.dt.strftime("%Y-%m-%d %H:%M:%S"))

    with small_grocer(receipts) as one, small_grocer(shifted) as other:
        made, again = (everything_said(home, laid_out) for home in (one, other))
        bought, bought_again = (
            Baskets(home, 28).before(laid_out.test[-1]) for home in (one, other)
        )
        weeks, weeks_again = (
            Dataset(home, 28, 12).at(laid_out.test[-1]).rows.weekly for home in (one, other)
        )

    pd.testing.assert_frame_equal(bought, bought_again)
    assert weeks is not None
    assert weeks.any()
    np.testing.assert_array_equal(weeks, weeks_again)
    for target, forecasts in made.items():
        said = forecasts.frame.drop(columns="truth")
        said_again = again[target].frame.drop(columns="truth")
        if target in ("repeat", "explore"):  # whose figures are how much of the truth was found
            said, said_again = (
                found[found["as_of"] < np.datetime64(laid_out.test[-1])]
                for found in (said, said_again)
            )
        pd.testing.assert_frame_equal(said, said_again, check_exact=True)
        kept = {key: c for key, c in forecasts.calibrations.items() if key[0] != laid_out.serve}
        assert kept == {key: again[target].calibrations[key] for key in kept}
    assert not made["value"].frame["truth"].equals(again["value"].frame["truth"])


def everything_said(home: Settings, laid_out: Plan) -> dict[str, Forecasts]:
    config = grocer.tiny_config()
    baskets = Baskets(home, 28)
    # The network reads the same weeks, compared apart: learning them takes longer than the rest.
    value = tuple(c for c in rivals.value(config, 28, 1) if "lstm" not in f"{c.name} {c.parts}")
    return {
        "churn": churn_forecasts(rivals.churn(config, 28, 1), Dataset(home, 28), laid_out, quiet),
        "value": value_forecasts(value, Dataset(home, 28), laid_out, config.seed, quiet),
        "repeat": product_forecasts("repeat", rivals.repeat(config), baskets, laid_out, quiet),
        "explore": product_forecasts("explore", rivals.explore(config), baskets, laid_out, quiet),
    }
