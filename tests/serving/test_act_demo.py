"""The demo campaign: it leaves its home as it was, repeats itself, and knows the truth."""

from pathlib import Path

import pytest

from actions import campaigns
from actions.campaigns import Campaign
from features import snapshot
from features.lake import Lake
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from serving import act_demo, demo_home
from serving.act_demo import Demo
from serving.batch import score_all
from serving.reports import campaign_page
from tests import little_programme


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a scored home of four hundred made-up members."""
    little = little_programme.make(tmp_path_factory.mktemp("home"), n_members=400)
    little_programme.train(little)
    score_all(little.settings, None, None, lambda _: None)
    return little.settings


def state(home: Path) -> dict[str, tuple[int, int, int]]:
    """Return every file of a home but the demo's, and when it was last written."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_ino)
        for path in sorted(home.rglob("*"))
        if path.is_file() and demo_home.FOLDER not in path.parts
    }


@pytest.fixture(scope="module")
def ran(home: Settings) -> tuple[Demo, list[Campaign], bool]:
    """Return a demo, the proposals it showed, and whether the home stayed as it was."""
    shown: list[Campaign] = []
    before = state(home.home)
    demo = act_demo.run(home, seed=1, show=shown.append)
    return demo, shown, state(home.home) == before


def test_the_home_it_runs_on_stays_as_it_was(
    home: Settings, ran: tuple[Demo, list[Campaign], bool]
) -> None:
    assert ran[2]
    assert Lake(home).manifest().lake_version == 1
    assert not (home.home / "programme.db").exists()


@pytest.mark.usefixtures("ran")
def test_the_past_is_linked_and_not_copied(home: Settings) -> None:
    linked = home.home / demo_home.FOLDER / "lake" / "purchases" / "000001.parquet"

    assert linked.stat().st_ino == (home.home / "lake/purchases/000001.parquet").stat().st_ino


def test_it_is_one_whole_campaign_read_every_day_and_labelled(
    ran: tuple[Demo, list[Campaign], bool],
) -> None:
    demo, shown, _ = ran

    assert [one.state for one in shown] == ["proposed"]
    assert demo.campaign.state == "closed"
    assert demo.delivered.sent > 0
    assert demo.read_out.complete
    assert demo.read_out.simulated
    assert demo.read_out.sent == demo.delivered.sent
    assert [look.day for look in demo.looks] == list(range(1, 29))
    assert demo.looks[-1].profit == demo.read_out.profit
    assert demo.read_out.redemptions > 0
    assert demo.always_holds


def test_the_page_of_it_says_that_responses_are_simulated(
    ran: tuple[Demo, list[Campaign], bool],
) -> None:
    demo = ran[0]

    page = campaign_page.write(
        demo.settings, demo.campaign.campaign_id, "en", None, now=demo.ended
    ).read_text("utf-8")

    assert page.count("SIMULATED RESPONSES") == 3


@pytest.mark.slow
def test_the_same_seed_gives_the_same_result(
    home: Settings, ran: tuple[Demo, list[Campaign], bool]
) -> None:
    again = act_demo.run(home, seed=1)

    assert again.read_out == ran[0].read_out
    assert again.true_profit == ran[0].true_profit
    database = Database.open(again.settings)
    assert [one.state for one in campaigns.every(database)] == ["closed"]
    database.close()


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NotReady):
        act_demo.run(Settings(home=tmp_path / "none"), seed=1)
    little = little_programme.make(tmp_path / "little", n_members=30)
    with pytest.raises(NotReady, match="perennial score --home"):
        act_demo.run(little.settings, seed=1)
    assert not (little.settings.home / demo_home.FOLDER).exists()
    assert snapshot.latest(little.settings).path.exists()


def test_a_seed_below_nought_is_refused(home: Settings) -> None:
    with pytest.raises(InputRefused, match="-1"):
        act_demo.run(home, seed=-1)
