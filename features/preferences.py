"""What a member buys: her categories, how wide, how even, how new, and at which price."""

from features.group import Column, FeatureGroup
from features.prices import PRICE_COLUMNS


def _sums(value: str, name: str, *windows: str) -> str:
    return ", ".join(
        f"cast(sum({value} * in_{window}) as bigint) as {name}_{window}" for window in windows
    )


# One row per member and category; a category whose lines were all taken back by corrections is no
# preference. The price columns read the same rows: there are nearly as many of them as lines, and
# they are gone through once. A product with 0 or 1 is cheaper than a FILTER for each sum.
_CATEGORIES = f"""
    select c.*, n.name as category, r.price_cents, r.discount_rate, r.ln_size,
           d.purchase_days_84d,
           gross_182d + gross_before_182d as gross_364d,
           quantity_182d + quantity_before_182d as quantity_364d,
           1000000000 * lines_364d - n.place as liking
    from (
        select member_no, category_no, cast(sum(lines) as bigint) as lines,
               {_sums("lines", "lines", "84d", "before_84d", "364d")},
               {_sums("days", "days", "84d", "364d", "older")},
               {_sums("gross_cents", "gross", "84d", "182d", "before_182d")},
               {_sums("quantity_milli", "quantity", "84d", "182d", "before_182d")},
               {_sums("discount_cents", "discount", "364d")},
               {_sums("labelled_lines", "labelled", "182d", "before_182d")},
               {_sums("private_lines", "private", "182d", "before_182d")},
               {_sums("sized_lines", "sized", "364d")},
               {_sums("size_micro", "size_micro", "364d")}
        from (
            select *, cast(days_ago <= 84 as tinyint) as in_84d,
                   cast(days_ago between 85 and 168 as tinyint) as in_before_84d,
                   cast(days_ago > 84 as tinyint) as in_older,
                   cast(days_ago <= 182 as tinyint) as in_182d,
                   cast(days_ago between 183 and 364 as tinyint) as in_before_182d,
                   cast(days_ago <= 364 as tinyint) as in_364d
            from known_categories
        ) group by member_no, category_no
    ) c
    join known_names n on n.name_no = c.category_no
    left join (
        select name_no, r.* from reference_categories r join known_names on name = category
    ) r on r.name_no = c.category_no
    left join (
        select member_no, count(*) filter (where bought > 0 and days_ago <= 84)
            as purchase_days_84d
        from member_days group by member_no
    ) d on d.member_no = c.member_no
    where lines > 0"""

# Shares need no second look at the rows: with x lines of a category of S in all, the entropy is
# ln S - sum(x ln x) / S. Sums of decimals are the same in any order of the rows.
_ALL = "cast(nullif(sum(lines_364d), 0) as double)"
_X_LN_X = (
    "sum(case when lines_364d > 0 then cast(lines_364d * ln(lines_364d) as decimal(38, 16)) end)"
)
# The favourite has most lines, and of several the first name.
_FAVOURITE = "max_by({what}, liking) filter (where lines_364d > 0)"


def _favourite_share(window: str) -> str:
    favourite = _FAVOURITE.format(what=f"lines_{window}")
    return f"{favourite} / cast(nullif(sum(lines_{window}), 0) as double)"


PREFERENCES = FeatureGroup(
    name="preferences",
    meaning="shares, breadth, entropy and prices of product categories",
    rows=_CATEGORIES,
    reads=("purchases", "products"),
    needs=("category",),
    empty="nothing bought of a known category inside the window",
    by_line=True,
    key="member_no",
    columns=(
        Column(
            "category_count", "categories", "categories ever bought", "count(*)", absent=0
        ),
        Column(
            "category_count_84d", "categories", "categories bought in the last 84 days",
            "count(*) filter (where lines_84d > 0)", absent=0,
        ),
        Column(
            "category_count_364d", "categories", "categories bought in the last 364 days",
            "count(*) filter (where lines_364d > 0)", absent=0,
        ),
        Column(
            "category_entropy", "nats", "evenness over categories, last 364 days",
            f"ln({_ALL}) - {_X_LN_X} / {_ALL}",
        ),
        Column(
            "category_hhi_364d", "index",
            "Herfindahl index of lines over categories, last 364 days; 1: one category only",
            f"sum(lines_364d * lines_364d) / ({_ALL} * {_ALL})",
        ),
        Column(
            "top_category_share", "share", "of lines in the favourite category, last 364 days",
            f"max(lines_364d) / {_ALL}",
        ),
        Column(
            "top_category_momentum", "share",
            "share of the favourite category in the last 84 days less its share in the 84 before",
            f"{_favourite_share('84d')} - {_favourite_share('before_84d')}",
            empty="nothing bought in one of the two windows",
        ),
        Column(
            "new_category_share_84d", "share",
            "of the categories of the last 84 days that the 84 days before did not have",
            "count(*) filter (where lines_84d > 0 and lines_before_84d <= 0) / "
            "nullif(cast(count(*) filter (where lines_84d > 0) as double), 0)",
        ),
        Column(
            "lost_category_share_84d", "share",
            "of the categories of the 84 days before that the last 84 days lack",
            "count(*) filter (where lines_84d <= 0 and lines_before_84d > 0) / "
            "nullif(cast(count(*) filter (where lines_before_84d > 0) as double), 0)",
        ),
        Column(
            "novelty_rate_84d", "share",
            "of the categories of the last 84 days that were never bought before them",
            "count(*) filter (where lines_84d > 0 and days_older <= 0) / "
            "nullif(cast(count(*) filter (where lines_84d > 0) as double), 0)",
        ),
        Column(
            "loyal_category_count_364d", "categories",
            "categories bought on at least six days, last 364 days",
            "count(*) filter (where days_364d >= 6)", absent=0,
        ),
        Column(
            "one_off_category_share_364d", "share",
            "of the categories of the last 364 days that were bought on one day only",
            "count(*) filter (where days_364d = 1) / "
            "nullif(cast(count(*) filter (where days_364d > 0) as double), 0)",
        ),
        Column(
            "basket_categories_mean_84d", "categories",
            "mean categories of a day with a purchase, last 84 days",
            "sum(days_84d) / nullif(cast(any_value(purchase_days_84d) as double), 0)",
        ),
        *PRICE_COLUMNS,
        Column(
            "top_category", "name", "favourite category, last 364 days; first by name on a tie",
            _FAVOURITE.format(what="category"), use="report",
        ),
    ),
)  # fmt: skip
