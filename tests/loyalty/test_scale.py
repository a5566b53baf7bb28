"""The unit in which points are counted is fixed with the first posting."""

import pytest

from loyalty.points import post
from loyalty.postings import Request
from loyalty.scale import hold_scale
from programme.database import Database
from programme.errors import InputRefused
from tests.loyalty.shop import NOW, rulebook


def test_until_something_is_posted_the_scale_may_change_and_then_no_more(
    database: Database,
) -> None:
    hold_scale(database, 0)
    hold_scale(database, 2)
    terms = rulebook().terms(NOW)
    post(database, terms, Request("OPENING", "o1", "ann", 12_50), now=NOW)

    with pytest.raises(InputRefused, match=r"points_scale is 0, and the 1 postings .* with 2"):
        hold_scale(database, 0)
    hold_scale(database, 2)


def test_a_ledger_from_before_it_was_kept_keeps_the_scale_it_is_opened_with(
    database: Database,
) -> None:
    post(database, rulebook().terms(NOW), Request("OPENING", "o1", "ann", 12_50), now=NOW)
    hold_scale(database, 2)

    with pytest.raises(InputRefused, match="points_scale = 2"):
        hold_scale(database, 4)
