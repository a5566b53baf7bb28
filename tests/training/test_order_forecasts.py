"""Next orders forward in time: nothing later than the judged day teaches anything."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from programme.settings import Settings
from training import labels, order_forecasts
from training.dataset import Labelled
from training.forecasts import Candidate
from training.models.order_rules import GapRule, PaceRule
from training.order_forecasts import OrderHistory, next_order_forecasts, train_as_ofs
from training.rows import MemberRows
from training.splits import Plan

ENDS = date(2024, 12, 30)
PLAN = Plan(
    horizon_days=28, validation=(date(2024, 11, 4),), test=(date(2024, 12, 2),), serve=ENDS,
    begins=date(2024, 1, 1), warmup_days=56, step_days=14, train_max=4,
)  # fmt: skip
GAPS = np.array([3.0, 9.0, 21.0, 40.0])


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> OrderHistory:
    """Four members who buy one gap after the last purchase, which was two days ago."""
    monkeypatch.setattr(labels, "data_ends", lambda _: ENDS)

    class Told:
        def __init__(
            self, _: Settings, horizon_days: int, *, members_max: int | None = None
        ) -> None:
            assert members_max is None
            self.horizon_days = horizon_days

        def at(self, as_of: date) -> Labelled:
            features = pd.DataFrame(
                {
                    "recency_days": 2.0, "tenure_days": 200.0, "gap_days_mean": GAPS,
                    "gap_days_median": GAPS, "purchase_days_84d": 84 / GAPS,
                }
            )  # fmt: skip
            rows = MemberRows(
                member_id=np.array(list("abcd"), dtype=object),
                as_of=np.full(4, np.datetime64(as_of, "D")),
                features=features,
            )
            came = np.minimum(GAPS - 2, self.horizon_days)
            return Labelled(rows, np.ones(4, dtype=bool), came * 0, came * 0, next_days=came)

    monkeypatch.setattr(order_forecasts, "Dataset", Told)
    return OrderHistory(Settings(home=Path("nowhere")), 28)


def test_as_ofs_to_learn_from_end_two_weeks_before_the_judged_day() -> None:
    days = train_as_ofs(PLAN, date(2024, 12, 2))

    assert days == tuple(date(2024, 11, 18) - timedelta(days=14 * k) for k in range(4))
    assert train_as_ofs(PLAN, date(2024, 3, 18)) == (date(2024, 3, 4),)


def test_nothing_later_than_the_judged_day_is_told(history: OrderHistory) -> None:
    until = date(2024, 12, 2)

    past = history.past((date(2024, 11, 18), date(2024, 10, 21)), until)

    assert past.followed_days.tolist() == [14] * 4 + [28] * 4
    # The third buys after 19 days: of the nearer as_of that is not yet known.
    assert past.next_days.tolist() == [1, 7, 14, 14, 1, 7, 19, 28]
    known = past.rows.as_of.astype("datetime64[D]") + past.followed_days.astype(int)
    assert (known <= np.datetime64(until, "D")).all()


def test_near_the_end_members_are_followed_as_far_as_the_data_go(history: OrderHistory) -> None:
    assert history.at(ENDS - timedelta(days=14)).next_days.tolist() == [1, 7, 14, 14]


def test_levels_come_from_the_judged_day_a_horizon_before(history: OrderHistory) -> None:
    candidates = (
        Candidate("gap", "rule", lambda: GapRule(28, "gap_days_mean")),
        Candidate("pace", "rule", lambda: PaceRule(28)),
    )

    told, levels = next_order_forecasts(candidates, history, PLAN, lambda _: None)

    assert set(levels) == {(day, name) for day in (*PLAN.test, ENDS) for name in ("gap", "pace")}
    assert (told.frame["gap"] == 1).all()  # the rule that is true is right on every day
    assert (told.frame["gap:median"] == told.frame["next_days"]).all()
    assert (told.frame["gap"] >= told.frame["pace"]).all()
    assert set(told.frame["pace:covered"]) <= {0.0, 1.0}
