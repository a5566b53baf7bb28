"""When a category is due: gaps by hand, and the same as counting days in plain Python."""

import pandas as pd
import pytest

from programme.errors import InputRefused
from tests.little_programme import AS_OF, LittleProgramme, purchases
from training.models.replenishment import DueLists, due_dates, habits


def known(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_due_dates_by_hand() -> None:
    # Category medians: milk 8 (of 4 and 12), soap 30. One gap of the usual length joins her own.
    dated = due_dates(
        known(
            member_id=["a", "b", "b"],
            category=["milk", "milk", "soap"],
            purchase_days=[4, 3, 4],
            last_days=[7, 1, 50],
            own_gap_days=[4.0, 12.0, 30.0],
        )
    )

    assert dated["gap_days"].tolist() == pytest.approx([(12 + 8) / 4, (24 + 8) / 3, 30.0])
    assert dated["due_days"].tolist() == [-2, 10, -20]
    # Overdue by 2 of 5 days is news, by 20 of 30 is not.
    assert dated["soon"].tolist() == [True, True, False]


def test_the_most_bought_come_first_and_five_at_most() -> None:
    dated = pd.DataFrame(
        {
            "member_id": ["b"] * 7 + ["a"],
            "category": [*list("cdefghi"), "z"],
            "purchase_days": [5, 9, 9, 3, 4, 6, 7, 3],
            "last_days": 5,
            "gap_days": 8.0,
            "due_days": [3, 3, 2, 3, 3, -1, 3, 3],
            "soon": [True] * 8,
        }
    )

    lists = DueLists.of(dated, pd.Index(["a", "b", "c"]))

    assert [due.category for due in lists.of_member(1)] == ["e", "d", "i", "h", "c"]
    assert [due.overdue for due in lists.of_member(1)] == [False, False, False, True, False]
    assert [due.category for due in lists.of_member(0)] == ["z"]
    assert list(lists.of_member(2)) == []
    (first, *_) = lists.of_member(0)
    assert first.parameters == {"gap_days": 8.0, "last_days": 5.0, "purchase_days": 3.0}


def test_habits_are_the_days_a_member_bought_a_category(trained: LittleProgramme) -> None:
    found = habits(trained.snapshot)

    rows = purchases(120, 7).drop_duplicates(["member", "category", "day"])
    rows["days_ago"] = [(AS_OF - day).days for day in rows["day"]]
    grouped = rows.groupby(["member", "category"])["days_ago"]
    counted = grouped.agg(["count", "min", "max"]).reset_index()
    counted = counted[counted["count"] >= 3]
    assert len(counted) > 100
    assert found["member_id"].tolist() == counted["member"].tolist()
    assert found["category"].tolist() == counted["category"].tolist()
    assert found["purchase_days"].tolist() == counted["count"].tolist()
    assert found["last_days"].tolist() == counted["min"].tolist()
    gaps = (counted["max"] - counted["min"]) / (counted["count"] - 1)
    assert found["own_gap_days"].to_numpy() == pytest.approx(gaps.to_numpy())


def test_habits_without_a_column_are_refused() -> None:
    with pytest.raises(InputRefused, match=r"lack own_gap_days.*No due date"):
        due_dates(known(member_id=["a"], category=["c"], purchase_days=[3], last_days=[1]))
