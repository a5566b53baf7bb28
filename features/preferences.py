"""What a member buys: her categories, how wide and how even."""

from features.group import Column, FeatureGroup

# One row per member and category, with its share of her lines; a category whose lines were all
# taken back by corrections is no preference.
_CATEGORIES = """
    select *, lines_364d / nullif(sum(lines_364d) over (partition by member_id), 0) as share
    from (
        select member_id, category,
               cast(sum(lines) as double) as lines,
               coalesce(cast(sum(lines) filter (where days_ago <= 84) as double), 0) as lines_84d,
               coalesce(cast(sum(lines) filter (where days_ago between 85 and 168) as double), 0)
                   as lines_before,
               coalesce(cast(sum(lines) filter (where days_ago <= 364) as double), 0) as lines_364d
        from member_categories
        group by member_id, category
    ) where lines > 0"""

# A sum of doubles depends on which thread comes first; a sum of decimals does not.
_SHARE_LN_SHARE = "case when share > 0 then cast(share * ln(share) as decimal(38, 16)) end"

PREFERENCES = FeatureGroup(
    name="preferences",
    meaning="shares, breadth and entropy of product categories",
    rows=_CATEGORIES,
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
            "top_category_share", "share", "of lines in the favourite category, last 364 days",
            "max(share)",
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
            "top_category", "name", "favourite category, last 364 days; first by name on a tie",
            "min_by(category, {share: -share, category: category}) filter (where share > 0)",
            use="report",
        ),
    ),
)  # fmt: skip
