"""One whole campaign in one command: real members, made-up responses, and the truth beside it.

It happens in a home of its own, made anew: offers are adopted, members asked, a plan approved, sent
to files, answered by a simulator, and read out every day and at the close. Everything that is shown
of a response says that it was made up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select

from actions import brief, campaigns, decisions, looks, offers
from actions.campaigns import Campaign
from actions.decisions import CONTACTED
from actions.dispatch import Delivered
from actions.looks import Look
from actions.offers import CONSENTED, Catalogue
from actions.outcomes import SIMULATOR
from actions.readout import ReadOut
from actions.tables import MESSAGES
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.calendar import local_midnight
from programme.errors import InputRefused
from programme.settings import Settings
from serving import demo_home, simulator
from serving.action_desk import ActionDesk
from serving.contacts_feed import ContactsFeed
from serving.demo_home import DemoHome
from serving.points import PointsDesk
from serving.simulator import People, Told, World

CATALOGUE = Path(offers.__file__).with_name("catalogues") / "retail.toml"
BRIEF = Path(offers.__file__).with_name("catalogues") / "demo.toml"
LAUNCH_HOUR = 10
# Of members: who says yes to a channel, and who of them takes it back before the message leaves.
SAYS_YES, TAKES_BACK = 0.9, 0.02
WORLD = World()
_DAY = timedelta(days=1)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Demo:
    """What one campaign came to.

    Attributes
    ----------
    looks : profit so far at the end of each day, as it would have been read every day
    true_profit : what the campaign truly changed, for one member assigned to contact, in cents
    come_less, untold : of the members assigned: who is kept away, and what no feature explains
    """

    settings: Settings
    campaign: Campaign
    delivered: Delivered
    looks: tuple[Look, ...]
    read_out: ReadOut
    true_profit: float
    come_less: float
    untold: float

    @property
    def ended(self) -> datetime:
        """Return when its horizon ended."""
        return self.read_out.until

    @property
    def holds(self) -> bool | None:
        """Return whether the interval read at the close holds the truth; None: nothing was read."""
        return None if self.read_out.profit is None else _holds(self.read_out.profit.interval, self)

    @property
    def always_holds(self) -> bool | None:
        """Return whether the always-valid interval of the close holds the truth."""
        return None if self.read_out.profit is None else _holds(self.read_out.profit.always, self)


def run(
    settings: Settings,
    *,
    seed: int,
    show: Callable[[Campaign], None] = lambda _: None,
    tell: Tell = lambda _: None,
) -> Demo:
    """Run one campaign in a home of its own inside a home.

    Parameters
    ----------
    seed : of everything the simulator draws; the same seed gives the same responses
    show : is shown the proposal before it is approved

    Raises
    ------
    NotReady : naming the command that makes what the demo needs.
    InputRefused : if the seed is below nought.
    """
    if seed < 0:
        raise InputRefused(f"A seed is 0 or more, and {seed} is not. Nothing was done.")
    made = demo_home.make(settings)
    points = PointsDesk(made.settings)
    try:
        return _Campaign(made, ActionDesk(made.settings, points), seed, tell).run(show)
    finally:
        points.close()


class _Campaign:
    """The demo's one campaign."""

    def __init__(self, made: DemoHome, desk: ActionDesk, seed: int, tell: Tell) -> None:
        self.made, self.desk, self.tell = made, desk, tell
        self.consenting, self.responding = map(
            np.random.default_rng, np.random.SeedSequence(seed).spawn(2)
        )
        midnight = local_midnight(made.as_of, desk.points.programme.timezone)
        self.launched = midnight + timedelta(hours=LAUNCH_HOUR)

    def run(self, show: Callable[[Campaign], None]) -> Demo:
        """Live through the campaign, from the offers to the close."""
        desk, asked = self.desk, brief.read_file(BRIEF)
        campaign_id, horizon = asked.brief.campaign, asked.brief.horizon_days
        catalogue = offers.read_file(CATALOGUE, desk.points.programme)
        desk.adopt(catalogue, now=self.launched - _DAY)
        described = desk.describe(self.made.as_of, self.tell)
        self.features = pd.read_parquet(described.files.features).set_index("member_id")
        self._consent(catalogue)
        proposed, _ = desk.propose(
            asked, as_of=self.made.as_of, now=self.launched, tell=self.tell, described=described
        )
        show(proposed)
        campaigns.approve(desk.points.database, campaign_id, by="the demo", now=self.launched)
        desk.launch(campaign_id, now=self.launched)
        self._take_back(catalogue)
        delivered = desk.deliver(now=lambda: self.launched + timedelta(hours=1), tell=self.tell)
        who, told, treated = self._respond(campaign_id, catalogue, horizon)
        end = self.launched + timedelta(days=horizon)
        self.tell("reading out every day")
        daily = looks.looks(
            self.made.settings, desk.points.programme, desk.points.database,
            campaigns.get(desk.points.database, campaign_id), catalogue, now=end,
        )  # fmt: skip
        closed, found = desk.close(campaign_id, now=end)
        truth = simulator.true_profit(
            who, told, WORLD, margin_rate=catalogue.file.margin_rate, horizon_days=horizon
        )
        return Demo(
            self.made.settings, closed, delivered, daily, found, float(truth[treated].mean()),
            who.come_less, who.untold,
        )  # fmt: skip

    def _consent(self, catalogue: Catalogue) -> None:
        """Let most members say yes to each channel; the data has no consents of its own."""
        rows = [
            (member, channel, says_yes)
            for channel in _channels(catalogue)
            for member, says_yes in zip(
                self.features.index, self.consenting.random(len(self.features)) < SAYS_YES,
                strict=True,
            )
        ]  # fmt: skip
        self._ingest_consents(rows, self.launched - _DAY)

    def _take_back(self, catalogue: Catalogue) -> None:
        """Let a few say no between the decision and the message."""
        gone = self.features.index[self.consenting.random(len(self.features)) < TAKES_BACK]
        rows = [(member, channel, False) for channel in _channels(catalogue) for member in gone]
        self._ingest_consents(rows, self.launched + timedelta(minutes=30))

    def _ingest_consents(self, rows: Iterable[tuple[str, str, bool]], when: datetime) -> None:
        frame = pd.DataFrame(rows, columns=["member", "channel", "granted"])
        frame["at"] = f"{when:%Y-%m-%dT%H:%M:%SZ}"
        consents = {
            "member": "member", "occurred_at": "at", "channel": "channel", "granted": "granted",
            "always": {"purpose": "marketing"},
        }  # fmt: skip
        self._ingest("consents", frame, consents, when)

    def _respond(
        self, campaign_id: str, catalogue: Catalogue, horizon: int
    ) -> tuple[People, Told, Any]:
        """Draw four weeks of everybody who was assigned, and take them into the lake."""
        self.tell("making up responses")
        rng = self.responding
        log = {
            one.member_id: one
            for one in decisions.of_campaign(self.desk.points.database, campaign_id)
            if one.arm in (*CONTACTED, "control")
        }
        who = simulator.people(self.features.loc[sorted(log)], WORLD, horizon_days=horizon, rng=rng)
        sent = self._sent(campaign_id)
        its = [catalogue.named(str(log[member].offer)) for member in who.member_id]
        treated = np.array([log[member].arm != "control" for member in who.member_id])
        told = Told(
            np.isin(who.member_id, sent),
            np.array([catalogue.minor_units(offer.contact_cost) for offer in its], float),
            np.array([catalogue.minor_units(offer.redeem_cost) for offer in its], float),
            np.array([min(horizon, offer.valid_days) for offer in its], float),
        )
        purchases, redemptions = simulator.respond(who, told, WORLD, horizon_days=horizon, rng=rng)
        end = self.launched + timedelta(days=horizon)
        self._ingest_purchases(purchases, catalogue.cents, end)
        self.tell("ingesting what was sent")
        ingest(
            ContactsFeed(self.desk.points.database, until=end), self.made.settings,
            end + timedelta(minutes=1),
        )  # fmt: skip
        frame = pd.DataFrame({"member": redemptions["member"]})
        frame["at"] = [
            f"{self.launched + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}"
            for day in redemptions["day"]
        ]
        frame["id"] = [log[member].decision_id for member in frame["member"]]
        frame["offer"] = [log[member].offer for member in frame["member"]]
        frame["channel"] = [catalogue.named(offer).channel for offer in frame["offer"]]
        columns = {
            "contact": "id", "decision": "id", "member": "member", "occurred_at": "at",
            "channel": "channel", "offer": "offer",
            "always": {"campaign": campaign_id, "kind": "redeemed"},
        }  # fmt: skip
        self._ingest("contacts", frame, columns, end)
        return who, told, treated

    def _ingest_purchases(self, purchases: pd.DataFrame, digits: int, end: datetime) -> None:
        frame = pd.DataFrame(
            {
                "member": purchases["member"],
                "order": purchases["order"],
                "line": "1",
                "at": [
                    f"{self.launched + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}"
                    for day in purchases["day"]
                ],
                "amount": [
                    f"{cents / 10**digits:.{digits}f}" for cents in purchases["amount_cents"]
                ],
            }
        )
        columns = {
            "member": "member", "occurred_at": "at", "order": "order", "line": "line",
            "amount": "amount",
        }  # fmt: skip
        self._ingest("purchases", frame, columns, end)

    def _sent(self, campaign_id: str) -> list[str]:
        sought = select(MESSAGES.c.member_id).where(
            (MESSAGES.c.campaign_id == campaign_id) & (MESSAGES.c.state == "sent")
        )
        with self.desk.points.database.read() as connection:
            return list(connection.execute(sought).scalars())

    def _ingest(
        self, table: str, frame: pd.DataFrame, columns: dict[str, Any], when: datetime
    ) -> None:
        """Take made-up rows in as anybody's are, under a name that says what they are."""
        self.tell(f"ingesting made-up {table}")
        path = self.made.settings.home / SIMULATOR / f"{table}-{when:%Y%m%dT%H%M}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False)
        mapping = Mapping.model_validate({"source": SIMULATOR, table: columns})
        ingest(Export([path], mapping), self.made.settings, when + timedelta(minutes=1))


def _channels(catalogue: Catalogue) -> list[str]:
    return sorted({offer.channel for offer in catalogue.offers if offer.channel in CONSENTED})


def _holds(interval: tuple[float, float], demo: Demo) -> bool:
    return interval[0] <= demo.true_profit <= interval[1]
