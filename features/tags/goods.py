"""Kinds of goods: which categories of this catalogue they are, and what a member does with them."""

import hashlib
import re
from dataclasses import dataclass

import duckdb

from features import engine
from features.group import Column
from features.lake import Lake, Manifest
from features.tags.declared import Goods, OwnCategories, Words

NAME_LENGTH_SHOWN = 60
# Lines by which a member's share is drawn towards the programme's: one line is no taste.
SHRINKAGE_LINES = 20

_HALF, _YEAR = "days_ago <= 182", "days_ago <= 364"
# Over the rows of one member and one kind of goods: one a day she bought it.
MEASURES: dict[str, Column] = {
    column.name: column
    for column in (
        Column("days_84d", "days", "days bought", "count(*) filter (where days_ago <= 84)", 0),
        Column("days_182d", "days", "days bought", f"count(*) filter (where {_HALF})", 0),
        Column("days_364d", "days", "days bought", f"count(*) filter (where {_YEAR})", 0),
        Column("days_life", "days", "days bought, ever", "count(*)", 0),
        Column("last_days", "days", "since last bought", "min(days_ago)"),
        Column("first_days", "days", "since first bought", "max(days_ago)"),
        Column("gap_days", "days", "between two purchases, on average",
               "(max(days_ago) - min(days_ago)) / nullif(cast(count(*) - 1 as double), 0)"),
        Column("overdue_ratio", "ratio", "days since last bought over the usual gap",
               "min(days_ago) * (count(*) - 1) / nullif(cast(max(days_ago) - min(days_ago) "
               "as double), 0)"),
        Column("spend_share_364d", "share", "of spend",
               f"sum(net_cents) filter (where {_YEAR}) / nullif(cast(any_value(cents_364d) "
               "as double), 0)"),
        Column("share_index_364d", "index", "share of lines over the programme's",
               f"(coalesce(sum(lines) filter (where {_YEAR}), 0) + {SHRINKAGE_LINES} * "
               f"any_value(usual)) / (any_value(lines_364d) + {SHRINKAGE_LINES}) "
               "/ nullif(any_value(usual), 0)"),
        Column("share_index_182d", "index", "share of lines over the programme's",
               f"(coalesce(sum(lines) filter (where {_HALF}), 0) + {SHRINKAGE_LINES} * "
               f"any_value(usual)) / (any_value(lines_182d) + {SHRINKAGE_LINES}) "
               "/ nullif(any_value(usual), 0)"),
        Column("share_trend_182d", "log ratio",
               "share of lines in the last 26 weeks against the time before, a year at most",
               f"ln((coalesce(sum(lines) filter (where {_HALF}), 0) + {SHRINKAGE_LINES} * "
               f"any_value(usual)) / (any_value(lines_182d) + {SHRINKAGE_LINES})) - "
               "ln((coalesce(sum(lines) filter (where days_ago between 183 and 364), 0) + "
               f"{SHRINKAGE_LINES} * any_value(usual)) / (any_value(lines_364d) - "
               f"any_value(lines_182d) + {SHRINKAGE_LINES}))"),
        Column("discount_share_364d", "share", "taken off the full price",
               f"sum(discount_cents) filter (where {_YEAR}) / nullif(cast(sum(gross_cents) "
               f"filter (where {_YEAR}) as double), 0)"),
        Column("discount_index_364d", "index", "discount over the programme's on the same goods",
               f"sum(discount_cents) filter (where {_YEAR}) / nullif(cast(sum(expected_discount) "
               f"filter (where {_YEAR}) as double), 0)"),
        Column("price_index_364d", "index", "price over the programme's in the same categories",
               f"sum(priced_cents) filter (where {_YEAR}) / nullif(cast(sum(expected_cents) "
               f"filter (where {_YEAR}) as double), 0)"),
        Column("category_count_364d", "categories", "different categories",
               "any_value(category_count_364d)", 0),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Catalogue:
    """Which kinds of goods a programme's categories are.

    Parameters
    ----------
    places : (category, goods id), ordered
    fit : share of the lines of the last year whose category is of a declared kind
    own : the programme's most bought categories as kinds of goods, most members first
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
    rows = connection.execute(
        """select c.category, any_value(d.department), sum(c.lines), count(distinct c.member_id)
        from member_categories c left join tag_departments d using (category)
        where c.days_ago <= 364 and c.lines > 0 group by c.category
        order by count(distinct c.member_id) desc, c.category"""
    ).fetchall()
    matchers = [(one.id, _matcher(one)) for one in goods]
    places: list[tuple[str, str]] = []
    fitting = 0
    for category, department, lines, _ in rows:
        found = [name for name, matches in matchers if matches(category, department or "")]
        places += [(category, name) for name in found]
        fitting += int(lines) if found else 0
    total = sum(int(row[2]) for row in rows)
    own = tuple(own_category(str(row[0])) for row in rows[:100])
    return Catalogue(tuple(sorted(places)), fitting / total if total else 0.0, own)


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
    connection.execute("create or replace temp table tag_places (category varchar, goods varchar)")
    ids = {goods for goods, _ in wanted}
    kept = [pair for pair in places if pair[1] in ids]
    if kept:
        connection.executemany("insert into tag_places values (?, ?)", kept)
    connection.execute(f"create or replace temp table tag_goods_days as {_DAYS}")
    measures = sorted({name for _, name in wanted})
    listed = ", ".join(f"{MEASURES[name].sql} as {name}" for name in measures) or "0 as nothing"
    connection.execute(
        f"""create or replace temp table tag_goods_long as
        select member_id, goods, {listed} from ({_ROWS}) group by member_id, goods"""
    )
    columns = "".join(
        f", max({name}) filter (where goods = {engine.text(goods)}) as "
        f"{engine.name(column_name(goods, name))}"
        for goods, name in wanted
    )
    connection.execute(
        f"create or replace temp table tag_goods as "
        f"select member_id{columns} from tag_goods_long group by member_id"
    )
    for name in ("tag_goods_days", "tag_goods_long"):
        connection.execute(f"drop table {name}")


def column_name(goods: str, measure: str) -> str:
    """Return what a rule calls a measure of a kind of goods."""
    return f"goods.{goods}.{measure}"


_DAYS = """
    select member_id, goods, days_ago, sum(lines) as lines, sum(net_cents) as net_cents,
           sum(gross_cents) as gross_cents, sum(discount_cents) as discount_cents,
           sum(case when r.price_cents > 0 and quantity_milli > 0 then gross_cents end)
               as priced_cents,
           cast(sum(case when r.price_cents > 0 and quantity_milli > 0 then cast(
               quantity_milli * r.price_cents / 1000.0 as decimal(30, 6)) end) as double)
               as expected_cents,
           cast(sum(cast(gross_cents * coalesce(r.discount_rate, 0) as decimal(30, 6))) as double)
               as expected_discount
    from member_categories c join tag_places using (category)
    left join reference_categories r using (category)
    where c.lines > 0 group by member_id, goods, days_ago"""
_ROWS = """
    select d.*, t.lines_364d, t.lines_182d, t.cents_364d, n.category_count_364d, u.usual
    from tag_goods_days d
    join (
        select member_id, coalesce(sum(lines) filter (where days_ago <= 364), 0) as lines_364d,
               coalesce(sum(lines) filter (where days_ago <= 182), 0) as lines_182d,
               coalesce(sum(net_cents) filter (where days_ago <= 364), 0) as cents_364d
        from member_categories group by member_id
    ) t using (member_id)
    left join (
        select member_id, goods, count(distinct category) as category_count_364d
        from member_categories join tag_places using (category)
        where lines > 0 and days_ago <= 364 group by member_id, goods
    ) n using (member_id, goods)
    left join (
        select goods, sum(line_share) as usual
        from tag_places join reference_categories using (category) group by goods
    ) u using (goods)"""


def _matcher(goods: Goods):  # type: ignore[no-untyped-def]
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
    """Match any of the words: whole ones in Latin script, with or without a plural s."""
    if not words:
        return None
    parts = [
        rf"(?<![a-z]){re.escape(word)}(?:e?s)?(?![a-z])" if word.isascii() else re.escape(word)
        for word in words
    ]
    return re.compile("|".join(parts), re.IGNORECASE)
