"""A small campaign made by hand: who gets what is written down, so tests know what must happen."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from actions import brief, campaigns, launching, offers
from actions.brief import Asked
from actions.campaigns import Campaign
from actions.decisions import ArmName, Decision, Scored
from actions.offers import Catalogue
from programme.database import Database
from programme.settings import Programme, Settings

NOW = datetime(2026, 11, 2, 11, 0, tzinfo=UTC)
AS_OF = date(2026, 11, 2)
CATALOGUE = """
version = "1"
[guards]
without_consent = "allow"
global_control = 0.0
[[offer]]
id = "voucher"
kind = "win_back"
name = { en = "Five off", zh = "减五元" }
says = { en = "Five euros off", zh = "减五元" }
channel = "sms"
contact_cost = 0.04
redeem_cost = 5
[[offer]]
id = "letter"
kind = "win_back"
name = { en = "A letter", zh = "信" }
says = { en = "=We miss you", zh = "想你" }
channel = "email"
contact_cost = 0.01
last_day = 2026-11-30
[[offer]]
id = "gift"
kind = "care"
name = { en = "Points", zh = "积分" }
says = { en = "Two hundred points", zh = "两百积分" }
channel = "points"
points = 200
"""
BRIEF = 'campaign = "autumn"\noffers = ["voucher", "letter", "gift"]\ncontrol_share = 0.2\n'


def catalogue(programme: Programme) -> Catalogue:
    return offers.read(CATALOGUE, programme)


def asked(campaign: str = "autumn", more: str = "") -> Asked:
    return brief.read(BRIEF.replace("autumn", campaign) + more)


def decision(campaign: str, member: str, offer: str | None, arm: ArmName = "treated") -> Decision:
    considered = (Scored("voucher", 120.5, 30.25, 0.7), Scored("letter", refused="capped"))
    return Decision(campaign, member, arm, offer, offer, 0.7, considered)


def decided(campaign: str = "autumn") -> list[Decision]:
    """Return decisions for six members: three contacted, each another way."""
    return [
        decision(campaign, "m1", "voucher"),
        decision(campaign, "m2", "letter", "explored"),
        decision(campaign, "m3", "gift"),
        decision(campaign, "m4", "voucher", "control"),
        decision(campaign, "m5", None, "left_alone"),
        decision(campaign, "m6", None, "refused"),
    ]


def propose(
    database: Database,
    settings: Settings,
    programme: Programme,
    campaign: str = "autumn",
    *,
    of: Sequence[Decision] | None = None,
    more: str = "",
    now: datetime = NOW,
) -> Campaign:
    campaigns.adopt(database, catalogue(programme), now=NOW)
    return campaigns.propose(
        database, settings.home, asked(campaign, more), catalogue(programme),
        decided(campaign) if of is None else of, {"refusals": {"capped": 3}}, as_of=AS_OF, now=now,
    )  # fmt: skip


def launch(
    database: Database,
    settings: Settings,
    programme: Programme,
    campaign: str = "autumn",
    *,
    of: Sequence[Decision] | None = None,
) -> Campaign:
    propose(database, settings, programme, campaign, of=of)
    campaigns.approve(database, campaign, by="Ada", now=NOW)
    return launching.launch(database, programme, settings.home, campaign, now=NOW)
