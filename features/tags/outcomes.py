"""What a tag's lift is stated on: what members did in `[as_of, as_of + h)`."""

import difflib
from dataclasses import dataclass

import duckdb

from features import engine
from features.tags.goods import make_places
from features.times import DAYPARTS, WEEKDAYS
from programme.errors import InputRefused

GOODS_PREFIX = "goods."


@dataclass(frozen=True)
class Outcome:
    """One number a member, in words; empty where it cannot be measured of her."""

    name: str
    en: str
    zh: str
    sql: str


def _of_baskets(test: str) -> str:
    return f"count(*) filter (where {test}) / nullif(cast(count(*) as double), 0)"


def _of_timed(test: str) -> str:
    """Return a share of the baskets whose hour is known."""
    return f"count(*) filter (where {test}) / nullif(cast(count(hour) as double), 0)"


_FROM_ORDERS = (
    Outcome("buys", "buys", "会再次购买", "1.0"),
    Outcome("spend", "spend", "消费额", "cast(sum(net_cents) as double)"),
    Outcome("orders", "baskets", "购物次数", "cast(count(*) as double)"),
    Outcome("purchase_days", "days with a purchase", "购物天数",
            "cast(count(distinct days_ago) as double)"),
    Outcome("basket_cents", "mean amount of a basket", "客单价",
            "sum(net_cents) / cast(count(*) as double)"),
    Outcome("large_orders", "large baskets", "大篮次数",
            "cast(count(*) filter (where lines >= large_lines) as double)"),
    Outcome("large_share", "share of large baskets", "大篮占比",
            _of_baskets("lines >= large_lines")),
    Outcome("small_share", "share of small baskets", "小篮占比",
            _of_baskets("lines <= small_lines")),
    Outcome("discount_share", "share taken off by the shop", "折扣率",
            "sum(discount_cents) / nullif(cast(sum(net_cents + discount_cents) as double), 0)"),
    Outcome("coupon", "uses a coupon", "会用券",
            "max(case when coupon_cents > 0 then 1.0 else 0.0 end)"),
    Outcome("full_price_share", "share of baskets at full price", "全价购物占比",
            _of_baskets("coupon_cents <= 0 and discount_cents < 0.02 * "
                        "(net_cents + discount_cents)")),
    Outcome("deep_share", "share of baskets with a quarter off", "大幅折扣购物占比",
            _of_baskets("discount_cents > 0 and discount_cents >= 0.25 * "
                        "(net_cents + discount_cents)")),
    Outcome("weekend_share", "share of baskets at the weekend", "周末购物占比",
            _of_baskets("weekday in (0, 6)")),
    Outcome("after_work_share", "share of baskets on weekdays after work", "工作日下班后购物占比",
            _of_timed(f"weekday between 1 and 5 and {DAYPARTS['evening'].test}")),
    Outcome("month_start_share", "share of baskets in the first week of a month", "月初购物占比",
            _of_baskets("month_day <= 7")),
    Outcome("month_end_share", "share of baskets at the end of a month", "月末购物占比",
            _of_baskets("month_day >= 25")),
    Outcome("mid_month_share", "share of baskets in the middle of a month", "月中购物占比",
            _of_baskets("month_day between 11 and 20")),
    Outcome("stores", "stores visited", "到访门店数",
            "cast(count(distinct store_id) as double)"),
    *(Outcome(f"{day}_share", f"share of baskets on a {day.capitalize()}",
              f"周{'日一二三四五六'[number]}购物占比", _of_baskets(f"weekday = {number}"))
      for number, day in enumerate(WEEKDAYS)),
    *(Outcome(f"{part}_share", f"share of baskets from {day.hours}",
              f"{day.hours.replace(' to ', '至').removesuffix(' o' + chr(39) + 'clock')}点购物占比",
              _of_timed(day.test))
      for part, day in DAYPARTS.items()),
)  # fmt: skip
_FROM_CATEGORIES = (
    Outcome("categories", "categories bought", "购买品类数",
            "cast(count(*) filter (where recent) as double)"),
    Outcome("new_categories", "categories never bought before", "首次购买的品类数",
            "cast(count(*) filter (where recent and first_ago <= {days}) as double)"),
    Outcome("private_share", "share of the shop's own brands", "自有品牌占比",
            "sum(private) / nullif(cast(sum(labelled) as double), 0)"),
    Outcome("price_index", "price level of what is bought", "价格水平指数",
            "1000.0 * sum(priced) / nullif(sum(expected_milli), 0)"),
)  # fmt: skip
_ELSEWHERE = (
    Outcome("leaves", "does not buy", "不再购买", ""),
    Outcome("returns", "returns something", "会退货", ""),
    Outcome("redeems", "redeems an offer", "会兑换优惠", ""),
)
OUTCOMES: dict[str, Outcome] = {
    one.name: one for one in (*_FROM_ORDERS, *_FROM_CATEGORIES, *_ELSEWHERE)
}
# Who did not buy did none of it; of the others no share can be taken, so they stay empty.
_ZERO_OF_NOBODY = frozenset({
    "buys", "spend", "orders", "purchase_days", "large_orders", "coupon", "stores", "categories",
    "new_categories",
})  # fmt: skip


def check(name: str, goods: frozenset[str], where: str) -> None:
    """Refuse an outcome there is not."""
    if name in OUTCOMES or (
        name.startswith(GOODS_PREFIX) and name.removeprefix(GOODS_PREFIX) in goods
    ):
        return
    there_are = [*OUTCOMES, *(f"{GOODS_PREFIX}{one}" for one in sorted(goods))]
    close = difflib.get_close_matches(name, there_are, n=3, cutoff=0.5)
    raise InputRefused(
        f"{where} states its lift on {name!r}, which is no outcome. No tag was read. "
        f"Take {' or '.join(close) if close else ', '.join(OUTCOMES)}."
    )


def words(name: str, language: str, goods: dict[str, str]) -> str:
    """Return an outcome in words; `goods` names the kinds of goods in that language."""
    if name.startswith(GOODS_PREFIX):
        kind = goods[name.removeprefix(GOODS_PREFIX)]
        return f"会购买{kind}" if language == "zh" else f"buys {kind}"
    return OUTCOMES[name].zh if language == "zh" else OUTCOMES[name].en


def measure(
    connection: duckdb.DuckDBPyConnection,
    members: str,
    days: int,
    goods: tuple[str, ...],
    places: tuple[tuple[str, str], ...],
) -> None:
    """Make the temp table `tag_outcomes`: one row per member, one column per outcome.

    Parameters
    ----------
    connection : with the relations prepared for the day `days` after the tags' own, and the
        reference tables of the tags' own day
    members : a SELECT of the member_ids to answer for
    goods : kinds of goods asked for, by id
    places : (category, goods id)
    """
    make_places(connection, places, goods)
    bought = ", ".join(
        f"max(1.0) filter (where goods = {engine.text(one)}) as {engine.name(GOODS_PREFIX + one)}"
        for one in goods
    )
    kinds = f"""select member_id{", " if bought else ""}{bought} from member_categories
        join tag_places using (category) where lines > 0 and days_ago <= {days}
        group by member_id"""
    columns = [_column(one, "o") for one in _FROM_ORDERS]
    columns += [_column(one, "c") for one in _FROM_CATEGORIES]
    columns += [
        "case when o.buys is null then 1.0 else 0.0 end as leaves",
        "case when t.member_id is not null then 1.0 else 0.0 end as returns",
        "case when k.member_id is not null then 1.0 else 0.0 end as redeems",
        *(
            f"coalesce(g.{engine.name(GOODS_PREFIX + one)}, 0.0) as "
            f"{engine.name(GOODS_PREFIX + one)}"
            for one in goods
        ),
    ]
    connection.execute(
        f"""create or replace temp table tag_outcomes as
        select m.member_id, {", ".join(columns)} from ({members}) m
        left join ({_orders_sql(days)}) o using (member_id)
        left join ({_categories_sql(days)}) c using (member_id)
        left join (select distinct member_id from member_orders
            where return_lines > 0 and days_ago <= {days}) t on t.member_id = m.member_id
        left join (select member_id from known_contacts
            where kind = 'redeemed' and days_ago <= {days} group by member_id
            having sum(sign) > 0) k on k.member_id = m.member_id
        left join ({kinds}) g on g.member_id = m.member_id
        order by m.member_id"""
    )


def _column(one: Outcome, owner: str) -> str:
    if one.name in _ZERO_OF_NOBODY:
        return f"coalesce({owner}.{one.name}, 0.0) as {one.name}"
    return f"{owner}.{one.name}"


def _orders_sql(days: int) -> str:
    listed = ", ".join(f"{one.sql} as {one.name}" for one in _FROM_ORDERS)
    return f"""select member_id, {listed} from member_orders cross join reference_programme
        where lines > 0 and days_ago <= {days} group by member_id"""


def _categories_sql(days: int) -> str:
    listed = ", ".join(f"{one.sql.format(days=days)} as {one.name}" for one in _FROM_CATEGORIES)
    now = f"lines > 0 and days_ago <= {days}"
    priced = f"{now} and r.price_cents > 0 and quantity_milli > 0"
    return f"""select member_id, {listed} from (
            select member_id, category, max(days_ago) filter (where lines > 0) as first_ago,
                   count(*) filter (where {now}) > 0 as recent,
                   sum(private_lines) filter (where {now}) as private,
                   sum(labelled_lines) filter (where {now}) as labelled,
                   sum(gross_cents) filter (where {priced}) as priced,
                   sum(cast(round(quantity_milli * r.price_cents) as hugeint))
                       filter (where {priced}) as expected_milli
            from member_categories left join reference_categories r using (category)
            group by member_id, category
        ) group by member_id having count(*) filter (where recent) > 0"""
