"""The next basket: of everything a member may put in it, what she buys again and what is new."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.bench_models.lines import Aim, Progress, Protocol
from experiments.bench_models.listed import SEED, Role, figures_of, lines_of
from programme.settings import Settings
from training.baskets import Baskets
from training.labels import data_ends
from training.models.blend import Blend
from training.models.explore import EASE, Popularity
from training.models.habit import Habit, RepeatRanker
from training.models.neighbours import MemberNeighbours
from training.models.origin import Origin
from training.models.ranker import ExploreRanker
from training.models.repeat import PersonalFrequency

K = 10
BASKETS_MIN, LINES_MIN = 5, 10
# Ta-Feng tells the order of baskets and no dates: a fortnight apart, windows hold 2, 6 and 13.
DAYS_PER_BASKET = 14
WINDOWS = (28, 84, 182)
NEVER_FADES = 1e12


@dataclass(frozen=True, eq=False)
class Past:
    """Baskets as rows, and the ways to part them: the last basket is the test.

    Parameters
    ----------
    rows : DataFrame with member_id, product_id, days_ago and `place`, 1 for the last basket
    wanted : the baskets to predict, member_id and product_id; None: those of place 1
    """

    rows: pd.DataFrame
    wanted: pd.DataFrame | None = None

    def parted(self, places: int) -> Origin:
        """Return what was known before each member's basket `places` back, and that basket.

        0 is the test. A member with fewer baskets is not in it.
        """
        back = places + (1 if self.wanted is None else 0)
        history = self.rows[self.rows["place"] > back]
        if places == 0 and self.wanted is not None:
            wanted = self.wanted
        else:
            wanted = self.rows.loc[self.rows["place"] == back, ["member_id", "product_id"]]
        known = wanted["member_id"].isin(history["member_id"].unique())
        return Origin(product_frame(history), wanted[known].reset_index(drop=True))


def complete_journey(settings: Settings, progress: Progress) -> Protocol:
    """Judge lists for the last day on which each household bought, from the days before it."""
    began = time.monotonic()
    progress("recommend: next baskets of Complete Journey")
    days = Baskets(settings, 28).days(data_ends(settings))
    lines = days["product_id"].map(days["product_id"].value_counts())
    days = days[lines >= LINES_MIN]
    place = days.groupby("member_id")["days_ago"].rank(method="dense").astype(int)
    days = days.assign(place=place)
    days = days[days.groupby("member_id")["place"].transform("max") >= BASKETS_MIN]
    past = Past(days.reset_index(drop=True))
    return _protocol(
        "Complete Journey, next basket (a day), the last one",
        past,
        members_max=1_500,
        aims={"repeat ranker, then new": (Aim("recall@10", 0.175),)},
        began=began,
        progress=progress,
    )


def ta_feng(folder: Path, progress: Progress) -> Protocol:
    """Judge lists for the public Ta-Feng split; no file of it is kept."""
    began = time.monotonic()
    progress("recommend: next baskets of Ta-Feng")
    history = _pairs(folder / "tafeng_history.json")
    future = _pairs(folder / "tafeng_future.json")
    last = history.groupby("member_id")["basket"].transform("max")
    place = last - history["basket"] + 1
    rows = history.assign(place=place, days_ago=place * DAYS_PER_BASKET)
    past = Past(rows, future[["member_id", "product_id"]].drop_duplicates())
    return _protocol(
        "Ta-Feng, next basket, the public split",
        past,
        members_max=6_000,
        aims={
            "repeat ranker, then new": (Aim("recall@10", 0.140), Aim("explore recall@10", 0.075))
        },
        began=began,
        progress=progress,
    )


def product_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return purchase days as `Snapshot.products` does, as of the day after each last basket.

    Nothing of the basket to predict is read, not even its date.
    """
    newest = rows.groupby("member_id")["days_ago"].transform("min")
    rows = rows.assign(days_ago=rows["days_ago"] - newest + 1)
    inside = {f"purchase_days_{days}d": rows["days_ago"] <= days for days in WINDOWS}
    grouped = rows.assign(**inside).groupby(["member_id", "product_id"], sort=True)
    frame = grouped.agg(
        purchase_days=("days_ago", "size"),
        last_days=("days_ago", "min"),
        first_days=("days_ago", "max"),
        **{name: (name, "sum") for name in inside},
    )
    return frame.reset_index()


def _pairs(path: Path) -> pd.DataFrame:
    """Read member_id, basket (from 1) and product_id; the files pad baskets with -1."""
    baskets = json.loads(path.read_text("utf-8"))
    rows = [
        (member, number, str(item))
        for member, listed in baskets.items()
        for number, basket in enumerate([b for b in listed if b != [-1]], 1)
        for item in dict.fromkeys(basket)
    ]
    return pd.DataFrame(rows, columns=["member_id", "basket", "product_id"])


def _protocol(
    name: str,
    past: Past,
    *,
    members_max: int,
    aims: Mapping[str, tuple[Aim, ...]],
    began: float,
    progress: Progress,
) -> Protocol:
    test, learned = past.parted(0), [past.parted(1), past.parted(2)]
    progress("recommend: repeat ranker")
    again = RepeatRanker(seed=SEED, members_max=members_max, num_threads=1)
    again.fit(test.before, learned)
    progress("recommend: ranker of new products")
    new = ExploreRanker(seed=SEED, n_candidates=60, members_max=1_500, draws=30, num_threads=1)
    new.fit(test.before, learned[:1])
    popularity = Popularity().fit(test.before)
    own: dict[str, tuple[Role, object]] = {
        "own frequency, then popularity": ("rule", PersonalFrequency(NEVER_FADES)),
        "own frequency fading, then popularity": ("rival", PersonalFrequency(60.0)),
        "habit, then popularity": ("rival", Habit()),
    }
    explorers: dict[str, object] = {
        "EASE": EASE().fit(test.before),
        "member neighbours": MemberNeighbours().fit(test.before),
        "blend": Blend(draws=30, seed=SEED).fit(test.before, learned[:1]),
    }
    progress("recommend: lists for everybody")
    members = sorted(test.after["member_id"].unique())
    everything = most_bought(test.before, members)
    fill = popularity.recommend(test.before, members, K)
    roles: dict[str, Role] = {"popularity": "rule"}
    lists: dict[str, tuple[pd.DataFrame, pd.DataFrame | None]] = {"popularity": (everything, fill)}
    for label, (role, model) in own.items():
        fitted = model.fit(test.before)  # type: ignore[attr-defined]
        named = by_popularity(fitted.recommend(test.before, members, 5 * K), test.before)
        lists[label], roles[label] = (followed_by(named, fill), None), role
        if label.startswith("own frequency,"):
            lists[label] = (followed_by(named, fill), fill)
    for label, model in explorers.items():
        lists[label] = (model.recommend(test.before, members, K),) * 2  # type: ignore[attr-defined]
        roles[label] = "rival"
    found = new.recommend(test.before, members, K)
    chance = chance_by_rank(past, members_max)
    merged = by_chance(again.recommend(test.before, members, 3 * K), found, chance)
    lists["repeat ranker, then new"], roles["repeat ranker, then new"] = (merged, found), "ours"
    judged = {label: _judged(test, *named) for label, named in lists.items()}
    return Protocol(
        f"{name}, {len(members):,} members",
        lines_of(judged, roles, aims),
        time.monotonic() - began,
        "repeat recall@10: of what was bought before; explore recall@10: of what was new, by a "
        "list of new products alone; both over the members who bought any such.",
    )


def _judged(test: Origin, named: pd.DataFrame, explored: pd.DataFrame | None) -> pd.DataFrame:
    """Return every member's figures; the parts are NaN where she bought none of that part."""
    figures = figures_of(named, test.after)
    pair = ["member_id", "product_id"]
    new = test.found()
    again = test.after.merge(test.before[pair], on=pair)
    figures["repeat recall@10"] = figures_of(named, again)["recall@10"]
    if explored is not None:
        figures["explore recall@10"] = figures_of(explored, new)["recall@10"]
    return figures


def most_bought(before: pd.DataFrame, members: list[str]) -> pd.DataFrame:
    """Return the ten products of most members, the same for everybody."""
    top = before.groupby("product_id").size().sort_values(ascending=False, kind="stable").index[:K]
    return pd.DataFrame(
        {
            "member_id": np.repeat(members, len(top)),
            "rank": np.tile(np.arange(1, len(top) + 1), len(members)),
            "product_id": np.tile(np.asarray(top), len(members)),
        }
    )


def by_popularity(named: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Order equal scores by how many members bought a product."""
    share = named["product_id"].map(before.groupby("product_id").size())
    ordered = named.assign(share=share, score=named["score"].round(6)).sort_values(
        ["member_id", "score", "share", "product_id"], ascending=[True, False, False, True]
    )
    return _ranked(ordered)


def followed_by(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the first list of each member, filled up from the second."""
    both = pd.concat([first.assign(part=0), second.assign(part=1)])
    return _ranked(both.sort_values(["member_id", "part", "rank"]))


def by_chance(again: pd.DataFrame, new: pd.DataFrame, chance: np.ndarray) -> pd.DataFrame:
    """Merge both lists by the probability that a product is bought.

    Parameters
    ----------
    again : with `score`, a probability
    new : without one; its rank stands for one
    chance : array of shape (K,), by rank
    """
    expected = new.assign(score=chance[new["rank"].to_numpy() - 1])
    both = pd.concat([again, expected])[["member_id", "product_id", "score"]]
    return _ranked(
        both.sort_values(["member_id", "score", "product_id"], ascending=[True, False, True])
    )


def chance_by_rank(past: Past, members_max: int) -> np.ndarray:
    """Return how often a new product at each rank was bought, one basket before the test."""
    earlier, learned = past.parted(1), past.parted(2)
    model = Blend().fit(earlier.before, [learned])
    members = sorted(earlier.after["member_id"].unique())[:members_max]
    named = model.recommend(earlier.before, members, K)
    hits = named.merge(earlier.after, on=["member_id", "product_id"])
    return np.asarray(np.bincount(hits["rank"], minlength=K + 1)[1:] / len(members))


def _ranked(ordered: pd.DataFrame) -> pd.DataFrame:
    rank = ordered.groupby("member_id").cumcount() + 1
    return ordered.assign(rank=rank).reset_index(drop=True)
