"""A campaign's page: self-contained, the same in both languages, and honest about what it shows."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from actions import campaigns, launching, offers
from actions.campaigns import Campaign
from actions.effects import adjusted_p_values
from actions.outcomes import SIMULATOR
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.errors import InputRefused, NotReady
from programme.words import money
from serving.reports import campaign_page, charts
from tests.actions import campaign as made
from tests.actions.campaign import AS_OF, NOW
from tests.actions.shop import END, PURCHASES, SHOP, Shop, a_shop, arms, line, log

MEMBERS = [f"m{number:03d}" for number in range(300)]
HOSTILE = "<script>alert(1)</script>"
FACTS: dict[str, Any] = {
    "members": 320, "open_to": 310, "arms": {"treated": 240, "control": 60, "left_alone": 7},
    "refusals": {"no_consent": 11, "capped": 3}, "harmed": 2,
    "offers": [{"offer": "voucher", "channel": "sms", "eligible": 300, "contacted": 240,
                "explored": 40, "control": 60, "learned": True}],
    "capacity": {"budget": 50_000.0, "channel sms": 240.0, "offer letter": 90.0},
    "used": {"budget": 40_000.0, "channel sms": 240.0, "offer letter": 10.0},
    "prices": {"budget": 0.25, "channel sms": 31.0, "offer letter": 0.0},
    "power": {"treated": 240, "controls": 60, "detectable_cents": 700.0,
              "with_before_cents": 410.0},
}  # fmt: skip


class _Outline(HTMLParser):
    """Collects headings, cells' text, and whatever a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.headings = self.scripts = 0
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.headings += tag in ("h1", "h2", "h3")
        self.scripts += tag == "script"
        self.fetched += [
            str(value) for name, value in attrs if name in ("src", "href", "action", "data")
        ]


def outline(text: str) -> _Outline:
    found = _Outline()
    found.feed(text)
    return found


def launch(
    shop: Shop, campaign: str, seed: int = 4, *, name: str = "Autumn", contacted: Any = None
) -> Campaign:
    """Launch a campaign with facts as the planner leaves them, from offers with a hostile name."""
    text = made.CATALOGUE.replace("Five off", f"{HOSTILE} five off").replace(
        "减五元", f"{HOSTILE}减五元"
    )
    catalogue = offers.read(text, shop.programme)
    campaigns.adopt(shop.database, catalogue, now=NOW)
    decided = log(contacted or arms(MEMBERS, seed), campaign)
    campaigns.propose(
        shop.database, shop.settings.home, made.asked(campaign, f'name = "{name}"\n'), catalogue,
        decided, FACTS, as_of=AS_OF, now=NOW,
    )  # fmt: skip
    campaigns.approve(shop.database, campaign, by=HOSTILE, now=NOW)
    return shop_launch(shop, campaign)


def shop_launch(shop: Shop, campaign: str) -> Campaign:
    return launching.launch(shop.database, shop.programme, shop.settings.home, campaign, now=NOW)


_written: dict[tuple[Shop, str | None, str, datetime], str] = {}


def page(shop: Shop, campaign: str | None, language: str = "en", now: datetime = END) -> str:
    """Return a campaign's page; nothing that a test changes after it is on it."""
    asked = (shop, campaign, language, now)
    if asked not in _written:
        _written[asked] = _page(*asked)
    return _written[asked]


def _page(shop: Shop, campaign: str | None, language: str, now: datetime) -> str:
    path = shop.settings.home / f"page-{language}.html"
    return campaign_page.write(shop.settings, campaign, language, path, now=now).read_text("utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Return a shop with two campaigns that were closed, and one that was stopped."""
    opened = a_shop(tmp_path_factory.mktemp("shop"))
    contacted = arms(MEMBERS)
    lines = [
        line(member, f"{member}-{day}", NOW + timedelta(days=day), 20 + 15 * contacted[member]
             + number % 7)
        for number, member in enumerate(MEMBERS) for day in (-30, 9)
    ]  # fmt: skip
    opened.take("purchases", lines, PURCHASES)
    launch(opened, "autumn", name=f"Autumn {HOSTILE}")
    launch(opened, "idle", seed=5)
    launch(opened, "broken", contacted={member: member > "m005" for member in MEMBERS})
    opened.desk.deliver(now=lambda: NOW, tell=lambda _: None)
    for campaign in ("autumn", "idle", "broken"):
        opened.desk.close(campaign, now=END)
    yield opened
    opened.points.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Shop]:
    opened = a_shop(tmp_path)
    opened.take("purchases", [line("m1", "o1", NOW, 5)], PURCHASES)
    yield opened
    opened.points.close()


def test_a_page_fetches_nothing_and_says_the_same_in_both_languages(shop: Shop) -> None:
    outlines = []
    for language in ("en", "zh"):
        text = page(shop, "autumn", language)
        assert len(text.encode()) < 1_000_000
        assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", text)
        assert f'<html lang="{language}">' in text
        assert text.count("<polygon") == 1
        outlines.append(outline(text))
    assert [one.fetched for one in outlines] == [[], []]
    assert outlines[0].headings == outlines[1].headings >= 10
    assert re.search(r"[\u4e00-\u9fff]", text)


def test_sample_ratio_profit_at_any_look_and_return_stand_on_one_line(shop: Shop) -> None:
    kept = campaigns.get(shop.database, "autumn").readout
    assert kept is not None
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', page(shop, "autumn"))

    assert f"p = {kept['ratio_p_value']:.3f}" in lead
    for amount in (kept["profit"]["difference"], *kept["profit"]["always"]):
        assert money(amount, "EUR") in lead
    assert f"{kept['back']['ratio']:+.2f}" in lead


def test_gates_power_prices_and_who_was_left_alone_are_said_in_words(shop: Shop) -> None:
    text = page(shop, "autumn")

    assert 'she gave no consent to this channel</td><td class="n">11' in text
    assert "a true effect of EUR 7.00 of margin" in text
    assert "One more message by this channel (text message) would bring EUR 0.31." in text
    assert "One more EUR of budget would bring EUR 0.25." in text
    assert "More of it would bring nothing" in text
    assert "7 members. Of them, 2 members because every offer is expected to harm" in text
    assert "whether or not a message reached her" in text
    assert "also by members who would have bought anyway" in text


def test_before_anything_was_measured_a_price_is_not_known(shop: Shop) -> None:
    facts = {**FACTS, "offers": [{**FACTS["offers"][0], "learned": False}]}
    catalogue = made.catalogue(shop.programme)
    asked = made.asked("first", 'name = "First"\n')
    campaigns.propose(
        shop.database, shop.settings.home, asked,
        campaigns.catalogue_of(shop.database, shop.programme), log(arms(MEMBERS), "first"), facts,
        as_of=AS_OF, now=NOW,
    )  # fmt: skip

    text = page(shop, "first")

    assert catalogue.version == "1"
    assert text.count("no offer has been measured yet") == 3
    assert "It was not launched: nobody was contacted" in text
    assert "<polygon" not in text


def test_closed_campaigns_are_judged_together(shop: Shop) -> None:
    kept = [campaigns.get(shop.database, one).readout for one in ("autumn", "idle")]
    plain = [one["profit"]["p_value"] for one in kept if one]
    text = page(shop, "idle")

    for name, p_value, judged in zip(
        ("autumn", "idle"), plain, adjusted_p_values(plain), strict=True
    ):
        row = next(row for row in re.findall(r"<tr>(.*?)</tr>", text) if f"<td>{name}</td>" in row)
        assert f'<td class="n">{p_value:.3f}</td><td class="n">{judged:.3f}</td>' in row
    assert "<td>broken</td><td>stopped</td>" in text


def test_a_read_out_that_was_stopped_shows_no_effect(shop: Shop) -> None:
    for language, said in (("en", "STOPPED"), ("zh", "已停止")):
        text = page(shop, "broken", language)
        assert said in text
        assert '<p class="lead">' not in text
        assert "<polygon" not in text


def test_outside_text_is_quoted(shop: Shop) -> None:
    for language in ("en", "zh"):
        text = page(shop, "autumn", language)
        assert HOSTILE not in text
        assert "&lt;script&gt;" in text
        assert outline(text).scripts == 0
    drawn = charts.band([1], [0.0], [-1.0], [1.0], title='"><script>', said=lambda _: "<b>")
    assert "<script>" not in drawn
    assert "<b>" not in drawn


def test_what_is_simulated_says_so_at_every_figure(shop: Shop, empty: Shop) -> None:
    assert "SIMULATED" not in page(shop, "autumn")
    path = empty.settings.home / "made-up.parquet"
    pd.DataFrame([line("m1", "o2", NOW, 5.0)]).to_parquet(path, index=False)
    mapping = Mapping.model_validate(
        {"source": SIMULATOR, "programme": SHOP, "purchases": PURCHASES}
    )
    ingest(Export([path], mapping), empty.settings, NOW + timedelta(hours=1))
    launch(empty, "made-up")
    empty.desk.close("made-up", now=END)

    assert page(empty, "made-up").count("SIMULATED RESPONSES") == 3
    assert page(empty, "made-up", "zh").count("模拟响应") == 3
    assert "<td>simulated</td>" in page(empty, "made-up")


def test_a_running_campaign_says_that_its_horizon_has_not_passed(empty: Shop) -> None:
    launch(empty, "running")

    assert "The horizon has not passed" in page(empty, None, now=NOW + timedelta(days=9))


def test_what_there_is_no_page_of_is_refused_by_name(empty: Shop) -> None:
    with pytest.raises(NotReady, match="No campaign was launched in this home"):
        page(empty, None)
    with pytest.raises(InputRefused, match="There is no campaign 'spring'"):
        page(empty, "spring")
    with pytest.raises(InputRefused):
        campaign_page.write(empty.settings, "spring", "en", empty.settings.home, now=END)
    launch(empty, "early")
    with pytest.raises(InputRefused, match="Wait a day"):
        page(empty, "early", now=NOW)


def test_without_a_path_a_page_lands_in_the_home(shop: Shop) -> None:
    made_page = campaign_page.write(shop.settings, "autumn", "zh", None, now=END)

    assert made_page == shop.settings.home / "reports" / "campaign-autumn-zh.html"


def test_a_band_holds_its_line_whatever_its_sign() -> None:
    drawn = charts.band(
        [1, 2, 3], [-5.0, 0.0, 5.0], [-9.0, -4.0, 1.0], [-1.0, 4.0, 9.0], title="x", said=str
    )

    (line_,), (edge,) = (
        re.findall(f'<{tag} points="(.*?)"', drawn) for tag in ("polyline", "polygon")
    )
    heights = [float(point.split(",")[1]) for point in line_.split()]
    edges = [float(point.split(",")[1]) for point in edge.split()]
    high, low = edges[:3], edges[:2:-1]
    assert all(a < b < c for a, b, c in zip(high, heights, low, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser: apt-get install chromium")
def test_a_browser_shows_the_page_and_its_curve(shop: Shop, tmp_path: Path) -> None:
    path = campaign_page.write(shop.settings, "autumn", "zh", tmp_path / "page.html", now=END)
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]

    shown = subprocess.run(
        [*browser, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert "</polygon>" in shown.stdout
    assert "CONSOLE" not in shown.stderr
    assert outline(shown.stdout).scripts == 0
