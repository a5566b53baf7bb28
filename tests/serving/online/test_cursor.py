"""A cursor is text that only we read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.online import cursor


@given(position=st.integers(0, 2**63 - 1))
def test_a_cursor_is_read_as_it_was_written(position: int) -> None:
    written = cursor.written(position)

    assert re.fullmatch(cursor.PATTERN, written)
    assert cursor.read(written) == position


@given(text=st.text(max_size=30))
def test_other_text_is_no_cursor(text: str) -> None:
    found = cursor.read(text)

    assert found is None or cursor.written(found)[:17] == text[:17]


@pytest.mark.parametrize("text", ["", "0", "1", "A" * 18, "é" * 18, cursor.written(7)[:-4]])
def test_numbers_and_pieces_are_no_cursors(text: str) -> None:
    assert cursor.read(text) is None


@given(position=st.integers(0, 2**63 - 1), place=st.integers(0, 16), letter=st.sampled_from("Aa0-"))
def test_a_mistyped_letter_is_noticed(position: int, place: int, letter: str) -> None:
    written = cursor.written(position)
    mistyped = written[:place] + letter + written[place + 1 :]

    assert mistyped == written or cursor.read(mistyped) is None
