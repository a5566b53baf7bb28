"""What the shop keeps of a member's spend: her own margin share, where margins are known."""

from datetime import timedelta

import pandas as pd

from features import engine, identities
from features.lake import Lake
from features.snapshot import Between, Snapshot

# A year of baskets: older ones may hold another mix, a single quarter another season.
WINDOW_DAYS = 364


def margin_shares(snapshot: Snapshot, between: Between | None = None) -> "pd.Series[float]":
    """Return margin over spend of what each member bought lately, net of returns.

    Lines of goods without a known margin rate are left out of both; rates are the newest that
    were known at `as_of`. Expected spend times this share is her expected margin, as far as she
    keeps buying the kinds of goods she bought.

    Parameters
    ----------
    snapshot : names the day, the rows that were known and who the members are
    between : first and last member_id; None: everybody

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
    with engine.connect(snapshot.settings) as connection:
        rates = rates_sql(lake.rows_sql("products", manifest), midnight)
        connection.execute(f"create temp table rates as {rates}")
        known = connection.execute("select count(*) from rates").fetchall()[0][0]
        if not known:  # most shops: nothing is read
            return pd.Series(dtype="float64", name="margin_share")
        identities.resolve(connection, lake, manifest, snapshot.as_of, zone)
        bought = bought_sql(lake.rows_sql("purchases", manifest), midnight, begins)
        within = ""
        if between is not None:
            first, last = map(engine.text, between)
            within = f"where member_id between {first} and {last}"
        found = connection.execute(shares_sql(bought, within)).df()
    shares: pd.Series[float] = found.set_index("member_id")["margin_share"].astype("float64")
    return shares


def rates_sql(products: str, midnight: str) -> str:
    """Return a SELECT of the newest margin rate of each product that has one."""
    return f"""select product_id, margin_rate from (
        select * from ({products}) where sign > 0 and known_at < {midnight}
        qualify row_number() over (partition by product_id order by known_at desc) = 1
        ) where margin_rate is not null"""


def bought_sql(lines: str, midnight: str, begins: str) -> str:
    """Return a SELECT of what was paid between two instants for goods in the table `rates`."""
    return f"""
        select source, source_key, sign * net_cents as cents, margin_rate
        from ({lines}) join rates using (product_id)
        where known_at < {midnight} and occurred_at < {midnight}
            and occurred_at >= {begins} and source_key is not null"""


def shares_sql(bought: str, within: str = "") -> str:
    """Return a SELECT of each member's margin share; `known_identities` must be prepared.

    Parameters
    ----------
    bought : see `bought_sql`
    within : which members, as a WHERE
    """
    return f"""select member_id, cast(sum(cents * margin_rate) as double) / sum(cents)
            as margin_share
        from (select * from ({identities.with_member(bought)}) {within})
        group by member_id having sum(cents) > 0 order by member_id"""
