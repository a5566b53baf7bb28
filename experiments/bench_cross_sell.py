"""What cross-sell would show, held against what was bought for the first time in the next 28 days.

Run with `python -m experiments.bench_cross_sell`. Forward in time on Complete Journey: everything
is learned, searched and calibrated on windows that end by 2017-12-04; the truth are the 28 days
from then. Popularity stands beside every number. No margin and no stock is known of this data, so
every product is given the same margin rate, and prices are what members paid.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from actions import counter
from actions.candidates import from_complements
from actions.chances import Calibration, chances
from actions.cross_sell import Terms, name_products
from experiments.bench_models.homes import home_of
from experiments.bench_models.lines import Progress, Protocol
from experiments.bench_models.listed import SEED, Role, figures_of, lines_of
from experiments.bench_models.recommend import (
    ACTIVE_DAYS,
    AS_OF,
    HORIZON_DAYS,
    NOT_SOLD_AS_GOODS,
)
from programme.settings import Settings
from training.baskets import Baskets, Level
from training.models.complements import complements
from training.models.explore import Popularity
from training.models.ranker import ExploreRanker

LISTED, CONSIDERED, SHORT = 10, 30, 4
SEARCHED = 30
LEVELS: Mapping[Level, int] = {"category": 4, "product_type": 3}
NOBODY_RETURNED = pd.DataFrame({"member_id": [], "product_id": []}, dtype=str)


@dataclass(frozen=True)
class Lists:
    """What one way names on the two days: the earlier to calibrate on, the later to be judged."""

    earlier: pd.DataFrame
    now: pd.DataFrame

    def first(self, k: int) -> "Lists":
        """Return the first k of each list."""
        return Lists(self.earlier[self.earlier["rank"] <= k], self.now[self.now["rank"] <= k])

    def beside(self, other: "Lists") -> "Lists":
        """Return both lists of each day."""
        return Lists(
            pd.concat([self.earlier, other.earlier], ignore_index=True),
            pd.concat([self.now, other.now], ignore_index=True),
        )


def main() -> None:
    """Measure both levels and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: --level category")
    parser.add_argument("--level", nargs="+", choices=tuple(LEVELS), default=tuple(LEVELS))
    parser.add_argument("--home", type=Path, default=Path("var/bench"), help="keeps the data")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)

    def progress(text: str) -> None:
        console.print(f"[dim]{text}[/dim]")

    settings = home_of(arguments.home, "completejourney", progress)
    for level in arguments.level:
        for protocol in measured(settings, level, progress):
            console.print(protocol.table())
            console.print(protocol.note)


def measured(settings: Settings, level: Level, progress: Progress) -> list[Protocol]:
    """Judge the lists of one level: whether she buys of them, and what that earns."""
    began = time.monotonic()
    baskets = Baskets(settings, HORIZON_DAYS, level, NOT_SOLD_AS_GOODS)
    before = AS_OF - timedelta(days=HORIZON_DAYS)
    lists = {
        "popularity": _lists(baskets, before, lambda _: Popularity(), progress, "popularity"),
        "explore head": _lists(baskets, before, lambda _: _ranker(), progress, "explore head"),
    }
    progress(f"{level}: complements")
    beside = Lists(_complements(baskets, before), _complements(baskets, AS_OF))
    goods = _goods(settings, baskets, level)
    spent, spent_before = (_spent(settings, baskets, day) for day in (AS_OF, before))
    judged, earned = {}, {}
    terms = Terms(shown=LISTED)
    head = lists["explore head"]
    ways: dict[str, Lists] = {
        "popularity": lists["popularity"].first(LISTED),
        "explore head": head.first(LISTED),
        "popularity, by margin": lists["popularity"].first(LISTED),
        f"shown, of {LISTED}": head.first(LISTED),
        f"shown, of {CONSIDERED}": head,
        f"shown, of {LISTED} and complements": head.first(LISTED).beside(beside),
    }
    found = baskets.origin(AS_OF).found()
    found = found[found["member_id"].isin(_active(baskets, AS_OF))]
    everybody = pd.Index(sorted(_active(baskets, AS_OF)), name="member_id")
    for name, way in ways.items():
        calibration = Calibration.fit(
            "cross_sell", way.earlier, baskets.before(before), spent_before,
            baskets.items(before)["price_cents"],
        )  # fmt: skip
        shown = (
            _as_recommended(way.now, goods, baskets.before(AS_OF), terms, calibration)
            if name in lists
            else name_products(
                "cross_sell",
                way.now,
                goods,
                baskets.before(AS_OF),
                NOBODY_RETURNED,
                terms,
                calibration,
            ).rows
        )
        named = shown.rename(columns={"place": "rank"})
        judged[name] = figures_of(named[["member_id", "rank", "product_id"]], found)
        earned[name] = _earned(named, spent, terms, everybody)
    ours: Role = "ours"
    roles = dict.fromkeys(ways, ours) | {"popularity": "rule", "popularity, by margin": "rival"}
    what = f"first purchases of a {level.replace('_', ' ')}, {HORIZON_DAYS} days from {AS_OF}"
    seconds = time.monotonic() - began
    return [
        Protocol(
            f"Cross-sell, {what}, {len(next(iter(judged.values()))):,} members with one",
            lines_of(judged, roles, {}), seconds,
            f"{beside.now['member_id'].nunique():,} members have a complement to be named.",
        ),
        Protocol(
            f"Margin a member of {LISTED} named, in cents, {what}, {len(everybody):,} members "
            f"active in the last {ACTIVE_DAYS}",
            lines_of(earned, roles, {}, primary=f"realised of the first {SHORT}"), seconds,
            f"Margin rate {terms.margin_rate}, cannibalisation {terms.cannibalisation}, both "
            "assumed. expected: what the action says beforehand; realised: what members then "
            "spent on what was named.",
        ),
    ]  # fmt: skip


def _ranker() -> ExploreRanker:
    return ExploreRanker(
        seed=SEED, n_candidates=60, members_max=1_500, draws=SEARCHED, num_threads=1
    )


def _lists(
    baskets: Baskets, before: date, model: Callable[[date], Any], progress: Progress, name: str
) -> Lists:
    """Fit on both days, and name products to the members who were active on each."""
    named = []
    for day in (before, AS_OF):
        progress(f"{baskets.level}: {name} as of {day}")
        fitted = model(day)
        if getattr(fitted, "learns_from_origins", False):
            origins = [
                baskets.origin(day - timedelta(days=HORIZON_DAYS * back))
                for back in range(1, LEVELS[baskets.level] + 1)
            ]
            fitted.fit(baskets.before(day), origins, baskets.items(day))
        else:
            fitted.fit(baskets.before(day))
        rows = fitted.recommend(baskets.before(day), sorted(_active(baskets, day)), CONSIDERED)
        named.append(rows.assign(source="explore", because="", lift=1.0))
    return Lists(*named)


def _active(baskets: Baskets, day: date) -> Sequence[str]:
    last = baskets.before(day).groupby("member_id")["last_days"].min()
    return [str(member) for member in last.index[last <= ACTIVE_DAYS]]


def _complements(baskets: Baskets, day: date) -> pd.DataFrame:
    """Return what goes with what each member has begun; every item is its own kind here."""
    bought = baskets.before(day)
    items = bought["product_id"].unique()
    found = from_complements(complements(baskets.days(day)), bought, pd.Series(items, items))
    return found[found["member_id"].isin(_active(baskets, day))]


def _as_recommended(
    named: pd.DataFrame,
    goods: pd.DataFrame,
    bought: pd.DataFrame,
    terms: Terms,
    calibration: Calibration,
) -> pd.DataFrame:
    """Return a recommender's own list in its own order, valued like what is shown."""
    price = named["product_id"].map(goods["price_cents"])
    chance = chances("cross_sell", named, bought, calibration)
    rate = terms.margin_rate * (1 - terms.cannibalisation) * calibration.prices_spent
    return named.assign(
        place=named["rank"], chance=chance, margin_cents=chance * price * rate
    ).drop(columns="rank")


def _earned(
    named: pd.DataFrame, spent: pd.DataFrame, terms: Terms, members: pd.Index
) -> pd.DataFrame:
    """Return what was expected of each member's list and of its first few, and what it earned."""
    rate = terms.margin_rate * (1 - terms.cannibalisation)
    rows = named.merge(spent, how="left", on=["member_id", "product_id"])
    rows["realised"] = rows["net_cents"].fillna(0.0) * rate
    figures: dict[str, pd.Series[float]] = {}
    for k, label in ((LISTED, ""), (SHORT, f" of the first {SHORT}")):
        some = rows[rows["rank"] <= k].groupby("member_id")[["margin_cents", "realised"]].sum()
        figures |= {f"expected{label}": some["margin_cents"], f"realised{label}": some["realised"]}
    wide = pd.DataFrame(figures).reindex(members).fillna(0.0)
    bought = rows["net_cents"].notna().to_numpy()
    tenth = np.array_split(np.argsort(rows["chance"].to_numpy(), kind="stable"), 10)
    chance = rows["chance"].to_numpy()
    apart = [abs(chance[part].mean() - bought[part].mean()) for part in tenth]
    return wide.assign(**{"chance less share bought": chance.mean() - bought.mean(),
                          "error in tenths": float(np.mean(apart))})  # fmt: skip


def _goods(settings: Settings, baskets: Baskets, level: Level) -> pd.DataFrame:
    items = baskets.items(AS_OF)
    category = pd.Series(items.index, index=items.index)
    if level != "category":
        above = Baskets(settings, HORIZON_DAYS, "category", NOT_SOLD_AS_GOODS).kinds(AS_OF)
        both = pd.DataFrame({"own": baskets.kinds(AS_OF), "above": above}).dropna()
        category = both.groupby("own")["above"].agg(lambda names: names.mode().iloc[0])
    return pd.DataFrame(
        {
            "category": category.reindex(items.index),
            "price_cents": items["price_cents"],
            "margin_rate": np.nan,
            "stock": "unknown",
            "restricted": False,
        }
    )


def _spent(settings: Settings, baskets: Baskets, day: date) -> pd.DataFrame:
    """Return what each member spent on each item within the horizon after a day."""
    rows = counter.spent(settings, day)
    rows = rows.assign(product_id=rows["product_id"].map(baskets.kinds(day))).dropna()
    return rows.groupby(["member_id", "product_id"])["net_cents"].sum().reset_index()


if __name__ == "__main__":
    main()
