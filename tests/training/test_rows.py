import numpy as np
import pandas as pd
import pytest

from programme.errors import InputRefused
from training.rows import MemberRows


def rows(
    n: int, *, first: int = 0, weeks: int | None = 3, column: str = "recency_days"
) -> MemberRows:
    number = np.arange(first, first + n)
    return MemberRows(
        member_id=np.array([f"m{i}" for i in number], dtype=object),
        as_of=np.full(n, np.datetime64("2024-03-04", "D")),
        features=pd.DataFrame({column: number.astype(float)}),
        weekly=None if weeks is None else np.full((n, weeks, 4), number[:, None, None], np.float32),
    )


@pytest.mark.parametrize("which", [np.array([3, 0]), np.array([True, False, False, True])])
def test_taking_keeps_every_part_together(which: np.ndarray) -> None:
    taken = rows(4).take(which)

    numbers = taken.features["recency_days"].to_numpy()
    assert [f"m{n:.0f}" for n in numbers] == list(taken.member_id)
    assert taken.weekly is not None
    assert np.array_equal(taken.weekly[:, 0, 0], numbers)
    assert taken.features.index.equals(pd.RangeIndex(2))


@pytest.mark.parametrize("weeks", [3, None])
def test_parts_put_together_and_taken_apart_are_the_parts(weeks: int | None) -> None:
    one, other = rows(3, weeks=weeks), rows(2, first=3, weeks=weeks)

    both = MemberRows.concat([one, other])
    back = both.take(np.arange(5) >= 3)

    assert len(both) == 5
    pd.testing.assert_frame_equal(back.features, other.features)
    assert np.array_equal(back.member_id, other.member_id)
    assert np.array_equal(back.as_of, other.as_of)
    assert (back.weekly is None) == (weeks is None)


@pytest.mark.parametrize("odd", [rows(2, weeks=4), rows(2, weeks=None), rows(2, column="noise")])
def test_parts_of_another_shape_are_refused(odd: MemberRows) -> None:
    with pytest.raises(InputRefused, match="differ in their columns or weekly shape"):
        MemberRows.concat([rows(2), odd])


def test_no_parts_are_refused() -> None:
    with pytest.raises(InputRefused, match="the list is empty"):
        MemberRows.concat([])


def test_parts_of_another_length_are_refused() -> None:
    good = rows(3)

    with pytest.raises(InputRefused, match=r"'features': 2"):
        MemberRows(good.member_id, good.as_of, good.features.head(2), good.weekly)


def test_features_with_an_index_of_their_own_are_refused() -> None:
    good = rows(3)

    with pytest.raises(InputRefused, match="an index of their own"):
        MemberRows(good.member_id, good.as_of, good.features.iloc[::-1])


def test_text_columns_are_refused_by_name() -> None:
    good = rows(2)
    features = good.features.assign(top_category=["tea", "soap"])

    with pytest.raises(InputRefused, match="top_category are not numeric"):
        MemberRows(good.member_id, good.as_of, features)


def test_weeks_with_another_number_of_channels_are_refused() -> None:
    good = rows(2)

    with pytest.raises(InputRefused, match=r"shape \(2, 3, 5\)"):
        MemberRows(good.member_id, good.as_of, good.features, np.zeros((2, 3, 5), np.float32))
