"""What was sent comes into the lake once, and what becomes of it comes back by the same id."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import perennial
from actions import campaigns, guardrails, history
from actions.campaigns import Campaign
from features import contracts, engine
from features.ingest import ingest
from features.lake import Lake
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.settings import PROGRAMME_FILE, Settings
from serving.action_desk import ActionDesk
from serving.contacts_feed import ContactsFeed, SentRow, rows
from serving.points import PointsDesk
from tests import little_programme
from tests.actions import campaign as made
from tests.actions.campaign import NOW
from tests.serving.test_action_desk import CONTACTS

HOUR = timedelta(hours=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ActionDesk]:
    """Return a desk over a home whose lake holds a few purchases, and nothing else."""
    settings = Settings(home=tmp_path, threads=1)
    till = tmp_path / "till.csv"
    little_programme.purchases(6, 3).to_csv(till, index=False)
    ingest(Export([till], Mapping.model_validate(little_programme.MAPPING)), settings, NOW)
    points = PointsDesk(settings)
    yield ActionDesk(settings, points)
    points.close()


def launch(desk: ActionDesk, name: str, *, at: datetime) -> Campaign:
    database, programme = desk.points.database, desk.points.programme
    of = [made.decision(name, f"m{number}", "voucher") for number in (1, 2)]
    of.append(made.decision(name, "m3", "voucher", "control"))
    made.propose(database, desk.settings, programme, name, of=of, now=at)
    campaigns.approve(database, name, by="Ada", now=at)
    return desk.launch(name, now=at)


def deliver(desk: ActionDesk, at: datetime) -> Any:
    return desk.deliver(now=lambda: at, tell=lambda _: None)


def told(desk: ActionDesk, kind: str, contact_id: str, member: str, at: datetime) -> None:
    """Bring what a provider tells of a message into the lake, as `perennial ingest` does."""
    path = desk.settings.home / f"{kind}.csv"
    pd.DataFrame(
        [{"contact_id": contact_id, "kind": kind, "at": at.isoformat(), "member": member,
          "campaign_id": contact_id.split("/")[0], "channel": "sms", "offer": "voucher"}]
    ).to_csv(path, index=False)  # fmt: skip
    done = ingest(
        Export([path], Mapping.model_validate(CONTACTS)), desk.settings, at + timedelta(minutes=1)
    )
    assert done.counts[0].stored == 1


def test_a_row_of_the_feed_has_the_columns_of_the_contract() -> None:
    assert {field.name for field in fields(SentRow)} == set(contracts.CONTACTS.column_names)
    assert set(ContactsFeed.columns) == set(contracts.CONTACTS.column_names)


def test_only_what_was_sent_is_stored_whole_and_twice_is_once(desk: ActionDesk) -> None:
    launch(desk, "autumn", at=NOW)
    database = desk.points.database
    assert not list(rows(database))
    assert deliver(desk, NOW + HOUR).sent == 2

    first = ingest(ContactsFeed(database), desk.settings, NOW + 2 * HOUR)
    again = ingest(ContactsFeed(database), desk.settings, NOW + 3 * HOUR)

    (count,) = first.counts
    assert (count.refused, count.stored) == (0, 2)
    assert again.batch_no is None
    lake = Lake(desk.settings)
    with engine.connect(desk.settings) as connection:
        stored = connection.execute(
            f"select contact_id, kind, member_id, decision_id, campaign_id, channel, offer, arm, "
            f"propensity, occurred_at = known_at from ({lake.rows_sql('contacts', lake.ready())}) "
            "order by contact_id"
        ).fetchall()
    assert stored == [
        (f"autumn/m{number}", "sent", f"m{number}", f"autumn/m{number}", "autumn", "sms",
         "voucher", "treated", 0.7, True)
        for number in (1, 2)
    ]  # fmt: skip


@pytest.mark.parametrize("minutes", [0, 59, 60, 61, 240])
def test_a_reader_who_goes_on_misses_nothing(desk: ActionDesk, minutes: int) -> None:
    database = desk.points.database
    for number in range(3):
        at = NOW + number * HOUR
        launch(desk, f"c{number}", at=at)
        deliver(desk, at)
    whole = {row.contact_id for row in rows(database)}
    middle = NOW + timedelta(minutes=minutes)

    before = {row.contact_id for row in rows(database, until=middle)}
    after = {row.contact_id for row in rows(database, since=middle)}

    assert len(whole) == 6
    assert before | after == whole


def test_an_opt_out_that_comes_back_stops_the_next_message(desk: ActionDesk) -> None:
    launch(desk, "autumn", at=NOW)
    deliver(desk, NOW)
    ingest(ContactsFeed(desk.points.database), desk.settings, NOW + HOUR)
    launch(desk, "winter", at=NOW + 2 * HOUR)

    told(desk, "opted_out", "autumn/m1", "m1", NOW + 3 * HOUR)
    done = deliver(desk, NOW + 4 * HOUR)

    assert (done.sent, done.refused) == (1, {"no_consent": 1})


def test_a_redemption_that_comes_back_starts_the_cool_down_and_is_read_out(
    desk: ActionDesk,
) -> None:
    launch(desk, "autumn", at=NOW)
    deliver(desk, NOW)
    ingest(ContactsFeed(desk.points.database), desk.settings, NOW + HOUR)
    before = history.read(
        desk.settings, desk.points.programme, desk.points.database, now=NOW + HOUR
    )
    assert before.redemptions.empty
    assert sorted(before.contacts["member_id"]) == ["m1", "m2"]  # once each: outbox and lake agree

    told(desk, "redeemed", "autumn/m1", "m1", NOW + 3 * HOUR)

    later = NOW + timedelta(days=3)
    after = history.read(desk.settings, desk.points.programme, desk.points.database, now=later)
    assert after.redemptions["member_id"].tolist() == ["m1"]
    gates = _gates(desk, after, later)
    assert gates["m1"] == "cooling_down"
    assert gates["m4"] is None
    assert desk.read_out("autumn", now=later).redemptions == 1


def _gates(desk: ActionDesk, past: Any, at: datetime) -> dict[str, str | None]:
    catalogue = desk.catalogue
    offer = catalogue.named("voucher")
    members = np.array(["m1", "m4"])
    # Without caps and the rest between offers of one kind, the redemption alone must hold her back.
    guards = catalogue.file.guards.model_copy(update={"cool_down_days": 0, "cap": ()})
    codes = guardrails.refusals(
        members, np.ones((2, 1), dtype=bool), [offer], guards, past, at.date()
    )
    return dict(zip(members.tolist(), guardrails.said(codes[:, 0]), strict=True))


def test_the_command_feeds_once(desk: ActionDesk) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    launch(desk, "autumn", at=past.replace(hour=11))
    deliver(desk, past.replace(hour=12))
    runner, home = CliRunner(), str(desk.settings.home)
    version = Lake(desk.settings).manifest().lake_version

    for asked in ([], [], ["--all"]):
        result = runner.invoke(perennial.app, ["--home", home, "act", "feed", *asked])
        assert result.exit_code == 0, result.output

    assert Lake(desk.settings).manifest().lake_version == version + 1
    assert (desk.settings.home / PROGRAMME_FILE).exists()
