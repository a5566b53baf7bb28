"""One-ID: many source keys, one member. Whom a key meant, and who a member became, at `as_of`.

Resolved at read time, never written into the rows, so that a merge can be undone.
"""

from datetime import date

import duckdb

from features import engine, rollups
from features.lake import Lake, Manifest
from programme.calendar import local_midnight

KNOWN_KEYS = """
    select key_no, member_id, min(key_no) over own as member_no, count(*) over own > 1 as merged
    from ({keys}) window own as (partition by member_id)"""
# A key without an identity is the member, from the day it is first seen until an identity says
# otherwise. A member for whom keys stood once and none does now was merged into the one for whom
# they all stand; where they went different ways, nobody can say whose her feeds are.
_SUCCESSORS = """
    with versions as ({identities}),
    known as (
        select source, source_key, max_by(member_id, known_at) as member_id,
               min(known_on) as from_on
        from versions group by source, source_key
    ), stood as (
        select source, source_key, member_id from versions
        union all
        select source, source_key, source_key from ({seen}) s join known using (source, source_key)
        where s.known_on < from_on
    ), holding as (
        select member_id from known
        union all
        select source_key from ({seen}) anti join known using (source, source_key)
    )
    select stood.member_id as former_id, any_value(known.member_id) as member_id
    from stood join known using (source, source_key)
    where stood.member_id not in (select member_id from holding)
    group by stood.member_id having count(distinct known.member_id) = 1"""
# Keys as the rollups of purchases and events know them, of the names that identities name.
_SEEN = """
    select source, source_key, known_on
    from ({keys}) semi join named_by_identities using (source_key)
        join ({orders}) using (key_no) where known_on < {as_of} and occurred_on < {as_of}
    union all
    select source, source_key, known_on
    from ({events}) semi join named_by_identities using (source_key)
    where known_on < {as_of} and occurred_on < {as_of}"""
DEFINITION = KNOWN_KEYS + _SUCCESSORS + _SEEN


def resolve(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
) -> None:
    """Make `known_identities`, `known_keys`, `known_members` and `known_successors`.

    A member's number is the lowest of her keys' and means nothing beyond these tables.

    Parameters
    ----------
    timezone : of the programme, whose midnight `as_of` is
    """
    identify(connection, lake, manifest, as_of, timezone)
    keys = rollups.rows_sql(lake, rollups.KEYS, lake.manifest())
    connection.execute(
        f"create or replace temp table known_keys as {KNOWN_KEYS.format(keys=with_member(keys))}"
    )
    connection.execute(
        """create or replace temp table known_members as
        select member_no, any_value(member_id) as member_id from known_keys group by member_no"""
    )
    make_successors(connection, lake, manifest, as_of, timezone)


def identify(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
) -> None:
    """Make `known_identities`: which member each key means that an identity names."""
    rows = lake.rows_sql("identities", manifest)
    connection.execute(
        f"""create or replace temp table known_identities as
        select source, source_key, max_by(member_id, known_at) as member_id
        from ({rows}) where sign > 0 and known_at < {midnight_sql(as_of, timezone)}
        group by source, source_key"""
    )


def make_successors(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
    name: str = "known_successors",
) -> None:
    """Make the table `name`: `former_id`, a member merged into another, and `member_id`, into whom.

    Feeds that name a member and no key, such as contacts and points, are read through it.
    """
    if not lake.paths("identities", manifest):
        connection.execute(
            f"create or replace temp table {name} (former_id varchar, member_id varchar)"
        )
        return
    rows, midnight = lake.rows_sql("identities", manifest), midnight_sql(as_of, timezone)
    known_on = f"cast({rollups.local_sql('known_at', timezone)} as date) as known_on"
    versions = f"""select source, source_key, member_id, known_at, {known_on}
        from ({rows}) where sign > 0 and known_at < {midnight}"""
    connection.execute(
        f"""create or replace temp table named_by_identities as
        select source_key from ({versions}) union select member_id from ({versions})"""
    )
    seen = _SEEN.format(
        keys=rollups.rows_sql(lake, rollups.KEYS, manifest),
        orders=rollups.rows_sql(lake, rollups.ORDER_DAYS, manifest),
        events=rollups.rows_sql(lake, rollups.EVENT_DAYS, manifest),
        as_of=f"date {engine.text(as_of)}",
    )
    connection.execute(f"create or replace temp table {name} as {successors_sql(versions, seen)}")


def successors_sql(identities: str, seen: str) -> str:
    """Return a SELECT of `former_id` and `member_id` of those who were merged into another.

    Parameters
    ----------
    identities : SELECT of every version, with known_at and the day `known_on` of it
    seen : SELECT of source, source_key and the days `known_on` on which a key's rows came
    """
    return _SUCCESSORS.format(identities=identities, seen=seen)


def with_member(rows: str) -> str:
    """Return a SELECT of `rows` with `member_id`; a key without an identity is the member."""
    return f"""select r.* exclude (source_key), coalesce(i.member_id, r.source_key) as member_id
        from ({rows}) r left join known_identities i
            on i.source = r.source and i.source_key = r.source_key"""


def with_successor(rows: str, successors: str = "known_successors") -> str:
    """Return a SELECT of `rows` whose `member_id` is the member that she is now."""
    return f"""select r.* replace (coalesce(s.member_id, r.member_id) as member_id)
        from ({rows}) r left join {successors} s on s.former_id = r.member_id"""


def changed_sql(earlier: str) -> str:
    """Return a SELECT of the members whose feeds are others' since `earlier` was made."""
    before, now = (
        f"select former_id, member_id from {name}" for name in (earlier, "known_successors")
    )
    return f"""select unnest([former_id, member_id]) as member_id from (
        ({before} except {now}) union all ({now} except {before}))"""


def midnight_sql(as_of: date, timezone: str) -> str:
    """Return SQL of the stored UTC instant at which `as_of` begins."""
    return engine.instant(local_midnight(as_of, timezone))
