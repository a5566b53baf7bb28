"""A member's year against the programme's: whether she shops when the others do."""

from features.group import Column, FeatureGroup

# Four weeks smooth the week in which a holiday happens to fall.
_PERIODS = """
    select m.member_id, m.purchase_days, m.purchase_days_84d, r.share, p.season_share_84d,
           m.purchase_days / nullif(cast(sum(m.purchase_days) over own as double), 0) as own_share,
           sum(m.purchase_days) over own as year_days
    from (
        select member_id, (days_ago - 1) // 28 as period, count(*) as purchase_days,
               count(*) filter (where days_ago <= 84) as purchase_days_84d
        from member_days where bought > 0 and days_ago <= 364 group by member_id, period
    ) m left join (
        select weeks_back // 4 as period, cast(sum(cast(share as decimal(18, 16))) as double)
            as share
        from reference_weeks group by period
    ) r using (period) cross join reference_programme p
    window own as (partition by m.member_id)"""

SEASONS = FeatureGroup(
    name="seasons",
    meaning="the member's season against the programme's",
    rows=_PERIODS,
    empty="no purchase, last 364 days",
    columns=(
        # Where two distributions differ, one lies above as much as the other: half of the sum.
        Column(
            "season_distance_364d", "share",
            "of her purchase days that would have to move to another four weeks to follow the "
            "programme's year",
            "sum(cast(greatest(0, own_share - coalesce(share, 0)) as decimal(18, 16)))",
        ),
        Column(
            "season_ratio_84d", "log ratio",
            "purchase days of the last 84 days against what the programme's season makes of "
            "her year",
            "ln((1.0 + sum(purchase_days_84d)) / "
            "(1.0 + any_value(year_days) * any_value(season_share_84d)))",
        ),
    ),
)  # fmt: skip
