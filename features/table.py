"""All feature groups joined for one `as_of`: one row per member who ever bought."""

from datetime import date

import duckdb

from features import engine, group, rollups
from features.cadence import CADENCE
from features.group import Column, FeatureGroup
from features.lake import Lake, Manifest
from features.preferences import PREFERENCES
from features.purchases import PURCHASES
from programme.calendar import local_midnight

GROUPS: tuple[FeatureGroup, ...] = (PURCHASES, CADENCE, PREFERENCES)
COLUMNS: tuple[Column, ...] = tuple(column for g in GROUPS for column in g.columns)
ALL_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS)
# Small, stable, rank-free: what a model may consume, in table order.
MODEL_COLUMNS: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.use == "model")

# One row per member and day, seen from as_of: only what had happened and was known by then.
# A basket counts as bought while it holds a line that was not returned or taken back; an hour or
# a shop that a correction took back leaves no trace.
MEMBER_DAYS = """
    select member_id, date_diff('day', occurred_on, {as_of}) as days_ago,
           cast(dayofweek(occurred_on) in (0, 6) as integer) as weekend,
           count(*) filter (where lines > 0) as orders,
           count(*) filter (where lines > 0) as bought,
           sum(lines) as lines, sum(hour) as hour_sum, min(store_id) as store_id,
           sum(net_cents) as net_cents, sum(returned_cents) as returned_cents,
           sum(discount_cents) as discount_cents, sum(coupon_cents) as coupon_cents
    from (
        select member_id, order_key, occurred_on, sum(lines) as lines,
               min(hour) filter (where lines > 0) as hour,
               min(store_id) filter (where lines > 0) as store_id,
               sum(net_cents) as net_cents, sum(returned_cents) as returned_cents,
               sum(discount_cents) as discount_cents, sum(coupon_cents) as coupon_cents
        from (
            select member_id, order_key, occurred_on, hour, store_id, sum(lines) as lines,
                   sum(net_cents) as net_cents, sum(returned_cents) as returned_cents,
                   sum(discount_cents) as discount_cents, sum(coupon_cents) as coupon_cents
            from known_orders group by member_id, order_key, occurred_on, hour, store_id
            having sum(lines) <> 0 or sum(return_lines) <> 0
        )
        group by member_id, order_key, occurred_on
    )
    group by member_id, occurred_on"""
MEMBER_CATEGORIES = """
    select member_id, category, date_diff('day', occurred_on, {as_of}) as days_ago, lines
    from known_categories"""
KNOWN = "where known_on < {as_of} and occurred_on < {as_of}"


def feature_set(names: tuple[str, ...] = ALL_COLUMNS) -> str:
    """Return the hash of the definitions of the named columns; see `group.feature_set`."""
    local = "local({})".format
    rolled_up = rollups.order_days_sql("lines", local) + rollups.category_days_sql(
        "lines", "products", local, local, categories_move=True
    )
    inputs = rolled_up + with_member("rows") + KNOWN + MEMBER_DAYS + MEMBER_CATEGORIES
    return group.feature_set(GROUPS, names, inputs)


def prepare(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
    only_members: str | None = None,
) -> None:
    """Make the temp table `member_days` and the view `member_categories` for one `as_of`.

    Parameters
    ----------
    timezone : of the programme, whose midnight `as_of` is
    only_members : a SELECT of member_ids to restrict to, or None for all
    """
    day = f"date {engine.text(as_of)}"
    resolve(connection, lake, manifest, as_of, timezone)
    restricted = f"and member_id in ({only_members})" if only_members is not None else ""
    for view, rollup in (
        ("known_orders", rollups.ORDER_DAYS),
        ("known_categories", rollups.CATEGORY_DAYS),
    ):
        rows = rollups.rows_sql(lake, rollup, manifest)
        # One level down, or `member_id` would be the identity's, null for keys without one.
        connection.execute(
            f"create or replace temp view {view} as select * from ({with_member(rows)}) "
            f"{KNOWN.format(as_of=day)} {restricted}"
        )
    connection.execute(
        f"create or replace temp table member_days as {MEMBER_DAYS.format(as_of=day)}"
    )
    connection.execute(
        f"create or replace temp view member_categories as {MEMBER_CATEGORIES.format(as_of=day)}"
    )


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


def with_member(rows: str) -> str:
    """Return a SELECT of `rows` with `member_id`; a key without an identity is the member."""
    return f"""select r.* exclude (source_key), coalesce(i.member_id, r.source_key) as member_id
        from ({rows}) r left join known_identities i
            on i.source = r.source and i.source_key = r.source_key"""


def select_sql(active_days: int) -> str:
    """Return the SELECT of the whole table over the prepared inputs.

    Returns
    -------
    SQL with member_id, population ('active' | 'dormant'), then every column; one row per member
    with at least one purchase, in order of member_id
    """
    joins = "\n".join(f"left join ({g.sql}) {g.name} using (member_id)" for g in GROUPS)
    columns = ",\n".join(_typed(column, g.name) for g in GROUPS for column in g.columns)
    return f"""select member_id,
        case when purchases.recency_days <= {active_days} then 'active' else 'dormant' end
            as population,
        {columns}
        from (select distinct member_id from member_days where bought > 0) members
        {joins}
        order by member_id"""


def _typed(column: Column, owner: str) -> str:
    value = f"{owner}.{column.name}"
    if column.unit == "name":
        return f"cast({value} as varchar) as {column.name}"
    if column.absent is not None:
        value = f"coalesce({value}, {column.absent})"
    return f"cast({value} as double) as {column.name}"
