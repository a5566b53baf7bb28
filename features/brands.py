"""Which brands a member buys, and how faithful she is to them."""

from features.group import Column, FeatureGroup

_ROWS = """
    select member_no, lines_364d, lines_84d, lines_older, n.name as brand,
           1000000000 * lines_364d - n.place as liking
    from (
        select member_no, brand_no,
               cast(sum(lines * cast(days_ago <= 84 as tinyint)) as bigint) as lines_84d,
               cast(sum(lines * cast(days_ago > 84 as tinyint)) as bigint) as lines_older,
               cast(sum(lines * cast(days_ago <= 364 as tinyint)) as bigint) as lines_364d
        from known_brands group by member_no, brand_no
    ) join known_names n on n.name_no = brand_no"""
# Shares need no second look at the rows: with x lines of a brand of S in all, the entropy is
# ln S - sum(x ln x) / S. Sums of decimals are the same in any order of the rows.
_ALL = "cast(nullif(sum(lines_364d), 0) as double)"
_X_LN_X = (
    "sum(case when lines_364d > 0 then cast(lines_364d * ln(lines_364d) as decimal(38, 16)) end)"
)

BRANDS = FeatureGroup(
    name="brands",
    meaning="shares, breadth and entropy of brands",
    rows=_ROWS,
    reads=("purchases", "products"),
    needs=("brand",),
    empty="nothing bought of a known brand, last 364 days",
    by_line=True,
    key="member_no",
    columns=(
        Column(
            "brand_count_364d", "brands", "brands bought, last 364 days",
            "count(*) filter (where lines_364d > 0)", absent=0,
        ),
        Column(
            "brand_entropy", "nats", "evenness over brands, last 364 days",
            f"ln({_ALL}) - {_X_LN_X} / {_ALL}",
        ),
        Column(
            "brand_hhi_364d", "index", "Herfindahl index of lines over brands, last 364 days",
            f"sum(lines_364d * lines_364d) / ({_ALL} * {_ALL})",
        ),
        Column(
            "top_brand_share_364d", "share", "of lines of the favourite brand, last 364 days",
            f"max(lines_364d) / {_ALL}",
        ),
        Column(
            "new_brand_share_84d", "share",
            "of the brands of the last 84 days that were never bought before",
            "count(*) filter (where lines_84d > 0 and lines_older <= 0) / "
            "nullif(cast(count(*) filter (where lines_84d > 0) as double), 0)",
            empty="nothing bought of a known brand, last 84 days",
        ),
        Column(
            "top_brand", "name", "favourite brand, last 364 days; first by name on a tie",
            "max_by(brand, liking) filter (where lines_364d > 0)",
            use="report",
        ),
    ),
)  # fmt: skip
