"""What a member does with each kind of goods."""

from collections.abc import Collection

import duckdb

from features import engine, table
from features.group import Column

# Lines by which a member's share is drawn towards the programme's: one line is no taste.
SHRINKAGE_LINES = 20

# Days bought are bits, 64 to a word: the days of several categories are their union.
_WORDS = range(6)


def _days(window: int) -> str:
    """Return SQL counting the days of a window in the words of bits."""
    whole, rest = divmod(window, 64)
    counted = [f"bit_count(days_{word})::integer" for word in range(whole)]
    if rest:
        counted.append(f"bit_count(days_{whole} & {(1 << rest) - 1}::ubigint)::integer")
    return f"({' + '.join(counted)})"


def _index(window: str) -> str:
    """Return her share of lines over the programme's, drawn towards it."""
    return (
        f"({window} + {SHRINKAGE_LINES} * usual) / (all_{window} + {SHRINKAGE_LINES}) "
        "/ nullif(usual, 0)"
    )


def _log_share(lines: str, of: str) -> str:
    return f"ln(({lines} + {SHRINKAGE_LINES} * usual) / ({of} + {SHRINKAGE_LINES}))"


# Over one row a member and kind of goods: its sums of the last 364 days and its days.
MEASURES: dict[str, Column] = {
    column.name: column
    for column in (
        Column("days_84d", "days", "days bought", _days(84), 0),
        Column("days_182d", "days", "days bought", _days(182), 0),
        Column("days_364d", "days", "days bought", _days(364), 0),
        Column("last_days", "days", "since last bought", "last_days"),
        Column("first_days", "days", "since first bought", "first_days"),
        Column("overdue_ratio", "ratio", "days since last bought over the usual gap",
               f"last_days * ({_days(364)} - 1) / nullif(cast(early_days - last_days as double), "
               "0)"),
        Column("spend_share_364d", "share", "of spend",
               "net_cents / nullif(cast(all_net_cents as double), 0)"),
        Column("share_index_364d", "index", "share of lines over the programme's",
               _index("lines")),
        Column("share_index_182d", "index", "share of lines over the programme's",
               _index("lines_182d")),
        Column("share_trend_182d", "log ratio",
               "share of lines in the last 26 weeks against the time before, a year at most",
               f"{_log_share('lines_182d', 'all_lines_182d')} - "
               f"{_log_share('(lines - lines_182d)', '(all_lines - all_lines_182d)')}"),
        Column("discount_share_364d", "share", "taken off the full price",
               "discount_cents / nullif(cast(gross_cents as double), 0)", needs=("discount",)),
        Column("discount_index_364d", "index", "discount over the programme's on the same goods",
               "1000.0 * discount_cents / nullif(expected_discount_milli, 0)",
               needs=("discount",)),
        Column("price_index_364d", "index", "price over the programme's in the same categories",
               "1000.0 * priced_cents / nullif(expected_milli, 0)"),
        Column("category_count_364d", "categories", "different categories",
               "cast(categories as integer)", 0),
    )
}  # fmt: skip


def measure(
    connection: duckdb.DuckDBPyConnection,
    places: tuple[tuple[str, str], ...],
    wanted: tuple[tuple[str, str], ...],
) -> None:
    """Make the temp table `tag_goods`: one row per member, a column per goods and measure.

    Parameters
    ----------
    places : (category, goods id)
    wanted : (goods id, measure), in column order
    """
    make_places(connection, places, {goods for goods, _ in wanted})
    # 0 is whatever is of no kind asked for.
    connection.execute(
        """create or replace temp table tag_numbers as
        select name_no as category_no, category,
               cast(row_number() over (order by category) as integer) as number,
               price_cents, discount_rate
        from (select distinct category from tag_places) join known_names on name = category
        left join reference_categories using (category)"""
    )
    connection.execute(
        "create or replace temp table tag_place_numbers as "
        "select number, goods from tag_places join tag_numbers using (category)"
    )
    measures = sorted({name for _, name in wanted})
    listed = ", ".join(f"{MEASURES[name].sql} as {name}" for name in measures) or "0 as nothing"
    long = f"select member_no, goods, {listed} from ({_BY_GOODS})"
    lines = _lines(connection)
    none = _BY_CATEGORY.format(lines=f"(select * from {lines} limit 0)")
    connection.execute(f"create or replace temp table tag_goods_long as {long.format(rows=none)}")
    for _ in table.some_members_at_a_time(connection):
        connection.execute(
            f"create or replace temp table tag_categories as {_BY_CATEGORY.format(lines=lines)}"
        )
        connection.execute(
            f"insert into tag_goods_long {long.format(rows='select * from tag_categories')}"
        )
    connection.execute("drop table if exists tag_categories")
    _pivot(connection, wanted)
    connection.execute("drop table tag_goods_long")


def make_places(
    connection: duckdb.DuckDBPyConnection, places: tuple[tuple[str, str], ...], ids: Collection[str]
) -> None:
    """Make the temp table `tag_places`: which categories are of the kinds of goods asked for.

    Parameters
    ----------
    places : (category, goods id)
    ids : of the goods asked for
    """
    connection.execute("create or replace temp table tag_places (category varchar, goods varchar)")
    kept = [pair for pair in places if pair[1] in ids]
    if kept:
        connection.executemany("insert into tag_places values (?, ?)", kept)


def _lines(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the relation to add up: netted by day only where something was taken back.

    Without a correction no row takes anything back, a day that came in pieces sets the same bit
    twice, and the rows themselves say the same.
    """
    taken_back = connection.execute(
        "select exists (select 1 from known_categories where lines < 0)"
    ).fetchall()[0][0]
    return f"({_NETTED})" if taken_back else "known_categories"


def _pivot(connection: duckdb.DuckDBPyConnection, wanted: tuple[tuple[str, str], ...]) -> None:
    """Make `tag_goods` of `tag_goods_long`: a join for each kind costs less than a filter."""
    ids = sorted({goods for goods, _ in wanted})
    columns = "".join(
        f", g{ids.index(goods)}.{name} as {engine.name(column_name(goods, name))}"
        for goods, name in wanted
    )
    joins = " ".join(
        f"left join (select * from tag_goods_long where goods = {engine.text(goods)}) g{place} "
        f"on g{place}.member_no = m.member_no"
        for place, goods in enumerate(ids)
    )
    connection.execute(
        f"create or replace temp table tag_goods as select member_id{columns} "
        f"from (select distinct member_no from tag_goods_long) m "
        f"join known_members k on k.member_no = m.member_no {joins}"
    )


def column_name(goods: str, measure: str) -> str:
    """Return what a rule calls a measure of a kind of goods."""
    return f"goods.{goods}.{measure}"


_BITS = ", ".join(
    f"coalesce(bit_or(bit) filter (where word = {word}), 0::ubigint) as days_{word}"
    for word in _WORDS
)
_ADDED = ("lines", "net_cents", "gross_cents", "discount_cents", "quantity_milli")
_NETTED = f"""
    select member_no, category_no, days_ago,
           {", ".join(f"cast(sum({name}) as bigint) as {name}" for name in _ADDED)}
    from known_categories group by member_no, category_no, days_ago"""
# What is compared with the programme's price or rate is summed in thousandths: a sum of doubles
# depends on which thread comes first, a sum of integers does not.
_BY_CATEGORY = f"""
    select c.*, cast(round(quantity_milli * r.price_cents) as hugeint) as expected_milli,
           case when r.price_cents > 0 and quantity_milli > 0 then gross_cents end as priced_cents,
           cast(round(1000 * gross_cents * coalesce(r.discount_rate, 0)) as hugeint)
               as expected_discount_milli
    from (
        select member_no, number, min(days_ago) as last_days, max(days_ago) as first_days,
               nullif(max(days_ago * in_364d), 0) as early_days,
               {", ".join(f"cast(sum({name} * in_364d) as bigint) as {name}" for name in _ADDED)},
               cast(sum(lines * in_182d) as bigint) as lines_182d,
               {_BITS}
        from (
            select member_no, coalesce(number, 0) as number, days_ago, lines, net_cents,
                   gross_cents, discount_cents, quantity_milli,
                   cast(days_ago <= 364 as tinyint) as in_364d,
                   cast(days_ago <= 182 as tinyint) as in_182d,
                   case when days_ago <= 364 then (days_ago - 1) // 64 end as word,
                   1::ubigint << cast((days_ago - 1) % 64 as ubigint) as bit
            from {{lines}} left join tag_numbers using (category_no)
            where lines > 0
        ) group by member_no, number
    ) c left join tag_numbers r using (number)"""
_BY_GOODS = f"""
    select g.*, t.all_lines, t.all_lines_182d, t.all_net_cents, u.usual
    from (
        select member_no, goods, min(last_days) as last_days, max(first_days) as first_days,
               max(early_days) as early_days, sum(lines) as lines, sum(lines_182d) as lines_182d,
               sum(net_cents) as net_cents, sum(gross_cents) as gross_cents,
               sum(discount_cents) as discount_cents, sum(priced_cents) as priced_cents,
               sum(expected_milli) filter (where priced_cents is not null) as expected_milli,
               sum(expected_discount_milli) as expected_discount_milli,
               count(*) filter (where lines > 0) as categories,
               {", ".join(f"bit_or(days_{word}) as days_{word}" for word in _WORDS)}
        from ({{rows}}) join tag_place_numbers using (number) group by member_no, goods
    ) g
    join (
        select member_no, sum(lines) as all_lines, sum(lines_182d) as all_lines_182d,
               sum(net_cents) as all_net_cents
        from ({{rows}}) group by member_no
    ) t using (member_no)
    left join (
        select goods, cast(sum(cast(line_share as decimal(18, 12))) as double) as usual
        from tag_places join reference_categories using (category) group by goods
    ) u using (goods)"""
