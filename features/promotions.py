"""How much of what a member buys is on promotion, and whether promotion weeks bring her."""

from features.group import Column, FeatureGroup

_ROWS = """
    select d.*, coalesce(w.promotion, false) as promotion,
           (select count(*) from reference_weeks) as programme_weeks,
           (select count(*) from reference_weeks where promotion) as promotion_weeks
    from member_days d left join reference_weeks w on w.weeks_back = (d.days_ago - 1) // 7"""
_84, _YEAR = "days_ago <= 84", "days_ago <= 364"


def _share(part: str, whole: str, window: str) -> str:
    return (
        f"sum({part}) filter (where {window}) / "
        f"nullif(cast(sum({whole}) filter (where {window}) as double), 0)"
    )


_GROSS = "net_cents + discount_cents"
_NO_SPEND = "nothing spent inside the window"
_NO_BASKET = "no basket, last 364 days"
_BEFORE = "days_ago between 85 and 168"

PROMOTIONS = FeatureGroup(
    name="promotions",
    meaning="discounts, coupons and the pull of promotion weeks",
    rows=_ROWS,
    empty=_NO_SPEND,
    columns=(
        Column(
            "discount_share_84d", "share",
            "of the undiscounted price that the shop took off, last 84 days",
            _share("discount_cents", _GROSS, _84), needs=("discount",),
        ),
        Column(
            "discount_share_364d", "share",
            "of the undiscounted price that the shop took off, last 364 days",
            _share("discount_cents", _GROSS, _YEAR), needs=("discount",),
        ),
        Column(
            "discount_trend_84d", "share",
            "discount share of the last 84 days less that of the 84 before",
            f"{_share('discount_cents', _GROSS, _84)} - "
            f"{_share('discount_cents', _GROSS, _BEFORE)}",
            empty="nothing spent in one of the two windows", needs=("discount",),
        ),
        Column(
            "discount_orders_share_364d", "share",
            "of baskets with anything off, last 364 days",
            _share("discount_orders", "orders", _YEAR), empty=_NO_BASKET, needs=("discount",),
        ),
        Column(
            "full_price_orders_share_364d", "share",
            "of baskets with less than 2 % off and no coupon, last 364 days",
            _share("full_price_orders", "orders", _YEAR), empty=_NO_BASKET, needs=("discount",),
        ),
        Column(
            "deep_discount_orders_share_364d", "share",
            "of baskets with at least a quarter off, last 364 days",
            _share("deep_discount_orders", "orders", _YEAR), empty=_NO_BASKET, needs=("discount",),
        ),
        Column(
            "coupon_share_364d", "share", "of spend that was paid with coupons, last 364 days",
            _share("coupon_cents", "net_cents", _YEAR), needs=("coupon",),
        ),
        Column(
            "coupon_orders_364d", "orders", "baskets with a coupon, last 364 days",
            f"coalesce(sum(coupon_orders) filter (where {_YEAR}), 0)", absent=0, needs=("coupon",),
        ),
        Column(
            "coupon_orders_share_364d", "share", "of baskets with a coupon, last 364 days",
            _share("coupon_orders", "orders", _YEAR), empty=_NO_BASKET, needs=("coupon",),
        ),
        Column(
            "days_since_coupon", "days", "since the last basket with a coupon",
            "min(days_ago) filter (where coupon_orders > 0)", empty="never used a coupon",
            needs=("coupon",),
        ),
        Column(
            "promotion_week_lift_364d", "log ratio",
            "purchase days a week in promotion weeks over those in other weeks, last 364 days; "
            "a promotion week is in the top quarter of the programme's weekly discount share",
            f"""case when any_value(promotion_weeks) between 1 and any_value(programme_weeks) - 1
                then ln((1.0 + count(*) filter (where bought > 0 and promotion and {_YEAR}))
                        / (1.0 + any_value(promotion_weeks)))
                   - ln((1.0 + count(*) filter (where bought > 0 and not promotion and {_YEAR}))
                        / (1.0 + any_value(programme_weeks) - any_value(promotion_weeks))) end""",
            empty="the programme has no promotion weeks", needs=("discount",),
        ),
    ),
)  # fmt: skip
