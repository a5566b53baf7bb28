"""Who becomes champion: the first, a better recipe, a refresh that lost nothing; nobody else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from programme.errors import NotReady
from programme.settings import Settings
from training import leaderboard, promotion
from training.bundle import Bundle, ModelFacts
from training.config import TrainConfig
from training.dataset import Dataset, Labelled
from training.forecasts import Candidate, Forecasts
from training.models.calibration import PlattCalibration
from training.promotion import CANDIDATE_TAG, Job
from training.registry import RegisteredModel
from training.rows import MemberRows
from training.splits import Plan, plan
from training.surrogate import ValueSurrogate

N = 200
CONFIG = TrainConfig(draws=100)
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
CANDIDATES = tuple(
    Candidate(name, "rule" if name == "recency" else "model", dict)
    for name in ("recency", "trees", "network")
)
CHURNED = (np.arange(N) % 4 == 0).astype(np.float64)
WELL = PlattCalibration(slope=4.0, intercept=-2.0)


def noisy(noise: float, seed: int) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = CHURNED + np.random.default_rng(seed).normal(0, noise, N)
    return moved


def job(**answers: NDArray[np.float64]) -> Job:
    """A churn job in which every candidate says the same at every judged as_of."""
    said = {"recency": noisy(3, 1), "trees": noisy(0.6, 2), "network": noisy(0.6, 3)} | answers
    frames = [
        pd.DataFrame(
            {
                "as_of": np.datetime64(as_of, "D"),
                "member_id": [f"m{number:03d}" for number in range(N)],
                "active": True,
                "truth": CHURNED,
                **said,
            }
        )
        for as_of in PLAN.judged
    ]
    forecasts = Forecasts(
        pd.concat(frames, ignore_index=True),
        {(day, name): WELL for day in (*PLAN.judged, PLAN.serve) for name in said},
    )
    board = leaderboard.judge(
        leaderboard.CHURN, forecasts, CANDIDATES, PLAN, seed=1, draws=CONFIG.draws
    )
    return Job("churn", leaderboard.CHURN, CANDIDATES, forecasts, board, None, WELL)


@dataclass
class Fake:
    """A registry with at most one champion; notes who was promoted over whom."""

    champion: int | None = None
    recipe: str = ""
    bundle: Bundle | None = None
    promoted: list[tuple[int, int | None]] = field(default_factory=list)

    def champion_version(self, settings: Settings, name: str) -> int | None:
        assert (settings, name) == (HERE, "churn_28d")
        return self.champion

    def tag(self, settings: Settings, name: str, version: int, key: str) -> str:
        assert (settings, name, version, key) == (HERE, "churn_28d", self.champion, CANDIDATE_TAG)
        return self.recipe

    def promote(self, settings: Settings, name: str, version: int, *, expected: int | None) -> None:
        assert (settings, name) == (HERE, "churn_28d")
        self.promoted.append((version, expected))

    def load(self, settings: Settings, name: str) -> RegisteredModel:
        if self.bundle is None:
            raise NotReady(f"the files of {name} are gone from {settings.home}")
        assert self.champion is not None
        return RegisteredModel(name, self.champion, self.bundle)


HERE = Settings()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(promotion, "registry", fake)
    return fake


def decide(done: Job) -> tuple[bool, str]:
    return promotion.decide(HERE, CONFIG, done, "churn_28d", 8)


def test_the_first_version_becomes_champion(registry: Fake) -> None:
    assert decide(job()) == (True, "the first champion.")
    assert registry.promoted == [(8, None)]


def test_a_new_recipe_that_is_surely_better_replaces_the_champions(registry: Fake) -> None:
    registry.champion, registry.recipe = 7, "network"

    earned, why = decide(job(trees=CHURNED))

    assert earned
    assert "promoted; trees against the champion's network: +" in why
    assert registry.promoted == [(8, 7)]


def test_a_new_recipe_that_may_be_no_better_stays_a_challenger(registry: Fake) -> None:
    registry.champion, registry.recipe = 7, "network"
    done = job()
    assert done.board.served != "network"
    gain = leaderboard.difference(
        done.yardstick,
        done.forecasts,
        PLAN.test,
        "trees",
        "network",
        seed=CONFIG.seed,
        draws=CONFIG.draws,
    )
    assert gain.low <= 0 < gain.mean

    earned, why = decide(done)

    assert not earned
    assert "kept as challenger" in why
    assert registry.promoted == []


def test_a_recipe_that_says_the_same_as_the_champions_does_not_replace_it(registry: Fake) -> None:
    registry.champion, registry.recipe = 7, "network"

    earned, why = decide(job(trees=CHURNED, network=CHURNED))

    assert (earned, registry.promoted) == (False, [])
    assert "+0.0000 [+0.0000, +0.0000] AP" in why


def test_a_champion_of_a_recipe_no_longer_judged_is_not_replaced_unasked(registry: Fake) -> None:
    registry.champion, registry.recipe = 7, "handmade"

    earned, why = decide(job(trees=CHURNED))

    assert (earned, registry.promoted) == (False, [])
    assert "recipe no longer judged" in why


@dataclass
class Parrot:
    """A champion that says what it was told to, whoever asks."""

    answers: NDArray[np.float64]
    kind: str = "parrot"

    def raw_score(self, features: pd.DataFrame) -> NDArray[np.float64]:
        assert len(features) == len(self.answers)
        return self.answers

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        return self.raw_score(rows.features)


class Present(Dataset):
    """The members of the job, at any day."""

    def at(self, as_of: date) -> Labelled:
        # Of a large programme the job judged a sample: as many are the same members.
        assert self.members_max == N
        rows = MemberRows(
            member_id=np.array([f"m{number:03d}" for number in range(N)], dtype=object),
            as_of=np.full(N, np.datetime64(as_of, "D")),
            features=pd.DataFrame({"day": np.full(N, float(as_of.toordinal()))}),
        )
        return Labelled(rows, np.ones(N, dtype=bool), CHURNED, CHURNED)


def champion_of(
    answers: NDArray[np.float64],
    *,
    learned_until: date,
    calibration: PlattCalibration = WELL,
) -> Bundle:
    facts: Mapping[str, Any] = {
        "target": "churn",
        "horizon_days": 28,
        "feature_set": "",
        "columns": (),
        "data_from": PLAN.begins,
        "data_until": learned_until,
        "git_sha": "",
    }
    return Bundle(Parrot(answers), ModelFacts(**facts), calibration)


@pytest.fixture
def refreshed(registry: Fake, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Return the registry of a champion whose recipe is the one that is served again."""
    monkeypatch.setattr(promotion, "Dataset", Present)
    registry.champion, registry.recipe = 7, "trees"
    return registry


SERVED = noisy(0.3, 4)


def test_the_same_recipe_without_a_newer_test_day_is_a_refresh(refreshed: Fake) -> None:
    after_the_tests = PLAN.test[-1] + timedelta(days=1)
    refreshed.bundle = champion_of(CHURNED, learned_until=after_the_tests)

    earned, why = decide(job(trees=SERVED))

    assert earned
    assert "no test day yet that the champion has not learned from" in why
    assert refreshed.promoted == [(8, 7)]


def test_a_refresh_as_good_as_the_champion_itself_replaces_it(refreshed: Fake) -> None:
    # It learned from the first test day, so only the last is left to compare on.
    refreshed.bundle = champion_of(SERVED, learned_until=PLAN.test[-1])

    earned, why = decide(job(trees=SERVED))

    assert earned
    assert "the same recipe, refreshed: +0.0000 [+0.0000, +0.0000] AP" in why
    assert refreshed.promoted == [(8, 7)]


def test_a_refresh_that_lost_to_the_champion_stays_a_challenger(refreshed: Fake) -> None:
    beyond_belief = PlattCalibration(slope=0.1, intercept=5.0)  # so that only the order decides
    refreshed.bundle = champion_of(CHURNED, learned_until=PLAN.test[0], calibration=beyond_belief)

    earned, why = decide(job(trees=noisy(0.8, 5), recency=noisy(9, 6), network=noisy(3, 7)))

    assert (earned, refreshed.promoted) == (False, [])
    assert "kept as challenger; the same recipe, refreshed: -" in why


def test_a_refresh_whose_calibration_got_worse_stays_a_challenger(refreshed: Fake) -> None:
    # The champion ranks no better, but what it calls likely happens as often as it says.
    overlap = np.where(np.arange(N) % 20 == 0, 0.0, CHURNED)
    fitted = PlattCalibration.fit(overlap, CHURNED)
    refreshed.bundle = champion_of(overlap, learned_until=PLAN.test[0], calibration=fitted)
    done = job(trees=overlap, recency=noisy(9, 6), network=noisy(9, 7))
    bent = PlattCalibration(slope=fitted.slope, intercept=fitted.intercept - 3)
    forecasts = Forecasts(done.forecasts.frame, dict.fromkeys(done.forecasts.calibrations, bent))
    done = Job("churn", done.yardstick, CANDIDATES, forecasts, done.board, None, bent)
    assert done.board.served == "trees"

    earned, why = decide(done)

    assert (earned, refreshed.promoted) == (False, [])
    assert "calibration error +" in why


@pytest.mark.parametrize(("champions", "earned"), [(SERVED, True), (CHURNED, False)])
def test_a_refresh_of_value_is_compared_with_what_the_champion_expects(
    refreshed: Fake, champions: NDArray[np.float64], earned: bool
) -> None:
    churn = job(trees=SERVED, recency=noisy(9, 6), network=noisy(9, 7))
    board = leaderboard.judge(
        leaderboard.VALUE, churn.forecasts, CANDIDATES, PLAN, seed=1, draws=CONFIG.draws
    )
    churner = champion_of(champions, learned_until=PLAN.test[0])
    refreshed.bundle = Bundle(
        churner.model, replace(churner.facts, target="value"), surrogate=ValueSurrogate(seed=1)
    )
    value = Job("value", leaderboard.VALUE, CANDIDATES, churn.forecasts, board, None)
    assert board.served == "trees"

    decided, why = decide(value)

    assert decided is earned
    assert why.endswith("Gini.")


def test_a_champion_that_cannot_be_loaded_is_replaced(refreshed: Fake) -> None:
    refreshed.bundle = None

    earned, why = decide(job(trees=SERVED))

    assert earned
    assert "cannot be loaded any more (NotReady)" in why
    assert refreshed.promoted == [(8, 7)]
