"""A member's history as sequences: weeks for the recurrent model, products for recommendation."""

import hashlib
from datetime import date

import duckdb
import numpy as np
import numpy.typing as npt

from features import identities, rollups, table
from features.clock import Clock
from features.lake import Lake, Manifest

# Lines of known members and products that are no returns, and were known in time.
_BOUGHT = f"""known_at < {{midnight}} and occurred_at < {{midnight}}
    and source_key is not null and product_id is not null and not {rollups.RETURNED}"""
_PRODUCTS = """
    select member_id, product_id, cast(count(*) as integer) as purchase_days,
           cast(min(days_ago) as integer) as last_days,
           cast(max(days_ago) as integer) as first_days,
           cast(count(*) filter (where days_ago <= 28) as integer) as purchase_days_28d,
           cast(count(*) filter (where days_ago <= 84) as integer) as purchase_days_84d,
           cast(count(*) filter (where days_ago <= 182) as integer) as purchase_days_182d
    from (
        select member_id, product_id, date_diff('day', bought_on, {day}) as days_ago
        from ({bought})
        group by member_id, product_id, days_ago having sum(sign) > 0
    )
    group by member_id, product_id order by member_id, product_id"""
WEEKLY_CHANNELS = ("orders", "net_cents", "discount_cents", "returned_cents")


def weekly(
    connection: duckdb.DuckDBPyConnection, member_ids: list[str], n_weeks: int
) -> npt.NDArray[np.float32]:
    """Return the last weeks of each member, from the prepared `member_days`.

    Week k back holds the days `[as_of - 7(k + 1), as_of - 7k)`; it is row `n_weeks - 1 - k`.

    Returns
    -------
    array of shape (n_members, n_weeks, 4), oldest week first, channels as `WEEKLY_CHANNELS`
    """
    rows = connection.execute(weekly_sql(n_weeks)).df()
    place = {member: i for i, member in enumerate(member_ids)}
    tensor = np.zeros((len(member_ids), n_weeks, len(WEEKLY_CHANNELS)), dtype=np.float32)
    index = rows["member_id"].map(place)
    known = index.notna().to_numpy()
    who = index[known].to_numpy(dtype=np.int64)
    week = n_weeks - 1 - rows["weeks_back"].to_numpy(dtype=np.int64)[known]
    tensor[who, week] = rows.loc[known, list(WEEKLY_CHANNELS)].to_numpy(dtype=np.float32)
    return tensor


def weekly_sql(n_weeks: int) -> str:
    """Return a SELECT of the weeks in which something happened, from `member_days`."""
    sums = ", ".join(f"cast(sum({channel}) as double) as {channel}" for channel in WEEKLY_CHANNELS)
    return f"""select member_id, (days_ago - 1) // 7 as weeks_back, {sums}
        from member_days where days_ago <= {7 * n_weeks} group by member_id, weeks_back"""


def feature_set(columns: tuple[str, ...], *, n_weeks: int = 0, products: bool = False) -> str:
    """Return the hash of everything a model reads: columns, weeks, products bought.

    Parameters
    ----------
    columns : of `features.table`
    n_weeks : weeks of history it reads; 0 for none
    products : whether it reads the products members bought

    Raises
    ------
    KeyError : if there is no such column
    """
    parts = [table.feature_set(columns)]
    if n_weeks:
        parts.append(weekly_sql(n_weeks))
    if products:
        parts.append(_PRODUCTS + _BOUGHT)
    if len(parts) == 1:
        return parts[0]
    return hashlib.sha256(" ".join(" ".join(parts).split()).encode()).hexdigest()[:16]


def products_sql(
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
    local: Clock,
    kinds: str | None = None,
) -> str:
    """Return a SELECT of what each member bought before `as_of`, one row per product.

    Reads the lines themselves: a rollup by member and product would be as long as they are.
    Returned lines do not count. `known_identities` must be prepared.

    Parameters
    ----------
    local : the programme's wall clock for these lines
    kinds : a SELECT of product_id and what it is counted as, such as its category; others are
        left out. None counts products as themselves.
    """
    in_time = _BOUGHT.format(midnight=identities.midnight_sql(as_of, timezone))
    rows, item = lake.rows_sql("purchases", manifest), "product_id"
    if kinds is not None:
        rows = f"select * from ({rows}) join ({kinds}) using (product_id)"
        item = "kind as product_id"
    bought = f"""
        select source, source_key, {item}, sign,
               cast({local("occurred_at")} as date) as bought_on
        from ({rows}) where {in_time}"""
    return _PRODUCTS.format(bought=identities.with_member(bought), day=f"date '{as_of}'")
