"""Whether the purchases can carry predictions: members, history, returns, catalogue."""

import duckdb

from features.clock import clock_of
from features.finding import Finding
from features.rollups import RETURNED, hour_sql
from programme.settings import Programme

# Commercial suites ask for about as much before they predict; below it intervals are very wide.
MEMBERS_WANTED = 500
HISTORY_OVER_HORIZON_WANTED = 4
ANONYMOUS_SHARE_MAX = 0.5
CATALOGUE_SHARE_WANTED = 0.8
CLOSED_DAYS_USUAL = 7


def judge(
    connection: duckdb.DuckDBPyConnection, lines: str, products: str, programme: Programme
) -> list[Finding]:
    """Return what is to be said of the purchases.

    Parameters
    ----------
    lines, products : SELECTs of the rows of both tables, every version
    """
    connection.execute(f"create or replace temp view usability_lines as {lines}")
    fact = _facts(connection, programme.timezone)
    rows = max(fact["rows"], 1)
    return [
        _amount_of_members(fact["members"]),
        _length_of_history(fact["days"], programme),
        _anonymous(fact["anonymous"], rows),
        *_returned(connection, fact["returns"]),
        *_worth_nothing(fact["zero"]),
        *_closed_days(fact["days"] - fact["trading_days"]),
        *_without_time(fact["untimed"], rows),
        _catalogue(connection, products, rows - fact["without_product"]),
        *_equal_lines(connection),
    ]


def _facts(connection: duckdb.DuckDBPyConnection, timezone: str) -> dict[str, int]:
    local = clock_of(connection, timezone, "select * from usability_lines")
    day = f"cast({local('occurred_at')} as date)"
    counted = connection.execute(
        f"""select count(distinct source_key) as members, sum(sign) as rows,
            sum(case when source_key is null then sign else 0 end) as anonymous,
            sum(case when {RETURNED} then sign else 0 end) as returns,
            sum(case when net_cents = 0 then sign else 0 end) as zero,
            sum(case when product_id is null then sign else 0 end) as without_product,
            sum(case when {hour_sql("occurred_at", local)} is null then sign else 0 end) as untimed,
            date_diff('day', min({day}), max({day})) + 1 as days,
            count(distinct {day}) as trading_days
        from usability_lines"""
    ).df()
    return {str(name): int(counted[name].fillna(0).iloc[0]) for name in counted}


def _returned(connection: duckdb.DuckDBPyConnection, returns: int) -> list[Finding]:
    if not returns:
        return []
    orphans = _returns_without_sale(connection)
    return [
        Finding(
            "returns",
            "warning" if orphans else "information",
            "purchases",
            "net_cents",
            returns,
            f"returned lines; {orphans:,} of them by members with no purchase on record",
            "export a longer history, or accept that their first purchase is unknown"
            if orphans
            else "",
        )
    ]


def _worth_nothing(zero: int) -> list[Finding]:
    if not zero:
        return []
    words = "lines with amount zero: counted as purchases worth nothing"
    return [Finding("amounts", "information", "purchases", "net_cents", zero, words)]


def _closed_days(missing_days: int) -> list[Finding]:
    if not missing_days:
        return []
    return [
        Finding(
            "calendar",
            "warning" if missing_days > CLOSED_DAYS_USUAL else "information",
            "purchases",
            "occurred_at",
            missing_days,
            "days without a single purchase",
            "closed days are fine; otherwise a file is missing",
        )
    ]


def _without_time(untimed: int, rows: int) -> list[Finding]:
    if untimed <= 0:
        return []
    every = untimed >= rows
    return [
        Finding(
            "times",
            "information",
            "purchases",
            "occurred_at",
            untimed,
            "lines at 00:00 exactly: no time of day is known, features and tags of the hour are "
            "left out"
            if every
            else f"lines at 00:00 exactly ({untimed / rows:.1%}): their time of day counts as "
            "unknown",
            "map a column that has the time of day to get them" if every else "",
        )
    ]


def _amount_of_members(members: int) -> Finding:
    return Finding(
        "size",
        "information" if members >= MEMBERS_WANTED else "warning",
        "purchases",
        "source_key",
        members,
        "members with a purchase",
        ""
        if members >= MEMBERS_WANTED
        else f"below {MEMBERS_WANTED} members grades carry wide intervals and rules often win",
    )


def _length_of_history(days: int, programme: Programme) -> Finding:
    longest = max(programme.churn_horizon_days, programme.value_horizon_days)
    enough = days >= HISTORY_OVER_HORIZON_WANTED * longest
    return Finding(
        "history",
        "information" if enough else "warning",
        "purchases",
        "occurred_at",
        days,
        "days of history",
        ""
        if enough
        else f"{HISTORY_OVER_HORIZON_WANTED} times the longest horizon "
        f"({HISTORY_OVER_HORIZON_WANTED * longest} days) lets models be judged forward in time",
    )


def _anonymous(anonymous: int, rows: int) -> Finding:
    share = anonymous / rows
    many = share > ANONYMOUS_SHARE_MAX
    return Finding(
        "members",
        "warning" if many else "information",
        "purchases",
        "source_key",
        anonymous,
        f"lines without a member, kept as anonymous ({share:.1%})",
        "check the member column of the mapping" if many else "",
    )


def _returns_without_sale(connection: duckdb.DuckDBPyConnection) -> int:
    return int(
        connection.execute(
            f"""select count(*) from usability_lines r where sign = 1
                and {RETURNED} and source_key is not null
                and source_key not in (
                    select source_key from usability_lines
                    where source_key is not null and not {RETURNED})"""
        ).fetchall()[0][0]
    )


def _catalogue(connection: duckdb.DuckDBPyConnection, products: str, lines: int) -> Finding:
    if lines <= 0:
        return Finding(
            "catalogue",
            "information",
            "products",
            "product_id",
            0,
            "no product numbers: preferences and recommendations are left out",
            "map the product column to get them",
        )
    named = connection.execute(
        f"""select coalesce(sum(sign), 0) from usability_lines
        where product_id in (select product_id from ({products}) where category is not null)"""
    ).fetchall()[0][0]
    share = int(named) / lines
    enough = share >= CATALOGUE_SHARE_WANTED
    return Finding(
        "catalogue",
        "information" if enough else "warning",
        "products",
        "category",
        int(named),
        f"purchase lines whose product has a category ({share:.1%})",
        "" if enough else "ingest the product list: preferences are counted in categories",
    )


def _equal_lines(connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    # Content identity ends in '-n': the second and later of equal lines have n >= 2.
    equal = connection.execute(
        "select count(*) from usability_lines "
        "where sign = 1 and regexp_matches(line_no, '^[0-9a-f]{32}-([2-9]|[0-9]{2,})$')"
    ).fetchall()[0][0]
    if not equal:
        return []
    return [
        Finding(
            "duplicates",
            "warning",
            "purchases",
            "line_no",
            int(equal),
            "lines equal to an earlier line of their file, kept as real purchases",
            'if they are export errors, set exact_duplicates = "drop" in the mapping',
        )
    ]
