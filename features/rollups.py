"""Compact rollups of purchase lines, made once at ingest and read by every feature.

Both are additive: a late line, a correction or a product's new category is one more row, visible
from its `known_on`. A snapshot's `as_of` is a midnight, so a day is fine enough for knowing.

order_days         one row per basket, day and day of knowing
category_days      one row per member, category, day and day of knowing
"""

import duckdb

from features import engine
from features.lake import Lake, Manifest

ORDER_DAYS = "order_days"
CATEGORY_DAYS = "category_days"
SHAPES = {
    ORDER_DAYS: "source varchar, source_key varchar, order_key ubigint, occurred_on date, "
    "hour tinyint, store_id varchar, channel varchar, known_on date, lines integer, "
    "return_lines integer, net_cents bigint, returned_cents bigint, discount_cents bigint, "
    "coupon_cents bigint",
    CATEGORY_DAYS: "source varchar, source_key varchar, category varchar, occurred_on date, "
    "known_on date, lines integer, net_cents bigint",
}


def local_sql(instant: str, timezone: str) -> str:
    """Return SQL for the programme-local wall clock of a stored UTC instant."""
    return f"timezone({engine.text(timezone)}, timezone('UTC', {instant}))"


def order_days_sql(lines: str, timezone: str) -> str:
    """Roll signed purchase lines up to baskets.

    Parameters
    ----------
    lines : a SELECT of stored purchases
    timezone : of the programme; decides the day

    Returns
    -------
    SQL with the columns of `order_days`. A return line has negative quantity or amount; a basket
    of return lines only has lines = 0 and is no purchase, though its money counts.
    """
    occurred = local_sql("occurred_at", timezone)
    known = local_sql("known_at", timezone)
    return f"""
        select source, source_key,
               md5_number_lower(concat_ws(chr(31), source, order_id)) as order_key,
               cast({occurred} as date) as occurred_on,
               cast(hour({occurred}) as tinyint) as hour,
               store_id, channel, cast({known} as date) as known_on,
               cast(sum(case when returned then 0 else sign end) as integer) as lines,
               cast(sum(case when returned then sign else 0 end) as integer) as return_lines,
               cast(sum(sign * net_cents) as bigint) as net_cents,
               cast(sum(case when returned then -sign * net_cents else 0 end) as bigint)
                   as returned_cents,
               cast(sum(sign * coalesce(discount_cents, 0)) as bigint) as discount_cents,
               cast(sum(sign * coalesce(coupon_cents, 0)) as bigint) as coupon_cents
        from (select *, (coalesce(quantity, 0) < 0 or net_cents < 0) as returned from ({lines}))
        where source_key is not null
        group by all"""


def category_days_sql(lines: str, products: str, timezone: str, sign: int = 1) -> str:
    """Roll signed purchase lines up to member, category and day, as categories became known.

    Parameters
    ----------
    lines : a SELECT of stored purchases
    products : a SELECT of stored products, every version
    timezone : of the programme
    sign : -1 takes the contribution back

    Returns
    -------
    SQL with the columns of `category_days`. A product is in no category until its row is known;
    when its category changes, its lines move on the day that was known.
    """
    occurred = local_sql("occurred_at", timezone)
    known = local_sql("known_at", timezone)
    return f"""
        with versions as (
            select product_id, category, cast({known} as date) as from_on
            from ({products}) where sign > 0
            qualify row_number() over (partition by product_id, from_on order by known_at desc) = 1
        ), spans as (
            select product_id, category, from_on,
                   lead(from_on) over (partition by product_id order by from_on) as until_on
            from versions
            union all
            select product_id, null, date '0001-01-01', min(from_on) from versions
            group by product_id
        ), days as (
            select source, source_key, product_id, cast({occurred} as date) as occurred_on,
                   cast({known} as date) as known_on,
                   sum(case when coalesce(quantity, 0) < 0 or net_cents < 0 then 0
                            else sign end) as lines,
                   sum(sign * net_cents) as net_cents
            from ({lines}) where source_key is not null and product_id is not null
            group by all
        ), placed as (
            select d.*, s.category, greatest(d.known_on, s.from_on) as placed_on, s.until_on
            from days d join spans s
              on s.product_id = d.product_id and (s.until_on is null or s.until_on > d.known_on)
        ), moves as (
            select source, source_key, category, occurred_on, placed_on as known_on,
                   lines, net_cents
            from placed where category is not null
            union all
            select source, source_key, category, occurred_on, until_on, -lines, -net_cents
            from placed where category is not null and until_on is not null
        )
        select source, source_key, category, occurred_on, known_on,
               cast({sign} * sum(lines) as integer) as lines,
               cast({sign} * sum(net_cents) as bigint) as net_cents
        from moves group by all
        having sum(lines) <> 0 or sum(net_cents) <> 0"""


def write(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    batch_no: int,
    timezone: str,
) -> dict[str, int]:
    """Write both rollups of one batch whose tables are on disk but not yet committed.

    Returns
    -------
    rows written per rollup; a rollup with nothing to say has no file
    """
    written: dict[str, int] = {}
    own_lines = lake.path_of("purchases", batch_no)
    own_products = lake.path_of("products", batch_no)
    lines = f"select * from read_parquet({engine.text(own_lines)})"
    earlier_lines = lake.rows_sql("purchases", manifest)
    earlier_products = lake.rows_sql("products", manifest)
    products = earlier_products
    parts = []
    if own_products.exists():
        new = f"select * from read_parquet({engine.text(own_products)})"
        products = f"{earlier_products} union all by name {new}"
        if lake.paths("purchases", manifest):
            touched = f"""select l.* from ({earlier_lines}) l
                semi join ({new}) p on p.product_id = l.product_id"""
            parts.append(category_days_sql(touched, earlier_products, timezone, sign=-1))
            parts.append(category_days_sql(touched, products, timezone))
    if own_lines.exists():
        path = lake.path_of(ORDER_DAYS, batch_no)
        written[ORDER_DAYS] = engine.copy_to_parquet(
            connection, order_days_sql(lines, timezone), path
        )
        parts.append(category_days_sql(lines, products, timezone))
    if parts:
        path = lake.path_of(CATEGORY_DAYS, batch_no)
        sql = parts[0] if len(parts) == 1 else _summed(parts)
        written[CATEGORY_DAYS] = engine.copy_to_parquet(connection, sql, path)
    return written


def rows_sql(lake: Lake, rollup: str, manifest: Manifest) -> str:
    """Return a SELECT of a rollup's rows."""
    return engine.parquet(lake.paths(rollup, manifest), SHAPES[rollup])


def touched_members_sql(lake: Lake, newer: Manifest, as_of: str) -> str:
    """Return a SELECT of the members whose snapshot rows a newer batch changes.

    Parameters
    ----------
    newer : the batches that came after the snapshot
    as_of : SQL date; what is only known from that day on cannot matter
    """
    parts = [
        f"select source, source_key from ({rows_sql(lake, rollup, newer)}) "
        f"where known_on < {as_of} and occurred_on < {as_of}"
        for rollup in (ORDER_DAYS, CATEGORY_DAYS)
    ]
    return " union ".join(parts)


def _summed(parts: list[str]) -> str:
    together = " union all ".join(f"select * from ({part})" for part in parts)
    kept = ", ".join(pair.strip().split(" ")[0] for pair in SHAPES[CATEGORY_DAYS].split(","))
    keys = [column.strip() for column in kept.split(",")][:-2]
    return f"""select {", ".join(keys)}, cast(sum(lines) as integer) as lines,
        cast(sum(net_cents) as bigint) as net_cents
        from ({together}) group by all having sum(lines) <> 0 or sum(net_cents) <> 0"""
