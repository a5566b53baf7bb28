"""The rhythm of a member's purchases: her own gaps, and how overdue she is by them."""

from features.group import Column, FeatureGroup

# How many gaps of the programme's usual length a member is thought to have shown beforehand.
PRIOR_GAPS = 3

# One row per day with a purchase and the gap it ended; the gap that is still open is `recency`.
# The year of clumpiness starts with the first purchase where that is later.
_GAPS = """
    select *, least(364, tenure) as year,
           case when days_ago <= least(364, tenure) then least(
               coalesce(gap_days, 365), least(364, tenure) + 1 - days_ago) end as year_gap
    from (
        select member_id, days_ago,
               lag(days_ago) over (own order by days_ago desc) - days_ago as gap_days,
               row_number() over (own order by days_ago) as place,
               min(days_ago) over own as recency, max(days_ago) over own as tenure
        from member_days where bought > 0 window own as (partition by member_id)
    ) cross join (select gap_days as usual_gap from reference_programme)"""

_MEAN = "avg(gap_days)"
# The sample standard deviation over whole days, in whole numbers up to the last step: summed in
# doubles its last digits would depend on which thread comes first.
_SPREAD = (
    "sqrt((count(gap_days) * sum(gap_days * gap_days) - sum(gap_days) * sum(gap_days)) / "
    "nullif(count(gap_days) * (count(gap_days) - 1), 0))"
)
_RECENT = "avg(gap_days) filter (where days_ago <= 84)"
_SHRUNK = (
    f"(coalesce(sum(gap_days), 0) + {PRIOR_GAPS} * any_value(usual_gap)) / "
    f"(count(gap_days) + {PRIOR_GAPS})"
)
_NEXT = (
    f"(coalesce(sum(gap_days) filter (where place <= 5), 0) + {PRIOR_GAPS} * {_SHRUNK}) / "
    f"(count(gap_days) filter (where place <= 5) + {PRIOR_GAPS})"
)
_RECENCY = "min(recency)"
_X_LN_X = "({gap} / (year + 1.0)) * ln({gap} / (year + 1.0))"
_DAYS_IN_YEAR = "count(year_gap)"

CADENCE = FeatureGroup(
    name="cadence",
    meaning="gaps between purchase days",
    rows=_GAPS,
    empty="fewer than two days with a purchase",
    columns=(
        Column("gap_count", "gaps", "gaps between purchase days", "count(gap_days)", absent=0),
        Column("gap_days_mean", "days", "mean gap between purchase days", _MEAN),
        Column(
            "gap_days_sd", "days", "standard deviation of the gaps", _SPREAD,
            empty="fewer than three days with a purchase",
        ),
        Column(
            "gap_days_cv", "ratio", "standard deviation of the gaps over their mean",
            f"{_SPREAD} / nullif({_MEAN}, 0)", empty="fewer than three days with a purchase",
        ),
        Column("gap_days_median", "days", "median gap", "median(gap_days)"),
        Column("gap_days_max", "days", "the longest gap so far", "max(gap_days)"),
        Column(
            "gap_days_last", "days", "the gap before the last purchase day",
            "max(gap_days) filter (where days_ago = recency)",
        ),
        Column(
            "gap_days_mean_recent", "days", "mean of the gaps that ended in the last 84 days",
            _RECENT, empty="no gap ended in the last 84 days",
        ),
        Column(
            "gap_trend", "log ratio",
            "gaps that ended in the last 84 days against all her gaps; above 0: slower now",
            f"ln({_RECENT} / nullif({_MEAN}, 0))", empty="no gap ended in the last 84 days",
        ),
        Column(
            "gap_days_shrunk", "days",
            f"mean gap, drawn by {PRIOR_GAPS} gaps towards the programme's usual one", _SHRUNK,
            empty="nobody in the programme has come back yet",
        ),
        Column(
            "overdue_ratio", "ratio", "days since the last purchase over the mean gap",
            f"{_RECENCY} / nullif({_MEAN}, 0)",
        ),
        Column(
            "overdue_ratio_shrunk", "ratio",
            "days since the last purchase over the shrunken gap",
            f"{_RECENCY} / nullif({_SHRUNK}, 0)",
            empty="nobody in the programme has come back yet",
        ),
        Column(
            "overdue_score", "standard deviations",
            "days since the last purchase beyond the mean gap, in its spread",
            f"({_RECENCY} - {_MEAN}) / nullif({_SPREAD} + 1, 0)",
            empty="fewer than three days with a purchase",
        ),
        Column(
            "longer_gap_share", "share", "of own gaps that were longer than the silence now",
            "avg(case when gap_days > recency then 1.0 when gap_days is not null then 0.0 end)",
        ),
        Column(
            "next_gap_days", "days",
            f"expected length of the gap that is open: the last five, drawn by {PRIOR_GAPS} "
            "gaps towards the shrunken one", _NEXT,
            empty="nobody in the programme has come back yet",
        ),
        Column(
            "next_purchase_due_days", "days",
            "until the expected end of the open gap; below 0: overdue", f"{_NEXT} - {_RECENCY}",
            empty="nobody in the programme has come back yet",
        ),
        # Zhang, Bradlow & Small (2015), "Predicting Customer Value Using Clumpiness", eq. (5).
        Column(
            "clumpiness_364d", "index",
            "how bunched purchase days are, last 364 days or since the first purchase; 0: even",
            f"""case when {_DAYS_IN_YEAR} > 0 then 1 + cast(
                sum(cast({_X_LN_X.format(gap="year_gap")} as decimal(38, 16)))
                + any_value(cast(case when recency <= year then {_X_LN_X.format(gap="recency")}
                    end as decimal(38, 16))) as double) / ln({_DAYS_IN_YEAR} + 1.0) end""",
            empty="no purchase, last 364 days",
        ),
    ),
)  # fmt: skip
