"""Columns that change their meaning while a programme grows up."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from training.splits import plan
from training.windows import settled, settled_throughout

BEGINS = date(1997, 1, 1)
COLUMNS = ("recency_days", "spend_cents_84d", "spend_cents_182d", "spend_cents_364d", "orders_life")


def learned(newest: date, n: int) -> list[date]:
    return [newest - timedelta(days=14 * k) for k in range(n)]


def test_a_window_longer_than_the_history_learned_from_is_left_out() -> None:
    assert settled(COLUMNS, BEGINS, learned(date(1997, 7, 2), 7)) == (
        "recency_days", "spend_cents_84d", "orders_life",
    )  # fmt: skip
    # Most of these days have more than half a year behind them, none a year.
    assert settled(COLUMNS, BEGINS, learned(date(1997, 10, 1), 12)) == (
        "recency_days", "spend_cents_84d", "spend_cents_182d", "orders_life",
    )  # fmt: skip


def test_an_old_programme_loses_nothing() -> None:
    assert settled(COLUMNS, BEGINS, learned(date(2001, 7, 2), 7)) == COLUMNS


@given(st.integers(1, 900), st.integers(1, 12))
def test_what_carries_no_window_always_stays(history: int, n: int) -> None:
    newest = BEGINS + timedelta(days=history)

    kept = settled(COLUMNS, BEGINS, learned(newest, n))

    assert {"recency_days", "orders_life"} <= set(kept)
    assert list(kept) == [name for name in COLUMNS if name in kept]


def test_a_column_has_to_be_settled_on_every_test_day_and_on_that_of_service() -> None:
    laid_out = plan(
        begins=BEGINS, ends=date(1998, 1, 1), horizon_days=91, tests=1, validations=1,
        step_days=14, train_max=4, warmup_days=56,
    )  # fmt: skip

    kept = settled_throughout(COLUMNS, laid_out)

    assert "spend_cents_182d" not in kept
    for asked_at in (*laid_out.test, laid_out.serve):
        assert set(kept) <= set(settled(COLUMNS, BEGINS, laid_out.train_as_ofs(asked_at)))
