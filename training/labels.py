"""What happened in `[as_of, as_of + horizon)`: by when it occurred, whenever we came to know."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import engine, identities, rollups, snapshot
from features.lake import Lake, Manifest
from programme.calendar import require_whole_weeks
from programme.errors import InputRefused
from programme.settings import Settings, open_programme


@dataclass(frozen=True)
class Outcomes:
    """What the members of one snapshot did next.

    Parameters
    ----------
    churned : array of shape (n_members,), 1.0 where no basket was bought in the window
    value_cents : array of shape (n_members,), spend net of returns in the window
    next_days : array of shape (n_members,), days from `as_of` to the next purchase day, 0 for
        `as_of` itself; the horizon where none came in the window: it is censored there
    """

    churned: npt.NDArray[np.float64]
    value_cents: npt.NDArray[np.float64]
    next_days: npt.NDArray[np.float64]


def outcomes(
    settings: Settings, as_of: date, horizon_days: int, member_ids: list[str], lake_version: int
) -> Outcomes:
    """Return what each member did in the window, in the order of `member_ids`.

    Raises
    ------
    InputRefused : if the window is not whole weeks, or reaches past the last purchase.
    """
    lake, manifest = _checked(settings, as_of, horizon_days, lake_version)
    zone = open_programme(settings).timezone
    with engine.connect(settings) as connection:
        identities.resolve(connection, lake, manifest, as_of, zone)
        baskets = f"""select member_id, order_key, occurred_on, sum(lines) as lines,
                sum(net_cents) as net_cents
            from ({rollups.rows_sql(lake, rollups.ORDER_DAYS, manifest)})
            join known_keys using (key_no)
            where {_inside("occurred_on", as_of, horizon_days)}
            group by member_id, order_key, occurred_on"""
        found = connection.execute(
            f"""select member_id, count(*) filter (where lines > 0) as orders,
                cast(sum(net_cents) as double) as value_cents,
                min(occurred_on) filter (where lines > 0) - date '{as_of}' as next_days
            from ({baskets}) group by member_id"""
        ).df()
    by_member = found.set_index("member_id").reindex(member_ids)
    return Outcomes(
        churned=np.asarray(by_member["orders"].fillna(0) == 0, dtype=np.float64),
        value_cents=by_member["value_cents"].fillna(0).to_numpy(dtype=np.float64),
        next_days=by_member["next_days"].fillna(horizon_days).to_numpy(dtype=np.float64),
    )


def first_order_cents(
    settings: Settings, as_of: date, member_ids: list[str], lake_version: int
) -> npt.NDArray[np.float64]:
    """Return what each member's first basket was worth, as known at `as_of`.

    The rule a marketer has about somebody new. Several baskets of one first day count together.

    Returns
    -------
    array of shape (n_members,), cents before returns, in the order of `member_ids`
    """
    lake = Lake(settings)
    manifest = lake.ready().up_to(lake_version)
    with engine.connect(settings) as connection:
        identities.resolve(connection, lake, manifest, as_of, open_programme(settings).timezone)
        found = connection.execute(
            f"""select member_id, arg_min(cents, occurred_on) as cents from (
                select member_id, occurred_on, cast(sum(net_cents + returned_cents) as double)
                    as cents
                from ({rollups.rows_sql(lake, rollups.ORDER_DAYS, manifest)})
                join known_keys using (key_no)
                where occurred_on < date '{as_of}' and known_on < date '{as_of}'
                group by member_id, occurred_on having sum(lines) > 0)
            group by member_id"""
        ).df()
    by_member = found.set_index("member_id").reindex(member_ids)
    return by_member["cents"].fillna(0).to_numpy(dtype=np.float64)


def bought_products(
    settings: Settings, as_of: date, horizon_days: int, lake_version: int
) -> pd.DataFrame:
    """Return the products each member bought in the window.

    Returns
    -------
    DataFrame with member_id and product_id, one row per pair, ordered by both
    """
    lake, manifest = _checked(settings, as_of, horizon_days, lake_version)
    zone = open_programme(settings).timezone
    occurred = f"cast({rollups.local_sql('occurred_at', zone)} as date)"
    lines = f"""select source, source_key, order_id, product_id, sign
        from ({lake.rows_sql("purchases", manifest)})
        where {_inside(occurred, as_of, horizon_days)}
            and source_key is not null and product_id is not null
            and coalesce(quantity, 0) >= 0 and net_cents >= 0"""
    with engine.connect(settings) as connection:
        identities.resolve(connection, lake, manifest, as_of, zone)
        return connection.execute(
            f"""select distinct member_id, product_id from (
                select member_id, product_id, order_id from ({identities.with_member(lines)})
                group by member_id, product_id, order_id having sum(sign) > 0)
            order by member_id, product_id"""
        ).df()


def first_days(
    settings: Settings, as_of: date, horizon_days: int, lake_version: int
) -> pd.DataFrame:
    """Return when members came back within the window, and what they bought that day.

    Returns
    -------
    DataFrame with member_id, days_after (of the first purchase day, 0 on `as_of`) and categories
    (a list of distinct names, ordered; empty where products are not known), by member_id

    Raises
    ------
    InputRefused : if the window is not whole weeks, or reaches past the last purchase.
    """
    lake, manifest = _checked(settings, as_of, horizon_days, lake_version)
    zone = open_programme(settings).timezone
    inside = _inside("occurred_on", as_of, horizon_days)
    with engine.connect(settings) as connection:
        identities.resolve(connection, lake, manifest, as_of, zone)

        def rows(rollup: str) -> str:
            return rollups.rows_sql(lake, rollup, manifest)

        return connection.execute(
            f"""with baskets as (
                select member_id, order_key, occurred_on
                from ({rows(rollups.ORDER_DAYS)}) join known_keys using (key_no)
                where {inside} group by all having sum(lines) > 0
            ), firsts as (
                select member_id, min(occurred_on) as first_on from baskets group by member_id
            ), bought as (
                select member_id, occurred_on, name
                from ({rows(rollups.CATEGORY_DAYS)}) join known_keys using (key_no)
                    join ({rows(rollups.NAMES)}) on name_no = category_no
                where {inside} group by all having sum(lines) > 0
            )
            select f.member_id, cast(first_on - date '{as_of}' as integer) as days_after,
                coalesce(list(distinct name order by name) filter (where name is not null), [])
                    as categories
            from firsts f left join bought b
                on b.member_id = f.member_id and b.occurred_on = first_on
            group by f.member_id, first_on order by f.member_id"""
        ).df()


def data_ends(settings: Settings) -> date:
    """Return the first day no label window may reach into: the midnight after the last purchase."""
    return snapshot.default_as_of(settings)


def data_begins(settings: Settings) -> date:
    """Return the programme-local day of the first purchase by a member.

    Raises
    ------
    InputRefused : if all purchases are anonymous.
    """
    lake = Lake(settings)
    day = rollups.local_sql("occurred_at", open_programme(settings).timezone)
    with engine.connect(settings) as connection:
        first: date | None = connection.execute(
            f"select cast(min({day}) as date) from ({lake.rows_sql('purchases', lake.ready())}) "
            "where source_key is not null"
        ).fetchall()[0][0]
    if first is None:
        raise InputRefused(
            f"No purchase in {settings.home} carries a member, so there is nobody to learn from. "
            "Nothing was trained. Check the member column of the mapping and ingest again."
        )
    return first


def _inside(day: str, as_of: date, horizon_days: int) -> str:
    end = as_of + timedelta(days=horizon_days)
    return f"{day} >= date '{as_of}' and {day} < date '{end}'"


def _checked(
    settings: Settings, as_of: date, horizon_days: int, lake_version: int
) -> tuple[Lake, Manifest]:
    require_whole_weeks(horizon_days, "The label horizon")
    end, limit = as_of + timedelta(days=horizon_days), data_ends(settings)
    if end > limit:
        raise InputRefused(
            f"The label window [{as_of}, {end}) reaches past the data, which ends before {limit}. "
            f"No labels were made. The latest as_of with a whole window is "
            f"{limit - timedelta(days=horizon_days)}."
        )
    lake = Lake(settings)
    return lake, lake.ready().up_to(lake_version)
