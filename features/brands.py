"""Which brands a member buys, and how faithful she is to them."""

from features.group import Column, FeatureGroup

_ROWS = """
    select *, lines_364d / nullif(sum(lines_364d) over (partition by member_id), 0) as share
    from (
        select member_id, brand,
               coalesce(cast(sum(lines) filter (where days_ago <= 84) as double), 0) as lines_84d,
               coalesce(cast(sum(lines) filter (where days_ago > 84) as double), 0) as lines_older,
               coalesce(cast(sum(lines) filter (where days_ago <= 364) as double), 0) as lines_364d
        from member_brands group by member_id, brand
    )"""

BRANDS = FeatureGroup(
    name="brands",
    meaning="shares, breadth and entropy of brands",
    rows=_ROWS,
    reads=("purchases", "products"),
    empty="nothing bought of a known brand, last 364 days",
    by_line=True,
    columns=(
        Column(
            "brand_count_364d", "brands", "brands bought, last 364 days",
            "count(*) filter (where lines_364d > 0)", absent=0,
        ),
        Column(
            "brand_entropy", "nats", "evenness over brands, last 364 days",
            "-sum(case when share > 0 then cast(share * ln(share) as decimal(38, 16)) end)",
        ),
        Column(
            "brand_hhi_364d", "index", "Herfindahl index of lines over brands, last 364 days",
            "sum(cast(share * share as decimal(38, 16)))",
        ),
        Column(
            "top_brand_share_364d", "share", "of lines of the favourite brand, last 364 days",
            "max(share)",
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
            "min_by(brand, {share: -share, brand: brand}) filter (where share > 0)",
            use="report",
        ),
    ),
)  # fmt: skip
