"""Compact rollups of purchase lines and events, made once at ingest and read by every feature.

All are additive: a late line, a correction or a product's new category is one more row, visible
from its `known_on`. A snapshot's `as_of` is a midnight, so a day is fine enough for knowing.

order_days         one row per basket, day and day of knowing
category_days      one row per member, category, day and day of knowing
brand_days         one row per member, brand, day and day of knowing
event_days         one row per member, kind, channel, day and day of knowing
"""

from dataclasses import dataclass

import duckdb

from features import engine
from features.clock import Clock, clock_of
from features.lake import Lake, Manifest

ORDER_DAYS = "order_days"
CATEGORY_DAYS = "category_days"
BRAND_DAYS = "brand_days"
EVENT_DAYS = "event_days"
RETURNED = "(coalesce(quantity, 0) < 0 or net_cents < 0)"


@dataclass(frozen=True)
class _ByProduct:
    """A rollup of lines by one attribute of their product."""

    attribute: str
    sums: tuple[str, ...]


# What was bought: lines that were no returns. `net_cents` alone holds the returns too.
_BY_PRODUCT = {
    CATEGORY_DAYS: _ByProduct(
        "category",
        (
            "lines", "net_cents", "gross_cents", "discount_cents", "quantity_milli",
            "labelled_lines", "private_lines", "sized_lines", "size_micro",
        ),
    ),
    BRAND_DAYS: _ByProduct("brand", ("lines",)),
}  # fmt: skip
ROLLUPS = (ORDER_DAYS, *_BY_PRODUCT, EVENT_DAYS)


def _shape(by: _ByProduct) -> str:
    sums = ", ".join(f"{name} bigint" for name in by.sums)
    return (
        f"source varchar, source_key varchar, {by.attribute} varchar, occurred_on date, "
        f"known_on date, {sums}"
    )


SHAPES = {
    ORDER_DAYS: "source varchar, source_key varchar, order_key ubigint, occurred_on date, "
    "hour tinyint, store_id varchar, channel varchar, known_on date, lines integer, "
    "return_lines integer, net_cents bigint, returned_cents bigint, discount_cents bigint, "
    "coupon_cents bigint",
    **{rollup: _shape(by) for rollup, by in _BY_PRODUCT.items()},
    EVENT_DAYS: "source varchar, source_key varchar, kind varchar, channel varchar, "
    "occurred_on date, known_on date, events bigint, duration_seconds bigint",
}
# Products whose place in the catalogue a line takes; a change of any of them moves the line.
_ATTRIBUTES = "category, brand, private_label, size"


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


def by_product_sql(
    rollup: str, lines: str, products: str, local: Clock, product_day: Clock, *, products_move: bool
) -> str:
    """Roll signed purchase lines up to member, attribute of the product and day.

    Parameters
    ----------
    rollup : CATEGORY_DAYS or BRAND_DAYS
    lines : a SELECT of stored purchases
    products : a SELECT of stored products, every version
    local, product_day : the programme's wall clock for lines and for products
    products_move : whether some product has a second version, so that lines change their place

    Returns
    -------
    SQL with the columns of the rollup. A product has no category until its row is known; when
    its category, brand, label or size changes, its lines move on the day that was known. A line
    without a quantity is one unit. `size_micro` sums a millionth of the log of the size.
    """
    by = _BY_PRODUCT[rollup]
    bought = f"case when {RETURNED} then 0 else sign end"
    placed = f"""
        select d.source, d.source_key, s.{by.attribute}, d.occurred_on,
               greatest(d.known_on, s.from_on) as known_on, s.until_on,
               d.lines, d.net_cents, d.gross_cents, d.discount_cents, d.quantity_milli,
               case when s.private_label is not null then d.lines else 0 end as labelled_lines,
               case when s.private_label then d.lines else 0 end as private_lines,
               case when s.ln_size is not null then d.lines else 0 end as sized_lines,
               coalesce(d.lines * s.ln_size, 0) as size_micro
        from (
            select source, source_key, product_id,
                   cast({local("occurred_at")} as date) as occurred_on,
                   cast({local("known_at")} as date) as known_on,
                   {bought} as lines,
                   sign * net_cents as net_cents,
                   {bought} * (net_cents + coalesce(discount_cents, 0)) as gross_cents,
                   {bought} * coalesce(discount_cents, 0) as discount_cents,
                   {bought} * cast(round(1000 * coalesce(quantity, 1)) as bigint) as quantity_milli
            from ({lines}) where source_key is not null and product_id is not null
        ) d join spans s on s.product_id = d.product_id
        where s.{by.attribute} is not null and (s.until_on is null or s.until_on > d.known_on)"""
    sums = ", ".join(by.sums)
    place = f"source, source_key, {by.attribute}, occurred_on"
    moves = f"select {place}, known_on, {sums} from ({placed})"
    if products_move:
        taken_back = ", ".join(f"-{name}" for name in by.sums)
        moves += f"""
        union all select {place}, until_on, {taken_back} from ({placed})
        where until_on is not null"""
    return f"""
        with versions as (
            select product_id, {_ATTRIBUTES}, cast({product_day("known_at")} as date) as from_on
            from ({products}) where sign > 0
            qualify row_number() over (partition by product_id, from_on order by known_at desc) = 1
        ), spans as (
            select product_id, category, brand, private_label,
                   cast(case when size > 0 then round(1e6 * ln(size)) end as bigint) as ln_size,
                   from_on, lead(from_on) over (partition by product_id order by from_on)
                       as until_on
            from versions
        )
        {_summed(by, [moves])}"""


def event_days_sql(events: str, local: Clock) -> str:
    """Roll signed events up to member, kind, channel and day."""
    return f"""
        select source, source_key, kind, channel,
               cast({local("occurred_at")} as date) as occurred_on,
               cast({local("known_at")} as date) as known_on,
               cast(sum(sign) as bigint) as events,
               cast(sum(sign * cast(round(coalesce(duration_seconds, 0)) as bigint)) as bigint)
                   as duration_seconds
        from ({events}) where source_key is not null group by all"""


def write(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    batch_no: int,
    timezone: str,
) -> dict[str, int]:
    """Write the rollups of one batch whose tables are on disk but not yet committed.

    Returns
    -------
    rows written per rollup; a rollup with nothing to say has no file
    """
    made: dict[str, list[str]] = {rollup: [] for rollup in ROLLUPS}
    own_lines = lake.path_of("purchases", batch_no)
    own_products = lake.path_of("products", batch_no)
    own_events = lake.path_of("events", batch_no)
    earlier_products = lake.rows_sql("products", manifest)
    products = earlier_products
    if own_products.exists():
        new = f"select * from read_parquet({engine.text(own_products)})"
        products = f"{earlier_products} union all by name {new}"
        if lake.paths("purchases", manifest):
            # Lines of earlier batches whose product is described, or described anew, only now.
            touched = f"""select l.* from ({lake.rows_sql("purchases", manifest)}) l
                semi join ({new}) p on p.product_id = l.product_id"""
            for rollup, by in _BY_PRODUCT.items():
                before = _by_product(connection, rollup, touched, earlier_products, timezone)
                after = _by_product(connection, rollup, touched, products, timezone)
                taken_back = ", ".join(f"-{name} as {name}" for name in by.sums)
                made[rollup] += [f"select * replace ({taken_back}) from ({before})", after]
    if own_lines.exists():
        lines = f"select * from read_parquet({engine.text(own_lines)})"
        for rollup, sql in from_lines(connection, lines, products, timezone).items():
            made[rollup].append(sql)
    if own_events.exists():
        events = f"select * from read_parquet({engine.text(own_events)})"
        made[EVENT_DAYS] = [event_days_sql(events, clock_of(connection, timezone, events))]
    written: dict[str, int] = {}
    for rollup, parts in made.items():
        if parts:
            sql = parts[0] if len(parts) == 1 else _summed(_BY_PRODUCT[rollup], parts)
            path = lake.path_of(rollup, batch_no)
            written[rollup] = engine.copy_to_parquet(connection, sql, path)
    return written


def from_lines(
    connection: duckdb.DuckDBPyConnection, lines: str, products: str, timezone: str
) -> dict[str, str]:
    """Return the SELECT of each rollup over some purchase lines and all products known."""
    made = {ORDER_DAYS: order_days_sql(lines, clock_of(connection, timezone, lines))}
    for rollup, by in _BY_PRODUCT.items():
        described = connection.execute(
            f"select exists (select 1 from ({products}) where {by.attribute} is not null)"
        ).fetchall()[0][0]
        if described:
            made[rollup] = _by_product(connection, rollup, lines, products, timezone)
    return made


def _by_product(
    connection: duckdb.DuckDBPyConnection, rollup: str, lines: str, products: str, timezone: str
) -> str:
    """Return `by_product_sql` for the instants and versions these rows really have."""
    dated = f"select known_at as occurred_at, known_at from ({products})"
    moving = connection.execute(
        f"""select exists (select 1 from ({products}) where sign > 0
            group by product_id having count(*) > 1)"""
    ).fetchall()[0][0]
    return by_product_sql(
        rollup,
        lines,
        products,
        clock_of(connection, timezone, lines),
        clock_of(connection, timezone, dated),
        products_move=bool(moving),
    )


def by_product(rollup: str) -> tuple[str, tuple[str, ...]]:
    """Return the product attribute of a rollup and the sums it holds."""
    return _BY_PRODUCT[rollup].attribute, _BY_PRODUCT[rollup].sums


def rows_sql(lake: Lake, rollup: str, manifest: Manifest) -> str:
    """Return a SELECT of a rollup's rows."""
    return engine.parquet(lake.paths(rollup, manifest), SHAPES[rollup])


def touched_members_sql(lake: Lake, newer: Manifest, as_of: str) -> str:
    """Return a SELECT of the source keys whose snapshot rows a newer batch changes.

    Parameters
    ----------
    newer : the batches that came after the snapshot
    as_of : SQL date; what is only known from that day on cannot matter
    """
    parts = [
        f"select source, source_key from ({rows_sql(lake, rollup, newer)}) "
        f"where known_on < {as_of} and occurred_on < {as_of}"
        for rollup in ROLLUPS
    ]
    return " union ".join(parts)


def _summed(by: _ByProduct, parts: list[str]) -> str:
    """Return the rows of several SELECTs added up; what cancels out is left out."""
    together = " union all by name ".join(f"select * from ({part})" for part in parts)
    sums = ", ".join(f"cast(sum({name}) as bigint) as {name}" for name in by.sums)
    anything = " or ".join(f"sum({name}) <> 0" for name in by.sums)
    return f"""select source, source_key, {by.attribute}, occurred_on, known_on, {sums}
        from ({together}) group by all having {anything}"""
