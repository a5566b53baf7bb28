"""Compact rollups of purchase lines and events, made once at ingest and read by every feature.

All are additive: a late line, a correction or a product's new category is one more row, visible
from its `known_on`. A snapshot's `as_of` is a midnight, so a day is fine enough for knowing.
Members' keys and the names of categories and brands are numbered when they first come in, and
rows stand together by key: a number is joined, grouped and stored at a fraction of a text.

keys               the number of a source's key
names              the number of a category's or a brand's name
order_days         one row per basket, day and day of knowing
category_days      one row per key, category, day and day of knowing
brand_days         one row per key, brand, day and day of knowing
event_days         one row per key, kind, channel, day and day of knowing
"""

from features import engine
from features.clock import Clock
from features.lake import Lake, Manifest

KEYS, NAMES = "keys", "names"
ORDER_DAYS, EVENT_DAYS = "order_days", "event_days"
CATEGORY_DAYS, BRAND_DAYS = "category_days", "brand_days"
ROLLUPS = (ORDER_DAYS, CATEGORY_DAYS, BRAND_DAYS, EVENT_DAYS)
RETURNED = "(coalesce(quantity, 0) < 0 or net_cents < 0)"

# The product's attribute of a rollup, and its sums. What was bought: lines that were no returns;
# `net_cents` alone holds the returns too.
BY_PRODUCT = {
    CATEGORY_DAYS: (
        "category",
        {
            "lines": "integer", "net_cents": "bigint", "gross_cents": "bigint",
            "discount_cents": "bigint", "quantity_milli": "bigint", "labelled_lines": "integer",
            "private_lines": "integer", "sized_lines": "integer", "size_micro": "bigint",
        },
    ),
    BRAND_DAYS: ("brand", {"lines": "integer"}),
}  # fmt: skip


def _shape(rollup: str) -> str:
    attribute, sums = BY_PRODUCT[rollup]
    days = "days tinyint, " if rollup == CATEGORY_DAYS else ""
    return (
        f"key_no integer, {attribute}_no integer, occurred_on date, known_on date, {days}"
        + ", ".join(f"{name} {kind}" for name, kind in sums.items())
    )


SHAPES = {
    KEYS: "source varchar, source_key varchar, key_no integer",
    NAMES: "name varchar, name_no integer",
    ORDER_DAYS: "key_no integer, order_key ubigint, occurred_on date, hour tinyint, "
    "store_id varchar, channel varchar, known_on date, lines integer, return_lines integer, "
    "net_cents bigint, returned_cents bigint, discount_cents bigint, coupon_cents bigint",
    **{rollup: _shape(rollup) for rollup in BY_PRODUCT},
    EVENT_DAYS: "source varchar, source_key varchar, kind varchar, channel varchar, "
    "occurred_on date, known_on date, events bigint, duration_seconds bigint",
}


def local_sql(instant: str, timezone: str) -> str:
    """Return SQL for the programme-local wall clock of a stored UTC instant, whenever it is."""
    return f"timezone({engine.text(timezone)}, timezone('UTC', {instant}))"


def hour_sql(instant: str, local: Clock) -> str:
    """Return SQL for the local hour of an instant; null for the first instant of a day.

    A date without a time of day comes in as that instant, at midnight or, where the clocks are
    put forward then, at one. Hardly a basket is rung up in it, so it tells nothing of the hour.
    """
    day, day_before = (
        f"cast({local(moment)} as date)"
        for moment in (instant, f"({instant} - interval 1 microsecond)")
    )
    return f"case when {day} = {day_before} then cast(hour({local(instant)}) as tinyint) end"


def order_days_sql(lines: str, local: Clock) -> str:
    """Roll signed purchase lines up to baskets.

    Parameters
    ----------
    lines : a SELECT of stored purchases of one source
    local : the programme's wall clock; decides the day

    Returns
    -------
    SQL over the table `keys_at_hand`, which holds keys of that source. A return line has
    negative quantity or amount; a basket of return lines only has lines = 0 and is no purchase,
    though its money counts. The hour is null where the time of day is not known.
    """
    # Instants and names first meet the few rows of baskets, not the many of lines.
    return f"""
        with baskets as (
            select key_no, source, order_id, occurred_at, known_at, store_id, channel,
                   sum(case when {RETURNED} then 0 else sign end) as lines,
                   sum(case when {RETURNED} then sign else 0 end) as return_lines,
                   sum(sign * net_cents) as net_cents,
                   sum(case when {RETURNED} then -sign * net_cents else 0 end) as returned_cents,
                   sum(sign * coalesce(discount_cents, 0)) as discount_cents,
                   sum(sign * coalesce(coupon_cents, 0)) as coupon_cents
            from ({lines}) l join keys_at_hand k on k.source_key = l.source_key
            group by key_no, source, order_id, occurred_at, known_at, store_id, channel
        )
        select key_no, md5_number_lower(concat_ws(chr(31), source, order_id)) as order_key,
               cast({local("occurred_at")} as date) as occurred_on,
               {hour_sql("occurred_at", local)} as hour,
               store_id, channel, cast({local("known_at")} as date) as known_on,
               cast(sum(lines) as integer) as lines,
               cast(sum(return_lines) as integer) as return_lines,
               cast(sum(net_cents) as bigint) as net_cents,
               cast(sum(returned_cents) as bigint) as returned_cents,
               cast(sum(discount_cents) as bigint) as discount_cents,
               cast(sum(coupon_cents) as bigint) as coupon_cents
        from baskets group by all"""


def spans_sql(products: str, product_day: Clock) -> str:
    """Return a SELECT of what each product was, from which day until which, in numbers.

    Parameters
    ----------
    products : a SELECT of stored products, every version
    product_day : the programme's wall clock for their instants

    Returns
    -------
    SQL over the table `all_names`. A product is nothing until its row is known; of two versions
    of a day the later counts. `size_micro` is a millionth of the log of the size.
    """
    return f"""
        with versions as (
            select product_id, category, brand, private_label, size,
                   cast({product_day("known_at")} as date) as from_on
            from ({products}) where sign > 0
            qualify row_number() over (partition by product_id, from_on order by known_at desc) = 1
        )
        select product_id, c.name_no as category_no, b.name_no as brand_no, private_label,
               cast(case when size > 0 then round(1e6 * ln(size)) end as bigint) as size_micro,
               from_on, lead(from_on) over (partition by product_id order by from_on) as until_on
        from versions v left join all_names c on c.name = v.category
            left join all_names b on b.name = v.brand"""


def placed_sql(lines: str, spans: str, local: Clock) -> str:
    """Return a SELECT of lines as numbers, in the places that their products had.

    Parameters
    ----------
    lines : a SELECT of stored purchases of one source
    spans : a table that `spans_sql` made
    local : the programme's wall clock for the lines

    Returns
    -------
    SQL over the table `keys_at_hand`, which holds keys of that source. When a product's
    category, brand, label or size changes, its lines move on the day that was known: they are
    taken back at `until_on`. A line without a quantity is one unit.
    """
    bought = f"case when {RETURNED} then 0 else sign end"
    return f"""
        select key_no, category_no, brand_no, occurred_on, greatest(known_on, from_on) as known_on,
               until_on, lines, net_cents, gross_cents, discount_cents, quantity_milli,
               case when private_label is not null then lines else 0 end as labelled_lines,
               case when private_label then lines else 0 end as private_lines,
               case when size_micro is not null then lines else 0 end as sized_lines,
               coalesce(lines * size_micro, 0) as size_micro
        from (
            select k.key_no, product_id,
                   cast({local("occurred_at")} as date) as occurred_on,
                   cast({local("known_at")} as date) as known_on,
                   cast({bought} as integer) as lines,
                   sign * net_cents as net_cents,
                   {bought} * (net_cents + coalesce(discount_cents, 0)) as gross_cents,
                   {bought} * coalesce(discount_cents, 0) as discount_cents,
                   {bought} * cast(round(1000 * coalesce(quantity, 1)) as bigint) as quantity_milli
            from ({lines}) l join keys_at_hand k on k.source_key = l.source_key
        ) join {spans} using (product_id)
        where until_on is null or until_on > known_on"""


def by_product_sql(rollup: str, *, products_move: bool) -> str:
    """Return a SELECT of the table `placed` added up to key, attribute of the product and days.

    Parameters
    ----------
    rollup : CATEGORY_DAYS or BRAND_DAYS
    products_move : whether some product has a second version, so that lines change their place
    """
    attribute, sums = BY_PRODUCT[rollup]
    key = f"key_no, {attribute}_no, occurred_on"
    moves = f"select {key}, known_on, {', '.join(sums)} from placed"
    if products_move:
        taken_back = ", ".join(f"-{name}" for name in sums)
        moves += f" union all select {key}, until_on, {taken_back} from placed "
        moves += "where until_on is not null"
    added = ", ".join(f"cast(sum({name}) as {kind}) as {name}" for name, kind in sums.items())
    anything = " or ".join(f"sum({name}) <> 0" for name in sums)
    return f"""select {key}, known_on, {added} from ({moves})
        where {attribute}_no is not null group by {key}, known_on having {anything}"""


def days_sql(fresh: str, earlier: str) -> str:
    """Return the rows of `category_days` with `days`: +1 when one makes its day a purchase day.

    Like the sign of a stored row: of a key's days, `sum(days)` are those on which the category
    was bought as far as was known by then, with no search for the rows of one day. A row that
    takes the last line of a day back has -1; one that adds to a day already bought has 0.

    Parameters
    ----------
    fresh : a table of new rows, without `days`
    earlier : a SELECT of the rows that earlier batches wrote
    """
    of_day = "key_no, category_no, occurred_on"
    sums = BY_PRODUCT[CATEGORY_DAYS][1]
    added = ", ".join(f"cast(sum({name}) as {kind}) as {name}" for name, kind in sums.items())
    nothing = ", ".join(f"0 as {name}" for name in sums)
    return f"""
        with before as (
            select e.* from ({earlier}) e semi join {fresh} using ({of_day})
        ), in_pieces as (
            select {of_day} from (
                select {of_day} from {fresh} union all select {of_day} from before
            ) group by {of_day} having count(*) > 1
        ), timeline as (
            select {of_day}, known_on, {added}, sum(lines + lines_before) as known_lines,
                   sum(days_before) as days_before
            from (
                select *, 0 as lines_before, 0 as days_before
                from {fresh} semi join in_pieces using ({of_day})
                union all by name
                select {of_day}, known_on, {nothing}, lines as lines_before, days as days_before
                from before
            ) group by {of_day}, known_on
        ), bought as (
            select *, cast(sum(known_lines) over day_by_day > 0 as integer) as stands
            from timeline
            window day_by_day as (partition by {of_day} order by known_on)
        ), changed as (
            select *, stands - lag(stands, 1, 0) over (partition by {of_day} order by known_on)
                - days_before as days
            from bought
        )
        select {of_day}, known_on, cast(case when lines > 0 then 1 else 0 end as tinyint) as days,
               {", ".join(sums)}
        from {fresh} anti join in_pieces using ({of_day})
        union all
        select {of_day}, known_on, cast(days as tinyint), {", ".join(sums)} from changed
        where days <> 0 or {" or ".join(f"{name} <> 0" for name in sums)}"""


def event_days_sql(events: str, local: Clock) -> str:
    """Roll signed events up to key, kind, channel and day."""
    return f"""
        select source, source_key, kind, channel,
               cast({local("occurred_at")} as date) as occurred_on,
               cast({local("known_at")} as date) as known_on,
               cast(sum(sign) as bigint) as events,
               cast(sum(sign * cast(round(coalesce(duration_seconds, 0)) as bigint)) as bigint)
                   as duration_seconds
        from ({events}) where source_key is not null group by all"""


def rows_sql(lake: Lake, rollup: str, manifest: Manifest) -> str:
    """Return a SELECT of a rollup's rows."""
    return lake.rollup_sql(rollup, SHAPES[rollup], manifest)


def touched_sql(lake: Lake, newer: Manifest, as_of: str) -> tuple[str, str]:
    """Return whose snapshot rows a newer batch changes: SELECTs of numbers and of source keys.

    Parameters
    ----------
    newer : the batches that came after the snapshot
    as_of : SQL date; what is only known from that day on cannot matter
    """
    numbers, keys = (
        " union ".join(
            f"select {what} from ({rows_sql(lake, rollup, newer)}) "
            f"where known_on < {as_of} and occurred_on < {as_of}"
            for rollup in rollups
        )
        for what, rollups in (
            ("key_no", (ORDER_DAYS, CATEGORY_DAYS, BRAND_DAYS)),
            ("source, source_key", (EVENT_DAYS,)),
        )
    )
    return numbers, keys
