"""The one-file reports: small, self-contained, in both languages, and saying what was measured."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from programme.errors import InputRefused
from serving.reports import charts, model_page
from serving.reports.model_facts import held_by_top, histogram
from serving.reports.model_page import PAGES
from tests.training.grocer import END, Trained
from training.curves import gains
from training.records import evidence

ONE_MB = 1_000_000


class _Outline(HTMLParser):
    """Collects headings, and whatever a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.headings = 0
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.headings += tag in ("h1", "h2", "h3")
        self.fetched += [
            str(value) for name, value in attrs if name in ("src", "href", "action", "data")
        ]


@pytest.fixture(scope="module")
def pages(
    trained_grocer: Trained, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], str]:
    """Return every page in every language."""
    folder = tmp_path_factory.mktemp("pages")
    return {
        (page, language): model_page.write(
            trained_grocer.settings, page, language, folder / f"{page}-{language}.html"
        ).read_text("utf-8")
        for page in PAGES
        for language in ("en", "zh")
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_small_fetches_nothing_and_says_the_same_in_both_languages(
    pages: dict[tuple[str, str], str], page: str
) -> None:
    outlines = []
    for language in ("en", "zh"):
        text = pages[page, language]
        assert len(text.encode()) < ONE_MB
        assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", text)
        outline = _Outline()
        outline.feed(text)
        assert outline.fetched == []
        outlines.append(outline.headings)
        assert f'<html lang="{language}">' in text
    assert outlines[0] == outlines[1] >= 5
    assert re.search(r"[\u4e00-\u9fff]", pages[page, "zh"])


def test_the_churn_page_says_what_the_board_says(
    pages: dict[tuple[str, str], str], trained_grocer: Trained
) -> None:
    board, text = trained_grocer.boards["churn"], pages["churn", "en"]

    assert f"Grade {board['grade']}" in text
    for entry in board["populations"][0]["entries"]:
        assert f"<td>{entry['name']}</td>" in text
        assert f"{entry['metrics']['AUC']:,.4f}" in text
    assert "Not yet measured" in text
    assert "not what causes" in text
    assert str(END) in text


def test_the_slider_counts_with_the_curve_of_the_test_days(
    pages: dict[tuple[str, str], str], trained_grocer: Trained
) -> None:
    found = evidence(trained_grocer.settings, "churn_28d")
    text = pages["churn", "en"].replace("&#34;", '"')

    (captured,) = re.findall(r'data-captured="(\[.*?\])"', text)

    assert found.gains is not None
    assert json.loads(captured) == pytest.approx(found.gains[found.board["served"]].to_list())
    assert json.loads(captured)[-1] == pytest.approx(1.0)


def test_without_a_path_a_page_lands_in_the_home(trained_grocer: Trained) -> None:
    made = model_page.write(trained_grocer.settings, "value", "zh", None)

    assert made == trained_grocer.settings.home / "reports" / f"value-{END}-zh.html"


def test_an_unknown_page_and_a_bad_place_are_refused(
    trained_grocer: Trained, tmp_path: Path
) -> None:
    with pytest.raises(InputRefused, match="no page 'profit'"):
        model_page.write(trained_grocer.settings, "profit", "en", None)
    with pytest.raises(InputRefused):
        model_page.write(trained_grocer.settings, "churn", "en", tmp_path)


def test_gains_rise_from_the_first_to_all_and_a_perfect_order_finds_the_most() -> None:
    rng = np.random.default_rng(3)
    truth = (rng.random(150) < 0.2).astype(float)
    frame = pd.DataFrame({"as_of": 1, "truth": truth, "perfect": truth, "noise": rng.random(150)})

    found = gains(frame, ["perfect", "noise"])

    for name in ("perfect", "noise"):
        assert found[name].is_monotonic_increasing
        assert found[name].iloc[-1] == pytest.approx(1.0)
    assert (found["perfect"] >= found["noise"]).all()
    assert found["perfect"][found["percent"] >= 100 * truth.mean() + 1].eq(1.0).all()


def test_where_nothing_happened_there_is_no_curve() -> None:
    frame = pd.DataFrame({"as_of": [1, 1], "truth": [0.0, 0.0], "a": [1.0, 2.0]})

    assert gains(frame, ["a"])["a"].isna().all()


def test_what_the_top_members_hold() -> None:
    values = np.r_[np.full(10, 50.0), np.full(90, 0.0), [-5.0]]

    assert held_by_top(values)[0.10] == pytest.approx(1.0)
    assert held_by_top(np.zeros(5))[0.01] == 0.0


def test_every_member_is_in_the_histogram() -> None:
    values = np.random.default_rng(1).gamma(1.0, 100.0, 777)

    assert histogram(values)["members"].sum() == 777


def test_outside_text_in_a_picture_is_quoted() -> None:
    drawn = charts.bars(["<b>"], [1.0], title='"><script>') + charts.lines(
        {"<i>": [0.5, 1.0]}, title="x"
    )

    assert "<b>" not in drawn
    assert "<i>" not in drawn
    assert "<script>" not in drawn
