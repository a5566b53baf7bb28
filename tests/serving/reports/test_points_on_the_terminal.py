"""What is printed of points is what was written: an id is text, whatever characters it has."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from loyalty.expiry import Expiring
from loyalty.points import balance, ledger, post
from loyalty.postings import Request
from serving.earning import Earnings
from serving.points import PointsDesk
from serving.points_files import FileTaken
from serving.reports.points import (
    show_balance,
    show_earnings,
    show_expiring,
    show_postings,
    show_taken,
)
from tests.loyalty.shop import NOW, PROGRAMME


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=250, emoji=False)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("odd", ["a[b]", "a\\[b]", "a\\[", "[/]", "a\\\\[b]", "end\\", "[red]x"])
def test_brackets_and_backslashes_of_ids_are_shown_as_they_are(
    desk: PointsDesk, console: Console, odd: str
) -> None:
    terms = desk.rules.terms(NOW)
    post(desk.database, terms, Request("OPENING", odd, odd, 5_00), now=NOW)

    show_postings(console, ledger(desk.database, odd), PROGRAMME)
    show_balance(console, balance(desk.database, terms, odd, now=NOW), PROGRAMME)
    show_expiring(console, [Expiring(odd, NOW + timedelta(days=1), 5_00)], PROGRAMME)

    lines = said(console).splitlines()
    assert f"Points of {odd} at 2018-06-15 04:00 UTC" in "\n".join(lines)
    assert sum(f" {odd} " in line for line in lines) == 3


def test_a_reason_cannot_steer_the_terminal(desk: PointsDesk, console: Console) -> None:
    terms = desk.rules.terms(NOW)
    post(desk.database, terms, Request("OPENING", "o", "ann", 5, reason="\x1b[31mred\n"), now=NOW)

    show_postings(console, ledger(desk.database, "ann"), PROGRAMME)

    assert "\\x1b[31mred\\n" in said(console)
    assert "\x1b" not in said(console)


def test_what_earned_nothing_is_said_only_where_there_is_something_to_say(
    console: Console, tmp_path: Path
) -> None:
    show_earnings(console, Earnings(events=3))
    show_taken(console, FileTaken(rows=1))
    assert "no rule names" not in said(console)

    show_earnings(console, Earnings(events=3, changed=1, unnamed=2))
    show_taken(console, FileTaken(rows=4, unnamed=4))

    assert "1 events were changed since they earned, which is ignored" in said(console)
    assert "2 events earned nothing: no rule names their kind" in said(console)
    assert "4 events earned nothing: no rule names their kind" in said(console)
    assert not list(tmp_path.iterdir())
