"""What the shop keeps of a member's spend: her own margin share, where margins are known."""

from datetime import timedelta

import pandas as pd

from features import engine, identities
from features.lake import Lake
from features.snapshot import Snapshot

# A year of baskets: older ones may hold another mix, a single quarter another season.
WINDOW_DAYS = 364


def margin_shares(snapshot: Snapshot) -> "pd.Series[float]":
    """Return margin over spend of what each member bought lately, net of returns.

    Lines of goods without a known margin rate are left out of both; rates are the newest that
    were known at `as_of`. Expected spend times this share is her expected margin, as far as she
    keeps buying the kinds of goods she bought.

    Parameters
    ----------
    snapshot : names the day, the rows that were known and who the members are

    Returns
    -------
    Series indexed by member_id, named margin_share; below 0 where goods are sold at a loss
        Without a member of whom nothing is known, or whose returns leave no spend; empty where no
        product has a margin rate.
    """
    lake = Lake(snapshot.settings)
    manifest = lake.manifest().up_to(snapshot.lake_version)
    zone = snapshot.programme.timezone
    midnight = identities.midnight_sql(snapshot.as_of, zone)
    begins = identities.midnight_sql(snapshot.as_of - timedelta(days=WINDOW_DAYS), zone)
    rates = f"""select product_id, margin_rate from (
        select * from ({lake.rows_sql("products", manifest)})
        where sign > 0 and known_at < {midnight}
        qualify row_number() over (partition by product_id order by known_at desc) = 1
        ) where margin_rate is not null"""
    with engine.connect(snapshot.settings) as connection:
        connection.execute(f"create temp table rates as {rates}")
        known = connection.execute("select count(*) from rates").fetchall()[0][0]
        if not known:  # most shops: nothing is read
            return pd.Series(dtype="float64", name="margin_share")
        identities.resolve(connection, lake, manifest, snapshot.as_of, zone)
        bought = f"""
            select source, source_key, sign * net_cents as cents, margin_rate
            from ({lake.rows_sql("purchases", manifest)}) join rates using (product_id)
            where known_at < {midnight} and occurred_at < {midnight}
                and occurred_at >= {begins} and source_key is not null"""
        found = connection.execute(
            f"""select member_id, cast(sum(cents * margin_rate) as double) / sum(cents)
                as margin_share
            from ({identities.with_member(bought)})
            group by member_id having sum(cents) > 0 order by member_id"""
        ).df()
    shares: pd.Series[float] = found.set_index("member_id")["margin_share"].astype("float64")
    return shares
