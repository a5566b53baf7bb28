"""How large a member's baskets are, and what is in them."""

from features.carried import SIZES
from features.group import Column, FeatureGroup

_HALF = "days_ago <= 182"


def _per_order(value: str, window: str) -> str:
    return (
        f"sum({value}) filter (where {window}) / "
        f"nullif(cast(count(*) filter (where {window}) as double), 0)"
    )


_N = f"count(*) filter (where {_HALF})"
_LINES = f"sum(lines) filter (where {_HALF})"
_SQUARES = f"sum(cast(lines as bigint) * lines) filter (where {_HALF})"
_SIZES = (SIZES,)

BASKETS = FeatureGroup(
    name="baskets",
    meaning="size and composition of baskets",
    rows="select * from member_orders cross join reference_programme where lines > 0",
    empty="no basket inside the window",
    columns=(
        Column(
            "basket_lines_mean_84d", "lines", "mean lines of a basket, last 84 days",
            _per_order("lines", "days_ago <= 84"), needs=_SIZES,
        ),
        Column(
            "basket_lines_sd_182d", "lines",
            "standard deviation of the lines of a basket, last 182 days",
            f"sqrt(greatest(0, {_N} * {_SQUARES} - {_LINES} * {_LINES}) / "
            f"nullif({_N} * ({_N} - 1.0), 0))",
            empty="fewer than two baskets, last 182 days", needs=_SIZES,
        ),
        Column(
            "basket_lines_max_364d", "lines", "lines of the largest basket, last 364 days",
            "max(lines) filter (where days_ago <= 364)", needs=_SIZES,
        ),
        Column(
            "basket_cents_mean_182d", "cents", "mean net amount of a basket, last 182 days",
            _per_order("net_cents", _HALF),
        ),
        Column(
            "basket_lines_trend_84d", "log ratio",
            "mean lines of a basket, last 84 days against the 84 before",
            f"ln(({_per_order('lines', 'days_ago <= 84')}) / "
            f"nullif({_per_order('lines', 'days_ago between 85 and 168')}, 0))",
            empty="no basket in one of the two windows", needs=_SIZES,
        ),
        Column(
            "small_basket_share_182d", "share",
            "of baskets no larger than the programme's smallest quarter, last 182 days",
            _per_order("cast(lines <= small_lines as integer)", _HALF), needs=_SIZES,
        ),
        Column(
            "large_basket_share_182d", "share",
            "of baskets as large as the programme's largest quarter, last 182 days",
            _per_order("cast(lines >= large_lines as integer)", _HALF), needs=_SIZES,
        ),
        Column(
            "orders_per_day_182d", "orders", "baskets a purchase day, last 182 days",
            f"{_N} / nullif(cast(count(distinct days_ago) filter (where {_HALF}) as double), 0)",
        ),
    ),
)  # fmt: skip
