"""At which price level a member buys within her categories; columns of the group `preferences`.

A price index of 1 is what the programme as a whole pays for the same quantities of the same
categories (`reference_categories`), before discounts.
"""

from features.group import Column

# A category bought on fewer days says little about the price level she chooses.
_SEEN = "days_364d >= 3 and price_cents > 0 and quantity_364d > 0"
_LEVEL = "gross_364d / (quantity_364d * price_cents / 1000.0)"
_NO_PRICE = "nothing bought whose price level is known, inside the window"


def _index(window: str) -> str:
    """Return her undiscounted spend over what the programme pays for the same goods."""
    priced = f"price_cents > 0 and quantity_{window} > 0"
    expected = f"cast(quantity_{window} * price_cents / 1000.0 as decimal(30, 6))"
    return (
        f"cast(sum(gross_{window}) filter (where {priced}) as double) / "
        f"nullif(cast(sum(case when {priced} then {expected} end) as double), 0)"
    )


def _log(index: str) -> str:
    return f"ln(case when {index} > 0 then {index} end)"


def _private(window: str) -> str:
    return f"sum(private_{window}) / nullif(cast(sum(labelled_{window}) as double), 0)"


PRICE_COLUMNS = (
    Column(
        "price_index_364d", "index",
        "undiscounted price of her goods over the programme's in the same categories, "
        "last 364 days", _index("364d"), empty=_NO_PRICE,
    ),
    Column(
        "price_index_84d", "index",
        "undiscounted price of her goods over the programme's in the same categories, "
        "last 84 days", _index("84d"), empty=_NO_PRICE,
    ),
    Column(
        "price_trend_182d", "log ratio",
        "price index of the last 182 days against the 182 before; above 0: trading up",
        f"{_log(_index('182d'))} - {_log(_index('before_182d'))}",
        empty="nothing priced in one of the two windows",
    ),
    Column(
        "premium_category_count_364d", "categories",
        "categories bought on 3 days or more at 1.3 times the programme's price, last 364 days",
        f"count(*) filter (where {_SEEN} and case when {_SEEN} then {_LEVEL} end >= 1.3)",
        absent=0,
    ),
    Column(
        "economy_category_count_364d", "categories",
        "categories bought on 3 days or more at 0.8 of the programme's price, last 364 days",
        f"count(*) filter (where {_SEEN} and case when {_SEEN} then {_LEVEL} end <= 0.8)",
        absent=0,
    ),
    Column(
        "premium_category_share_364d", "share",
        "of the categories bought on 3 days or more that are bought at a premium price",
        f"count(*) filter (where {_SEEN} and case when {_SEEN} then {_LEVEL} end >= 1.3) / "
        f"nullif(cast(count(*) filter (where {_SEEN}) as double), 0)",
        empty="no category bought on 3 days, last 364 days",
    ),
    Column(
        "package_size_364d", "log ratio",
        "size of packages over the programme's in the same categories, last 364 days",
        "cast(sum(case when sized_364d > 0 and ln_size is not null then "
        "cast(size_micro_364d / 1e6 - sized_364d * ln_size as decimal(30, 9)) end) as double) / "
        "nullif(sum(sized_364d) filter (where sized_364d > 0 and ln_size is not null), 0)",
        empty="nothing bought whose package size is known, last 364 days", needs=("size",),
    ),
    Column(
        "private_label_share_364d", "share",
        "of lines that were the shop's own brand, last 364 days",
        "sum(private_182d + private_before_182d) / "
        "nullif(cast(sum(labelled_182d + labelled_before_182d) as double), 0)",
        empty="nothing bought whose label is known, last 364 days", needs=("private_label",),
    ),
    Column(
        "private_label_trend_182d", "share",
        "share of own brands in the last 182 days less that of the 182 before",
        f"{_private('182d')} - {_private('before_182d')}",
        empty="nothing bought in one of the two windows", needs=("private_label",),
    ),
    Column(
        "discount_excess_364d", "share",
        "discount share less what the programme's rates in her categories make expected, "
        "last 364 days",
        "(cast(sum(discount_364d) as double) - cast(sum(cast(gross_364d * discount_rate "
        "as decimal(30, 6))) as double)) / nullif(cast(sum(gross_364d) as double), 0)",
        empty="nothing bought, last 364 days", needs=("discount",),
    ),
)  # fmt: skip
