"""The hazard of the next purchase: known hazards are found again, and censoring costs nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from programme.errors import InputRefused
from training.models.boosting import Trees
from training.models.hazard import WEEKDAY_COLUMNS, Hazard, HazardChurn
from training.rows import MemberRows

HORIZON = 56
# Small and few: the worlds have one or two columns that matter.
TREES = Trees(n_trees=60, learning_rate=0.1, num_leaves=6, min_data_in_leaf=50)
MONDAY, THURSDAY = "2024-07-01", "2024-07-04"


def rows_of(features: pd.DataFrame, as_of: str = MONDAY) -> MemberRows:
    return MemberRows(
        member_id=np.array([f"m{number}" for number in range(len(features))], dtype=object),
        as_of=np.full(len(features), np.datetime64(as_of, "D")),
        features=features,
    )


def steady(n: int, seed: int) -> tuple[MemberRows, NDArray[np.float64], NDArray[np.float64]]:
    """Members who buy at a pace of their own whatever came before: rows, next days, true curves."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.01, 0.25, n)
    days = np.minimum(rng.geometric(chance) - 1.0, HORIZON)
    recency = rng.geometric(chance).astype(float)
    features = pd.DataFrame({"recency_days": recency, "pace": chance})
    return rows_of(features), days, (1 - chance[:, None]) ** np.arange(1, HORIZON + 1)


def test_a_known_hazard_is_found_again() -> None:
    rows, days, _ = steady(3_000, seed=1)
    present, _, true = steady(300, seed=2)

    said = Hazard(HORIZON, seed=1, trees=TREES).fit(rows, days).silence(present)

    assert np.abs(said - true).mean() < 0.03


def test_members_followed_for_four_weeks_teach_four_weeks() -> None:
    rows, days, _ = steady(3_000, seed=1)
    present, _, true = steady(300, seed=2)
    followed = np.where(np.arange(len(days)) % 2 == 0, 28.0, HORIZON)
    seen = np.minimum(days, followed)

    def fit(
        next_days: NDArray[np.float64], followed_days: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        model = Hazard(HORIZON, seed=1, trees=TREES).fit(rows, next_days, followed_days)
        return model.silence(present)

    said = fit(seen, followed)
    # Taken for "never", the censored half would seem to buy half as often.
    ignored = fit(np.where(seen == followed, HORIZON, seen), np.full(len(days), float(HORIZON)))

    assert np.abs(said - true).mean() < 0.03
    assert (ignored[:, -1] - true[:, -1]).mean() > 2 * np.abs(said[:, -1] - true[:, -1]).mean()


def test_thinned_rows_weigh_more_so_that_the_chance_stays_what_it_was() -> None:
    rows, days, _ = steady(3_000, seed=1)
    present, _, true = steady(300, seed=2)

    said = Hazard(HORIZON, seed=1, trees=TREES, cells_max=6_000).fit(rows, days).silence(present)

    assert said.mean() == pytest.approx(true.mean(), abs=0.02)


def saturdays(as_of: str, n: int = 600) -> tuple[MemberRows, NDArray[np.float64]]:
    """Members who buy on Saturdays, every second one of them at random."""
    rng = np.random.default_rng(4)
    weekday = (np.datetime64(as_of, "D").astype(int) + 3) % 7
    first = (5 - weekday) % 7
    weeks = rng.geometric(0.5, n) - 1
    shares = dict.fromkeys(WEEKDAY_COLUMNS, 0.0) | {"saturday_share_182d": 1.0}
    features = pd.DataFrame({"recency_days": rng.integers(1, 15, n).astype(float), **shares})
    return rows_of(features, as_of), np.minimum(first + 7.0 * weeks, HORIZON)


def test_a_weekly_rhythm_is_kept_from_whatever_weekday_one_looks() -> None:
    model = Hazard(HORIZON, seed=1, trees=TREES).fit(*saturdays(MONDAY))

    from_thursday, _ = saturdays(THURSDAY, 50)
    silence = model.silence(from_thursday)
    chance = -np.diff(np.concatenate([np.ones((50, 1)), silence], axis=1), axis=1)[:, :14]

    assert (np.argsort(-chance, axis=1)[:, :2] == [2, 9]).all()  # the two Saturdays
    assert (chance[:, 2] > 0.3).all()


def test_silence_never_grows_less_likely_to_end_and_never_rises() -> None:
    rows, days, _ = steady(400, seed=5)

    said = Hazard(HORIZON, seed=1, trees=TREES).fit(rows, days).silence(rows)

    assert (np.diff(said, axis=1) <= 0).all()
    assert ((said > 0) & (said < 1)).all()


def test_as_a_churn_model_it_says_what_the_end_of_its_curve_says() -> None:
    rows, days, true = steady(3_000, seed=1)
    model = HazardChurn(28, seed=1, trees=TREES).fit(rows.features, np.minimum(days, 28))

    raw = model.raw_score(rows.features)

    assert np.abs(1 / (1 + np.exp(-raw)) - true[:, 27]).mean() < 0.04
    later = replace(rows, as_of=rows.as_of + 3)  # over whole weeks the weekday does not matter
    assert np.array_equal(model.silence(later)[:, -1], model.silence(rows)[:, -1])


def test_a_horizon_that_is_not_whole_weeks_is_refused() -> None:
    with pytest.raises(InputRefused, match=r"30 days.*multiples of 7"):
        Hazard(30, seed=1)
