"""What a member buys: her categories, how wide, how even, how new, and at which price."""

from features.group import Column, FeatureGroup
from features.prices import PRICE_COLUMNS

_84, _BEFORE = "days_ago <= 84", "days_ago between 85 and 168"
_182, _182_BEFORE = "days_ago <= 182", "days_ago between 183 and 364"
_364 = "days_ago <= 364"


def _sum(value: str, window: str) -> str:
    return f"coalesce(sum({value}) filter (where {window}), 0)"


# One row per member and category; a category whose lines were all taken back by corrections is no
# preference. The price columns read the same rows: there are nearly as many of them as lines, and
# they are gone through once.
_CATEGORIES = f"""
    select c.*, n.name as category, r.price_cents, r.discount_rate, r.ln_size, d.purchase_days_84d
    from (
        select member_no, category_no, sum(lines) as lines,
               coalesce(sum(days) filter (where days_ago > 84), 0) as days_older,
               {_sum("lines", _84)} as lines_84d, {_sum("lines", _BEFORE)} as lines_before,
               {_sum("lines", _364)} as lines_364d,
               {_sum("days", _84)} as days_84d, {_sum("days", _364)} as days_364d,
               {_sum("gross_cents", _364)} as gross_364d,
               {_sum("gross_cents", _84)} as gross_84d,
               {_sum("gross_cents", _182)} as gross_182d,
               {_sum("gross_cents", _182_BEFORE)} as gross_before_182d,
               {_sum("discount_cents", _364)} as discount_364d,
               {_sum("quantity_milli", _364)} as quantity_364d,
               {_sum("quantity_milli", _84)} as quantity_84d,
               {_sum("quantity_milli", _182)} as quantity_182d,
               {_sum("quantity_milli", _182_BEFORE)} as quantity_before_182d,
               {_sum("labelled_lines", _182)} as labelled_182d,
               {_sum("labelled_lines", _182_BEFORE)} as labelled_before_182d,
               {_sum("private_lines", _182)} as private_182d,
               {_sum("private_lines", _182_BEFORE)} as private_before_182d,
               {_sum("sized_lines", _364)} as sized_364d,
               {_sum("size_micro", _364)} as size_micro_364d
        from known_categories group by member_no, category_no
    ) c
    join known_names n on n.name_no = c.category_no
    left join (
        select name_no, r.* from reference_categories r join known_names on name = category
    ) r on r.name_no = c.category_no
    left join (
        select member_no, count(*) filter (where bought > 0 and {_84}) as purchase_days_84d
        from member_days group by member_no
    ) d on d.member_no = c.member_no
    where lines > 0"""

# Shares need no second look at the rows: with x lines of a category of S in all, the entropy is
# ln S - sum(x ln x) / S. Sums of decimals are the same in any order of the rows.
_ALL = "cast(nullif(sum(lines_364d), 0) as double)"
_X_LN_X = (
    "sum(case when lines_364d > 0 then cast(lines_364d * ln(lines_364d) as decimal(38, 16)) end)"
)
_FAVOURITE = (
    "min_by({what}, {{lines: -lines_364d, category: category}}) filter (where lines_364d > 0)"
)


def _favourite_share(window: str) -> str:
    favourite = _FAVOURITE.format(what=f"lines_{window}")
    return f"{favourite} / cast(nullif(sum(lines_{window}), 0) as double)"


PREFERENCES = FeatureGroup(
    name="preferences",
    meaning="shares, breadth, entropy and prices of product categories",
    rows=_CATEGORIES,
    reads=("purchases", "products"),
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
            f"{_favourite_share('84d')} - {_favourite_share('before')}",
            empty="nothing bought in one of the two windows",
        ),
        Column(
            "new_category_share_84d", "share",
            "of the categories of the last 84 days that the 84 days before did not have",
            "count(*) filter (where lines_84d > 0 and lines_before <= 0) / "
            "nullif(cast(count(*) filter (where lines_84d > 0) as double), 0)",
        ),
        Column(
            "lost_category_share_84d", "share",
            "of the categories of the 84 days before that the last 84 days lack",
            "count(*) filter (where lines_84d <= 0 and lines_before > 0) / "
            "nullif(cast(count(*) filter (where lines_before > 0) as double), 0)",
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
