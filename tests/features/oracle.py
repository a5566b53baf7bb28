"""The feature table again, slowly and in plain Python: no SQL, no rollups, no signs."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import table as features_table
from programme.calendar import local_midnight

Row = dict[str, Any]
NAN = math.nan


def feature_table(
    purchases: Sequence[Row],
    products: Sequence[Row] = (),
    identities: Sequence[Row] = (),
    *,
    as_of: date,
    timezone: str,
    active_days: int = 56,
) -> pd.DataFrame:
    """Return what `features.table` promises, one member at a time."""
    midnight = local_midnight(as_of, timezone).replace(tzinfo=None)
    described = {row["product_id"]: row for row in _newest(products, ("product_id",), midnight)}
    lines: dict[str, list[Row]] = defaultdict(list)
    for member, row in _known(purchases, identities, as_of, timezone):
        product = described.get(row.get("product_id"), {})
        lines[member].append(
            row
            | {name: product.get(name) for name in ("category", "brand", "private_label", "size")}
        )
    programme = _Programme.of(lines)
    table = {}
    for member, own in sorted(lines.items()):
        if any(not row["returned"] for row in own):
            columns = _purchases(own, programme) | _cadence(own, programme)
            columns |= _habits(own, programme) | dict.fromkeys(_FEED_COLUMNS, NAN)
            tastes = _preferences(own) | _prices(own, programme) | _brands(own)
            columns |= tastes if described else dict.fromkeys(tastes, NAN)
            active = columns["recency_days"] <= active_days
            table[member] = {"population": "active" if active else "dormant"} | columns
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("member_id")


def check(features: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Assert that a feature table is the expected one, whatever marks an absent name."""
    if expected.empty:
        assert features.empty
        return
    assert sorted(features.columns) == sorted(expected.columns)
    pd.testing.assert_frame_equal(
        _plain(features), _plain(expected[list(features.columns)]), check_index_type=False
    )


_NAMES = ("top_category", "top_brand", "home_store", "top_channel", "tier")
# No feed in these histories: what only a feed can say is empty for everybody.
_FEED_COLUMNS = [
    column.name
    for group in features_table.GROUPS
    if {"events", "contacts", "points"} & set(group.reads)
    for column in group.columns
]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    names = ["population", *(name for name in _NAMES if name in table.columns)]
    named = table[names].astype(object).fillna("-")
    numbers = table.drop(columns=list(named)).astype(float).round(9)
    return pd.concat([named, numbers], axis=1)


def _known(
    purchases: Sequence[Row], identities: Sequence[Row], as_of: date, timezone: str
) -> Iterable[tuple[str, Row]]:
    """Yield the member of each line known at `as_of`, and the line with its local day and hour."""
    midnight = local_midnight(as_of, timezone).replace(tzinfo=None)
    resolved = _newest(identities, ("source_key",), midnight)
    who = {row["source_key"]: row["member_id"] for row in resolved}
    for row in _newest(purchases, ("order_id", "line_no"), midnight):
        if row["occurred_at"] < midnight and row["source_key"] is not None:
            instant = row["occurred_at"].replace(tzinfo=UTC)
            local = instant.astimezone(ZoneInfo(timezone))
            just_before = (instant - timedelta(microseconds=1)).astimezone(ZoneInfo(timezone))
            yield (
                str(who.get(row["source_key"], row["source_key"])),
                row
                | {
                    "day": local.date(),
                    "ago": (as_of - local.date()).days,
                    # The first instant of a day is a date whose time is not known.
                    "hour": local.hour if just_before.date() == local.date() else None,
                    "returned": (row.get("quantity") or 0) < 0 or row["net_cents"] < 0,
                },
            )


def _newest(rows: Sequence[Row], key: tuple[str, ...], midnight: datetime) -> Iterable[Row]:
    """Return the last version of each key that was known before `midnight`."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row["known_at"]):
        if row["known_at"] < midnight:
            found[tuple(row[name] for name in key)] = row
    return found.values()


def _share(part: float, whole: float) -> float:
    return part / whole if whole else NAN


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else NAN


def _log_change(recent: float, before: float, floor: float) -> float:
    return math.log((floor + max(0, recent)) / (floor + max(0, before)))


def _sum(name: str, rows: Iterable[Row]) -> float:
    return float(sum(row.get(name) or 0 for row in rows))


def _between(own: Iterable[Row], first: int, last: int) -> list[Row]:
    return [row for row in own if first <= row["ago"] <= last]


def _baskets(own: Iterable[Row]) -> list[Row]:
    """Baskets of one day each, with what was bought and what came back."""
    found: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in own:
        found[row["order_id"], row["ago"]].append(row)
    baskets = []
    for (_, ago), rows in found.items():
        bought = [row for row in rows if not row["returned"]]
        discount, net = _sum("discount_cents", rows), _sum("net_cents", rows)
        baskets.append(
            {
                "ago": ago, "lines": len(bought), "returned": len(rows) - len(bought),
                "net_cents": net, "coupon": _sum("coupon_cents", rows), "discount": discount,
                "off": _share(discount, net + discount), "day": rows[0]["day"],
                "hour": min((r["hour"] for r in bought if r["hour"] is not None), default=None),
                "store": min((r["store_id"] for r in bought if r.get("store_id")), default=None),
                "channel": min((r["channel"] for r in bought if r.get("channel")), default=None),
            }
        )  # fmt: skip
    return baskets


@dataclass
class _Programme:
    """What the programme as a whole did: the reference tables."""

    week_share: dict[int, float]
    promotion: set[int]
    categories: dict[str, Row]
    usual_gap: float
    small_lines: float
    large_lines: float
    change_84d: float

    @classmethod
    def of(cls, lines: dict[str, list[Row]]) -> "_Programme":
        days = {m: {r["ago"] for r in own if not r["returned"]} for m, own in lines.items()}
        weeks = Counter((ago - 1) // 7 for own in days.values() for ago in own if ago <= 364)
        everything = [row for own in lines.values() for row in own]
        shares: dict[int, float] = {}
        for week in weeks:
            rows = _between(everything, 7 * week + 1, 7 * week + 7)
            discount = _sum("discount_cents", rows)
            shares[week] = _share(discount, _sum("net_cents", rows) + discount)
        told = [share for share in shares.values() if not math.isnan(share)]
        high = float(np.quantile(told, 0.75)) if told else NAN
        gaps = [(max(own) - min(own)) / (len(own) - 1) for own in days.values() if len(own) > 1]
        sizes = [
            basket["lines"]
            for own in lines.values()
            for basket in _baskets(_between(own, 1, 364))
            if basket["lines"]
        ]
        small, large = (
            (float(np.quantile(sizes, q, method="inverted_cdf")) if sizes else NAN)
            for q in (0.25, 0.75)
        )
        there = [own for m, own in lines.items() if max(days[m], default=0) > 168]
        change = _log_change(
            sum(_sum("net_cents", _between(own, 1, 84)) for own in there),
            sum(_sum("net_cents", _between(own, 85, 168)) for own in there),
            100,
        )
        return cls(
            {week: count / weeks.total() for week, count in weeks.items()},
            {week for week, share in shares.items() if share > 0 and share >= high},
            cls._categories(everything), _mean(gaps), small, large, change if there else NAN,
        )  # fmt: skip

    @staticmethod
    def _categories(everything: list[Row]) -> dict[str, Row]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in _between(everything, 1, 364):
            if row["category"] is not None and not row["returned"]:
                found[row["category"]].append(row)
        return {name: _goods(rows) for name, rows in found.items()}


def _goods(rows: list[Row]) -> Row:
    """Price, discount rate and mean log size of bought lines."""
    gross = _sum("net_cents", rows) + _sum("discount_cents", rows)
    units = sum(
        round(1000 * (1 if row.get("quantity") is None else row["quantity"])) for row in rows
    )
    sized = [math.log(row["size"]) for row in rows if row.get("size")]
    return {
        "gross": gross,
        "units": units / 1000,
        "price": _share(gross, units / 1000),
        "rate": _share(_sum("discount_cents", rows), gross),
        "ln_size": _mean(sized),
        "sized": sized,
    }


def _habits(own: list[Row], programme: _Programme) -> Row:
    """Promotions, returns, places, times and baskets."""
    baskets = _baskets(own)
    return (
        _promotions(own, baskets, programme)
        | _returns(own, baskets)
        | _places([b for b in baskets if b["lines"] and b["ago"] <= 182])
        | _times([b for b in baskets if b["lines"]])
        | _sizes([b for b in baskets if b["lines"]], programme)
        | _season(own, programme)
    )


def _promotions(own: list[Row], baskets: list[Row], programme: _Programme) -> Row:
    def discount_share(first: int, last: int) -> float:
        rows = _between(own, first, last)
        discount = _sum("discount_cents", rows)
        return _share(discount, _sum("net_cents", rows) + discount)

    year = [b for b in _between(baskets, 1, 364) if b["lines"]]

    def of_baskets(test: Callable[[Row], bool]) -> float:
        return _share(sum(test(basket) for basket in year), len(year))

    def off(basket: Row) -> float:
        return 0.0 if math.isnan(basket["off"]) else float(basket["off"])

    coupons = [b for b in baskets if b["lines"] and b["coupon"] > 0]
    bought = {row["ago"] for row in own if not row["returned"] and row["ago"] <= 364}
    promoted = sum((ago - 1) // 7 in programme.promotion for ago in bought)
    weeks, on = len(programme.week_share), len(programme.promotion)
    lift = NAN
    if 1 <= on <= weeks - 1:
        lift = math.log((1 + promoted) / (1 + on)) - math.log(
            (1 + len(bought) - promoted) / (1 + weeks - on)
        )
    rows = _between(own, 1, 364)
    return {
        "discount_share_84d": discount_share(1, 84),
        "discount_share_364d": discount_share(1, 364),
        "discount_trend_84d": discount_share(1, 84) - discount_share(85, 168),
        "discount_orders_share_364d": of_baskets(lambda b: b["discount"] > 0),
        "full_price_orders_share_364d": of_baskets(lambda b: b["coupon"] <= 0 and off(b) < 0.02),
        "deep_discount_orders_share_364d": of_baskets(lambda b: off(b) >= 0.25),
        "coupon_share_364d": _share(_sum("coupon_cents", rows), _sum("net_cents", rows)),
        "coupon_orders_364d": sum(b["ago"] <= 364 for b in coupons),
        "coupon_orders_share_364d": of_baskets(lambda b: b["coupon"] > 0),
        "days_since_coupon": min((b["ago"] for b in coupons), default=NAN),
        "promotion_week_lift_364d": lift,
    }


def _returns(own: list[Row], baskets: list[Row]) -> Row:
    year = _between(own, 1, 364)
    value = -_sum("net_cents", [row for row in year if row["returned"]])
    returned = sum(row["returned"] for row in own)
    return {
        "return_share_364d": _share(value, _sum("net_cents", year) + value),
        "return_orders_364d": sum(b["returned"] > 0 and b["ago"] <= 364 for b in baskets),
        "returned_cents_364d": value,
        "return_rate_shrunk": (2 + returned) / (40 + max(returned, len(own) - returned)),
        "days_since_return": min((b["ago"] for b in baskets if b["returned"]), default=NAN),
    }


def _places(baskets: list[Row]) -> Row:
    def visited(kind: str, first: int = 1, last: int = 182) -> Counter[str]:
        return Counter(b[kind] for b in _between(baskets, first, last) if b[kind] is not None)

    def favourite(counted: Counter[str]) -> str:
        return min(counted, key=lambda place: (-counted[place], place))

    stores, channels = visited("store"), visited("channel")
    recent, before = visited("store", 1, 84), visited("store", 85, 168)
    changed = NAN
    if recent and before:
        changed = float(favourite(recent) != favourite(before))
    return {
        "store_count_182d": len(stores),
        "home_store_share_182d": _share(max(stores.values(), default=0), stores.total()),
        "store_hhi_182d": sum((n / stores.total()) ** 2 for n in stores.values()) or NAN,
        "home_store_changed_84d": changed,
        "channel_count_182d": len(channels),
        "top_channel_share_182d": _share(max(channels.values(), default=0), channels.total()),
        "home_store": favourite(stores) if stores else None,
        "top_channel": favourite(channels) if channels else None,
    }


def _times(baskets: list[Row]) -> Row:
    half = _between(baskets, 1, 182)
    hours = [basket["hour"] for basket in half if basket["hour"] is not None]
    days = {basket["ago"]: basket["day"] for basket in half}
    year = {basket["ago"]: basket["day"] for basket in _between(baskets, 1, 364)}
    week = Counter(day.isoweekday() % 7 for day in days.values())

    def part(*wanted: int) -> float:
        return _share(sum(hour in wanted for hour in hours), len(hours))

    names = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    shares = [count / len(days) for count in week.values()]
    return {
        "weekend_share_182d": _share(week[0] + week[6], len(days)),
        "hour_mean_182d": _mean(hours),
        "hour_sd_182d": statistics.stdev(hours) if len(hours) > 1 else NAN,
        "early_share_182d": part(*range(5, 11)),
        "lunch_share_182d": part(11, 12, 13),
        "afternoon_share_182d": part(14, 15, 16),
        "evening_share_182d": part(17, 18, 19, 20),
        "night_share_182d": part(21, 22, 23, 0, 1, 2, 3, 4),
        "weekday_entropy_182d": -sum(s * math.log(s) for s in shares) if days else NAN,
        **{f"{name}_share_182d": _share(week[n], len(days)) for n, name in enumerate(names)},
        "month_start_share_364d": _share(sum(d.day <= 7 for d in year.values()), len(year)),
        "month_end_share_364d": _share(sum(d.day >= 25 for d in year.values()), len(year)),
    }


def _sizes(baskets: list[Row], programme: _Programme) -> Row:
    half = _between(baskets, 1, 182)
    lines = [float(basket["lines"]) for basket in half]

    def mean_lines(first: int, last: int) -> float:
        return _mean([float(basket["lines"]) for basket in _between(baskets, first, last)])

    recent, before = mean_lines(1, 84), mean_lines(85, 168)
    return {
        "basket_lines_mean_84d": recent,
        "basket_lines_sd_182d": statistics.stdev(lines) if len(lines) > 1 else NAN,
        "basket_lines_max_364d": max((b["lines"] for b in _between(baskets, 1, 364)), default=NAN),
        "basket_cents_mean_182d": _mean([basket["net_cents"] for basket in half]),
        "basket_lines_trend_84d": math.log(recent / before),
        "small_basket_share_182d": _mean([float(n <= programme.small_lines) for n in lines]),
        "large_basket_share_182d": _mean([float(n >= programme.large_lines) for n in lines]),
        "orders_per_day_182d": _share(len(half), len({basket["ago"] for basket in half})),
    }


def _season(own: list[Row], programme: _Programme) -> Row:
    days = {row["ago"] for row in own if not row["returned"] and row["ago"] <= 364}
    if not days:
        return {"season_distance_364d": NAN, "season_ratio_84d": NAN}
    season: Counter[int] = Counter()
    for week, share in programme.week_share.items():
        season[week // 4] += share  # type: ignore[assignment]
    mine = Counter((ago - 1) // 28 for ago in days)
    expected = sum(share for week, share in programme.week_share.items() if week < 12)
    return {
        "season_distance_364d": sum(
            max(0.0, count / len(days) - season[period]) for period, count in mine.items()
        ),
        "season_ratio_84d": math.log(
            (1 + sum(ago <= 84 for ago in days)) / (1 + len(days) * expected)
        ),
    }


def _by_category(own: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in own:
        if row["category"] is not None and not row["returned"]:
            found[row["category"]].append(row)
    return found


def _prices(own: list[Row], programme: _Programme) -> Row:
    tastes = _by_category(own)

    def index(first: int, last: int) -> float:
        gross = expected = 0.0
        for name, rows in tastes.items():
            goods = _goods(_between(rows, first, last))
            price = programme.categories.get(name, {}).get("price", NAN)
            if price > 0 and goods["units"] > 0:
                gross, expected = gross + goods["gross"], expected + goods["units"] * price
        return _share(gross, expected)

    levels = []
    for name, rows in tastes.items():
        goods = _goods(_between(rows, 1, 364))
        price = programme.categories.get(name, {}).get("price", NAN)
        days = {row["ago"] for row in _between(rows, 1, 364)}
        if len(days) >= 3 and price > 0 and goods["units"] > 0:
            levels.append(goods["gross"] / (goods["units"] * price))
    sizes = [
        size - programme.categories[name]["ln_size"]
        for name, rows in tastes.items()
        for size in _goods(_between(rows, 1, 364))["sized"]
    ]

    def private(first: int, last: int) -> float:
        told = [
            bool(row["private_label"])
            for rows in tastes.values()
            for row in _between(rows, first, last)
            if row.get("private_label") is not None
        ]
        return _mean([float(one) for one in told])

    year = {name: _goods(_between(rows, 1, 364)) for name, rows in tastes.items()}
    gross = sum(goods["gross"] for goods in year.values())
    discount = sum(_sum("discount_cents", _between(rows, 1, 364)) for rows in tastes.values())
    expected = sum(
        goods["gross"] * programme.categories[name]["rate"]
        for name, goods in year.items()
        if goods["gross"]
    )
    half, before = index(1, 182), index(183, 364)
    return {
        "price_index_364d": index(1, 364),
        "price_index_84d": index(1, 84),
        "price_trend_182d": math.log(half) - math.log(before) if half > 0 and before > 0 else NAN,
        "premium_category_count_364d": sum(level >= 1.3 for level in levels),
        "economy_category_count_364d": sum(level <= 0.8 for level in levels),
        "premium_category_share_364d": _mean([float(level >= 1.3) for level in levels]),
        "package_size_364d": _mean(sizes),
        "private_label_share_364d": private(1, 364),
        "private_label_trend_182d": private(1, 182) - private(183, 364),
        "discount_excess_364d": _share(discount - expected, gross),
    }


def _brands(own: list[Row]) -> Row:
    def lines(first: int, last: int) -> Counter[str]:
        rows = [row for row in _between(own, first, last) if not row["returned"]]
        return Counter(row["brand"] for row in rows if row.get("brand") is not None)

    year, recent, older = lines(1, 364), lines(1, 84), lines(85, 100_000)
    shares = {name: count / year.total() for name, count in year.items()}
    return {
        "brand_count_364d": len(year),
        "brand_entropy": -sum(s * math.log(s) for s in shares.values()) if shares else NAN,
        "brand_hhi_364d": sum(s * s for s in shares.values()) if shares else NAN,
        "top_brand_share_364d": max(shares.values(), default=NAN),
        "new_brand_share_84d": _share(len(recent.keys() - older.keys()), len(recent)),
        "top_brand": min(shares, key=lambda name: (-shares[name], name)) if shares else None,
    }


def _purchases(own: list[Row], programme: _Programme) -> Row:
    bought_on = {row["ago"] for row in own if not row["returned"]}

    def within(days: int) -> list[Row]:
        return [row for row in own if row["ago"] <= days]

    def days_with(days: int) -> set[int]:
        return {ago for ago in bought_on if ago <= days}

    def orders(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
        """Baskets with something bought; one that spans midnight is two."""
        found: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in rows:
            if not row["returned"]:
                found[row["order_id"], row["ago"]].append(row)
        return found

    def total(name: str, rows: list[Row]) -> float:
        return float(sum(row.get(name) or 0 for row in rows))

    def day_spend(days: float) -> list[float]:
        return [
            total("net_cents", [row for row in own if row["ago"] == ago])
            for ago in bought_on
            if ago <= days
        ]

    def returned(rows: list[Row]) -> float:
        return -total("net_cents", [row for row in rows if row["returned"]])

    columns: Row = {
        "recency_days": min(bought_on),
        "tenure_days": max(bought_on),
        "purchase_days": len(bought_on),
    }
    for days in (28, 56, 84, 182, 364):
        columns[f"purchase_days_{days}d"] = len(days_with(days))
    for days in (28, 84, 182, 364):
        columns[f"orders_{days}d"] = len(orders(within(days)))
        columns[f"spend_cents_{days}d"] = total("net_cents", within(days))

    def spend_trend(days: int) -> float:
        recent, before = _between(own, 1, days), _between(own, days + 1, 2 * days)
        return _log_change(total("net_cents", recent), total("net_cents", before), 100)

    last_84, before = within(84), [row for row in own if 85 <= row["ago"] <= 168]
    spend_before = [
        total("net_cents", [row for row in own if row["ago"] == ago])
        for ago in bought_on
        if 85 <= ago <= 168
    ]
    earlier_28 = {ago for ago in bought_on if 29 <= ago <= 56}
    return columns | {
        "spend_cents_life": total("net_cents", own),
        "spend_cents_mean": _mean(day_spend(math.inf)),
        "spend_cents_mean_84d": _mean(day_spend(84)),
        "purchase_days_trend_28d": math.log((1 + len(days_with(28))) / (1 + len(earlier_28))),
        "spend_trend_84d": math.log(
            (100 + max(0, total("net_cents", last_84))) / (100 + max(0, total("net_cents", before)))
        ),
        "spend_cents_sd_364d": statistics.stdev(day_spend(364)) if len(day_spend(364)) > 1 else NAN,
        "spend_cents_max_364d": max(day_spend(364), default=NAN),
        "orders_life": len(orders(own)),
        "active_weeks_364d": len({(ago - 1) // 7 for ago in days_with(364)}),
        "purchase_days_trend_84d": _log_change(
            len(days_with(84)), len({ago for ago in bought_on if 85 <= ago <= 168}), 1
        ),
        **{f"spend_trend_{days}d": spend_trend(days) for days in (28, 182)},
        "orders_trend_84d": _log_change(len(orders(last_84)), len(orders(before)), 1),
        "spend_mean_trend_84d": _log_change(_mean(day_spend(84)), _mean(spend_before), 100)
        if days_with(84) and spend_before
        else NAN,
        "recency_trend_84d": math.log(
            (1 + min(bought_on)) / (1 + min(ago for ago in bought_on if ago > 84) - 84)
        )
        if max(bought_on) > 84
        else NAN,
        "spend_season_84d": spend_trend(84) - programme.change_84d,
    }


def _cadence(own: list[Row], programme: _Programme) -> Row:
    days = sorted({row["ago"] for row in own if not row["returned"]}, reverse=True)
    gaps = [(earlier - later, later) for earlier, later in pairwise(days)]
    lengths = [float(gap) for gap, _ in gaps]
    recency, mean = float(days[-1]), _mean(lengths)
    spread = statistics.stdev(lengths) if len(lengths) > 1 else NAN
    recent = _mean([float(gap) for gap, ended in gaps if ended <= 84])
    shrunk = (sum(lengths) + 3 * programme.usual_gap) / (len(lengths) + 3)
    last_five = lengths[-5:]
    following = (sum(last_five) + 3 * shrunk) / (len(last_five) + 3)
    year = min(364, max(days))
    inside = sorted(year + 1 - ago for ago in days if ago <= year)
    parts = [late - early for early, late in pairwise([0, *inside, year + 1])]
    bunched = sum(part / (year + 1) * math.log(part / (year + 1)) for part in parts)
    return {
        "gap_count": len(lengths),
        "gap_days_median": statistics.median(lengths) if lengths else NAN,
        "gap_trend": math.log(recent / mean) if recent > 0 else NAN,
        "gap_days_shrunk": shrunk,
        "overdue_ratio_shrunk": recency / shrunk,
        "next_gap_days": following,
        "next_purchase_due_days": following - recency,
        "clumpiness_364d": 1 + bunched / math.log(len(inside) + 1) if inside else NAN,
        "gap_days_mean": mean,
        "gap_days_sd": spread,
        "gap_days_cv": spread / mean,
        "gap_days_max": max(lengths, default=NAN),
        "gap_days_last": lengths[-1] if lengths else NAN,
        "gap_days_mean_recent": _mean([float(gap) for gap, ended in gaps if ended <= 84]),
        "overdue_ratio": recency / mean,
        "overdue_score": (recency - mean) / (spread + 1),
        "longer_gap_share": _mean([float(gap > recency) for gap in lengths]),
    }


def _preferences(own: list[Row]) -> Row:
    def lines(inside: Callable[[int], bool]) -> Counter[str]:
        return Counter(
            row["category"]
            for row in own
            if row["category"] is not None and not row["returned"] and inside(row["ago"])
        )

    ever, year = lines(lambda ago: True), lines(lambda ago: ago <= 364)  # noqa: ARG005
    recent, before = lines(lambda ago: ago <= 84), lines(lambda ago: 85 <= ago <= 168)
    shares = {name: count / year.total() for name, count in year.items()}
    tastes = {name: {row["ago"] for row in rows} for name, rows in _by_category(own).items()}
    days_364 = [len([a for a in days if a <= 364]) for days in tastes.values()]
    days_84 = [len([a for a in days if a <= 84]) for days in tastes.values()]
    visits = len({row["ago"] for row in own if not row["returned"] and row["ago"] <= 84})
    favourite = min(shares, key=lambda name: (-shares[name], name)) if shares else None
    momentum = NAN
    if favourite is not None and recent and before:
        momentum = recent[favourite] / recent.total() - before[favourite] / before.total()
    return {
        "category_hhi_364d": sum(share * share for share in shares.values()) if shares else NAN,
        "top_category_momentum": momentum,
        "novelty_rate_84d": _share(
            sum(max(days) <= 84 for days in tastes.values()), sum(n > 0 for n in days_84)
        ),
        "loyal_category_count_364d": sum(n >= 6 for n in days_364),
        "one_off_category_share_364d": _share(
            sum(n == 1 for n in days_364), sum(n > 0 for n in days_364)
        ),
        "basket_categories_mean_84d": _share(sum(days_84), visits) if tastes else NAN,
        "category_count": len(ever),
        "category_count_84d": len(recent),
        "category_count_364d": len(year),
        "category_entropy": -sum(share * math.log(share) for share in shares.values())
        if shares
        else NAN,
        "top_category_share": (max(shares.values(), default=0.0) if ever and shares else NAN),
        "new_category_share_84d": _share(len(recent.keys() - before.keys()), len(recent)),
        "lost_category_share_84d": _share(len(before.keys() - recent.keys()), len(before)),
        "top_category": min(shares, key=lambda name: (-shares[name], name)) if shares else None,
    }


def weekly(
    purchases: Sequence[Row],
    identities: Sequence[Row],
    members: Sequence[str],
    n_weeks: int,
    *,
    as_of: date,
    timezone: str,
) -> npt.NDArray[np.float64]:
    """Return orders, net, discount and returned value by member and week, oldest first."""
    tensor = np.zeros((len(members), n_weeks, 4))
    orders: set[tuple[str, int, str]] = set()
    for member, row in _known(purchases, identities, as_of, timezone):
        back = (row["ago"] - 1) // 7
        if back >= n_weeks:
            continue
        cell = tensor[members.index(member), n_weeks - 1 - back]
        cell[1] += row["net_cents"]
        cell[2] += row.get("discount_cents") or 0
        basket = (member, row["ago"], row["order_id"])
        if row["returned"]:
            cell[3] -= row["net_cents"]
        elif basket not in orders:
            orders.add(basket)
            cell[0] += 1
    return tensor


def products(
    purchases: Sequence[Row], identities: Sequence[Row], *, as_of: date, timezone: str
) -> pd.DataFrame:
    """Return what each member bought: on how many days, how long ago, and on how many of late."""
    days: dict[tuple[str, str], set[int]] = defaultdict(set)
    for member, row in _known(purchases, identities, as_of, timezone):
        if row.get("product_id") is not None and not row["returned"]:
            days[member, row["product_id"]].add(row["ago"])
    return pd.DataFrame(
        [
            (
                *pair,
                len(own),
                min(own),
                max(own),
                *(sum(ago <= window for ago in own) for window in (28, 84, 182)),
            )
            for pair, own in sorted(days.items())
        ],
        columns=[
            "member_id",
            "product_id",
            "purchase_days",
            "last_days",
            "first_days",
            "purchase_days_28d",
            "purchase_days_84d",
            "purchase_days_182d",
        ],
    )
