"""What a member brings back."""

from features.group import Column, FeatureGroup

_YEAR = "days_ago <= 364"
# The prior of a shrunken rate: one line in twenty comes back, as sure as forty lines seen.
PRIOR_RETURNED, PRIOR_KEPT = 2, 38

RETURNS = FeatureGroup(
    name="returns",
    meaning="how much, how often and how recently she returned goods",
    rows="select * from member_days",
    columns=(
        Column(
            "return_share_364d", "share",
            "of purchased value that was returned, last 364 days",
            f"sum(returned_cents) filter (where {_YEAR}) / "
            f"nullif(cast(sum(net_cents + returned_cents) filter (where {_YEAR}) as double), 0)",
            empty="nothing bought, last 364 days",
        ),
        Column(
            "return_orders_364d", "orders", "baskets with a returned line, last 364 days",
            f"coalesce(sum(return_orders) filter (where {_YEAR}), 0)", absent=0,
        ),
        Column(
            "returned_cents_364d", "cents", "value returned, last 364 days",
            f"coalesce(sum(returned_cents) filter (where {_YEAR}), 0)", absent=0,
        ),
        Column(
            "return_rate_shrunk", "share",
            "returned lines over bought lines, ever, drawn towards 5 % by forty lines",
            f"({PRIOR_RETURNED}.0 + greatest(0, sum(return_lines))) / "
            f"({PRIOR_RETURNED + PRIOR_KEPT}.0 + greatest(0, sum(lines), sum(return_lines)))",
            absent=PRIOR_RETURNED / (PRIOR_RETURNED + PRIOR_KEPT),
        ),
        Column(
            "days_since_return", "days", "since the last day with a return",
            "min(days_ago) filter (where return_orders > 0)", empty="never returned anything",
        ),
    ),
)  # fmt: skip
