"""Reference tables: what the programme as a whole did before `as_of`, frozen for one snapshot.

A member is compared with them (the price her categories have, the season), so they must not move
while the rows of one member are computed again: a snapshot keeps those of the snapshot it grew
from, and their hash is part of its name.

weeks        52 weeks back from as_of: share of the year's purchase days; whether on promotion
categories   price of a unit, discount rate, mean log size, share of lines, last 364 days
programme    one row: usual gap, basket sizes, the programme's own change of spend
tables       contract tables of which something was known
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import duckdb

from features.lake import Lake, Manifest

# A promotion week is one in the top quarter of the programme's weekly share of discount.
PROMOTION_QUANTILE = 0.75
TREND_DAYS = (28, 84, 182)

_WEEKS = f"""
    with weeks as (
        select (days_ago - 1) // 7 as weeks_back, sum(bought_day) as purchase_days,
               sum(discount_cents) / nullif(cast(sum(gross_cents) as double), 0) as discount_share
        from (
            select days_ago, case when bought > 0 then 1 else 0 end as bought_day,
                   discount_cents, net_cents + discount_cents as gross_cents
            from member_days where days_ago <= 364
        ) group by weeks_back
    )
    select cast(weeks_back as integer) as weeks_back,
           purchase_days / nullif(cast(sum(purchase_days) over () as double), 0) as share,
           coalesce(discount_share > 0 and discount_share >=
               quantile_cont(discount_share, {PROMOTION_QUANTILE}) over (), false) as promotion
    from weeks where purchase_days > 0 order by weeks_back"""
_CATEGORIES = """
    select n.name as category,
           sum(gross_cents) / nullif(sum(quantity_milli) / 1000.0, 0) as price_cents,
           sum(discount_cents) / nullif(cast(sum(gross_cents) as double), 0) as discount_rate,
           sum(size_micro) / nullif(1e6 * sum(sized_lines), 0) as ln_size,
           sum(lines) / nullif(cast(sum(sum(lines)) over () as double), 0) as line_share
    from known_categories join known_names n on n.name_no = category_no where days_ago <= 364
    group by n.name having sum(lines) > 0 order by category"""
_GAP = """
    select avg(cast(gap as decimal(18, 9))) from (
        select (max(days_ago) - min(days_ago)) / cast(count(*) - 1 as double) as gap
        from member_days where bought > 0 group by member_id having count(*) > 1
    )"""
_BASKETS = """
    select quantile_disc(lines, 0.25), quantile_disc(lines, 0.75)
    from member_orders where lines > 0 and days_ago <= 364"""
_SEASON = "select coalesce(sum(share), 0) from reference_weeks where weeks_back < 12"


def _change(days: int) -> str:
    """Return the log change of spend among members who were there for both windows."""
    return f"""
        select case when count(*) > 0 then ln((100.0 + greatest(0, coalesce(sum(recent), 0)))
                / (100.0 + greatest(0, coalesce(sum(before), 0)))) end
        from (
            select sum(net_cents) filter (where days_ago <= {days}) as recent,
                   sum(net_cents) filter (where days_ago between {days + 1} and {2 * days})
                       as before
            from member_days group by member_id
            having max(days_ago) filter (where bought > 0) > {2 * days}
        )"""


DEFINITION = "".join(
    (_WEEKS, _CATEGORIES, _GAP, _BASKETS, _SEASON, *(_change(days) for days in TREND_DAYS))
)
_SHAPES = {
    "weeks": "weeks_back integer, share double, promotion boolean",
    "categories": "category varchar, price_cents double, discount_rate double, ln_size double, "
    "line_share double",
    "programme": "gap_days double, small_lines double, large_lines double, "
    "season_share_84d double, "
    "spend_change_28d double, spend_change_84d double, spend_change_182d double",
}


@dataclass(frozen=True)
class Reference:
    """The tables, as rows of plain values; `digest` names their content."""

    weeks: tuple[tuple[Any, ...], ...]
    categories: tuple[tuple[Any, ...], ...]
    programme: tuple[tuple[Any, ...], ...]
    tables: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Return 8 hexadecimal digits of the content."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:8]

    def as_json(self) -> str:
        """Return the tables as text; every double is written so that it reads back equal."""
        return json.dumps(vars(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Reference":
        """Read what `as_json` wrote."""
        content = json.loads(text)
        rows = {name: tuple(tuple(row) for row in content[name]) for name in _SHAPES}
        return cls(**rows, tables=tuple(content["tables"]))

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the temp tables `reference_weeks`, `_categories` and `_programme`."""
        for name, shape in _SHAPES.items():
            rows: tuple[tuple[Any, ...], ...] = getattr(self, name)
            connection.execute(f"create or replace temp table reference_{name} ({shape})")
            for row in rows:
                marks = ", ".join("?" for _ in row)
                connection.execute(f"insert into reference_{name} values ({marks})", list(row))


def measure(
    connection: duckdb.DuckDBPyConnection, lake: Lake, manifest: Manifest, midnight: str
) -> Reference:
    """Measure the programme from the relations prepared for all members.

    Parameters
    ----------
    midnight : SQL of the instant at which as_of begins
    """

    def rows(sql: str) -> tuple[tuple[Any, ...], ...]:
        return tuple(tuple(row) for row in connection.execute(sql).fetchall())

    def number(sql: str) -> float | None:
        value = rows(sql)[0][0]
        return None if value is None else float(value)

    weeks = rows(_WEEKS)
    small, large = rows(_BASKETS)[0]
    season = sum(share for back, share, _ in weeks if back < 12 and share is not None)
    programme = (number(_GAP), small, large, season, *(number(_change(d)) for d in TREND_DAYS))
    return Reference(weeks, rows(_CATEGORIES), (programme,), known_tables(
        connection, lake, manifest, midnight
    ))  # fmt: skip


def known_tables(
    connection: duckdb.DuckDBPyConnection, lake: Lake, manifest: Manifest, midnight: str
) -> tuple[str, ...]:
    """Return the contract tables of which a row had happened and was known before an instant."""
    known = ["purchases"]
    for table in ("products", "events", "contacts", "points"):
        rows = lake.rows_sql(table, manifest)
        happened = f"and occurred_at < {midnight}" if table != "products" else ""
        if connection.execute(
            f"select exists (select 1 from ({rows}) where known_at < {midnight} {happened})"
        ).fetchall()[0][0]:
            known.append(table)
    return tuple(known)
