"""What a campaign changed: everybody as she was assigned, against those who were held back.

Outcomes are what each member spent from the launch on, whether or not a message reached her. The
costs are those of every message and of every redemption, also by members who would have bought
anyway. Where the arms are not those that were drawn, nothing is read out.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import pandas as pd

from actions import decisions
from actions.campaigns import Campaign
from actions.effects import (
    RATIO_ALARM,
    Effect,
    Return,
    cuped,
    effect,
    return_on_cost,
    sample_ratio,
)
from actions.errors import NotLaunched
from actions.offers import Catalogue
from actions.outcomes import assigned, is_simulated, measured
from features import engine
from programme.database import Database
from programme.settings import Programme, Settings

# In a smaller arm the mean of spend is too far from normal for an interval to mean what it says.
OFFER_LEAST = 30
# sample_ratio: the arms are not those that were drawn; no_control: its offers are rights, nobody
# was held back; too_few: an arm has fewer than two members.
Stop = Literal["sample_ratio", "no_control", "too_few"]


@dataclass(frozen=True)
class ArmRead:
    """One arm: how many, what they spent each, and how many bought at all."""

    members: int
    spend_cents: float
    margin_cents: float
    active: float


@dataclass(frozen=True)
class OfferRead:
    """One offer against the members who would have got it and were held back.

    Attributes
    ----------
    profit : None where an arm has fewer than `OFFER_LEAST` members
    """

    offer: str
    treated: int
    controls: int
    profit: Effect | None


@dataclass(frozen=True)
class ReadOut:
    """What a campaign changed, in minor units of currency for one member assigned to contact.

    Attributes
    ----------
    complete : whether the horizon has passed; before that only the always-valid intervals hold
    ratio_p_value : how likely arms of these sizes are, if members were assigned as declared
    stopped : why nothing is read out; None: it is
    profit : margin less contacts and redemptions
    margin : before those costs
    active : whether she bought at all
    variance_cut : share of the noise that spend before the launch took away
    cost_cents, redemptions : of everybody assigned to contact
    simulated : whether the home holds responses that were made up
    """

    campaign_id: str
    at: datetime
    launched_at: datetime
    until: datetime
    complete: bool
    treated: ArmRead
    control: ArmRead
    ratio_p_value: float
    stopped: Stop | None
    profit: Effect | None
    margin: Effect | None
    active: Effect | None
    back: Return | None
    variance_cut: float
    sent: int
    redemptions: int
    cost_cents: float
    offers: tuple[OfferRead, ...]
    left_alone: int
    refused: int
    simulated: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        found = asdict(self)
        for name in ("at", "launched_at", "until"):
            found[name] = found[name].isoformat()
        return found

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """Return what `as_json` wrote."""
        found = dict(kept)
        for name in ("at", "launched_at", "until"):
            found[name] = datetime.fromisoformat(found[name])
        for name in ("treated", "control"):
            found[name] = ArmRead(**found[name])
        for name in ("profit", "margin", "active"):
            found[name] = _effect_of(found[name])
        if found["back"] is not None:
            found["back"] = Return(
                **{**found["back"], "interval": tuple(found["back"]["interval"])}
            )
        found["offers"] = tuple(
            OfferRead(**{**one, "profit": _effect_of(one["profit"])}) for one in found["offers"]
        )
        return cls(**found)


def _effect_of(kept: dict[str, Any] | None) -> Effect | None:
    if kept is None:
        return None
    pairs = {name: tuple(kept[name]) for name in ("interval", "always")}
    return Effect(**{**kept, **pairs})


def read_out(
    settings: Settings,
    programme: Programme,
    database: Database,
    campaign: Campaign,
    catalogue: Catalogue,
    *,
    now: datetime,
) -> ReadOut:
    """Read out a launched campaign, at its end or before it.

    Raises
    ------
    InputRefused : if it was not launched, or an arm has fewer than two members.
    """
    if campaign.launched_at is None:
        raise NotLaunched(
            f"Campaign {campaign.campaign_id} is {campaign.state}: nobody was contacted, and "
            "there is nothing to read out. Launch it first."
        )
    end = campaign.launched_at + timedelta(days=campaign.brief.horizon_days)
    log = decisions.of_campaign(database, campaign.campaign_id)
    with engine.connect(settings) as connection:
        rows = measured(
            connection, settings, programme, database, campaign, catalogue, assigned(log),
            until=min(now, end), now=now,
        )  # fmt: skip
    return compared(
        campaign, catalogue, rows, until=min(now, end), at=now, complete=now >= end,
        counts={arm: sum(one.arm == arm for one in log) for arm in ("left_alone", "refused")},
        simulated=is_simulated(settings),
    )  # fmt: skip


def compared(
    campaign: Campaign,
    catalogue: Catalogue,
    rows: pd.DataFrame,
    *,
    until: datetime,
    at: datetime,
    complete: bool,
    counts: dict[str, int],
    simulated: bool,
) -> ReadOut:
    """Compare the arms of `measured` rows."""
    assert campaign.launched_at is not None
    treated = rows["treated"].to_numpy(bool)
    share = campaign.brief.control_share
    sizes = [int(treated.sum()), int((~treated).sum())]
    p_value = sample_ratio(sizes, [1 - share, share])
    stopped = _stop(campaign, catalogue, sizes, p_value)
    margin = rows["margin"].to_numpy(float)
    profit = margin - rows["cost"].to_numpy(float)
    before = rows["before"].to_numpy(float)
    adjusted = cuped(margin, before)
    cut = 1 - float(adjusted.var() / margin.var()) if margin.var() else 0.0
    # What was to be expected from before is taken from what was earned; the costs stay whole.
    net = adjusted - (margin - profit)

    def between(outcomes: Any) -> Effect | None:
        return None if stopped else effect(outcomes[treated], outcomes[~treated])

    cost = rows["cost"].to_numpy(float)
    back = None
    if not stopped and cost[treated].mean() > 0:
        back = return_on_cost(adjusted[treated], cost[treated], adjusted[~treated])
    return ReadOut(
        campaign.campaign_id, at, campaign.launched_at, until, complete,
        _arm(rows[treated]), _arm(rows[~treated]), p_value, stopped,
        between(net), between(adjusted), between((rows["orders"].to_numpy() > 0).astype(float)),
        back, cut, int(rows["sent"].sum()), int(rows.loc[treated, "redemptions"].sum()),
        float(cost.sum()), () if stopped else _by_offer(rows, net), counts["left_alone"],
        counts["refused"], simulated,
    )  # fmt: skip


def _stop(
    campaign: Campaign, catalogue: Catalogue, sizes: list[int], p_value: float
) -> Stop | None:
    if all(offer.entitlement for offer in campaign.brief.chosen(catalogue)):
        return "no_control"
    if p_value < RATIO_ALARM:
        return "sample_ratio"
    return "too_few" if min(sizes) < 2 else None


def _by_offer(rows: pd.DataFrame, net: Any) -> tuple[OfferRead, ...]:
    found = []
    for offer in sorted(rows["offer"].dropna().unique()):
        its = (rows["offer"] == offer).to_numpy()
        treated = rows["treated"].to_numpy(bool)
        sizes = int((its & treated).sum()), int((its & ~treated).sum())
        enough = min(sizes) >= OFFER_LEAST
        told = effect(net[its & treated], net[its & ~treated]) if enough else None
        found.append(OfferRead(str(offer), *sizes, told))
    return tuple(found)


def _arm(rows: pd.DataFrame) -> ArmRead:
    if not len(rows):
        return ArmRead(0, 0.0, 0.0, 0.0)
    return ArmRead(
        len(rows), float(rows["spend"].mean()), float(rows["margin"].mean()),
        float((rows["orders"] > 0).mean()),
    )  # fmt: skip
