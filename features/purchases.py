"""How recently, how often and for how much a member bought before `as_of`."""

from features.group import Column, FeatureGroup

# Whole weeks, so that a window holds each weekday equally often.
WINDOWS_DAYS = (28, 84, 182, 364)
_LAST_84 = "days_ago <= 84"


def _within(days: int) -> str:
    return f"days_ago <= {days}"


def _windowed() -> list[Column]:
    columns = []
    for days in (28, 56, 84, 182, 364):
        columns.append(
            Column(
                f"purchase_days_{days}d",
                "days",
                f"days with a purchase, last {days} days",
                f"count(*) filter (where bought > 0 and {_within(days)})",
                absent=0,
            )
        )
    for days in WINDOWS_DAYS:
        columns += [
            Column(
                f"orders_{days}d",
                "orders",
                f"baskets bought, last {days} days",
                f"coalesce(sum(orders) filter (where {_within(days)}), 0)",
                absent=0,
            ),
            Column(
                f"spend_cents_{days}d",
                "cents",
                f"spend net of returns, last {days} days",
                f"coalesce(sum(net_cents) filter (where {_within(days)}), 0)",
                absent=0,
            ),
        ]
    return columns


PURCHASES = FeatureGroup(
    name="purchases",
    meaning="recency, frequency and monetary value over several windows and life",
    rows="select * from member_days",
    columns=(
        Column(
            "recency_days",
            "days",
            "since the last day with a purchase",
            "min(days_ago) filter (where bought > 0)",
        ),
        Column(
            "tenure_days",
            "days",
            "since the first day with a purchase",
            "max(days_ago) filter (where bought > 0)",
        ),
        Column(
            "purchase_days",
            "days",
            "days with a purchase, ever",
            "count(*) filter (where bought > 0)",
            absent=0,
        ),
        *_windowed(),
        Column(
            "spend_cents_life", "cents", "spend net of returns, ever", "sum(net_cents)", absent=0
        ),
        Column(
            "spend_cents_mean",
            "cents",
            "mean spend of a day with a purchase",
            "avg(net_cents) filter (where bought > 0)",
        ),
        Column(
            "spend_cents_mean_84d",
            "cents",
            "mean spend of a day with a purchase, last 84 days",
            f"avg(net_cents) filter (where bought > 0 and {_LAST_84})",
        ),
        Column(
            "basket_lines_mean_84d",
            "lines",
            "mean lines of a basket, last 84 days",
            f"sum(lines) filter (where {_LAST_84}) / "
            f"nullif(sum(orders) filter (where {_LAST_84}), 0)",
        ),
        Column(
            "purchase_days_trend_28d",
            "log ratio",
            "days with a purchase in the last 28 days against the 28 before",
            "ln((1.0 + count(*) filter (where bought > 0 and days_ago <= 28)) / "
            "(1.0 + count(*) filter (where bought > 0 and days_ago between 29 and 56)))",
            absent=0,
        ),
        Column(
            "spend_trend_84d",
            "log ratio",
            "spend in the last 84 days against the 84 before",
            "ln((100.0 + greatest(0, coalesce(sum(net_cents) filter (where days_ago <= 84), 0))) / "
            "(100.0 + greatest(0, coalesce(sum(net_cents) filter "
            "(where days_ago between 85 and 168), 0))))",
            absent=0,
        ),
        Column(
            "discount_share_84d",
            "share",
            "of the undiscounted price that the shop took off, last 84 days",
            f"sum(discount_cents) filter (where {_LAST_84}) / nullif(sum(net_cents + "
            f"discount_cents) filter (where {_LAST_84}), 0)",
        ),
        Column(
            "coupon_share_364d",
            "share",
            "of spend that was paid with coupons, last 364 days",
            "sum(coupon_cents) filter (where days_ago <= 364) / "
            "nullif(sum(net_cents) filter (where days_ago <= 364), 0)",
        ),
        Column(
            "return_share_364d",
            "share",
            "of purchased value that was returned, last 364 days",
            "sum(returned_cents) filter (where days_ago <= 364) / "
            "nullif(sum(net_cents + returned_cents) filter (where days_ago <= 364), 0)",
        ),
        Column(
            "weekend_share_182d",
            "share",
            "of days with a purchase that were Saturday or Sunday, last 182 days",
            "avg(weekend) filter (where bought > 0 and days_ago <= 182)",
        ),
        Column(
            "hour_mean_182d",
            "hour of day",
            "mean local hour of baskets, last 182 days",
            "sum(hour_sum) filter (where days_ago <= 182) / "
            "nullif(sum(orders) filter (where days_ago <= 182), 0)",
        ),
        Column(
            "store_count_182d",
            "stores",
            "shops bought in (one counted a day), last 182 days",
            "count(distinct store_id) filter (where bought > 0 and days_ago <= 182)",
            absent=0,
        ),
    ),
)
