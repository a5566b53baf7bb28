"""A campaign's life: in order, once, and nothing without somebody's yes to exactly that."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from actions import campaigns, decisions, launching, offers, proposals
from actions.tables import DECISIONS, MESSAGES
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.settings import Programme, Settings
from tests.actions import campaign as made
from tests.actions.campaign import NOW


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database.open(settings)
    yield opened
    opened.close()


def count(database: Database, table: object) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_a_campaign_goes_from_proposal_to_close(
    database: Database, settings: Settings, shop: Programme
) -> None:
    proposed = made.propose(database, settings, shop)
    assert (proposed.state, count(database, MESSAGES), count(database, DECISIONS)) == (
        "proposed", 0, 0
    )  # fmt: skip
    path = proposals.path_of(settings.home, "autumn", proposed.proposal)
    assert list(proposals.read(path, "autumn")) == made.decided()

    approved = campaigns.approve(database, "autumn", by="Ada", now=NOW)
    assert (approved.state, approved.approved_by) == ("approved", "Ada")

    launched = launching.launch(database, shop, settings.home, "autumn", now=NOW)
    assert (launched.state, launched.launched_at) == ("launched", NOW)
    assert decisions.of_campaign(database, "autumn") == made.decided()
    assert count(database, MESSAGES) == 3

    closed = campaigns.close(database, "autumn", {"profit": 1}, now=NOW + timedelta(days=28))
    assert (closed.state, closed.readout) == ("closed", {"profit": 1})
    with database.read() as connection:
        states = set(connection.execute(select(MESSAGES.c.state, MESSAGES.c.why)))
    assert states == {("refused", "closed")}


def test_launching_twice_launches_once(
    database: Database, settings: Settings, shop: Programme
) -> None:
    made.propose(database, settings, shop)
    campaigns.approve(database, "autumn", by="Ada", now=NOW)

    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda _: launching.launch(database, shop, settings.home, "autumn", now=NOW),
                range(8),
            )
        )
    assert {one.state for one in found} == {"launched"}
    assert (count(database, MESSAGES), count(database, DECISIONS)) == (3, 6)


def test_steps_out_of_order_are_refused(
    database: Database, settings: Settings, shop: Programme
) -> None:
    with pytest.raises(InputRefused, match="There is no campaign 'autumn'"):
        campaigns.approve(database, "autumn", by="Ada", now=NOW)
    made.propose(database, settings, shop)
    with pytest.raises(InputRefused, match="autumn is proposed: it cannot be launched"):
        launching.launch(database, shop, settings.home, "autumn", now=NOW)
    with pytest.raises(InputRefused, match="it cannot be closed"):
        campaigns.close(database, "autumn", None, now=NOW)
    campaigns.approve(database, "autumn", by="Ada", now=NOW)
    with pytest.raises(InputRefused, match="autumn is approved: it cannot be proposed again"):
        made.propose(database, settings, shop)
    with pytest.raises(InputRefused, match="Who approves is named"):
        campaigns.approve(database, "autumn", by=" ", now=NOW)


def test_what_was_approved_is_what_is_launched(
    database: Database, settings: Settings, shop: Programme
) -> None:
    proposed = made.propose(database, settings, shop)
    campaigns.approve(database, "autumn", by="Ada", now=NOW)
    path = proposals.path_of(settings.home, "autumn", proposed.proposal)
    path.write_bytes(path.read_bytes() + b"x")

    with pytest.raises(InputRefused, match="is not the file that was approved"):
        launching.launch(database, shop, settings.home, "autumn", now=NOW)
    assert count(database, MESSAGES) == 0


def test_a_campaign_that_reaches_nobody_is_not_proposed(
    database: Database, settings: Settings, shop: Programme
) -> None:
    nobody = [made.decision("autumn", "m6", None, "refused")]
    with pytest.raises(InputRefused, match="would contact nobody: of members and offers, 3 capped"):
        made.propose(database, settings, shop, of=nobody)
    assert campaigns.every(database) == []


def test_an_offer_that_has_ended_is_not_launched(
    database: Database, settings: Settings, shop: Programme
) -> None:
    made.propose(database, settings, shop)
    campaigns.approve(database, "autumn", by="Ada", now=NOW)

    with pytest.raises(InputRefused, match="Offer letter holds from the beginning to 2026-11-30"):
        launching.launch(database, shop, settings.home, "autumn", now=NOW + timedelta(days=40))


def test_exclusive_campaigns_do_not_meet(
    database: Database, settings: Settings, shop: Programme
) -> None:
    def space(first: int, end: int) -> str:
        return f'[namespace]\nname = "win-back"\nfirst = {first}\nend = {end}\n'

    made.propose(database, settings, shop, "one", more=space(0, 5_000))
    campaigns.approve(database, "one", by="Ada", now=NOW)
    launching.launch(database, shop, settings.home, "one", now=NOW)
    later = NOW + timedelta(hours=1)
    for name, first in (("two", 4_999), ("three", 5_000)):
        made.propose(database, settings, shop, name, more=space(first, 10_000), now=later)
        campaigns.approve(database, name, by="Ada", now=later)

    with pytest.raises(InputRefused, match="Campaign one holds buckets 0 to 5000"):
        launching.launch(database, shop, settings.home, "two", now=later)
    assert launching.launch(database, shop, settings.home, "three", now=later).state == "launched"


def test_a_proposal_that_another_launch_overtook_is_made_anew(
    database: Database, settings: Settings, shop: Programme
) -> None:
    for name in ("one", "two"):
        made.propose(database, settings, shop, name)
        campaigns.approve(database, name, by="Ada", now=NOW)
    launching.launch(database, shop, settings.home, "one", now=NOW + timedelta(seconds=1))

    with pytest.raises(InputRefused, match="one was launched after two was proposed, and 3 memb"):
        launching.launch(database, shop, settings.home, "two", now=NOW + timedelta(seconds=2))


def test_a_launch_that_reached_nobody_else_overtakes_nothing(
    database: Database, settings: Settings, shop: Programme
) -> None:
    made.propose(database, settings, shop, "one", of=[made.decision("one", "m9", "voucher")])
    made.propose(database, settings, shop, "two")
    for name in ("one", "two"):
        campaigns.approve(database, name, by="Ada", now=NOW)
    launching.launch(database, shop, settings.home, "one", now=NOW + timedelta(seconds=1))

    found = launching.launch(database, shop, settings.home, "two", now=NOW + timedelta(seconds=2))
    assert found.state == "launched"


def test_a_catalogue_keeps_its_name_and_its_content(database: Database, shop: Programme) -> None:
    with pytest.raises(NotReady, match="No offers were adopted yet"):
        campaigns.catalogue_of(database, shop)
    first = made.catalogue(shop)
    assert campaigns.adopt(database, first, now=NOW)
    assert not campaigns.adopt(database, first, now=NOW)
    other = offers.read(made.CATALOGUE.replace("redeem_cost = 5", "redeem_cost = 6"), shop)
    with pytest.raises(InputRefused, match="adopted with other content"):
        campaigns.adopt(database, other, now=NOW)
    second = offers.read(made.CATALOGUE.replace('version = "1"', 'version = "0"'), shop)
    assert campaigns.adopt(database, second, now=NOW)
    assert campaigns.catalogue_of(database, shop).version == "0"
    assert campaigns.catalogue_of(database, shop, "1").text == first.text


def test_the_log_answers_why_and_never_changes(
    database: Database, settings: Settings, shop: Programme
) -> None:
    made.launch(database, settings, shop)

    (told,) = decisions.of_member(database, "m1")
    assert told.decision == made.decided()[0]
    assert (told.message, told.decided_at) == ("waiting", NOW)
    with pytest.raises(InputRefused, match="Nothing was ever decided about a member 'nobody'"):
        decisions.of_member(database, "nobody")
    for change in (DECISIONS.update().values(arm="control"), DECISIONS.delete()):
        with (
            pytest.raises(DBAPIError, match="decisions are added, never changed"),
            database.engine.begin() as connection,
        ):
            connection.execute(change)
