"""The feature table again, slowly and in plain Python: no SQL, no rollups, no signs."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    described = _newest(products, ("product_id",), midnight)
    category = {row["product_id"]: row["category"] for row in described}
    lines: dict[str, list[Row]] = defaultdict(list)
    for member, row in _known(purchases, identities, as_of, timezone):
        lines[member].append(row | {"category": category.get(row.get("product_id"))})
    table = {}
    for member, own in sorted(lines.items()):
        if any(not row["returned"] for row in own):
            columns = _purchases(own) | _cadence(own) | _preferences(own)
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


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    named = table[["population", "top_category"]].astype(object).fillna("-")
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
            local = row["occurred_at"].replace(tzinfo=UTC).astimezone(ZoneInfo(timezone))
            yield (
                str(who.get(row["source_key"], row["source_key"])),
                row
                | {
                    "day": local.date(),
                    "ago": (as_of - local.date()).days,
                    "hour": local.hour,
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


def _purchases(own: list[Row]) -> Row:
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
    last_84, before = within(84), [row for row in own if 85 <= row["ago"] <= 168]
    earlier_28 = {ago for ago in bought_on if 29 <= ago <= 56}
    shops = {
        min((row["store_id"] for row in rows if row.get("store_id")), default=None)
        for rows in _by_day(row for row in within(182) if not row["returned"]).values()
    } - {None}
    year = within(364)
    return columns | {
        "spend_cents_life": total("net_cents", own),
        "spend_cents_mean": _mean(day_spend(math.inf)),
        "spend_cents_mean_84d": _mean(day_spend(84)),
        "basket_lines_mean_84d": _share(
            sum(not row["returned"] for row in last_84), len(orders(last_84))
        ),
        "purchase_days_trend_28d": math.log((1 + len(days_with(28))) / (1 + len(earlier_28))),
        "spend_trend_84d": math.log(
            (100 + max(0, total("net_cents", last_84))) / (100 + max(0, total("net_cents", before)))
        ),
        "discount_share_84d": _share(
            total("discount_cents", last_84),
            total("net_cents", last_84) + total("discount_cents", last_84),
        ),
        "coupon_share_364d": _share(total("coupon_cents", year), total("net_cents", year)),
        "return_share_364d": _share(returned(year), total("net_cents", year) + returned(year)),
        "weekend_share_182d": _mean(
            [
                float(rows[0]["day"].isoweekday() >= 6)
                for rows in _by_day(row for row in within(182) if not row["returned"]).values()
            ]
        ),
        "hour_mean_182d": _mean(
            [min(row["hour"] for row in rows) for rows in orders(within(182)).values()]
        ),
        "store_count_182d": len(shops),
    }


def _by_day(rows: Iterable[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["ago"]].append(row)
    return found


def _cadence(own: list[Row]) -> Row:
    days = sorted({row["ago"] for row in own if not row["returned"]}, reverse=True)
    gaps = [(earlier - later, later) for earlier, later in pairwise(days)]
    lengths = [float(gap) for gap, _ in gaps]
    recency, mean = float(days[-1]), _mean(lengths)
    spread = statistics.stdev(lengths) if len(lengths) > 1 else NAN
    return {
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
    return {
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
    """Return what each member bought: on how many days, and how long ago last."""
    days: dict[tuple[str, str], set[int]] = defaultdict(set)
    for member, row in _known(purchases, identities, as_of, timezone):
        if row.get("product_id") is not None and not row["returned"]:
            days[member, row["product_id"]].add(row["ago"])
    return pd.DataFrame(
        [(*pair, len(own), min(own)) for pair, own in sorted(days.items())],
        columns=["member_id", "product_id", "purchase_days", "last_days"],
    )
