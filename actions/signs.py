"""Signs of why a member may be leaving, each a rule over one day's features that people can check.

A sign stands where she is extreme among the programme's own members who still come, and extreme
enough to matter. Where little is known of her, of the programme, or of what a sign reads, it does
not stand. No sign reads what a tier decided.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actions.offers import Reason

# Who shopped within so many days still comes; she is what others are measured against.
COMES_DAYS = 56
# Fewer members than this have no quantiles worth a sign, fewer days with a purchase no habits.
MEMBERS_LEAST, DAYS_LEAST, DAYS_LEAST_84D = 100, 8, 3
# A tail of the members who still come; who has held the reason stays in the wider one.
TENTH, TWENTIETH, EXIT = 0.10, 0.05, 1.5
# What is too little to matter, however rare: shares, and log ratios (0.1: a tenth less or more).
DISCOUNT_RISE_LEAST, DISCOUNT_SHARE_LEAST, TRADED_DOWN_LEAST = 0.03, 0.10, 0.10
GAPS_LONGER_LEAST, FAVOURITE_LOST_LEAST, DAYPART_MOVED_LEAST = 0.30, 0.10, 0.25
CALLS_LEAST, RETURNS_LEAST, COUPON_SHARE_LEAST, ORDERS_LEAST = 3, 2, 0.10, 10
# A return or a gap in a kind of goods belongs to the end of her story, not to its middle.
LATE_DAYS, SEASON_DAYS = 28, 84
# Goods that a stage of life needs, and the days on which she bought them before that counts.
LIFE_GOODS, LIFE_DAYS_LEAST = ("baby", "kids", "cat", "dog", "pets"), 4
DAYPARTS = tuple(f"{part}_share_182d" for part in ("early", "lunch", "afternoon", "evening",
                                                   "night"))  # fmt: skip
# Every column that any sign reads; `Seen` may lack some of them.
READS = frozenset({
    "recency_days", "purchase_days_84d", "purchase_days_182d", "purchase_days_364d",
    "orders_182d", "complaints_364d", "services_364d", "return_rate_shrunk", "return_orders_364d",
    "return_share_364d", "days_since_return", "discount_share_84d", "discount_share_364d",
    "discount_trend_84d", "full_price_orders_share_364d", "discount_orders_share_364d",
    "coupon_orders_share_364d", "days_since_coupon", "price_trend_182d",
    "lost_category_share_84d", "top_category_momentum", "basket_lines_trend_84d", "gap_trend",
    "gap_days_mean", "gap_days_mean_recent", "home_store_changed_84d", "top_channel",
    "survey", *DAYPARTS,
    *(f"goods.{kind}.{fact}" for kind in LIFE_GOODS for fact in ("days_364d", "last_days")),
})  # fmt: skip
Flags = NDArray[np.bool_]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """The members as they were on one day.

    Attributes
    ----------
    features : one row a member, indexed by member_id: of `READS`, the columns that are known;
        besides those of the feature table, `goods.*` as tags read them and `survey`, the value of
        her last answer; others are not looked at
    """

    as_of: date
    features: pd.DataFrame


@dataclass(frozen=True)
class Sign:
    """One sign on one day, for every member of it.

    Attributes
    ----------
    code : `inferred.<reason>.<code>` says it in words
    stands, stays : whether it holds of her; whether it does for one who has held the reason
    strength : how far she is in the tail, 0 at its edge to 1 at its end; (members,)
    facts : what the sentence needs, one row a member
    """

    reason: Reason
    code: str
    stands: Flags
    stays: Flags
    strength: Doubles
    facts: pd.DataFrame


class Day:
    """One day's members, and where each stands among those who still come."""

    def __init__(self, seen: Seen, earlier: Seen | None) -> None:
        """Take what signs read, and nothing else."""
        known = [name for name in seen.features.columns if name in READS]
        self.frame = seen.features[known]
        self.before = earlier.features if earlier is not None else None
        self.comes = self["recency_days"] <= COMES_DAYS
        self.enough = (
            (self["purchase_days_364d"] >= DAYS_LEAST)
            & (self["purchase_days_84d"] >= DAYS_LEAST_84D)
            & (self.comes.sum() >= MEMBERS_LEAST)
        )

    def __getitem__(self, name: str) -> Doubles:
        """Return a column of numbers; NaN throughout where it is not known."""
        if name not in self.frame:
            return np.full(len(self.frame), np.nan)
        return self.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)

    def earlier(self, name: str) -> Doubles:
        """Return a column of numbers as it was on the earlier day."""
        if self.before is None or name not in self.before:
            return np.full(len(self.frame), np.nan)
        found = self.before[name].reindex(self.frame.index)
        return found.to_numpy(dtype=np.float64, na_value=np.nan)

    def above(self, values: Doubles) -> Doubles:
        """Return the share of comparable members whose value is at least hers; NaN: not known.

        Ties count against her: what everybody has sets nobody apart.
        """
        judged = np.sort(values[self.comes & self.enough & np.isfinite(values)])
        if len(judged) < MEMBERS_LEAST:
            return np.full(len(values), np.nan)
        share = 1 - np.searchsorted(judged, values, side="left") / len(judged)
        return np.where(np.isfinite(values), share, np.nan)

    def sign(
        self, reason: Reason, code: str, tail: Doubles, wide: float, also: Flags, /, **facts: object
    ) -> Sign:
        """Make a sign of those in a tail of which something else is true too.

        Parameters
        ----------
        tail : share of members as extreme as she is, in [0, 1]; NaN: not known
        wide : the tail's share
        also : what else must be true of her
        """
        with np.errstate(invalid="ignore"):
            stands = also & self.enough & (tail <= wide)
            stays = also & self.enough & (tail <= EXIT * wide)
            strength = np.clip(np.nan_to_num(1 - tail / wide), 0.0, 1.0)
        told = pd.DataFrame(facts, index=self.frame.index)
        return Sign(reason, code, stands, stays, strength, told)

    def plain(self, reason: Reason, code: str, holds: Flags, /, **facts: object) -> Sign:
        """Make a sign that somebody said, or that is so without a comparison."""
        told = pd.DataFrame(facts, index=self.frame.index)
        return Sign(reason, code, holds, holds, holds.astype(np.float64), told)


def signs(seen: Seen, earlier: Seen | None = None) -> list[Sign]:
    """Return every sign of one day.

    Parameters
    ----------
    earlier : the members twelve weeks or more before, for changes of hour and channel
    """
    day = Day(seen, earlier)
    with np.errstate(invalid="ignore"):
        return [*_service(day), *_price(day), *_need_gone(day), *_habit_shift(day)]


def _service(day: Day) -> Iterator[Sign]:
    complaints, calls = day["complaints_364d"], day["services_364d"]
    yield day.plain("service", "complaint", complaints >= 1, complaints=complaints)
    often = calls >= CALLS_LEAST
    yield day.sign("service", "calls", day.above(calls), TWENTIETH, often, calls=calls)
    late = day["days_since_return"] - day["recency_days"] <= LATE_DAYS
    returned = late & (day["return_orders_364d"] >= RETURNS_LEAST)
    yield day.sign(
        "service", "returns", day.above(day["return_rate_shrunk"]), TENTH, returned,
        return_orders=day["return_orders_364d"], return_share=day["return_share_364d"],
    )  # fmt: skip
    answer = day["survey"]
    middle = np.nanmedian(answer) if np.isfinite(answer).any() else np.nan
    yield day.sign(
        "service", "survey", day.above(-answer), 2 * TENTH, answer < middle,
        survey=answer, survey_median=np.full(len(answer), middle),
    )  # fmt: skip


def _price(day: Day) -> Iterator[Sign]:
    share, rise = day["discount_share_84d"], day["discount_trend_84d"]
    yield day.sign(
        "price", "dependence", day.above(rise), TENTH,
        (rise >= DISCOUNT_RISE_LEAST) & (share >= DISCOUNT_SHARE_LEAST) & (day.above(share) <= 0.5),
        discount_share=share, discount_before=share - rise,
    )  # fmt: skip
    full_price = day["full_price_orders_share_364d"]
    yield day.sign(
        "price", "deals_only", day.above(day["discount_share_364d"]), TENTH,
        (day.above(-full_price) <= 0.25) & (day["discount_share_364d"] >= DISCOUNT_SHARE_LEAST),
        deal_orders=day["discount_orders_share_364d"], discount_year=day["discount_share_364d"],
    )  # fmt: skip
    coupons = day["coupon_orders_share_364d"]
    late = day["days_since_coupon"] - day["recency_days"] <= LATE_DAYS
    yield day.sign(
        "price", "coupons", day.above(coupons), TWENTIETH, late & (coupons >= COUPON_SHARE_LEAST),
        coupon_orders=coupons,
    )  # fmt: skip
    trend = day["price_trend_182d"]
    yield day.sign(
        "price", "trading_down", day.above(-trend), TENTH,
        (trend <= -TRADED_DOWN_LEAST) & (day["purchase_days_182d"] >= DAYS_LEAST),
        cheaper=1 - np.exp(trend),
    )  # fmt: skip


def _need_gone(day: Day) -> Iterator[Sign]:
    for kind in LIFE_GOODS:
        bought, last = day[f"goods.{kind}.days_364d"], day[f"goods.{kind}.last_days"]
        gone = (bought >= LIFE_DAYS_LEAST) & (last - day["recency_days"] >= SEASON_DAYS)
        yield day.plain(
            "need_gone", "life", gone & (day["purchase_days_84d"] >= DAYS_LEAST_84D),
            goods=np.full(len(bought), kind, dtype=object), goods_days=bought, goods_last=last,
        )  # fmt: skip
    lost, usual, beyond = _lost(day)
    yield day.sign(
        "need_gone", "categories", beyond, TENTH, lost > usual, lost=lost, lost_usual=usual
    )
    momentum = day["top_category_momentum"]
    yield day.sign(
        "need_gone", "favourite", day.above(-momentum), TWENTIETH,
        momentum <= -FAVOURITE_LOST_LEAST, favourite_down=-momentum,
    )  # fmt: skip


def _habit_shift(day: Day) -> Iterator[Sign]:
    # Thinning evenly: she comes less, for the same things in as large baskets.
    _, _, beyond = _lost(day)
    even = (beyond > 1 / 3) & (day.above(-day["basket_lines_trend_84d"]) > 0.25)
    gaps = day["gap_trend"]
    yield day.sign(
        "habit_shift", "thinning", day.above(gaps), TENTH, even & (gaps >= GAPS_LONGER_LEAST),
        gap_recent=day["gap_days_mean_recent"], gap_usual=day["gap_days_mean"],
    )  # fmt: skip
    changed = day["home_store_changed_84d"]
    known = day.enough & np.isfinite(changed)
    # Where many members change their first shop, another one is no change of habit.
    rare = changed[known].mean() if known.any() else np.nan
    moved = (changed == 1) & (day["orders_182d"] >= ORDERS_LEAST)
    yield day.sign("habit_shift", "store", np.full(len(changed), rare), TENTH, moved)
    yield from _moved(day)


def _moved(day: Day) -> Iterator[Sign]:
    """Yield changes against the earlier day: of the hour, and of the channel."""
    if day.before is None:
        return
    orders = np.minimum(day["orders_182d"], day.earlier("orders_182d"))
    often = orders >= ORDERS_LEAST
    now = np.column_stack([day[name] for name in DAYPARTS])
    then = np.column_stack([day.earlier(name) for name in DAYPARTS])
    distance = np.abs(now - then).sum(axis=1) / 2
    part = np.nan_to_num(now - then).argmax(axis=1)
    at = np.arange(len(now))
    yield day.sign(
        "habit_shift", "daypart", day.above(distance), TWENTIETH,
        often & (distance >= DAYPART_MOVED_LEAST),
        daypart=np.array([name.partition("_")[0] for name in DAYPARTS], dtype=object)[part],
        daypart_share=now[at, part], daypart_before=then[at, part],
    )  # fmt: skip
    if "top_channel" in day.frame and "top_channel" in day.before:
        channel = day.frame["top_channel"]
        earlier = day.before["top_channel"].reindex(channel.index)
        other = (channel != earlier) & channel.notna() & earlier.notna()
        yield day.plain(
            "habit_shift", "channel", often & day.enough & other.to_numpy(dtype=bool),
            channel=channel, channel_before=earlier,
        )  # fmt: skip


def _lost(day: Day) -> tuple[Doubles, Doubles, Doubles]:
    """Return the categories lost, what is usual with as many days, and the share beyond hers.

    Who comes less loses categories by that alone, so she is compared with those who come as
    often: the tenth of the members with the nearest number of days.
    """
    lost, days = day["lost_category_share_84d"], day["purchase_days_84d"]
    judged = day.comes & day.enough & np.isfinite(lost)
    usual, beyond = np.full(len(lost), np.nan), np.full(len(lost), np.nan)
    if judged.sum() < MEMBERS_LEAST:
        return lost, usual, beyond
    edges = np.unique(np.quantile(days[judged], np.linspace(0, 1, 11)[1:-1]))
    group = np.searchsorted(edges, days, side="right")
    for one in np.unique(group[judged]):
        own = group == one
        peers = np.sort(lost[own & judged])
        usual[own] = np.median(peers)
        beyond[own] = 1 - np.searchsorted(peers, lost[own], side="left") / len(peers)
    return lost, usual, np.where(np.isfinite(lost), beyond, np.nan)
