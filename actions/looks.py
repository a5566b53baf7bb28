"""A campaign day by day: what it had changed by each evening, under an interval for all of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from actions import decisions, outcomes, readout
from actions.campaigns import Campaign
from actions.effects import Effect
from actions.offers import Catalogue
from features import engine
from programme.database import Database
from programme.settings import Programme, Settings

# As many points as a curve needs; four weeks have one a day.
LOOKS_MOST = 28


@dataclass(frozen=True)
class Look:
    """What a campaign had changed some days after its launch, for one member assigned."""

    day: int
    profit: Effect


def looks(
    settings: Settings,
    programme: Programme,
    database: Database,
    campaign: Campaign,
    catalogue: Catalogue,
    *,
    now: datetime,
) -> tuple[Look, ...]:
    """Return a launched campaign's profit so far, at the end of each day until now or its close.

    Each look is at what had happened by then, as it is known now. No look: less than a day has
    passed, or nothing may be read out.
    """
    assert campaign.launched_at is not None
    horizon = campaign.brief.horizon_days
    rows = outcomes.assigned(decisions.of_campaign(database, campaign.campaign_id))
    passed = min(horizon, (now - campaign.launched_at) // timedelta(days=1))
    found: list[Look] = []
    with engine.connect(settings) as connection:
        for day in range(1, passed + 1):
            if day % max(1, horizon // LOOKS_MOST) and day != passed:
                continue
            until = campaign.launched_at + timedelta(days=day)
            told = readout.compared(
                campaign, catalogue,
                outcomes.measured(
                    connection, settings, programme, database, campaign, catalogue, rows,
                    until=until, now=now, resolved=bool(found),
                ),
                until=until, at=now, complete=day == horizon,
                counts={"left_alone": 0, "refused": 0}, simulated=False,
            )  # fmt: skip
            if told.profit is None:
                return ()
            found.append(Look(day, told.profit))
    return tuple(found)
