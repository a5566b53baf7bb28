"""All feature groups joined for one `as_of`: one row per member who ever bought."""

from collections.abc import Callable, Iterator
from datetime import date

import duckdb

from features import engine, group, identities, reference, rollups
from features.baskets import BASKETS
from features.brands import BRANDS
from features.cadence import CADENCE
from features.clock import clock_of
from features.engagement import ENGAGEMENT
from features.group import Column, FeatureGroup
from features.identities import midnight_sql, with_member, with_successor
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
from features.times import DAYPARTS, TIMES

GROUPS: tuple[FeatureGroup, ...] = (
    PURCHASES, PROMOTIONS, RETURNS, CADENCE, SEASONS, PREFERENCES, BRANDS, PLACES, TIMES, BASKETS,
    ENGAGEMENT, RESPONSE, POINTS,
)  # fmt: skip
# The groups that another event can change: those that read nothing but events.
OF_EVENTS: tuple[FeatureGroup, ...] = tuple(g for g in GROUPS if g.reads == ("events",))
COLUMNS: tuple[Column, ...] = tuple(column for g in GROUPS for column in g.columns)
ALL_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS)
# Small, stable, rank-free: what a model may consume, in table order.
MODEL_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.use == "model")

# Rows by category or brand that are gone through at a time, members apart: memory does not grow
# with the programme, and what is added up for one member stays close together.
ROWS_AT_ONCE = 5_000_000

# `place` is the name's place in alphabetical order, for ties.
KNOWN_NAMES = "select *, row_number() over (order by name) as place from ({names})"
KNOWN = "where known_on < {as_of} and occurred_on < {as_of}"
# One row per member, basket and day, seen from as_of: only what had happened and was known by
# then. Nearly every basket is one row already; of one in pieces, an hour, a shop or a channel
# that a correction took back leaves no trace.
MEMBER_ORDERS = """
    with in_pieces as (
        select member_no, order_key, occurred_on from known_orders
        group by member_no, order_key, occurred_on having count(*) > 1
    ), netted as (
        select member_no, order_key, occurred_on, hour, store_id, channel, sum(lines) as lines,
               sum(return_lines) as return_lines, sum(net_cents) as net_cents,
               sum(returned_cents) as returned_cents, sum(discount_cents) as discount_cents,
               sum(coupon_cents) as coupon_cents
        from known_orders semi join in_pieces using (member_no, order_key, occurred_on)
        group by member_no, order_key, occurred_on, hour, store_id, channel
    ), baskets as (
        select member_no, order_key, occurred_on,
               case when lines > 0 then hour end as hour,
               case when lines > 0 then store_id end as store_id,
               case when lines > 0 then channel end as channel,
               lines, return_lines, net_cents, returned_cents, discount_cents, coupon_cents
        from known_orders anti join in_pieces using (member_no, order_key, occurred_on)
        where lines <> 0 or return_lines <> 0
        union all
        select member_no, order_key, occurred_on, min(hour) filter (where lines > 0),
               min(store_id) filter (where lines > 0), min(channel) filter (where lines > 0),
               sum(lines), sum(return_lines), sum(net_cents), sum(returned_cents),
               sum(discount_cents), sum(coupon_cents)
        from netted where lines <> 0 or return_lines <> 0
        group by member_no, order_key, occurred_on
    )
    select m.member_id, member_no, order_key,
           cast(date_diff('day', occurred_on, {as_of}) as integer) as days_ago,
           cast(dayofweek(occurred_on) as tinyint) as weekday,
           cast(day(occurred_on) as tinyint) as month_day, hour, store_id, channel,
           cast(lines as integer) as lines, cast(return_lines as integer) as return_lines,
           cast(net_cents as bigint) as net_cents, cast(returned_cents as bigint) as returned_cents,
           cast(discount_cents as bigint) as discount_cents,
           cast(coupon_cents as bigint) as coupon_cents
    from baskets join known_members m using (member_no)"""
# One row per member and day. A basket counts as bought while it holds a line that was not
# returned or taken back.
_BOUGHT = "lines > 0"
_DAYPARTS = ", ".join(
    f"count(*) filter (where {part.test}) as {name}_orders" for name, part in DAYPARTS.items()
)
_OFF = "discount_cents / nullif(cast(net_cents + discount_cents as double), 0)"
MEMBER_DAYS = f"""
    select m.member_id, d.* from (
        select member_no, days_ago, any_value(weekday) as weekday,
               any_value(month_day) as month_day,
               count(*) filter (where {_BOUGHT}) as orders,
               count(*) filter (where {_BOUGHT}) as bought,
               sum(lines) as lines, sum(return_lines) as return_lines,
               sum(hour) as hour_sum, sum(cast(hour as integer) * hour) as hour_squared,
               count(hour) as timed_orders, {_DAYPARTS},
               count(*) filter (where return_lines > 0) as return_orders,
               count(*) filter (where {_BOUGHT} and coupon_cents > 0) as coupon_orders,
               count(*) filter (where {_BOUGHT} and discount_cents > 0) as discount_orders,
               count(*) filter (where {_BOUGHT} and coupon_cents <= 0
                   and coalesce({_OFF}, 0) < 0.02) as full_price_orders,
               count(*) filter (where {_BOUGHT} and {_OFF} >= 0.25) as deep_discount_orders,
               sum(net_cents) as net_cents, sum(returned_cents) as returned_cents,
               sum(discount_cents) as discount_cents, sum(coupon_cents) as coupon_cents
        from member_orders group by member_no, days_ago
    ) d join known_members m using (member_no) order by member_no"""
# Rows by product of the keys at hand, seen from as_of, in numbers. `days` counts the days of one
# key; a member of several keys may have bought on one day with two of them.
SEEN = """
    select member_no, merged, {attribute}_no,
           cast(date_diff('day', occurred_on, {as_of}) as integer) as days_ago, {days}{sums}
    from ({rows}) join keys_at_hand using (key_no) {known}"""
OF_ONE_KEY = "select * exclude (merged) from ({seen}) where not merged"
OF_MERGED = """
    select member_no, category_no, days_ago, case when sum(lines) > 0 then 1 else 0 end as days,
           {sums}
    from ({seen}) where merged group by member_no, category_no, days_ago"""
# For people and tags: lines of one category on one day that came in pieces, or were taken back,
# are one row.
BY_PRODUCT = """
    select m.member_id, n.name as {attribute}, days_ago, {sums}
    from (
        select member_no, {attribute}_no, days_ago, {added}
        from {known} group by member_no, {attribute}_no, days_ago
    ) join known_members m using (member_no) join known_names n on n.name_no = {attribute}_no"""

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
    inputs = [
        rollups.order_days_sql("lines", local), rollups.event_days_sql("events", local),
        rollups.spans_sql("products", local), rollups.placed_sql("lines", "spans", local),
        *(rollups.by_product_sql(rollup, products_move=True) for rollup in rollups.BY_PRODUCT),
        rollups.days_sql("fresh", "earlier"), with_member("rows"), with_successor("rows"),
        identities.DEFINITION, KNOWN_NAMES, KNOWN, IN_TIME, MEMBER_ORDERS, MEMBER_DAYS, SEEN,
        OF_MERGED, KNOWN_EVENTS, KNOWN_CONTACTS, KNOWN_POINTS, reference.DEFINITION,
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
    identities.resolve(connection, lake, manifest, as_of, timezone)
    only = f"where member_id in ({only_members})" if only_members is not None else ""
    names = rollups.rows_sql(lake, rollups.NAMES, lake.manifest())
    for name, sql in (
        ("keys_at_hand", f"select * from known_keys {only}"),
        ("known_names", KNOWN_NAMES.format(names=names)),
    ):
        connection.execute(f"create or replace temp table {name} as {sql}")
    known = KNOWN.format(as_of=day)
    orders = rollups.rows_sql(lake, rollups.ORDER_DAYS, manifest)
    _view(connection, "known_orders", f"select * from ({orders}) join keys_at_hand using (key_no) "
          f"{known}")  # fmt: skip
    _events_view(connection, lake, manifest, day, only)
    _by_product_views(connection, lake, manifest, day)
    _feed_views(connection, lake, manifest, as_of, timezone, only)
    for name, sql in (("member_orders", MEMBER_ORDERS.format(as_of=day)),
                      ("member_days", MEMBER_DAYS)):  # fmt: skip
        connection.execute(f"create or replace temp table {name} as {sql}")
    midnight = midnight_sql(as_of, timezone)
    used = frozen or reference.measure(connection, lake, manifest, midnight)
    used.prepare(connection)
    return used


def prepare_events(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
) -> None:
    """Make what the groups of `OF_EVENTS` read, and nothing that only purchases are needed for."""
    identities.identify(connection, lake, manifest, as_of, timezone)
    _events_view(connection, lake, manifest, f"date {engine.text(as_of)}")


def compute(
    connection: duckdb.DuckDBPyConnection, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Make a temp table `group_NAME` of every group over the prepared relations.

    The groups whose rows are nearly as many as lines are made for some members at a time.
    """
    by_line = [one for one in GROUPS if one.by_line]
    for one in GROUPS:
        if one not in by_line:
            progress(f"computing {one.name}")
            connection.execute(f"create or replace temp table group_{one.name} as {one.sql}")
    for one in by_line:
        progress(f"computing {one.name}")
        connection.execute(
            f"create or replace temp table group_{one.name} as select * from ({one.sql}) limit 0"
        )
    for _ in some_members_at_a_time(connection):
        for one in by_line:
            connection.execute(f"insert into group_{one.name} {one.sql}")


def some_members_at_a_time(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Restrict the relations by product to a part of the members, then to the next.

    A part reads the rows of its own members only, and memory does not grow with the programme.
    """
    connection.execute("create or replace temp table all_at_hand as select * from keys_at_hand")
    for first, last in _parts(connection):
        connection.execute(
            f"create or replace temp table keys_at_hand as select * from all_at_hand "
            f"where member_no between {first} and {last}"
        )
        yield
    connection.execute("create or replace temp table keys_at_hand as select * from all_at_hand")


def _parts(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """Return the first and the last member number of as many parts as the rows ask for."""
    parts = f"""select 1 + count(*) * (select count(*) from keys_at_hand)
            // ({ROWS_AT_ONCE} * (select greatest(1, count(*)) from known_keys))
        from all_category_days"""
    return connection.execute(
        f"""with members as (
            select member_no, ntile(({parts})) over (order by member_no) as part
            from (select distinct member_no from keys_at_hand)
        ) select min(member_no), max(member_no) from members group by part order by part"""
    ).fetchall()


def _view(connection: duckdb.DuckDBPyConnection, name: str, sql: str) -> None:
    connection.execute(f"create or replace temp view {name} as {sql}")


def _events_view(
    connection: duckdb.DuckDBPyConnection, lake: Lake, manifest: Manifest, day: str, only: str = ""
) -> None:
    """Make `known_events`."""
    events = with_member(rollups.rows_sql(lake, rollups.EVENT_DAYS, manifest))
    # One level down, or `member_id` would be the identity's, null for keys without one.
    events = f"select * from (select * from ({events}) {only}) {KNOWN.format(as_of=day)}"
    _view(connection, "known_events", KNOWN_EVENTS.format(as_of=day, rows=events))


def _by_product_views(
    connection: duckdb.DuckDBPyConnection, lake: Lake, manifest: Manifest, day: str
) -> None:
    """Make `known_categories`, `known_brands` in numbers and their `member_` views in names."""
    merged = connection.execute(
        "select exists (select 1 from keys_at_hand where merged)"
    ).fetchall()[0][0]
    for rollup, plural in ((rollups.CATEGORY_DAYS, "categories"), (rollups.BRAND_DAYS, "brands")):
        attribute, sums = rollups.BY_PRODUCT[rollup]
        names = ", ".join(sums)
        added = ", ".join(f"cast(sum({name}) as bigint) as {name}" for name in sums)
        rows = rollups.rows_sql(lake, rollup, manifest)
        _view(connection, f"all_{rollup}", rows)
        has_days = rollup == rollups.CATEGORY_DAYS
        seen = SEEN.format(
            attribute=attribute, as_of=day, days="days, " if has_days else "", sums=names,
            rows=rows, known=KNOWN.format(as_of=day),
        )  # fmt: skip
        if has_days and merged:
            one, several = OF_ONE_KEY.format(seen=seen), OF_MERGED.format(seen=seen, sums=added)
            seen = f"{one} union all by name {several}"
        _view(connection, f"known_{plural}", seen)
        _view(connection, f"member_{plural}", BY_PRODUCT.format(
            attribute=attribute, sums=names, added=added, known=f"known_{plural}"
        ))  # fmt: skip


def _feed_views(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
    only: str,
) -> None:
    """Make `known_contacts` and `known_points`."""
    day = f"date {engine.text(as_of)}"
    in_time = IN_TIME.format(midnight=midnight_sql(as_of, timezone))
    for view, table, sql in (
        ("known_contacts", "contacts", KNOWN_CONTACTS),
        ("known_points", "points", KNOWN_POINTS),
    ):
        stored = lake.rows_sql(table, manifest)
        clock = clock_of(connection, timezone, stored)
        whose = with_successor(f"select * from ({stored}) {in_time}")
        _view(connection, view, sql.format(
            as_of=day, rows=f"select * from ({whose}) {only}",
            occurred=clock("occurred_at"), expires=rollups.local_sql("expires_at", timezone),
        ))  # fmt: skip


def touched_sql(lake: Lake, newer: Manifest, as_of: date, timezone: str) -> str:
    """Return a SELECT of the members whose rows a newer batch changes; resolve first.

    Parameters
    ----------
    newer : the batches that came after the snapshot
    """
    day = f"date {engine.text(as_of)}"
    numbers, keys = rollups.touched_sql(lake, newer, day)
    parts = [
        f"select member_id from ({numbers}) join known_keys using (key_no)",
        f"select member_id from ({with_member(keys)})",
    ]
    in_time = IN_TIME.format(midnight=midnight_sql(as_of, timezone))
    parts += [
        f"select member_id from ({with_successor(lake.rows_sql(feed, newer))}) {in_time}"
        for feed in ("contacts", "points")
    ]
    return " union ".join(parts)


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
    joins = "\n".join(f"left join group_{g.name} {g.name} using ({g.key})" for g in GROUPS)
    columns = ",\n".join(
        _typed(column, g.name if set(g.reads) <= set(tables) else None)
        for g in GROUPS
        for column in g.columns
    )
    return f"""select member_id,
        case when purchases.recency_days <= {active_days} then 'active' else 'dormant' end
            as population,
        {columns}
        from (select distinct member_no, member_id from member_days where bought > 0) members
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
