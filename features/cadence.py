"""The rhythm of a member's purchases: her own gaps, and how overdue she is by them."""

from features.group import Column, FeatureGroup

# One row per gap between neighbouring purchase days; the gap that is still open is `recency`.
_GAPS = """
    select member_id, days_ago,
           lag(days_ago) over (partition by member_id order by days_ago desc) - days_ago
               as gap_days,
           min(days_ago) over (partition by member_id) as recency
    from member_days where bought > 0"""

_MEAN = "avg(gap_days)"
# The sample standard deviation over whole days, in whole numbers up to the last step: summed in
# doubles its last digits would depend on which thread comes first.
_SPREAD = (
    "sqrt((count(gap_days) * sum(gap_days * gap_days) - sum(gap_days) * sum(gap_days)) / "
    "nullif(count(gap_days) * (count(gap_days) - 1), 0))"
)

CADENCE = FeatureGroup(
    name="cadence",
    meaning="gaps between purchase days",
    rows=_GAPS,
    columns=(
        Column("gap_days_mean", "days", "mean gap between purchase days", _MEAN),
        Column("gap_days_sd", "days", "standard deviation of the gaps", _SPREAD),
        Column(
            "gap_days_cv", "ratio", "standard deviation of the gaps over their mean",
            f"{_SPREAD} / nullif({_MEAN}, 0)",
        ),
        Column("gap_days_max", "days", "the longest gap so far", "max(gap_days)"),
        Column(
            "gap_days_last", "days", "the gap before the last purchase day",
            "max(gap_days) filter (where days_ago = recency)",
        ),
        Column(
            "gap_days_mean_recent", "days", "mean of the gaps that ended in the last 84 days",
            "avg(gap_days) filter (where days_ago <= 84)",
        ),
        Column(
            "overdue_ratio", "ratio", "days since the last purchase over the mean gap",
            f"min(recency) / nullif({_MEAN}, 0)",
        ),
        Column(
            "overdue_score", "standard deviations",
            "days since the last purchase beyond the mean gap, in its spread",
            f"(min(recency) - {_MEAN}) / nullif({_SPREAD} + 1, 0)",
        ),
        Column(
            "longer_gap_share", "share", "of own gaps that were longer than the silence now",
            "avg(case when gap_days > recency then 1.0 when gap_days is not null then 0.0 end)",
        ),
    ),
)  # fmt: skip
