"""A member's points: what she holds, earns and spends, and what of it expires soonest.

The loyalty feed names no lots: a redemption does not say which points it spends. Points that
expire soonest are taken to be spent first, so what is left of a balance is attributed to the
grants that expire last: first those that never do, then the latest, and so on backwards. Grants
that have expired already come last of all, and nothing of them can expire again.

Where a tier multiplies what is earned, every amount of points tells it. So amounts are for people
to read, as the tier itself is; models and offers see only when and how often points moved.
"""

from features.group import Column, FeatureGroup

# One row per posting: `left_over` of what it granted, the tier she has now, and how many
# postings with a tier are as new as it (`place`); those of one day are taken by posting_id.
_POSTINGS = """
    select *,
        greatest(0, least(granted, balance - granted_later)) as left_over,
        min(case when tier <> tier_now then place end) over (partition by member_id)
            as other_tier_place
    from (
        select *, greatest(points, 0) as granted,
            sum(points) over (partition by member_id) as balance,
            coalesce(sum(greatest(points, 0)) over (
                partition by member_id order by expires_in_days desc nulls first, posting_id
                rows between unbounded preceding and 1 preceding), 0) as granted_later,
            first_value(tier) over newest as tier_now,
            row_number() over newest as place
        from (
            select member_id, posting_id, kind, points, expires_in_days, tier, days_ago
            from known_points
            group by member_id, posting_id, kind, points, expires_in_days, tier, days_ago
            having sum(sign) > 0
        )
        window newest as (
            partition by member_id order by tier is null, days_ago, posting_id desc)
    )"""
_EARNED = "kind in ('EARN', 'ACTIVATE')"
_YEAR = "days_ago <= 364"


def _moved(sign: str, which: str, days: int) -> str:
    return f"coalesce({sign}sum(points) filter (where {which} and days_ago <= {days}), 0)"


_EARNED_364D, _REDEEMED_364D = _moved("", _EARNED, 364), _moved("-", "kind = 'REDEEM'", 364)

POINTS = FeatureGroup(
    name="points",
    meaning="balance, pace of earning and spending, and expiry of points",
    rows=_POSTINGS,
    reads=("points",),
    columns=(
        Column(
            "points_balance", "points", "what she can spend", "sum(points)", absent=0,
            use="report",
        ),
        *(
            Column(
                f"points_earned_{days}d", "points", f"earned or activated, last {days} days",
                _moved("", _EARNED, days), absent=0, use="report",
            )
            for days in (84, 364)
        ),
        Column(
            "points_redeemed_364d", "points", "spent, last 364 days", _REDEEMED_364D, absent=0,
            use="report",
        ),
        Column(
            "points_expired_364d", "points", "expired, last 364 days",
            _moved("-", "kind = 'EXPIRE'", 364), absent=0, use="report",
        ),
        Column(
            "points_burn_rate_364d", "ratio", "points spent over points earned, last 364 days",
            f"{_REDEEMED_364D} / nullif(cast({_EARNED_364D} as double), 0)",
            use="report", empty="nothing earned, last 364 days",
        ),
        Column(
            "points_expiring_28d", "points",
            "of the balance, what expires in the next 28 days unless spent",
            "coalesce(sum(left_over) filter (where expires_in_days between 1 and 28), 0)",
            absent=0, use="report",
        ),
        Column(
            "days_to_points_expiry", "days", "until some of the balance expires",
            "min(expires_in_days) filter (where left_over > 0 and expires_in_days > 0)",
            use="report", empty="nothing that expires is left",
        ),
        Column(
            "days_since_points_earned", "days", "since points were earned or activated",
            f"min(days_ago) filter (where {_EARNED})", empty="never earned points",
        ),
        Column(
            "days_since_points_redeemed", "days", "since points were spent",
            "min(days_ago) filter (where kind = 'REDEEM')", empty="never spent points",
        ),
        Column(
            "points_redemptions_364d", "redemptions", "times she spent points, last 364 days",
            f"count(*) filter (where kind = 'REDEEM' and {_YEAR})", absent=0,
        ),
        Column(
            "tier", "name", "status level after her last posting that names one",
            "any_value(tier_now)", use="report", empty="no posting names a tier",
        ),
        Column(
            "tier_days", "days", "since the first posting of an unbroken run in that tier",
            "max(days_ago) filter (where tier = tier_now "
            "and place < coalesce(other_tier_place, place + 1))",
            use="report", empty="no posting names a tier",
        ),
    ),
)  # fmt: skip
