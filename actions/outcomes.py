"""What members of a campaign did and cost, each in the arm she was assigned to.

Spend is what the shop received. Where a till takes a coupon off that, its margin is missing from
the spend and all of it stands in the costs: the read-out then errs on the side of caution.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import duckdb
import pandas as pd
from sqlalchemy import select

from actions.campaigns import Campaign
from actions.decisions import CONTACTED, Decision
from actions.offers import Catalogue
from actions.tables import MESSAGES
from features import engine
from features.identities import resolve, with_member, with_successor
from features.lake import Lake
from programme.calendar import coming_midnight
from programme.database import Database
from programme.settings import Programme, Settings

# Spend before the launch that explains most of the spend after it (measured: docs/decisions).
BEFORE_DAYS = 91
# The source whose rows were made up. Where a home holds any, every read-out says so.
SIMULATOR = "simulator"


def is_simulated(settings: Settings) -> bool:
    """Return whether a home holds rows that were made up."""
    return any(batch.source == SIMULATOR for batch in Lake(settings).manifest().batches)


def assigned(log: Sequence[Decision]) -> pd.DataFrame:
    """Return member_id, whether she was to be contacted, and the offer, of both arms."""
    return pd.DataFrame(
        [
            (one.member_id, one.arm != "control", one.offer)
            for one in log if one.arm in (*CONTACTED, "control")
        ],
        columns=["member_id", "treated", "offer"],
    )  # fmt: skip


def measured(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    programme: Programme,
    database: Database,
    campaign: Campaign,
    catalogue: Catalogue,
    rows: pd.DataFrame,
    *,
    until: datetime,
    now: datetime,
    resolved: bool = False,
) -> pd.DataFrame:
    """Return `assigned` rows with what each member did until a moment, and what she cost.

    Of whom nothing is known she spent nothing: she stays in her arm. `resolved` as in `outcomes`.
    """
    facts = outcomes(connection, settings, programme, campaign, until, now, resolved=resolved)
    sent = _sent(database, campaign.campaign_id, until)
    rows = rows.merge(facts, on="member_id", how="left").fillna(
        {"spend": 0.0, "before": 0.0, "orders": 0, "redemptions": 0}
    )
    rows["sent"] = rows["member_id"].isin(sent)
    rows["cost"] = _costs(rows, catalogue)
    rows["margin"] = rows["spend"] * catalogue.file.margin_rate
    return rows


def _costs(rows: pd.DataFrame, catalogue: Catalogue) -> "pd.Series[float]":
    """Return what each member cost: her message, if one was sent, and all she redeemed of it."""
    contact = {offer.id: catalogue.minor_units(offer.contact_cost) for offer in catalogue.offers}
    redeem = {offer.id: catalogue.minor_units(offer.redeem_cost) for offer in catalogue.offers}
    spent = rows["offer"].map(contact) * rows["sent"]
    spent += rows["offer"].map(redeem) * rows["redemptions"]
    return spent.where(rows["treated"], 0.0).astype(float)


def _sent(database: Database, campaign_id: str, until: datetime) -> set[str]:
    sought = select(MESSAGES.c.member_id).where(
        (MESSAGES.c.campaign_id == campaign_id)
        & (MESSAGES.c.state == "sent")
        & (MESSAGES.c.ended_at <= until)
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
    *,
    resolved: bool = False,
) -> pd.DataFrame:
    """Return of members what they spent before and since the launch, and what they redeemed.

    Who was merged into another member since does what the other does, under both names: both were
    assigned.

    Parameters
    ----------
    resolved : whether this connection was asked before, at the same `now`
    """
    assert campaign.launched_at is not None
    lake = Lake(settings)
    manifest = lake.ready()
    if not resolved:
        day = coming_midnight(now, programme.timezone)
        resolve(connection, lake, manifest, day, programme.timezone)
    known, launched, end, first = (
        engine.instant(moment)
        for moment in (
            now, campaign.launched_at, until, campaign.launched_at - timedelta(days=BEFORE_DAYS)
        )
    )  # fmt: skip
    lines = with_member(
        f"select * from ({lake.rows_sql('purchases', manifest)}) where known_at <= {known} "
        f"and occurred_at >= {first} and occurred_at < {end} and source_key is not null"
    )
    redeemed = with_successor(
        f"select * from ({lake.rows_sql('contacts', manifest)}) where kind = 'redeemed' "
        f"and known_at <= {known} and occurred_at < {end} "
        f"and campaign_id = {engine.text(campaign.campaign_id)}"
    )
    return connection.execute(
        f"""with spent as (
            select member_id, occurred_at >= {launched} as since,
                   sum(sign * net_cents) as net_cents
            from ({lines}) group by member_id, source, order_id, since
        ), did as (
            select member_id, coalesce(spend, 0) as spend, coalesce(before, 0) as before,
                   coalesce(orders, 0) as orders, coalesce(redemptions, 0) as redemptions
            from (
                select member_id, sum(net_cents) filter (where since) as spend,
                       sum(net_cents) filter (where not since) as before,
                       count(*) filter (where since and net_cents > 0) as orders
                from spent group by member_id
            ) full join (
                select member_id, count(*) as redemptions from (
                    select member_id, contact_id from ({redeemed})
                    group by all having sum(sign) > 0
                ) group by member_id
            ) using (member_id)
        )
        select * from did
        union all
        select former_id, did.* exclude (member_id) from known_successors join did
            using (member_id)"""
    ).df()
