"""What a member buys: her categories, how wide, how even, how new, and at which price."""

from features.group import Column, FeatureGroup
from features.prices import PRICE_COLUMNS

_84, _BEFORE = "days_ago <= 84", "days_ago between 85 and 168"
_182, _182_BEFORE = "days_ago <= 182", "days_ago between 183 and 364"
_364 = "days_ago <= 364"


def _sum(value: str, window: str) -> str:
    return f"coalesce(sum({value}) filter (where {window}), 0)"


# One row per member and category, with its share of her lines; a category whose lines were all
# taken back by corrections is no preference. The price columns read the same rows: there are
# nearly as many of them as lines, and they are gone through once.
_CATEGORIES = f"""
    select *, cast(lines_364d as double) / nullif(sum(lines_364d) over own, 0) as share,
           cast(lines_84d as double) / nullif(sum(lines_84d) over own, 0) as share_84d,
           cast(lines_before as double) / nullif(sum(lines_before) over own, 0) as share_before
    from (
        select member_id, category, any_value(r.price_cents) as price_cents,
               any_value(r.discount_rate) as discount_rate, any_value(r.ln_size) as ln_size,
               any_value(d.purchase_days_84d) as purchase_days_84d,
               sum(lines) as lines, max(days_ago) filter (where lines > 0) as first_ago,
               {_sum("lines", _84)} as lines_84d, {_sum("lines", _BEFORE)} as lines_before,
               {_sum("lines", _364)} as lines_364d,
               count(*) filter (where lines > 0 and {_84}) as days_84d,
               count(*) filter (where lines > 0 and {_364}) as days_364d,
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
        from member_categories
        left join reference_categories r using (category)
        left join (
            select member_id, count(*) filter (where bought > 0 and {_84}) as purchase_days_84d
            from member_days group by member_id
        ) d using (member_id)
        group by member_id, category
    ) where lines > 0 window own as (partition by member_id)"""

# A sum of doubles depends on which thread comes first; a sum of decimals does not.
_SHARE_LN_SHARE = "case when share > 0 then cast(share * ln(share) as decimal(38, 16)) end"
# min_by passes over rows whose value is null: the favourite's own must not be.
_MOMENTUM = "coalesce(share_84d - share_before, 'nan'::double)"
_FAVOURITE = "min_by({what}, {{share: -share, category: category}}) filter (where share > 0)"

PREFERENCES = FeatureGroup(
    name="preferences",
    meaning="shares, breadth, entropy and prices of product categories",
    rows=_CATEGORIES,
    reads=("purchases", "products"),
    empty="nothing bought of a known category inside the window",
    by_line=True,
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
            f"-sum({_SHARE_LN_SHARE})",
        ),
        Column(
            "category_hhi_364d", "index",
            "Herfindahl index of lines over categories, last 364 days; 1: one category only",
            "sum(cast(share * share as decimal(38, 16)))",
        ),
        Column(
            "top_category_share", "share", "of lines in the favourite category, last 364 days",
            "max(share)",
        ),
        Column(
            "top_category_momentum", "share",
            "share of the favourite category in the last 84 days less its share in the 84 before",
            f"nullif({_FAVOURITE.format(what=_MOMENTUM)}, 'nan'::double)",
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
            "count(*) filter (where lines_84d > 0 and first_ago <= 84) / "
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
