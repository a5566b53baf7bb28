"""A whole campaign over a real home: from the catalogue to the read-out, by desk and commands."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import perennial
from actions import brief, campaigns, decisions, offers
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.errors import InputRefused, NotReady
from serving.action_desk import ActionDesk
from serving.points import PointsDesk
from tests import little_programme
from tests.little_programme import AS_OF, LittleProgramme

NOW = datetime(AS_OF.year, AS_OF.month, AS_OF.day, 9, tzinfo=UTC)
CATALOGUE = """
version = "1"
margin_rate = 0.3
[guards]
without_consent = "allow"
global_control = 0.05
[[offer]]
id = "letter"
kind = "win_back"
name = { en = "A letter", zh = "一封信" }
says = { en = "Come by", zh = "欢迎光临" }
channel = "email"
redeem_cost = 1
[[offer]]
id = "text"
kind = "win_back"
name = { en = "A text", zh = "短信" }
says = { en = "Come by soon", zh = "欢迎再来" }
channel = "sms"
contact_cost = 0.05
[[offer]]
id = "birthday"
kind = "care"
entitlement = true
name = { en = "Happy birthday", zh = "生日快乐" }
says = { en = "Happy birthday", zh = "生日快乐" }
channel = "coupon_at_till"
redeem_cost = 2
[[offer]]
id = "bonus"
kind = "nurture"
name = { en = "Bonus", zh = "奖励" }
says = { en = "Bonus points", zh = "奖励积分" }
channel = "points"
points = 50
"""
BRIEF = 'campaign = "autumn"\noffers = ["letter", "text"]\n[capacity]\nsms = 40\n'
CONTACTS = {
    "source": "mailer",
    "programme": {"name": "little", "timezone": "Europe/Berlin", "currency": "EUR"},
    "contacts": {
        "contact": "contact_id", "kind": "kind", "occurred_at": "at", "member": "member",
        "campaign": "campaign_id", "channel": "channel", "offer": "offer",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def little(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> LittleProgramme:
    home = tmp_path_factory.mktemp("acting")
    shutil.copy(mlflow_template, home / "mlflow.db")
    made = little_programme.make(home)
    little_programme.train(made)
    return made


@pytest.fixture
def desk(little: LittleProgramme) -> Iterator[ActionDesk]:
    """Return a desk whose database is empty; the lake and the scores are kept."""
    for left in little.settings.home.glob("programme.db*"):
        left.unlink()
    points = PointsDesk(little.settings)
    yield ActionDesk(little.settings, points)
    points.close()


def quiet(step: str) -> None:
    del step


def propose(desk: ActionDesk, text: str = BRIEF) -> Any:
    desk.adopt(offers.read(CATALOGUE, desk.points.programme), now=NOW)
    return desk.propose(brief.read(text), as_of=AS_OF, now=NOW, tell=quiet)


def test_a_campaign_is_worked_out_sent_and_read_out(desk: ActionDesk) -> None:
    campaign, proposal = propose(desk)
    database, home = desk.points.database, desk.settings.home
    facts = campaign.facts
    assert facts["open_to"] == 120 == sum(facts["arms"].values())
    assert facts["used"]["channel sms"] <= 40
    assert {one["why"].split(":")[0] for one in facts["offers"]} == {"not measured yet"}
    assert "global_control" in facts["refusals"]

    campaigns.approve(database, "autumn", by="Ada", now=NOW)
    desk.launch("autumn", now=NOW)
    log = decisions.of_campaign(database, "autumn")
    assert [(one.member_id, one.arm, one.offer, one.propensity, one.detail()) for one in log] == [
        (one.member_id, one.arm, one.offer, one.propensity, one.detail())
        for one in sorted(proposal.decisions(), key=lambda one: one.member_id)
    ]
    done = desk.deliver(now=lambda: NOW, tell=quiet)
    contacted = [one for one in log if one.arm in decisions.CONTACTED]
    assert done.sent == len(contacted) > 20
    handed = pd.concat([pd.read_csv(path) for path in sorted((home / "outbox").glob("*.csv"))])
    assert sorted(handed["message_id"]) == sorted(one.decision_id for one in contacted)

    _answer(desk, log)
    early = desk.read_out("autumn", now=NOW + timedelta(days=10))
    assert not early.complete and early.stopped is None
    _, found = desk.close("autumn", now=NOW + timedelta(days=29))
    assert found.complete and found.margin is not None
    assert found.treated.members == len(contacted)
    assert found.redemptions == len(contacted) // 2
    # Everybody who was contacted bought for 40, and of the others nobody.
    assert (found.treated.spend_cents, found.control.spend_cents) == (4_000.0, 0.0)
    assert found.margin.interval[0] <= 1_200.0 <= found.margin.interval[1]


def _answer(desk: ActionDesk, log: list[decisions.Decision]) -> None:
    """Let everybody who was contacted buy for 40 euros, and every second of them redeem."""
    contacted = [one for one in log if one.arm in decisions.CONTACTED]
    at = NOW + timedelta(days=3)
    home = desk.settings.home
    bought = home / "answers.csv"
    pd.DataFrame(
        [{"member": one.member_id, "day": at.date(), "order": f"answer-{one.member_id}", "line": 1,
          "product": "p01", "category": "c1", "amount": 40.0, "store": "s1"} for one in contacted]
    ).to_csv(bought, index=False)  # fmt: skip
    later = NOW + timedelta(days=5)
    ingest(Export([bought], Mapping.model_validate(little_programme.MAPPING)), desk.settings, later)
    redeemed = home / "redeemed.csv"
    pd.DataFrame(
        [{"contact_id": one.decision_id, "kind": "redeemed", "at": at.date(),
          "member": one.member_id, "campaign_id": "autumn", "channel": "email",
          "offer": one.offer} for one in contacted[: len(contacted) // 2]]
    ).to_csv(redeemed, index=False)  # fmt: skip
    ingest(Export([redeemed], Mapping.model_validate(CONTACTS)), desk.settings, later)


def test_the_same_home_and_brief_make_the_same_proposal(desk: ActionDesk) -> None:
    first, _ = propose(desk)
    second, _ = propose(desk)
    assert first.proposal == second.proposal


def test_an_entitlement_reaches_everybody_it_fits_and_holds_nobody_back(desk: ActionDesk) -> None:
    campaign, proposal = propose(desk, 'campaign = "cake"\noffers = ["birthday"]\n')
    assert campaign.facts["arms"] == {"treated": 120}
    assert {one.propensity for one in proposal.decisions()} == {1.0}
    with pytest.raises(InputRefused, match="mixes offers that members have a right to with letter"):
        propose(desk, 'campaign = "mix"\noffers = ["birthday", "letter"]\n')


def test_what_cannot_be_proposed_is_refused_by_name(desk: ActionDesk) -> None:
    with pytest.raises(NotReady, match="No offers were adopted yet"):
        desk.propose(brief.read(BRIEF), as_of=AS_OF, now=NOW, tell=quiet)
    with pytest.raises(InputRefused, match="has no offer 'nothing'"):
        propose(desk, BRIEF.replace('"text"', '"nothing"'))
    with pytest.raises(NotReady, match="An offer gives points, and no rules of points hold"):
        propose(desk, BRIEF.replace('"text"', '"bonus"'))
    narrow = '[namespace]\nname = "n"\nfirst = 0\nend = 1\n'
    with pytest.raises(InputRefused, match="is open to none of 120 members"):
        propose(desk, BRIEF + narrow)


@pytest.mark.parametrize(
    ("was", "is_now", "said"),
    [
        ('"autumn"', '"Autumn 2026"', "it must match"),
        ("sms = 40", "sms = 0", "it must be greater than 0"),
        ("sms = 40", "pigeon = 40", "capacity.pigeon"),
        ("[capacity]", "budget = 0\n[capacity]", "it must be greater than 0"),
        ("[capacity]", "budget = -5\n[capacity]", "it must be greater than 0"),
        ("[capacity]", "budget = inf\n[capacity]", "finite"),
        ("[capacity]", "control_share = 0\n[capacity]", "it must be at least 0.01"),
        ("[capacity]", "control_share = 0.123456\n[capacity]", "one in ten thousand"),
        ("[capacity]", "explore_share = 0.9\n[capacity]", "it must be at most 0.5"),
        ("[capacity]", "horizon_days = 30\n[capacity]", "it must be a multiple of 7"),
        ("[capacity]", "colour = 1\n[capacity]", "there is no such key"),
        ('["letter", "text"]', '["letter", "letter"]', "offer letter is named twice"),
        ('["letter", "text"]', "[]", "it needs 1 or more"),
        ("[capacity]", '[namespace]\nname = "n"\nfirst = 5\nend = 5\n[capacity]', "end must lie"),
        ("[capacity]", "[capacity", "is not TOML"),
    ],
)  # fmt: skip
def test_a_faulty_brief_is_refused_by_name(was: str, is_now: str, said: str) -> None:
    assert was in BRIEF
    with pytest.raises(InputRefused, match="Nothing was proposed") as refused:
        brief.read(BRIEF.replace(was, is_now, 1))
    assert said in str(refused.value)


def test_the_commands_say_what_happened(desk: ActionDesk) -> None:
    propose(desk)
    home = str(desk.settings.home)
    runner = CliRunner()

    def run(*arguments: str) -> str:
        result = runner.invoke(perennial.app, ["--home", home, *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    preview = json.loads(run("act", "preview", "autumn", "--json"))
    assert preview["members"] == 120
    assert "four campaigns in five find" in " ".join(run("act", "preview", "autumn").split())
    at = NOW.isoformat()
    assert "approved, by Ada" in run("act", "approve", "autumn", "--by", "Ada", "--at", at)
    assert "autumn is launched; messages:" in run("act", "launch", "autumn", "--at", at)
    assert "sent" in run("act", "deliver", "--at", at)
    assert "autumn" in run("act", "list")
    (told,) = json.loads(run("why", "m001", "--json"))
    assert told["campaign_id"] == "autumn"
    assert {one["offer"] for one in told["considered"]} == {"letter", "text"}
    assert "活动" in run("why", "m001", "--language", "zh") or "对照" in run(
        "why", "m001", "--language", "zh"
    )
    assert "left alone until 2027-01-01" in run(
        "act", "suppress", "m001", "--reason", "open complaint", "--until", "2027-01-01"
    )
    assert "may be contacted again" in run("act", "suppress", "m001", "--lift")
    assert json.loads(run("act", "read", "autumn", "--json", "--at", at))["complete"] is False
