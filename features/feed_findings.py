"""Whether the feeds meet the purchases: the same members, keys that exist, contacts once sent."""

from collections.abc import Mapping

import duckdb

from features import identities
from features.finding import Finding

# Some members never buy; that most of a feed's do not means two systems call them differently.
STRANGERS_SHARE_MAX = 0.5
# Which column of a feed says who: a key of its source, or the member.
_WHO = {
    "events": "source_key",
    "contacts": "member_id",
    "points": "member_id",
    "consents": "member_id",
    "members": "member_id",
}
# Feeds that are read as those of whoever the member is now.
_FOLLOWED = ("contacts", "points")
_IDENTITIES = """
    select source, source_key, max_by(member_id, known_at) as member_id
    from ({identities}) where sign > 0 group by source, source_key"""


def judge(
    connection: duckdb.DuckDBPyConnection, table: str, tables: Mapping[str, str]
) -> list[Finding]:
    """Return what is to be said of one table beside the others.

    Parameters
    ----------
    table : the table that rows came in for
    tables : a SELECT of the rows of every contract table, every version
    """
    found: list[Finding] = []
    if table in _WHO:
        found += _strangers(connection, table, tables)
    if table == "events":
        found += _anonymous(connection, tables)
    if table == "contacts":
        found += _never_sent(connection, tables)
    if table == "identities":
        found += _unused_keys(connection, tables)
    return found


def _successors(tables: Mapping[str, str]) -> str:
    """Return a SELECT of who was merged into whom, after everything that is known."""
    day = "cast(known_at as date) as known_on"
    seen = " union all ".join(
        f"select source, source_key, {day} from ({tables[one]}) where source_key is not null"
        for one in ("purchases", "events")
    )
    return identities.successors_sql(
        f"select source, source_key, member_id, known_at, {day} from ({tables['identities']}) "
        "where sign > 0",
        seen,
    )


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, int]:
    """Return two counts; nothing counts as none."""
    one, other = connection.execute(sql).fetchall()[0]
    return int(one or 0), int(other or 0)


def _strangers(
    connection: duckdb.DuckDBPyConnection, table: str, tables: Mapping[str, str]
) -> list[Finding]:
    known = _IDENTITIES.format(identities=tables["identities"])
    key = _WHO[table]
    who = f"select {key} as member_id, sign from ({tables[table]}) where {key} is not null"
    if table in _FOLLOWED:
        who = identities.with_successor(who, f"({_successors(tables)})")
    if key == "source_key":
        who = f"""select coalesce(i.member_id, r.source_key) as member_id, r.sign
            from ({tables[table]}) r left join known i using (source, source_key)
            where r.source_key is not null"""
    strange, rows = _count(
        connection,
        f"""with known as ({known}), buyers as (
            select distinct coalesce(i.member_id, p.source_key) as member_id
            from (select distinct source, source_key from ({tables["purchases"]})) p
                left join known i using (source, source_key)
            where p.source_key is not null
        )
        select sum(sign) filter (where member_id not in (select member_id from buyers)), sum(sign)
        from ({who})""",
    )
    if not rows:
        return []
    share = strange / rows
    many = share > STRANGERS_SHARE_MAX
    return [
        Finding(
            "members",
            "warning" if many else "information",
            table,
            key,
            strange,
            f"rows of members with no purchase on record ({share:.1%})",
            "if purchases are ingested already, check that both exports call a member the same, "
            "or ingest identities"
            if many
            else "",
        )
    ]


def _anonymous(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> list[Finding]:
    anonymous, rows = _count(
        connection,
        f"select sum(sign) filter (where source_key is null), sum(sign) from ({tables['events']})",
    )
    if not anonymous:
        return []
    words = f"events without a member, kept as anonymous ({anonymous / rows:.1%})"
    return [Finding("members", "information", "events", "source_key", anonymous, words)]


def _never_sent(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> list[Finding]:
    unsent, contacts = _count(
        connection,
        f"""select count(*) filter (where not sent), count(*) from (
            select contact_id, bool_or(kind = 'sent') as sent
            from ({tables["contacts"]}) where sign > 0 group by contact_id)""",
    )
    if not unsent:
        return []
    share = unsent / contacts
    # A second coupon of one mailing, redeemed, is rightly a contact that nobody sent.
    many = share > STRANGERS_SHARE_MAX
    return [
        Finding(
            "contacts",
            "warning" if many else "information",
            "contacts",
            "kind",
            unsent,
            f"contacts that no row says were sent ({share:.1%}): rates leave them out",
            "export what was sent too, under the same contact number" if many else "",
        )
    ]


def _unused_keys(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> list[Finding]:
    unused, keys = _count(
        connection,
        f"""with seen as (
            select distinct source, source_key from ({tables["purchases"]})
            union select distinct source, source_key from ({tables["events"]})
        ), named as (
            select distinct source, source_key from ({tables["identities"]}) where sign > 0
        )
        select (select count(*) from named anti join seen using (source, source_key)),
               (select count(*) from named)""",
    )
    if not unused:
        return []
    share = unused / keys
    return [
        Finding(
            "members",
            "warning" if share > STRANGERS_SHARE_MAX else "information",
            "identities",
            "source_key",
            unused,
            f"keys that no purchase or event carries so far ({share:.1%})",
            "check the system: it must be the source that the purchases' own mapping names"
            if share > STRANGERS_SHARE_MAX
            else "",
        )
    ]
