"""Kinds of goods: which categories of this catalogue they are, and what a member does with them."""

import hashlib
import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import duckdb

from features import engine, table
from features.group import Column
from features.lake import Lake, Manifest
from features.tags.declared import Goods, OwnCategories, Words

NAME_LENGTH_SHOWN = 60
OWN_MOST = 100
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


@dataclass(frozen=True)
class Catalogue:
    """Which kinds of goods a programme's categories are.

    Parameters
    ----------
    places : (category, goods id), ordered
    fit : share of the lines of the last year whose category is of a declared kind
    own : the programme's most bought categories as kinds of goods, most lines first
    """

    places: tuple[tuple[str, str], ...]
    fit: float
    own: tuple[Goods, ...]

    def places_of(self, goods: tuple[Goods, ...]) -> tuple[tuple[str, str], ...]:
        """Return the places, with those of the own categories that are among some goods."""
        return (*self.places, *((one.category, one.id) for one in goods if one.category))


def describe(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    midnight: str,
    goods: tuple[Goods, ...],
) -> Catalogue:
    """Match the declared kinds of goods with the categories bought in the last year.

    Parameters
    ----------
    connection : with the relations of a snapshot prepared
    midnight : SQL of the instant at which as_of begins
    """
    connection.execute(
        f"""create or replace temp table tag_departments as
        select category, min(department) as department from (
            select category, department, rank() over (
                partition by category order by count(*) desc, department) as place
            from (
                select product_id, arg_max(category, known_at) as category,
                       arg_max(department, known_at) as department
                from ({lake.rows_sql("products", manifest)})
                where sign > 0 and known_at < {midnight} group by product_id
            ) where category is not null group by category, department
        ) where place = 1 group by category"""
    )
    # The frozen table of prices has every category of the last year with its share of lines.
    rows = connection.execute(
        """select category, department, line_share from reference_categories
        left join tag_departments using (category) order by line_share desc, category"""
    ).fetchall()
    matchers = [(one.id, matcher(one)) for one in goods]
    places: list[tuple[str, str]] = []
    fitting = []
    for category, department, share in rows:
        found = [name for name, matches in matchers if matches(category, department or "")]
        places += [(category, name) for name in found]
        fitting += [float(share)] if found else []
    own = tuple(own_category(str(row[0])) for row in rows[:OWN_MOST])
    return Catalogue(tuple(sorted(places)), math.fsum(fitting), own)


def own_category(category: str) -> Goods:
    """Return a programme's category as a kind of goods of its own, under a name that keeps."""
    slug = re.sub(r"[^a-z0-9]+", "_", category.lower()).strip("_")[:32]
    digest = hashlib.sha256(category.encode()).hexdigest()[:8]
    shown = category if len(category) <= NAME_LENGTH_SHOWN else f"{category[:NAME_LENGTH_SHOWN]}…"
    words = Words(en=shown, zh=shown)
    return Goods(id=f"own_{slug}_{digest}".replace("__", "_"), name=words, category=category)


def taken(catalogue: Catalogue, wish: OwnCategories) -> tuple[Goods, ...]:
    """Return the own categories a template asks for; none where the declared goods fit."""
    if catalogue.fit >= wish.where_goods_fit_less_than:
        return ()
    return catalogue.own[: wish.most]


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


def matcher(goods: Goods) -> Callable[[str, str], bool]:
    """Return whether a category, mostly of some department, is of a kind of goods."""
    yes, no = _pattern(goods.words), _pattern(goods.except_)
    departments = _pattern(goods.departments)

    def matches(category: str, department: str) -> bool:
        if goods.category:
            return category == goods.category
        if no is not None and no.search(category):
            return False
        return bool(
            (yes is not None and yes.search(category))
            or (departments is not None and departments.search(department))
        )

    return matches


def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Match any of the words: whole ones in Latin script, with or without a plural s.

    A word that runs into a number is a code: "cat0" and "cat_12" are categories, and no cats.
    """
    if not words:
        return None
    parts = [
        rf"(?<![a-zà-ÿ0-9]){re.escape(word)}(?:e?s)?(?![a-zà-ÿ]|[_-]?[0-9])"
        if word.isascii()
        else re.escape(word)
        for word in words
    ]
    return re.compile("|".join(parts), re.IGNORECASE)
