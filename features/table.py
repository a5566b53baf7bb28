"""All feature groups joined for one `as_of`: one row per member who ever bought."""

from collections.abc import Callable
from datetime import date

import duckdb

from features import engine, group, reference, rollups
from features.baskets import BASKETS
from features.brands import BRANDS
from features.cadence import CADENCE
from features.clock import clock_of
from features.engagement import ENGAGEMENT
from features.group import Column, FeatureGroup
from features.lake import Lake, Manifest
from features.places import PLACES
from features.points import POINTS
from features.preferences import PREFERENCES
from features.promotions import PROMOTIONS
from features.purchases import PURCHASES
from features.reference import Reference
from features.response import RESPONSE
from features.returns import RETURNS
from features.seasons import SEASONS
from features.times import TIMES
from programme.calendar import local_midnight

GROUPS: tuple[FeatureGroup, ...] = (
    PURCHASES, PROMOTIONS, RETURNS, CADENCE, SEASONS, PREFERENCES, BRANDS, PLACES, TIMES, BASKETS,
    ENGAGEMENT, RESPONSE, POINTS,
)  # fmt: skip
COLUMNS: tuple[Column, ...] = tuple(column for g in GROUPS for column in g.columns)
ALL_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS)
# Small, stable, rank-free: what a model may consume, in table order.
MODEL_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.use == "model")

# Members whose rows of a by-line group are made at a time; more spill to disk and crawl.
ROWS_AT_ONCE = 12_000_000

KNOWN = "where known_on < {as_of} and occurred_on < {as_of}"
# One row per member, basket and day, seen from as_of: only what had happened and was known by
# then. An hour, a shop or a channel that a correction took back leaves no trace.
MEMBER_ORDERS = """
    select member_id, order_key, cast(date_diff('day', occurred_on, {as_of}) as integer)
               as days_ago,
           cast(dayofweek(occurred_on) as tinyint) as weekday,
           cast(day(occurred_on) as tinyint) as month_day,
           min(hour) filter (where lines > 0) as hour,
           min(store_id) filter (where lines > 0) as store_id,
           min(channel) filter (where lines > 0) as channel,
           cast(sum(lines) as integer) as lines, cast(sum(return_lines) as integer) as return_lines,
           cast(sum(net_cents) as bigint) as net_cents,
           cast(sum(returned_cents) as bigint) as returned_cents,
           cast(sum(discount_cents) as bigint) as discount_cents,
           cast(sum(coupon_cents) as bigint) as coupon_cents
    from (
        select member_id, order_key, occurred_on, hour, store_id, channel, sum(lines) as lines,
               sum(return_lines) as return_lines, sum(net_cents) as net_cents,
               sum(returned_cents) as returned_cents, sum(discount_cents) as discount_cents,
               sum(coupon_cents) as coupon_cents
        from known_orders group by member_id, order_key, occurred_on, hour, store_id, channel
        having sum(lines) <> 0 or sum(return_lines) <> 0
    )
    group by member_id, order_key, occurred_on"""
# One row per member and day. A basket counts as bought while it holds a line that was not
# returned or taken back.
_BOUGHT = "lines > 0"
_OFF = "discount_cents / nullif(cast(net_cents + discount_cents as double), 0)"
MEMBER_DAYS = f"""
    select member_id, days_ago, any_value(weekday) as weekday, any_value(month_day) as month_day,
           count(*) filter (where {_BOUGHT}) as orders,
           count(*) filter (where {_BOUGHT}) as bought,
           sum(lines) as lines, sum(return_lines) as return_lines,
           sum(hour) as hour_sum, sum(cast(hour as integer) * hour) as hour_squared,
           count(*) filter (where hour between 5 and 10) as early_orders,
           count(*) filter (where hour between 11 and 13) as lunch_orders,
           count(*) filter (where hour between 14 and 16) as afternoon_orders,
           count(*) filter (where hour between 17 and 20) as evening_orders,
           count(*) filter (where hour >= 21 or hour < 5) as night_orders,
           count(*) filter (where return_lines > 0) as return_orders,
           count(*) filter (where {_BOUGHT} and coupon_cents > 0) as coupon_orders,
           count(*) filter (where {_BOUGHT} and discount_cents > 0) as discount_orders,
           count(*) filter (where {_BOUGHT} and coupon_cents <= 0
               and coalesce({_OFF}, 0) < 0.02) as full_price_orders,
           count(*) filter (where {_BOUGHT} and {_OFF} >= 0.25) as deep_discount_orders,
           sum(net_cents) as net_cents, sum(returned_cents) as returned_cents,
           sum(discount_cents) as discount_cents, sum(coupon_cents) as coupon_cents
    from member_orders group by member_id, days_ago"""
# Lines of one category on one day that came in pieces, or were taken back, are one row.
BY_PRODUCT = """
    select member_id, {attribute}, days_ago, {sums}
    from {known} {restricted} group by member_id, {attribute}, days_ago"""

# What the feeds say, day by day; `sign` takes an earlier version back.
KNOWN_EVENTS = """
    select member_id, kind, channel, cast(date_diff('day', occurred_on, {as_of}) as integer)
               as days_ago, events, duration_seconds
    from ({rows})"""
KNOWN_CONTACTS = """
    select member_id, contact_id, kind, channel, campaign_id, offer, sign,
           cast(date_diff('day', cast({occurred} as date), {as_of}) as integer) as days_ago
    from ({rows})"""
KNOWN_POINTS = """
    select member_id, posting_id, kind, points, tier, sign,
           cast(date_diff('day', {as_of}, cast({expires} as date)) as integer) as expires_in_days,
           cast(date_diff('day', cast({occurred} as date), {as_of}) as integer) as days_ago
    from ({rows})"""
IN_TIME = "where known_at < {midnight} and occurred_at < {midnight}"


def feature_set(names: tuple[str, ...] = ALL_COLUMNS) -> str:
    """Return the hash of the definitions of the named columns; see `group.feature_set`."""
    local = "local({})".format
    inputs = [rollups.order_days_sql("lines", local), rollups.event_days_sql("events", local)]
    inputs += [
        rollups.by_product_sql(rollup, "lines", "products", local, local, products_move=True)
        for rollup in (rollups.CATEGORY_DAYS, rollups.BRAND_DAYS)
    ]
    inputs += [
        with_member("rows"), KNOWN, IN_TIME, MEMBER_ORDERS, MEMBER_DAYS, BY_PRODUCT,
        KNOWN_EVENTS, KNOWN_CONTACTS, KNOWN_POINTS, reference.DEFINITION,
    ]  # fmt: skip
    return group.feature_set(GROUPS, names, "".join(inputs))


def prepare(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
    only_members: str | None = None,
    frozen: Reference | None = None,
) -> Reference:
    """Make every relation the groups read, for one `as_of`.

    Parameters
    ----------
    timezone : of the programme, whose midnight `as_of` is
    only_members : a SELECT of member_ids to restrict to, or None for all
    frozen : reference tables to use; None measures them, which needs all members

    Returns
    -------
    the reference tables in use
    """
    day = f"date {engine.text(as_of)}"
    resolve(connection, lake, manifest, as_of, timezone)
    only = f"member_id in ({only_members})" if only_members is not None else "true"
    for rollup in rollups.ROLLUPS:
        rows = with_member(rollups.rows_sql(lake, rollup, manifest))
        # One level down, or `member_id` would be the identity's, null for keys without one.
        _view(connection, f"known_{rollup}", f"select * from ({rows}) {KNOWN.format(as_of=day)} "
              f"and {only}")  # fmt: skip
    _view(connection, "known_orders", f"select * from known_{rollups.ORDER_DAYS}")
    for view, rollup in (
        ("known_categories", rollups.CATEGORY_DAYS),
        ("known_brands", rollups.BRAND_DAYS),
    ):
        dated = f"cast(date_diff('day', occurred_on, {day}) as integer) as days_ago"
        _view(connection, view, f"select *, {dated} from known_{rollup}")
    _by_product_views(connection)
    _feed_views(connection, lake, manifest, as_of, timezone, only)
    for name, sql in (("member_orders", MEMBER_ORDERS.format(as_of=day)),
                      ("member_days", MEMBER_DAYS)):  # fmt: skip
        connection.execute(f"create or replace temp table {name} as {sql}")
    midnight = midnight_sql(as_of, timezone)
    used = frozen or reference.measure(connection, lake, manifest, midnight)
    used.prepare(connection)
    return used


def compute(
    connection: duckdb.DuckDBPyConnection, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Make a temp table `group_NAME` of every group over the prepared relations.

    The groups whose rows are nearly as many as lines are made for some members at a time, so
    that memory does not grow with the programme.
    """
    for one in GROUPS:
        progress(f"computing {one.name}")
        connection.execute(
            f"create or replace temp table group_{one.name} as select * from ({one.sql}) limit 0"
        )
        parts = _parts(connection) if one.by_line else 1
        for part in range(parts):
            if parts > 1:
                _by_product_views(connection, f"where hash(member_id) % {parts} = {part}")
            connection.execute(f"insert into group_{one.name} {one.sql}")
        if parts > 1:
            _by_product_views(connection)


def _parts(connection: duckdb.DuckDBPyConnection) -> int:
    rows = connection.execute(
        f"select greatest((select count(*) from known_{rollups.CATEGORY_DAYS}), "
        f"(select count(*) from known_{rollups.BRAND_DAYS}))"
    ).fetchall()[0][0]
    return 1 + int(rows) // ROWS_AT_ONCE


def _view(connection: duckdb.DuckDBPyConnection, name: str, sql: str) -> None:
    connection.execute(f"create or replace temp view {name} as {sql}")


def _by_product_views(connection: duckdb.DuckDBPyConnection, restricted: str = "") -> None:
    """Make `member_categories` and `member_brands`, for all members or some."""
    for view, rollup, known in (
        ("member_categories", rollups.CATEGORY_DAYS, "known_categories"),
        ("member_brands", rollups.BRAND_DAYS, "known_brands"),
    ):
        attribute, sums = rollups.by_product(rollup)
        listed = ", ".join(f"cast(sum({name}) as bigint) as {name}" for name in sums)
        sql = BY_PRODUCT.format(
            attribute=attribute, sums=listed, known=known, restricted=restricted
        )
        _view(connection, view, sql)


def _feed_views(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
    only: str,
) -> None:
    """Make `known_events`, `known_contacts` and `known_points`."""
    day = f"date {engine.text(as_of)}"
    rows = f"select * from known_{rollups.EVENT_DAYS}"
    _view(connection, "known_events", KNOWN_EVENTS.format(as_of=day, rows=rows))
    in_time = IN_TIME.format(midnight=midnight_sql(as_of, timezone))
    for view, table, sql in (
        ("known_contacts", "contacts", KNOWN_CONTACTS),
        ("known_points", "points", KNOWN_POINTS),
    ):
        stored = lake.rows_sql(table, manifest)
        clock = clock_of(connection, timezone, stored)
        _view(connection, view, sql.format(
            as_of=day, rows=f"select * from ({stored}) {in_time} and {only}",
            occurred=clock("occurred_at"), expires=rollups.local_sql("expires_at", timezone),
        ))  # fmt: skip


def resolve(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
) -> None:
    """Make the temp table `known_identities`: which member a source's key meant at `as_of`.

    Resolved at read time, never written into the rows, so that a merge can be undone.
    """
    rows = lake.rows_sql("identities", manifest)
    connection.execute(
        f"""create or replace temp table known_identities as
        select source, source_key, max_by(member_id, known_at) as member_id
        from ({rows}) where sign > 0 and known_at < {midnight_sql(as_of, timezone)}
        group by source, source_key"""
    )


def midnight_sql(as_of: date, timezone: str) -> str:
    """Return SQL of the stored UTC instant at which `as_of` begins."""
    instant = local_midnight(as_of, timezone).replace(tzinfo=None)
    return f"timestamp {engine.text(instant)}"


def touched_sql(lake: Lake, newer: Manifest, as_of: date, timezone: str) -> str:
    """Return a SELECT of the members whose rows a newer batch changes; resolve first.

    Parameters
    ----------
    newer : the batches that came after the snapshot
    """
    day = f"date {engine.text(as_of)}"
    parts = [
        f"select member_id from ({with_member(rollups.touched_members_sql(lake, newer, day))})"
    ]
    in_time = IN_TIME.format(midnight=midnight_sql(as_of, timezone))
    parts += [
        f"select member_id from ({lake.rows_sql(feed, newer)}) {in_time}"
        for feed in ("contacts", "points")
    ]
    return " union ".join(parts)


def with_member(rows: str) -> str:
    """Return a SELECT of `rows` with `member_id`; a key without an identity is the member."""
    return f"""select r.* exclude (source_key), coalesce(i.member_id, r.source_key) as member_id
        from ({rows}) r left join known_identities i
            on i.source = r.source and i.source_key = r.source_key"""


def select_sql(active_days: int, tables: tuple[str, ...]) -> str:
    """Return the SELECT of the whole table, after `compute`.

    Parameters
    ----------
    active_days : a member is active while her last purchase is no older
    tables : contract tables of which something is known; see `Reference`

    Returns
    -------
    SQL with member_id, population ('active' | 'dormant'), then every column; one row per member
    with at least one purchase, in order of member_id. Columns of a feed that the programme does
    not have are empty.
    """
    joins = "\n".join(f"left join group_{g.name} {g.name} using (member_id)" for g in GROUPS)
    columns = ",\n".join(
        _typed(column, g.name if set(g.reads) <= set(tables) else None)
        for g in GROUPS
        for column in g.columns
    )
    return f"""select member_id,
        case when purchases.recency_days <= {active_days} then 'active' else 'dormant' end
            as population,
        {columns}
        from (select distinct member_id from member_days where bought > 0) members
        {joins}
        order by member_id"""


def _typed(column: Column, owner: str | None) -> str:
    kind = "varchar" if column.is_text else "double"
    if owner is None:
        return f"cast(null as {kind}) as {column.name}"
    value = f"{owner}.{column.name}"
    if column.absent is not None:
        value = f"coalesce({value}, {column.absent})"
    return f"cast({value} as {kind}) as {column.name}"
