"""What a campaign changed: everybody as she was assigned, against those who were held back.

Outcomes are what each member spent from the launch on, whether or not a message reached her. The
costs are those of every message and of every redemption, also by members who would have bought
anyway. Where the arms are not those that were drawn, nothing is read out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
from sqlalchemy import select

from actions import decisions
from actions.campaigns import Campaign
from actions.decisions import CONTACTED
from actions.effects import (
    RATIO_ALARM,
    Effect,
    Return,
    cuped,
    effect,
    return_on_cost,
    sample_ratio,
)
from actions.offers import Catalogue
from actions.tables import MESSAGES
from features import engine
from features.identities import resolve, with_member
from features.lake import Lake
from programme.calendar import coming_midnight
from programme.database import Database
from programme.errors import InputRefused
from programme.settings import Programme, Settings

# Spend before the launch that explains most of the spend after it (measured: docs/decisions).
BEFORE_DAYS = 91


@dataclass(frozen=True)
class ArmRead:
    """One arm: how many, what they spent each, and how many bought at all."""

    members: int
    spend_cents: float
    margin_cents: float
    active: float


@dataclass(frozen=True)
class OfferRead:
    """One offer against the members who would have got it and were held back."""

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
    cost_cents, redemptions : of everybody contacted
    """

    campaign_id: str
    at: datetime
    launched_at: datetime
    until: datetime
    complete: bool
    treated: ArmRead
    control: ArmRead
    ratio_p_value: float
    stopped: str | None
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

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        found = asdict(self)
        for name in ("at", "launched_at", "until"):
            found[name] = found[name].isoformat()
        return found


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
        raise InputRefused(
            f"Campaign {campaign.campaign_id} is {campaign.state}: nobody was contacted, and "
            "there is nothing to read out. Launch it first."
        )
    log = decisions.of_campaign(database, campaign.campaign_id)
    assigned = [one for one in log if one.arm in (*CONTACTED, "control")]
    rows = pd.DataFrame(
        [(one.member_id, one.arm != "control", one.offer) for one in assigned],
        columns=["member_id", "treated", "offer"],
    )
    end = campaign.launched_at + timedelta(days=campaign.brief.horizon_days)
    until = min(now, end)
    with engine.connect(settings) as connection:
        facts = outcomes(connection, settings, programme, campaign, until, now)
    sent = _sent(database, campaign.campaign_id)
    rows = rows.merge(facts, on="member_id", how="left").fillna(
        {"spend": 0.0, "before": 0.0, "orders": 0, "redemptions": 0}
    )
    rows["cost"] = _costs(rows, catalogue, sent)
    rows["margin"] = rows["spend"] * catalogue.file.margin_rate
    counts = {arm: sum(one.arm == arm for one in log) for arm in ("left_alone", "refused")}
    return _compared(
        campaign, rows, until=until, at=now, complete=now >= end, sent=len(sent), counts=counts
    )


def _compared(
    campaign: Campaign,
    rows: pd.DataFrame,
    *,
    until: datetime,
    at: datetime,
    complete: bool,
    sent: int,
    counts: dict[str, int],
) -> ReadOut:
    assert campaign.launched_at is not None
    treated = rows["treated"].to_numpy(bool)
    share = campaign.brief.control_share
    sizes = [int(treated.sum()), int((~treated).sum())]
    p_value = sample_ratio(sizes, [1 - share, share])
    stopped = None
    if p_value < RATIO_ALARM:
        stopped = "sample_ratio"
    elif min(sizes) < 2:
        stopped = "too_few"
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
        back, cut, sent, int(rows["redemptions"].sum()), float(cost.sum()),
        () if stopped else _by_offer(rows, net), counts["left_alone"], counts["refused"],
    )  # fmt: skip


def _by_offer(rows: pd.DataFrame, net: Any) -> tuple[OfferRead, ...]:
    found = []
    for offer in sorted(rows["offer"].dropna().unique()):
        its = (rows["offer"] == offer).to_numpy()
        treated = rows["treated"].to_numpy(bool)
        sizes = int((its & treated).sum()), int((its & ~treated).sum())
        told = effect(net[its & treated], net[its & ~treated]) if min(sizes) > 1 else None
        found.append(OfferRead(str(offer), *sizes, told))
    return tuple(found)


def _arm(rows: pd.DataFrame) -> ArmRead:
    if not len(rows):
        return ArmRead(0, 0.0, 0.0, 0.0)
    return ArmRead(
        len(rows), float(rows["spend"].mean()), float(rows["margin"].mean()),
        float((rows["orders"] > 0).mean()),
    )  # fmt: skip


def _costs(rows: pd.DataFrame, catalogue: Catalogue, sent: set[str]) -> Sequence[float]:
    """Return what each member cost: her message, if one was sent, and all she redeemed of it."""
    contact = {offer.id: catalogue.minor_units(offer.contact_cost) for offer in catalogue.offers}
    redeemed = {offer.id: catalogue.minor_units(offer.redeem_cost) for offer in catalogue.offers}
    return [
        (contact[offer] if member in sent else 0.0) + redeemed[offer] * times if treated else 0.0
        for member, treated, offer, times in zip(
            rows["member_id"], rows["treated"], rows["offer"], rows["redemptions"], strict=True
        )
    ]


def _sent(database: Database, campaign_id: str) -> set[str]:
    sought = select(MESSAGES.c.member_id).where(
        (MESSAGES.c.campaign_id == campaign_id) & (MESSAGES.c.state == "sent")
    )
    with database.read() as connection:
        return set(connection.execute(sought).scalars())


def outcomes(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    programme: Programme,
    campaign: Campaign,
    until: datetime,
    now: datetime,
) -> pd.DataFrame:
    """Return of members what they spent before and since the launch, and what they redeemed."""
    assert campaign.launched_at is not None
    lake = Lake(settings)
    manifest = lake.ready()
    resolve(connection, lake, manifest, coming_midnight(now, programme.timezone),
            programme.timezone)  # fmt: skip
    known, launched, end, first = (
        f"timestamp {engine.text(moment.replace(tzinfo=None))}"
        for moment in (
            now, campaign.launched_at, until, campaign.launched_at - timedelta(days=BEFORE_DAYS)
        )
    )  # fmt: skip
    lines = with_member(
        f"select * from ({lake.rows_sql('purchases', manifest)}) where known_at <= {known} "
        f"and occurred_at >= {first} and occurred_at < {end} and source_key is not null"
    )
    since = f"occurred_at >= {launched}"
    redeemed = (
        f"select * from ({lake.rows_sql('contacts', manifest)}) where kind = 'redeemed' "
        f"and known_at <= {known} and occurred_at < {end} "
        f"and campaign_id = {engine.text(campaign.campaign_id)}"
    )
    return connection.execute(
        f"""select member_id, spend, before, orders, coalesce(redemptions, 0) as redemptions
        from (
            select member_id,
                   coalesce(sum(sign * net_cents) filter (where {since}), 0) as spend,
                   coalesce(sum(sign * net_cents) filter (where not ({since})), 0) as before,
                   count(distinct (source, order_id)) filter (where {since} and net_cents > 0
                       and sign > 0) as orders
            from ({lines}) group by member_id
        ) full join (
            select member_id, count(*) as redemptions from (
                select member_id, contact_id from ({redeemed})
                group by all having sum(sign) > 0
            ) group by member_id
        ) using (member_id)"""
    ).df()
