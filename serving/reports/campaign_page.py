"""One campaign on one page: what was asked, who was refused, what it changed. No network."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from actions import campaigns, looks
from actions.campaigns import Campaign
from actions.offers import Catalogue
from actions.outcomes import is_simulated
from actions.readout import ReadOut
from features import exports
from programme import words
from programme.errors import InputRefused, NotReady
from programme.files import write_durably
from programme.settings import Settings
from serving.action_desk import ActionDesk
from serving.points import PointsDesk
from serving.reports import campaign_sections as sections
from serving.reports.campaign_sections import Teller

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Facts:
    """Everything the page is made of.

    Attributes
    ----------
    found : what it changed; None: it was not launched
    every : all campaigns of the home, of which the closed ones are judged together
    """

    campaign: Campaign
    catalogue: Catalogue
    found: ReadOut | None
    looks: tuple[looks.Look, ...]
    every: tuple[Campaign, ...]
    programme: str
    currency: str
    simulated: bool


def write(
    settings: Settings,
    campaign_id: str | None,
    language: str,
    path: Path | None,
    *,
    now: datetime,
    tell: Progress = lambda _: None,
) -> Path:
    """Write the page of a campaign.

    Parameters
    ----------
    campaign_id : None takes the campaign that was launched last
    path : of the HTML file; None: in the home's `reports/`, named after campaign and language
    now : the moment a campaign that runs is read at; a closed one is shown as it was closed

    Raises
    ------
    InputRefused : if there is no such campaign, or the path is a folder
    NotReady : if no campaign was launched, and none is named
    """
    if path is not None:
        exports.check(path, (".html", ".htm"))
    points = PointsDesk(settings)
    try:
        facts = gather(ActionDesk(settings, points), campaign_id, now=now, tell=tell)
    finally:
        points.close()
    name = facts.campaign.campaign_id
    there = path or settings.home / "reports" / f"campaign-{name}-{language}.html"
    there.parent.mkdir(parents=True, exist_ok=True)
    write_durably(there, page(facts, language).encode())
    return there


def gather(
    desk: ActionDesk, campaign_id: str | None, *, now: datetime, tell: Progress = lambda _: None
) -> Facts:
    """Gather what the page of a campaign says."""
    database, programme = desk.points.database, desk.points.programme
    every = tuple(campaigns.every(database))
    campaign = campaigns.get(database, campaign_id) if campaign_id else _last_launched(every)
    catalogue = campaigns.catalogue_of(database, programme, campaign.catalogue)
    found, daily = None, tuple[looks.Look, ...]()
    if campaign.launched_at is not None:
        if now <= campaign.launched_at:
            raise InputRefused(
                f"Campaign {campaign.campaign_id} was launched at {campaign.launched_at}, and it "
                f"is {now}. Nothing was written. Wait a day."
            )
        tell("reading out")
        found = (
            desk.read_out(campaign.campaign_id, now=now)
            if campaign.readout is None
            else ReadOut.from_json(campaign.readout)
        )
        tell("reading out day by day")
        daily = looks.looks(desk.settings, programme, database, campaign, catalogue, now=found.at)
    return Facts(
        campaign, catalogue, found, daily, every, programme.name, programme.currency,
        is_simulated(desk.settings),
    )  # fmt: skip


def page(facts: Facts, language: str) -> str:
    """Return the page as HTML."""
    currency = facts.currency

    def say(code: str, **told: Any) -> str:
        return words.label(f"campaign.{code}", language, currency=currency, **told)

    teller = Teller(say, language, currency, facts.catalogue)
    campaign, found = facts.campaign, facts.found
    return _TEMPLATES.get_template("campaign.html").render(
        say=say,
        language=language,
        programme=facts.programme,
        campaign=campaign,
        simulated=facts.simulated,
        asked=teller.asked(campaign, found),
        offers=teller.offers(campaign),
        gates=teller.gates(campaign),
        arms=teller.arms(campaign),
        left_alone=teller.left_alone(campaign),
        power=teller.power(campaign),
        scarce=teller.scarce(campaign),
        stopped=None if found is None else teller.stopped(found),
        changed=None if found is None else teller.changed(found),
        chart=teller.chart(facts.looks),
        looks=teller.looks(facts.looks),
        measured=teller.measured(),
        together=sections.together(facts.every, teller),
    )


def _last_launched(every: tuple[Campaign, ...]) -> Campaign:
    launched = [one for one in every if one.launched_at is not None]
    if not launched:
        raise NotReady(
            "No campaign was launched in this home. Nothing was written. Propose, approve and "
            "launch one (perennial act --help), or name one that was proposed with --campaign."
        )
    return max(launched, key=lambda one: (one.launched_at, one.campaign_id))


_TEMPLATES = Environment(
    loader=PackageLoader("serving"), autoescape=select_autoescape(), trim_blocks=True
)
