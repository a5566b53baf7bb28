"""How recently, how often and for how much a member bought before `as_of`."""

from features.group import Column, FeatureGroup

# Whole weeks, so that a window holds each weekday equally often.
WINDOWS_DAYS = (28, 84, 182, 364)
_BOUGHT = "bought > 0"


def _last(days: int) -> str:
    return f"days_ago <= {days}"


def _before(days: int) -> str:
    """Return the window of the same length before the last one."""
    return f"days_ago between {days + 1} and {2 * days}"


def _log_change(recent: str, before: str, floor: str) -> str:
    """Return the log ratio of two amounts that may be nothing; `floor` keeps it finite."""
    return (
        f"ln(({floor} + greatest(0, coalesce({recent}, 0))) / "
        f"({floor} + greatest(0, coalesce({before}, 0))))"
    )


def _windowed() -> list[Column]:
    columns = []
    for days in (28, 56, 84, 182, 364):
        columns.append(
            Column(
                f"purchase_days_{days}d", "days", f"days with a purchase, last {days} days",
                f"count(*) filter (where {_BOUGHT} and {_last(days)})", absent=0,
            )
        )  # fmt: skip
    for days in WINDOWS_DAYS:
        columns += [
            Column(
                f"orders_{days}d", "orders", f"baskets bought, last {days} days",
                f"coalesce(sum(orders) filter (where {_last(days)}), 0)", absent=0,
            ),
            Column(
                f"spend_cents_{days}d", "cents", f"spend net of returns, last {days} days",
                f"coalesce(sum(net_cents) filter (where {_last(days)}), 0)", absent=0,
            ),
        ]  # fmt: skip
    return columns


def _trends() -> list[Column]:
    columns = []
    for days in (28, 84):
        columns.append(
            Column(
                f"purchase_days_trend_{days}d", "log ratio",
                f"days with a purchase in the last {days} days against the {days} before",
                _log_change(
                    f"count(*) filter (where {_BOUGHT} and {_last(days)})",
                    f"count(*) filter (where {_BOUGHT} and {_before(days)})", "1.0",
                ), absent=0,
            )
        )  # fmt: skip
    for days in (28, 84, 182):
        columns.append(
            Column(
                f"spend_trend_{days}d", "log ratio",
                f"spend in the last {days} days against the {days} before",
                _log_change(
                    f"sum(net_cents) filter (where {_last(days)})",
                    f"sum(net_cents) filter (where {_before(days)})", "100.0",
                ), absent=0,
            )
        )  # fmt: skip
    return columns


def _mean_spend(window: str) -> str:
    return f"avg(net_cents) filter (where {_BOUGHT} and {window})"


def _floored(value: str) -> str:
    """Return a value no less than 0, still unknown where it is: greatest() alone says 0."""
    return f"case when {value} is not null then greatest(0, {value}) end"


_YEAR_DAYS = f"{_BOUGHT} and {_last(364)}"
_N = f"count(*) filter (where {_YEAR_DAYS})"
# Squares of cents are summed as whole numbers of 128 bits: exact in any order.
_SQUARES = f"sum(cast(net_cents as hugeint) * net_cents) filter (where {_YEAR_DAYS})"
_SUM = f"cast(sum(net_cents) filter (where {_YEAR_DAYS}) as hugeint)"

PURCHASES = FeatureGroup(
    name="purchases",
    meaning="recency, frequency and monetary value over several windows and life",
    rows="select * from member_days cross join reference_programme",
    empty="no day with a purchase inside the window",
    columns=(
        Column(
            "recency_days", "days", "since the last day with a purchase",
            f"min(days_ago) filter (where {_BOUGHT})",
        ),
        Column(
            "tenure_days", "days", "since the first day with a purchase",
            f"max(days_ago) filter (where {_BOUGHT})",
        ),
        Column(
            "purchase_days", "days", "days with a purchase, ever",
            f"count(*) filter (where {_BOUGHT})", absent=0,
        ),
        *_windowed(),
        Column("orders_life", "orders", "baskets bought, ever", "sum(orders)", absent=0),
        Column(
            "spend_cents_life", "cents", "spend net of returns, ever", "sum(net_cents)", absent=0
        ),
        Column(
            "spend_cents_mean", "cents", "mean spend of a day with a purchase",
            f"avg(net_cents) filter (where {_BOUGHT})",
        ),
        Column(
            "spend_cents_mean_84d", "cents",
            "mean spend of a day with a purchase, last 84 days", _mean_spend(_last(84)),
        ),
        Column(
            "spend_cents_sd_364d", "cents",
            "standard deviation of the spend of a day with a purchase, last 364 days",
            f"sqrt(greatest(0, {_N} * {_SQUARES} - {_SUM} * {_SUM}) / "
            f"nullif({_N} * ({_N} - 1.0), 0))",
            empty="fewer than two days with a purchase, last 364 days",
        ),
        Column(
            "spend_cents_max_364d", "cents",
            "largest spend of a day with a purchase, last 364 days",
            f"max(net_cents) filter (where {_YEAR_DAYS})",
        ),
        Column(
            "active_weeks_364d", "weeks", "weeks with a purchase, last 364 days",
            f"bit_count(bit_or(cast(1 as bigint) << least(51, (days_ago - 1) // 7)) "
            f"filter (where {_YEAR_DAYS}))", absent=0,
        ),
        *_trends(),
        Column(
            "orders_trend_84d", "log ratio",
            "baskets in the last 84 days against the 84 before",
            _log_change(
                f"sum(orders) filter (where {_last(84)})",
                f"sum(orders) filter (where {_before(84)})", "1.0",
            ), absent=0,
        ),
        Column(
            "spend_mean_trend_84d", "log ratio",
            "mean spend of a purchase day, last 84 days against the 84 before",
            f"ln((100.0 + {_floored(_mean_spend(_last(84)))}) / "
            f"(100.0 + {_floored(_mean_spend(_before(84)))}))",
            empty="no purchase in one of the two windows",
        ),
        Column(
            "recency_trend_84d", "log ratio",
            "days since the last purchase, now against 84 days ago; above 0: longer now",
            f"ln((1.0 + min(days_ago) filter (where {_BOUGHT})) / "
            f"(1.0 + min(days_ago) filter (where {_BOUGHT} and days_ago > 84) - 84))",
            empty="no purchase before the last 84 days",
        ),
        Column(
            "spend_season_84d", "log ratio",
            "spend_trend_84d less the programme's own change among members of both windows",
            _log_change(
                f"sum(net_cents) filter (where {_last(84)})",
                f"sum(net_cents) filter (where {_before(84)})", "100.0",
            ) + " - any_value(spend_change_84d)",
            empty="nobody was a member in both windows",
        ),
    ),
)  # fmt: skip
