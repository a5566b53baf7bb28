"""Compact rollups of purchase lines, made once at ingest and read by every feature.

Both are additive: a late line, a correction or a product's new category is one more row, visible
from its `known_on`. A snapshot's `as_of` is a midnight, so a day is fine enough for knowing.

order_days         one row per basket, day and day of knowing
category_days      one row per member, category, day and day of knowing
"""

import duckdb

from features import engine
from features.clock import Clock, clock_of
from features.lake import Lake, Manifest

ORDER_DAYS = "order_days"
CATEGORY_DAYS = "category_days"
RETURNED = "(coalesce(quantity, 0) < 0 or net_cents < 0)"
SHAPES = {
    ORDER_DAYS: "source varchar, source_key varchar, order_key ubigint, occurred_on date, "
    "hour tinyint, store_id varchar, channel varchar, known_on date, lines integer, "
    "return_lines integer, net_cents bigint, returned_cents bigint, discount_cents bigint, "
    "coupon_cents bigint",
    CATEGORY_DAYS: "source varchar, source_key varchar, category varchar, occurred_on date, "
    "known_on date, lines integer, net_cents bigint",
}


def local_sql(instant: str, timezone: str) -> str:
    """Return SQL for the programme-local wall clock of a stored UTC instant, whenever it is."""
    return f"timezone({engine.text(timezone)}, timezone('UTC', {instant}))"


def order_days_sql(lines: str, local: Clock) -> str:
    """Roll signed purchase lines up to baskets.

    Parameters
    ----------
    lines : a SELECT of stored purchases
    local : the programme's wall clock; decides the day

    Returns
    -------
    SQL with the columns of `order_days`. A return line has negative quantity or amount; a basket
    of return lines only has lines = 0 and is no purchase, though its money counts.
    """
    # Instants and names first meet the few rows of baskets, not the many of lines.
    return f"""
        with baskets as (
            select source, source_key, order_id, occurred_at, known_at, store_id, channel,
                   sum(case when {RETURNED} then 0 else sign end) as lines,
                   sum(case when {RETURNED} then sign else 0 end) as return_lines,
                   sum(sign * net_cents) as net_cents,
                   sum(case when {RETURNED} then -sign * net_cents else 0 end) as returned_cents,
                   sum(sign * coalesce(discount_cents, 0)) as discount_cents,
                   sum(sign * coalesce(coupon_cents, 0)) as coupon_cents
            from ({lines})
            where source_key is not null
            group by all
        )
        select source, source_key,
               md5_number_lower(concat_ws(chr(31), source, order_id)) as order_key,
               cast({local("occurred_at")} as date) as occurred_on,
               cast(hour({local("occurred_at")}) as tinyint) as hour,
               store_id, channel, cast({local("known_at")} as date) as known_on,
               cast(sum(lines) as integer) as lines,
               cast(sum(return_lines) as integer) as return_lines,
               cast(sum(net_cents) as bigint) as net_cents,
               cast(sum(returned_cents) as bigint) as returned_cents,
               cast(sum(discount_cents) as bigint) as discount_cents,
               cast(sum(coupon_cents) as bigint) as coupon_cents
        from baskets group by all"""


def category_days_sql(
    lines: str, products: str, local: Clock, product_day: Clock, *, categories_move: bool
) -> str:
    """Roll signed purchase lines up to member, category and day, as categories became known.

    Parameters
    ----------
    lines : a SELECT of stored purchases
    products : a SELECT of stored products, every version
    local, product_day : the programme's wall clock for lines and for products
    categories_move : whether some product has a second version, so that lines change category

    Returns
    -------
    SQL with the columns of `category_days`. A product is in no category until its row is known;
    when its category changes, its lines move on the day that was known.
    """
    placed = f"""
        select d.source, d.source_key, s.category, d.occurred_on,
               greatest(d.known_on, s.from_on) as known_on, s.until_on, d.lines, d.net_cents
        from (
            select source, source_key, product_id,
                   cast({local("occurred_at")} as date) as occurred_on,
                   cast({local("known_at")} as date) as known_on,
                   case when {RETURNED} then 0 else sign end as lines,
                   sign * net_cents as net_cents
            from ({lines}) where source_key is not null and product_id is not null
        ) d join spans s on s.product_id = d.product_id
        where s.category is not null and (s.until_on is null or s.until_on > d.known_on)"""
    moves = f"select * exclude (until_on) from ({placed})"
    if categories_move:
        moves += f"""
        union all
        select source, source_key, category, occurred_on, until_on, -lines, -net_cents
        from ({placed}) where until_on is not null"""
    return f"""
        with versions as (
            select product_id, category, cast({product_day("known_at")} as date) as from_on
            from ({products}) where sign > 0
            qualify row_number() over (partition by product_id, from_on order by known_at desc) = 1
        ), spans as (
            select product_id, category, from_on,
                   lead(from_on) over (partition by product_id order by from_on) as until_on
            from versions
        )
        select source, source_key, category, occurred_on, known_on,
               cast(sum(lines) as integer) as lines, cast(sum(net_cents) as bigint) as net_cents
        from ({moves}) group by all
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
    earlier_products = lake.rows_sql("products", manifest)
    products, parts = earlier_products, []
    if own_products.exists():
        new = f"select * from read_parquet({engine.text(own_products)})"
        products = f"{earlier_products} union all by name {new}"
        if lake.paths("purchases", manifest):
            # Lines of earlier batches whose product is described, or described anew, only now.
            touched = f"""select l.* from ({lake.rows_sql("purchases", manifest)}) l
                semi join ({new}) p on p.product_id = l.product_id"""
            before = _category_days(connection, touched, earlier_products, timezone)
            after = _category_days(connection, touched, products, timezone)
            parts += [
                f"select * replace (-lines as lines, -net_cents as net_cents) from ({before})"
            ]
            parts += [after]
    if own_lines.exists():
        lines = f"select * from read_parquet({engine.text(own_lines)})"
        made = from_lines(connection, lines, products, timezone)
        path = lake.path_of(ORDER_DAYS, batch_no)
        written[ORDER_DAYS] = engine.copy_to_parquet(connection, made[ORDER_DAYS], path)
        parts.append(made[CATEGORY_DAYS])
    if parts:
        path = lake.path_of(CATEGORY_DAYS, batch_no)
        sql = parts[0] if len(parts) == 1 else _summed(parts)
        written[CATEGORY_DAYS] = engine.copy_to_parquet(connection, sql, path)
    return written


def from_lines(
    connection: duckdb.DuckDBPyConnection, lines: str, products: str, timezone: str
) -> dict[str, str]:
    """Return the SELECT of each rollup over some purchase lines and all products known."""
    clock = clock_of(connection, timezone, lines)
    return {
        ORDER_DAYS: order_days_sql(lines, clock),
        CATEGORY_DAYS: _category_days(connection, lines, products, timezone),
    }


def _category_days(
    connection: duckdb.DuckDBPyConnection, lines: str, products: str, timezone: str
) -> str:
    """Return `category_days_sql` for the instants and versions these rows really have."""
    dated = f"select known_at as occurred_at, known_at from ({products})"
    moving = connection.execute(
        f"""select exists (select 1 from ({products}) where sign > 0
            group by product_id having count(*) > 1)"""
    ).fetchall()[0][0]
    return category_days_sql(
        lines,
        products,
        clock_of(connection, timezone, lines),
        clock_of(connection, timezone, dated),
        categories_move=bool(moving),
    )


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
    return f"""select source, source_key, category, occurred_on, known_on,
        cast(sum(lines) as integer) as lines, cast(sum(net_cents) as bigint) as net_cents
        from ({together}) group by all having sum(lines) <> 0 or sum(net_cents) <> 0"""
