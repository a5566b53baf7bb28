"""Measures only tags read: how hours, days, stores, periods and baskets go together.

They stand outside the feature table because no model asks for them; they are made the same way,
one SELECT a group over the prepared relations, and like segments they may look across members.
`{as_of}` stands for the day.
"""

from features.carried import SIZES, TIME_OF_DAY
from features.group import Column, FeatureGroup
from features.tags.feeds import CAMPAIGNS
from features.times import DAYPARTS

_182, _364 = "days_ago <= 182", "days_ago <= 364"
_WEEKDAY, _WEEKEND = "weekday between 1 and 5", "weekday in (0, 6)"
_MORNING, _LUNCH, _EVENING = (DAYPARTS[part].test for part in ("early", "lunch", "evening"))
_FROM_FIVE = "(hour >= 17 or hour < 5)"
_DISCOUNT, _COUPON, _SIZES = ("discount",), ("coupon",), (SIZES,)
_LARGE, _SMALL = "lines >= large_lines", "lines <= small_lines"


def _count(test: str, window: str = _182) -> str:
    return f"count(*) filter (where {test} and {window})"


def _share(test: str, window: str = _182, among: str = "true") -> str:
    return (
        f"count(*) filter (where {test} and {among} and {window}) / "
        f"nullif(cast(count(*) filter (where {among} and {window}) as double), 0)"
    )


def _hours(name: str, meaning: str, test: str, among: str = "true") -> Column:
    """Return a share of the baskets whose hour is known."""
    sql = _share(test, among=f"hour is not null and {among}")
    sizes = () if among == "true" else _SIZES
    return Column(name, "share", meaning, sql, needs=(TIME_OF_DAY, *sizes))


def _spend_share(test: str, window: str = _182) -> str:
    return (
        f"sum(net_cents) filter (where {test} and {window}) / "
        f"nullif(cast(sum(net_cents) filter (where {window}) as double), 0)"
    )


ORDERS = FeatureGroup(
    name="tag_orders",
    meaning="baskets by size, hour and day together",
    rows="""select o.*, p.small_lines, p.large_lines
        from member_orders o cross join reference_programme p where o.lines > 0""",
    columns=(
        Column("large_orders_182d", "orders", "large baskets", _count(_LARGE), absent=0,
        needs=_SIZES),
        Column("small_orders_182d", "orders", "small baskets", _count(_SMALL), absent=0,
        needs=_SIZES),
        Column("weekend_large_share_182d", "share", "of large baskets bought at the weekend",
               _share(_WEEKEND, among=_LARGE), needs=_SIZES),
        Column("large_spend_share_182d", "share", "of spend in large baskets",
               _spend_share(_LARGE), needs=_SIZES),
        Column("small_spend_share_182d", "share", "of spend in small baskets",
               _spend_share(_SMALL), needs=_SIZES),
        Column("weekend_spend_share_182d", "share", "of spend at the weekend",
               _spend_share(_WEEKEND)),
        _hours("after_work_share_182d", "of baskets, Monday to Friday, 17 to 20 o'clock",
               f"{_WEEKDAY} and {_EVENING}"),
        _hours("working_hours_share_182d", "of baskets, Monday to Friday, 9 to 16 o'clock",
               f"{_WEEKDAY} and hour between 9 and 16"),
        _hours("weekday_morning_share_182d", "of baskets, Monday to Friday, before 11 o'clock",
               f"{_WEEKDAY} and {_MORNING}"),
        _hours("weekday_lunch_share_182d", "of baskets, Monday to Friday, 11 to 13 o'clock",
               f"{_WEEKDAY} and {_LUNCH}"),
        _hours("weekend_morning_share_182d", "of baskets, weekend, before 11 o'clock",
               f"{_WEEKEND} and {_MORNING}"),
        _hours("weekend_midday_share_182d", "of baskets, weekend, 11 to 15 o'clock",
               f"{_WEEKEND} and hour between 11 and 15"),
        _hours("weekend_evening_share_182d", "of baskets, weekend, from 17 o'clock",
               f"{_WEEKEND} and {_FROM_FIVE}"),
        _hours("going_out_share_182d", "of baskets, Friday and Saturday, from 17 o'clock",
               f"weekday in (5, 6) and {_FROM_FIVE}"),
        _hours("before_work_share_182d", "of baskets from 5 to 8 o'clock",
               "hour between 5 and 8"),
        _hours("late_share_182d", "of baskets from 20 to 4 o'clock",
               "(hour >= 20 or hour < 5)"),
        _hours("large_evening_share_182d", "of large baskets from 17 o'clock",
               _FROM_FIVE, _LARGE),
        _hours("large_morning_share_182d", "of large baskets before 11 o'clock",
               _MORNING, _LARGE),
        _hours("small_lunch_share_182d", "of small baskets from 11 to 13 o'clock",
               _LUNCH, _SMALL),
        _hours("small_evening_share_182d", "of small baskets from 17 o'clock",
               _FROM_FIVE, _SMALL),
        Column("single_line_share_182d", "share", "of baskets with one line",
               _share("lines = 1"), needs=_SIZES),
        Column("huge_basket_share_182d", "share",
               "of baskets twice the size of a large one", _share("lines >= 2 * large_lines"),
               needs=_SIZES),
        Column("payday_share_364d", "share",
               "of baskets on the 1st to 3rd and 15th to 17th of a month",
               _share("(month_day <= 3 or month_day between 15 and 17)", _364)),
        Column("mid_month_share_364d", "share", "of baskets on the 11th to 20th of a month",
               _share("month_day between 11 and 20", _364)),
        Column("month_start_spend_share_364d", "share",
               "of spend on the 1st to 7th of a month", _spend_share("month_day <= 7", _364)),
        Column("month_end_spend_share_364d", "share",
               "of spend on the 25th of a month or later", _spend_share("month_day >= 25", _364)),
        Column("basket_cents_median_364d", "cents", "amount of the middle basket",
               f"quantile_disc(net_cents, 0.5) filter (where {_364})"),
        Column("basket_cents_high_364d", "cents",
               "amount that one basket in ten exceeds",
               f"quantile_disc(net_cents, 0.9) filter (where {_364})"),
        Column("line_cents_mean_182d", "cents", "mean amount of a line",
               f"sum(net_cents) filter (where {_182}) / "
               f"nullif(cast(sum(lines) filter (where {_182}) as double), 0)"),
        Column("saved_cents_364d", "cents", "saved by discounts and coupons",
               f"coalesce(sum(discount_cents + coupon_cents) filter (where {_364}), 0)", absent=0,
               needs=_DISCOUNT),
        Column("coupon_days_182d", "days", "days with a coupon",
               f"count(distinct days_ago) filter (where coupon_cents > 0 and {_182})", absent=0,
               needs=_COUPON),
        Column("coupon_cents_364d", "cents", "paid with coupons",
               f"coalesce(sum(coupon_cents) filter (where {_364}), 0)", absent=0, needs=_COUPON),
        Column("coupon_large_share_364d", "share", "of large baskets with a coupon",
               _share("coupon_cents > 0", _364, _LARGE), needs=(*_COUPON, *_SIZES)),
        Column("deal_small_share_364d", "share", "of small baskets with a quarter off or more",
               _share("discount_cents >= 0.25 * (net_cents + discount_cents) "
                      "and discount_cents > 0", _364, _SMALL), needs=(*_DISCOUNT, *_SIZES)),
        Column("large_discount_share_364d", "share", "that the shop took off large baskets",
               f"sum(discount_cents) filter (where {_LARGE} and {_364}) / nullif(cast(sum("
               f"net_cents + discount_cents) filter (where {_LARGE} and {_364}) as double), 0)",
               needs=(*_DISCOUNT, *_SIZES)),
        Column("weekend_discount_share_364d", "share", "that the shop took off at the weekend",
               f"sum(discount_cents) filter (where {_WEEKEND} and {_364}) / nullif(cast(sum("
               f"net_cents + discount_cents) filter (where {_WEEKEND} and {_364}) as double), 0)",
               needs=_DISCOUNT),
        Column("saved_share_182d", "share", "of the full price saved by discounts and coupons",
               f"sum(discount_cents + coupon_cents) filter (where {_182}) / nullif(cast(sum("
               f"net_cents + discount_cents) filter (where {_182}) as double), 0)",
               needs=_DISCOUNT),
    ),
)  # fmt: skip

# How common a home store is needs all members' home stores: a second pass over few rows.
_BY_STORE = """
        select *, row_number() over (
                partition by member_id order by orders_364d desc, store_id) as place
        from (
            select member_id, store_id, count(*) filter (where days_ago <= 364) as orders_364d,
                   sum(net_cents) filter (where days_ago <= 364) as cents_364d,
                   count(*) filter (where days_ago <= 364 and lines >= large_lines) as large_364d,
                   count(*) filter (where days_ago <= 364 and lines <= small_lines) as small_364d,
                   count(*) filter (where days_ago <= 364 and weekday in (0, 6)) as weekend_364d,
                   min(days_ago) as last_days, max(days_ago) as first_days
            from member_orders cross join reference_programme
            where lines > 0 and store_id is not null group by member_id, store_id
        ) where orders_364d > 0"""
STORES = FeatureGroup(
    name="tag_stores",
    meaning="how baskets and money spread over stores",
    needs=("store",),
    rows=f"""
        with places as ({_BY_STORE}), homes as (
            select store_id, count(*) / cast(sum(count(*)) over () as double) as fellows
            from places where place = 1 group by store_id
        )
        select * from places left join homes using (store_id)""",
    columns=(
        Column("stores_364d", "stores", "stores bought in", "count(*)", absent=0),
        Column("regular_stores_364d", "stores", "stores bought in at least six times",
               "count(*) filter (where orders_364d >= 6)", absent=0),
        Column("home_store_orders_share_364d", "share", "of baskets in the most visited store",
               "max(orders_364d) / cast(sum(orders_364d) as double)"),
        Column("home_store_spend_share_364d", "share", "of spend in the store with most of it",
               "max(cents_364d) / nullif(cast(sum(cents_364d) as double), 0)"),
        Column("second_store_share_364d", "share", "of baskets in the second store",
               "coalesce(max(orders_364d) filter (where place = 2), 0) "
               "/ cast(sum(orders_364d) as double)"),
        Column("one_visit_stores_364d", "stores", "stores visited once",
               "count(*) filter (where orders_364d = 1)", absent=0),
        Column("new_stores_182d", "stores", "stores first visited in the last 26 weeks",
               "count(*) filter (where first_days <= 182)", absent=0),
        Column("home_store_large_share_364d", "share",
               "of large baskets in the most visited store",
               "max(large_364d) filter (where place = 1) "
               "/ nullif(cast(sum(large_364d) as double), 0)", needs=_SIZES),
        Column("away_small_share_364d", "share", "of small baskets in other stores",
               "1 - max(small_364d) filter (where place = 1) "
               "/ nullif(cast(sum(small_364d) as double), 0)", needs=_SIZES),
        Column("away_weekend_share_364d", "share", "of weekend baskets in other stores",
               "1 - max(weekend_364d) filter (where place = 1) "
               "/ nullif(cast(sum(weekend_364d) as double), 0)"),
        Column("home_store_members_share", "share",
               "of members with the same most visited store",
               "max(fellows) filter (where place = 1)"),
    ),
)  # fmt: skip
PERIODS = FeatureGroup(
    name="tag_periods",
    meaning="how even her four-week periods are, and which season is hers",
    rows="""
        select member_id, (days_ago - 1) // 28 as period, net_cents as cents, bought, days_ago,
               month({as_of} - days_ago::integer) as month,
               max(days_ago) filter (where bought > 0) over (partition by member_id) as tenure
        from member_days where days_ago <= 364""",
    columns=(
        Column("periods_182d", "periods", "four-week periods with a purchase, of the last six",
               "count(distinct period) filter (where bought > 0 and days_ago <= 168)", absent=0),
        Column("periods_364d", "periods", "four-week periods with a purchase, of the last 13",
               "count(distinct period) filter (where bought > 0)", absent=0),
        Column("weeks_182d", "weeks", "weeks with a purchase, of the last 26",
               "count(distinct (days_ago - 1) // 7) filter (where bought > 0 and "
               "days_ago <= 182)", absent=0),
        Column("best_period_share_168d", "share",
               "of the spend of six four-week periods in the best of them",
               "greatest("
               + ", ".join(f"coalesce(sum(cents) filter (where period = {n}), 0)"
                           for n in range(6))
               + ") / nullif(cast(sum(cents) filter (where days_ago <= 168) as double), 0)"),
        Column("worst_period_share_168d", "share",
               "of the spend of six four-week periods in the worst of them",
               "least("
               + ", ".join(f"coalesce(sum(cents) filter (where period = {n}), 0)"
                           for n in range(6))
               + ") / nullif(cast(sum(cents) filter (where days_ago <= 168) as double), 0)"),
        Column("half_year_ratio", "ratio",
               "spend a day in the last 26 weeks over that of the time before, a year at most",
               "sum(cents) filter (where days_ago <= 182) / 182.0 / nullif("
               "cast(sum(cents) filter (where days_ago > 182) as double) / "
               "nullif(greatest(least(364, any_value(tenure)) - 182, 0), 0), 0)"),
    ),
)  # fmt: skip

# Where the programme's year is not full yet, a season is measured on what there is of it.
_SEASONS = {"spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11), "winter": (12, 1, 2)}
SEASONS = FeatureGroup(
    name="tag_seasons",
    meaning="her share of a season's purchase days over the programme's",
    rows="""
        select d.*, w.share / nullif(max(w.share) over (), 0) as busy, w.promotion,
               sum(case when bought > 0 then 1 else 0 end) over () as all_days,
               month({as_of} - d.days_ago::integer) as month
        from member_days d left join reference_weeks w on w.weeks_back = (d.days_ago - 1) // 7
        where d.days_ago <= 364 and d.bought > 0""",
    columns=(
        *(Column(f"{season}_share_364d", "share", f"of purchase days in {season}",
                 f"count(*) filter (where month in {months}) / cast(count(*) as double)")
          for season, months in _SEASONS.items()),
        Column("promotion_week_share_364d", "share", "of purchase days in promotion weeks",
               "count(*) filter (where promotion) / cast(count(*) as double)", needs=_DISCOUNT),
        Column("busy_week_share_364d", "share",
               "of purchase days in the programme's busiest weeks",
               "count(*) filter (where busy >= 0.95) / cast(count(*) as double)"),
    ),
)  # fmt: skip

RHYTHM = FeatureGroup(
    name="tag_rhythm",
    meaning="breaks, runs and usual days",
    rows="""
        select *, gap_days >= 28 as long_gap from (
            select member_id, days_ago, orders, weekday, month_day,
                   lead(days_ago) over (partition by member_id order by days_ago) - days_ago
                       as gap_days
            from member_days where bought > 0
        )""",
    columns=(
        Column("breaks_364d", "breaks", "silences of four weeks or more that ended",
               f"count(*) filter (where long_gap and {_364})", absent=0),
        Column("days_since_break", "days", "since she came back from four weeks of silence",
               "min(days_ago) filter (where long_gap)"),
        Column("next_day_share_182d", "share", "of purchase days that follow one the day before",
               _share("gap_days = 1")),
        Column("weekly_gap_share_182d", "share", "of gaps of six to eight days",
               _share("gap_days between 6 and 8", among="gap_days is not null")),
        Column("fortnight_gap_share_182d", "share", "of gaps of 12 to 16 days",
               _share("gap_days between 12 and 16", among="gap_days is not null")),
        Column("top_weekday_share_182d", "share", "of purchase days on her usual weekday",
               "greatest(" + ", ".join(_count(f"weekday = {day}") for day in range(7))
               + f") / nullif(cast(count(*) filter (where {_182}) as double), 0)"),
        Column("two_trip_share_182d", "share", "of purchase days with two baskets or more",
               _share("orders >= 2")),
    ),
)  # fmt: skip

GROUPS: tuple[FeatureGroup, ...] = (ORDERS, STORES, PERIODS, SEASONS, RHYTHM, CAMPAIGNS)
COLUMNS: dict[str, tuple[FeatureGroup, Column]] = {
    column.name: (group, column) for group in GROUPS for column in group.columns
}
