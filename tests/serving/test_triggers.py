"""Triggers over a real little home: each kind fires with real rows, once, and rests."""

import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from actions import campaigns, decisions, offers, triggers
from actions.tables import FIRINGS, MESSAGES
from actions.triggers import Trigger
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from loyalty import points
from loyalty.lasting import Lasting
from loyalty.postings import Request
from loyalty.terms import Terms
from programme.errors import InputRefused
from programme.settings import Settings
from serving import trigger_run
from serving.action_desk import ActionDesk
from serving.points import PointsDesk
from tests.little_programme import AS_OF, LittleProgramme
from tests.serving.test_action_desk import CATALOGUE, NOW

DAY = timedelta(days=1)
VISIT = 'id = "a"\non = "event"\nevent = "visit"\n'
EVENTS = {
    "source": "till",
    "programme": {"name": "little", "timezone": "Europe/Berlin", "currency": "EUR"},
    "events": {"event": "id", "member": "member", "occurred_at": "at", "kind": "kind"},
}


@pytest.fixture(scope="module")
def home(trained: LittleProgramme, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the trained home: triggers write into it."""
    copy = tmp_path_factory.mktemp("triggers") / "home"
    shutil.copytree(trained.settings.home, copy)
    return copy


@pytest.fixture
def desk(home: Path) -> Iterator[ActionDesk]:
    for left in home.glob("programme.db*"):
        left.unlink()
    settings = Settings(home=home, threads=1)
    ledger = PointsDesk(settings)
    desk = ActionDesk(settings, ledger)
    free = CATALOGUE.replace("global_control = 0.05", "global_control = 0.0")
    desk.adopt(offers.read(free, ledger.programme), now=NOW)
    yield desk
    ledger.close()


def declare(desk: ActionDesk, text: str) -> None:
    (desk.settings.home / triggers.TRIGGERS_FILE).write_text(f"[[trigger]]\n{text}", "utf-8")


def run(desk: ActionDesk, now: datetime = NOW) -> trigger_run.Fired:
    (done,) = trigger_run.run(desk, as_of=AS_OF, now=now, tell=lambda _: None)
    return done


def complain(desk: ActionDesk, members: list[str], at: datetime) -> None:
    path = desk.settings.home / "events.csv"
    pd.DataFrame(
        [{"id": f"{one}-{at}", "member": one, "at": at.isoformat(), "kind": "survey"}
         for one in members]
    ).to_csv(path, index=False)  # fmt: skip
    ingest(Export([path], Mapping.model_validate(EVENTS)), desk.settings, at + DAY / 24)


@given(st.integers(1, 60), st.lists(st.integers(0, 90), max_size=5, unique=True))
def test_who_was_reached_within_the_days_rests(days: int, ago: list[int]) -> None:
    trigger = Trigger(id="t", on="event", event="visit", offers=("x",), debounce_days=days)
    rests = not triggers.debounced(_database(ago), trigger, ["ann"], AS_OF)
    assert rests == any(one < days for one in ago)


def _database(ago: list[int]) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    class Memory:
        engine = create_engine("sqlite://", poolclass=StaticPool)

        def read(self) -> Any:
            return self.engine.connect()

    memory = Memory()
    FIRINGS.create(memory.engine)
    with memory.engine.begin() as connection:
        for one in ago:
            connection.execute(
                insert(FIRINGS).values(trigger_id="t", member_id="ann", fired_on=AS_OF - one * DAY)
            )
    return memory


def test_an_event_fires_once_a_day_and_rests_afterwards(desk: ActionDesk) -> None:
    declare(desk, 'id = "asked"\non = "event"\nevent = "survey"\noffers = ["letter"]\n')
    complain(desk, ["m001", "m002", "m004"], NOW - DAY / 6)

    done, again = run(desk), run(desk)

    assert done.fired == 3 == done.contacted + done.control + done.refused
    assert again.again
    log = decisions.of_campaign(desk.points.database, f"trigger-asked-{NOW.date()}")
    assert [one.member_id for one in log] == ["m001", "m002", "m004"]
    with desk.points.database.read() as connection:
        sent = connection.execute(select(MESSAGES.c.member_id)).scalars().all()
        noted = connection.execute(select(FIRINGS.c.member_id)).scalars().all()
    assert len(sent) == done.contacted
    assert sorted(noted) == ["m001", "m002", "m004"]
    # What was looked at is not looked at again; a new event of hers is, but she rests.
    assert run(desk, NOW + DAY).fired == 0
    complain(desk, ["m001"], NOW + DAY)
    assert run(desk, NOW + 2 * DAY).fired == 0
    (told, *_) = decisions.of_member(desk.points.database, "m001")
    assert told.decision.campaign_id == done.campaign_id


def test_points_that_expire_are_told_to_everybody_and_nobody_is_held_back(
    desk: ActionDesk,
) -> None:
    declare(
        desk,
        'id = "expiring"\non = "points_expiring"\nwithin_days = 10\nleast = 50\n'
        'offers = ["birthday"]\nmost_a_day = 2\n',
    )
    terms = Terms("Europe/Berlin", lasting=Lasting("days", 5))
    for member, amount in (("m001", 60), ("m002", 50), ("m003", 90), ("m004", 49)):
        request = Request("EARN", f"p-{member}", member, amount)
        points.post(desk.points.database, terms, request, now=NOW)

    done = run(desk, NOW + DAY / 24)

    assert (done.fired, done.over, done.contacted, done.control) == (3, 1, 2, 0)
    assert desk.deliver(now=lambda: NOW + DAY / 12, tell=lambda _: None).sent == 2
    found = campaigns.get(desk.points.database, str(done.campaign_id))
    assert (found.state, found.approved_by) == ("launched", "triggers.toml")
    assert desk.read_out(found.campaign_id, now=NOW + DAY).stopped == "no_control"
    # Whose turn did not come yesterday gets it today, and the others rest.
    assert run(desk, NOW + DAY + DAY / 24).contacted == 1


def test_a_stage_fires_for_whom_the_segments_say_and_not_again(desk: ActionDesk) -> None:
    declare(desk, 'id = "back"\non = "stage"\nto = ["dormant", "declining"]\noffers = ["letter"]\n')
    described = desk.describe(AS_OF, lambda _: None)
    told = pd.read_parquet(described.files.segments.parent / "transitions.parquet")
    expected = sorted(told[told["to_stage"].isin(["dormant", "declining"])]["member_id"])

    trigger = triggers.read(desk.settings.home)[0]
    path = described.files.segments.parent / "transitions.parquet"
    assert triggers.by_stage(trigger, path) == expected
    assert run(desk).fired == len(expected)
    assert run(desk, NOW + 60 * DAY).fired == 0  # no new day was described


def test_a_score_fires_for_whom_it_crossed_the_threshold(desk: ActionDesk) -> None:
    described = desk.describe(AS_OF, lambda _: None)
    scores = pd.read_parquet(described.files.scores)
    at = float(scores["churn_probability"].median())
    risky = scores["churn_probability"] >= at
    members = scores.loc[risky, "member_id"].tolist()
    earlier = scores.assign(churn_probability=scores["churn_probability"].mask(risky, at / 2))
    # One was above it before, and of one no score is known.
    earlier.loc[earlier["member_id"] == members[0], "churn_probability"] = at
    earlier.loc[earlier["member_id"] == members[1], "churn_probability"] = None
    before = desk.settings.home / "scores" / f"{AS_OF - 7 * DAY}_before.parquet"
    earlier.to_parquet(before)
    try:
        declare(
            desk,
            f'id = "risky"\non = "score"\nscore = "churn_probability"\nabove = {at!r}\n'
            'offers = ["letter"]\n',
        )
        done = run(desk)
    finally:
        before.unlink()

    assert done.fired == len(members) - 2
    log = decisions.of_campaign(desk.points.database, str(done.campaign_id))
    assert [one.member_id for one in log] == sorted(members[2:])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('id = "a"\non = "moon"\noffers = ["letter"]', "trigger.0.on"),
        ('id = "A b"\non = "event"\nevent = "visit"\noffers = ["letter"]', "trigger.0.id"),
        ('id = "a"\non = "event"\nevent = "yawn"\noffers = ["letter"]', "trigger.0.event"),
        ('id = "a"\non = "event"\noffers = ["letter"]', "on event says event"),
        (VISIT + 'offers = []', "trigger.0.offers"),
        (VISIT + 'offers = ["nil"]', "no offer 'nil'"),
        (VISIT + 'to = ["lost"]\noffers = ["letter"]', "has no to"),
        ('id = "a"\non = "stage"\nto = ["gold"]\noffers = ["letter"]', "trigger.0.to"),
        ('id = "a"\non = "score"\nscore = "tier"\nabove = 1\noffers = ["letter"]', "score"),
        ('id = "a"\non = "score"\nscore = "value_cents"\noffers = ["letter"]', "above or below"),
        ('id = "a"\non = "points_expiring"\noffers = ["letter"]', "says within_days"),
        ('id = "a"\non = "points_expiring"\nwithin_days = 0\noffers = ["letter"]', "within_days"),
        (VISIT + 'offers = ["letter"]\nmost_a_day = 0', "most_a_day"),
        (VISIT + 'offers = ["letter"]\ncolour = 1', "colour"),
        ("id = ", "is not TOML"),
    ],
)  # fmt: skip
def test_a_faulty_trigger_is_refused_by_name(desk: ActionDesk, text: str, said: str) -> None:
    declare(desk, text)
    with pytest.raises(InputRefused) as refused:
        run(desk)
    assert said in str(refused.value)
    assert not campaigns.every(desk.points.database)


def test_two_triggers_of_one_name_and_no_file_are_refused(desk: ActionDesk) -> None:
    one = VISIT + 'offers = ["letter"]\n'
    declare(desk, f"{one}[[trigger]]\n{one}")
    with pytest.raises(InputRefused, match="two triggers are called a"):
        triggers.read(desk.settings.home)
    (desk.settings.home / triggers.TRIGGERS_FILE).unlink()
    with pytest.raises(InputRefused, match="cannot be read"):
        triggers.read(desk.settings.home)


def test_the_longest_id_still_makes_a_campaign() -> None:
    trigger = Trigger(id="x" * 21, on="event", event="visit", offers=("letter",))
    assert len(trigger.campaign_id(date(2026, 12, 31))) == 40
