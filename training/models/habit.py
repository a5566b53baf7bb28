"""What a member will buy again: her habits with the recent past counting more, and what is due."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from programme.errors import InputRefused
from training.models import boosting, folder
from training.models.boosting import Trees
from training.models.inputs import product_rows, some_rows
from training.models.origin import Origin
from training.models.pool import ProductPool, text
from training.models.repeat import OwnProducts

Doubles = NDArray[np.float64]
# Windows of the product frame, and the day each stretch between them lies around.
WINDOWS = (28, 84, 182)
MIDDLES = (14.0, 56.0, 133.0)
HABIT_TREES = Trees(
    n_trees=100,
    learning_rate=0.08,
    num_leaves=31,
    min_data_in_leaf=200,
    feature_fraction=0.6,
    bagging_fraction=1.0,
)
COLUMNS = (
    "purchase_days", "last_days", "first_days",
    *(f"purchase_days_{days}d" for days in WINDOWS),
    "habit", "rate", "gap_days", "overdue_ratio",
    "share_of_members", "repeat_share", "product_rate",
    "member_products", "member_most_days", "member_last_days", "member_first_days",
    *(f"member_days_{days}d" for days in WINDOWS),
    "days_of_most", "days_28d_of_member", "days_84d_of_member",
)  # fmt: skip
POOL = "pool.npz"


class Habit(OwnProducts):
    """Own products by purchase days that fade, times how likely they are still bought.

    Purchase days fade by stretches of 4, 12 and 26 weeks, as the groups of baskets in TIFU-KNN
    do. A product is let go as the silence outgrows its own gap: after twice the gap it counts
    `exp(-letting_go)`, after three times the square of it.

    Parameters
    ----------
    half_life_days : days after which a purchase day counts half
    letting_go : per own gap that the silence is longer than one gap; 0 never lets go

    Source
    ------
    Hu et al. (2020), Modeling Personalized Item Frequency Information for Next-basket
    Recommendation, SIGIR '20, eq. (2)-(3): repeated decay within and between groups.
    """

    kind = "habit"

    def __init__(self, half_life_days: float = 120.0, letting_go: float = 0.1) -> None:
        if not (half_life_days > 0 and letting_go >= 0):
            raise InputRefused(
                f"A habit got half_life_days {half_life_days} and letting_go {letting_go}; no "
                "model was made. Give a half-life above 0 and letting_go of at least 0."
            )
        self.half_life_days = half_life_days
        self.letting_go = letting_go

    def fit(self, products: pd.DataFrame) -> Self:
        """Check the frame; the habits are read when asked, nothing is learned."""
        some_rows(len(product_rows(products, dated=True)), "a recommender")
        return self

    def _rows(self, products: pd.DataFrame) -> pd.DataFrame:
        return product_rows(products, dated=True)

    def _scores(self, products: pd.DataFrame) -> Doubles:
        overdue = np.nan_to_num(_overdue(products), nan=1.0, posinf=1e6)
        kept = np.exp(-self.letting_go * np.maximum(overdue - 1.0, 0.0))
        return np.asarray(faded_days(products, self.half_life_days) * kept)

    def save(self, path: Path) -> None:
        """Write both numbers as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {"half_life_days": self.half_life_days, "letting_go": self.letting_go}
        folder.write(path, self.kind, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model."""
        return cls(**folder.read(path, cls.kind))


class RepeatRanker(OwnProducts):
    """P(a product bought before is bought in the window), learned from what past days' were.

    Parameters
    ----------
    seed : of the trees' samples, and of the members learned from
    half_life_days : of the habit among its columns
    trees : size and regularisation
    members_max : learned from per past day; of more, a seeded sample
    num_threads : at most this many at once; the answer does not depend on it
    """

    kind = "repeat_ranker"
    learns_from_origins = True

    def __init__(
        self,
        *,
        seed: int,
        half_life_days: float = 120.0,
        trees: Trees = HABIT_TREES,
        members_max: int = 3_000,
        num_threads: int = 2,
    ) -> None:
        self.seed = seed
        self.half_life_days = half_life_days
        self.trees = trees
        self.members_max = members_max
        self.num_threads = num_threads

    def fit(
        self,
        products: pd.DataFrame,
        origins: Sequence[Origin] = (),
        items: pd.DataFrame | None = None,  # noqa: ARG002 - read by rankers of new products
    ) -> Self:
        """Learn from past days; how common a product is, is taken from the present one.

        Parameters
        ----------
        products : product frame of the present day, as `Snapshot.products`
        origins : past days whose windows ended by the present one

        Raises
        ------
        InputRefused
            When a column is missing, or nobody bought anything again after any past day.
        """
        frame = product_rows(products, dated=True)
        some_rows(len(frame), "a recommender")
        tables = [self._labelled(origin, number) for number, origin in enumerate(origins)]
        labels = np.concatenate([label for _, label in tables]) if tables else np.empty(0)
        if len(np.unique(labels)) < 2:
            raise InputRefused(
                "The repeat ranker learns from what was bought again after earlier days, and "
                f"what was not; {len(origins)} such days with {int(labels.sum())} of "
                f"{len(labels)} products bought again were given. Nothing was fitted. Give "
                "earlier days, or a longer history."
            )
        values = np.concatenate([table for table, _ in tables])
        # Few rows are no reason to refuse: smaller leaves, as long as there is anything to learn.
        leaf = min(self.trees.min_data_in_leaf, max(1, len(values) // 20))
        trees = replace(self.trees, min_data_in_leaf=leaf)
        parameters = {
            **trees.parameters(seed=self.seed, num_threads=self.num_threads),
            "objective": "binary",
        }
        self.booster_ = boosting.train(values, labels, COLUMNS, parameters, trees.n_trees)
        self.common_ = _Common.of(frame)
        return self

    def _labelled(self, origin: Origin, number: int) -> tuple[Doubles, Doubles]:
        frame = product_rows(origin.before, dated=True)
        common = _Common.of(frame)
        members = text(frame["member_id"]).unique().sort_values()
        if len(members) > self.members_max:
            rng = np.random.default_rng([self.seed, number])
            chosen = np.sort(rng.choice(len(members), self.members_max, replace=False))
            frame = frame[text(frame["member_id"]).isin(members[chosen])]
        pair = ["member_id", "product_id"]
        after = pd.MultiIndex.from_frame(origin.after[pair].astype("str"))
        again = pd.MultiIndex.from_frame(frame[pair].astype("str")).isin(after)
        return habit_columns(frame, common, self.half_life_days), again.astype(np.float64)

    def _rows(self, products: pd.DataFrame) -> pd.DataFrame:
        return product_rows(products, dated=True)

    def _scores(self, products: pd.DataFrame) -> Doubles:
        values = habit_columns(products, self.common_, self.half_life_days)
        raw = boosting.raw_predictions(self.booster_, values, self.num_threads)
        return np.asarray(1 / (1 + np.exp(-raw)))

    def save(self, path: Path) -> None:
        """Write the trees as text, what is common as npz."""
        path.mkdir(parents=True, exist_ok=True)
        self.common_.save(path / POOL)
        facts = {
            "seed": self.seed,
            "half_life_days": self.half_life_days,
            "trees": asdict(self.trees),
            "members_max": self.members_max,
            "num_threads": self.num_threads,
        }
        files = [POOL, boosting.save_booster(self.booster_, path)]
        folder.write(path, self.kind, facts, files)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts: dict[str, Any] = folder.read(path, cls.kind)
        model = cls(**{**facts, "trees": Trees(**facts["trees"])})
        model.booster_ = boosting.load_booster(path)
        model.common_ = _Common.load(path / POOL)
        return model


class _Common:
    """How common every product is, and how readily it is bought again; NaN for an unknown one."""

    def __init__(self, pool: ProductPool, repeat_share: Doubles, rate: Doubles) -> None:
        self.pool = pool
        self.repeat_share = repeat_share
        self.rate = rate

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        pool = ProductPool.of(frame)
        column = pool.product_ids.get_indexer(text(frame["product_id"]))
        buyers = np.bincount(column, minlength=len(pool)).astype(np.float64)
        again = np.bincount(column, frame["purchase_days"].to_numpy() > 1, len(pool))
        rate = np.bincount(column, _rate(frame), len(pool))
        return cls(pool, again / buyers, rate / buyers)

    def of_rows(self, product_ids: pd.Series) -> list[Doubles]:
        column = self.pool.product_ids.get_indexer(text(product_ids))
        return [
            np.where(column >= 0, values[column], np.nan)
            for values in (self.pool.share, self.repeat_share, self.rate)
        ]

    def save(self, path: Path) -> None:
        ids = np.asarray(self.pool.product_ids.to_numpy(dtype=object), dtype=str)
        np.savez_compressed(
            path,
            product_ids=ids,
            share=self.pool.share,
            repeat_share=self.repeat_share,
            rate=self.rate,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path, allow_pickle=False) as arrays:
            pool = ProductPool(text(arrays["product_ids"]), arrays["share"])
            return cls(pool, arrays["repeat_share"], arrays["rate"])


def faded_days(products: pd.DataFrame, half_life_days: float) -> Doubles:
    """Return purchase days that fade with age, by the stretches of the windows; shape (n,)."""
    counts = [products[f"purchase_days_{days}d"].to_numpy(dtype=np.float64) for days in WINDOWS]
    total = products["purchase_days"].to_numpy(dtype=np.float64)
    first = products["first_days"].to_numpy(dtype=np.float64)
    inside = np.diff(np.stack([np.zeros(len(total)), *counts]), axis=0)
    faded = np.exp2(-np.array(MIDDLES) / half_life_days) @ inside
    # Older ones lie between the last window and the first purchase.
    middle = (WINDOWS[-1] + np.maximum(first, WINDOWS[-1])) / 2
    faded += (total - counts[-1]) * np.exp2(-middle / half_life_days)
    # Within a stretch the last day itself tells more: equal counts are ordered by it.
    return np.asarray(faded * np.exp2(-products["last_days"].to_numpy(float) / half_life_days / 8))


def habit_columns(products: pd.DataFrame, common: _Common, half_life_days: float) -> Doubles:
    """Lay out `COLUMNS` for checked product rows; each row reads its own member's rows only."""
    days = {
        name: products[name].to_numpy(dtype=np.float64)
        for name in (
            "purchase_days", "last_days", "first_days",
            *(f"purchase_days_{window}d" for window in WINDOWS),
        )
    }  # fmt: skip
    own = products.groupby("member_id", observed=True)
    windows = [f"purchase_days_{window}d" for window in WINDOWS]
    most, of_member = (
        own["purchase_days"].transform("max").to_numpy(float),
        [own[name].transform("sum").to_numpy(float) for name in windows],
    )
    laid = [
        *days.values(),
        faded_days(products, half_life_days),
        _rate(products),
        _gap(products),
        _overdue(products),
        *common.of_rows(products["product_id"]),
        own["purchase_days"].transform("size").to_numpy(float),
        most,
        own["last_days"].transform("min").to_numpy(float),
        own["first_days"].transform("max").to_numpy(float),
        *of_member,
        days["purchase_days"] / most,
        days["purchase_days_28d"] / np.maximum(of_member[0], 1.0),
        days["purchase_days_84d"] / np.maximum(of_member[1], 1.0),
    ]
    return np.column_stack(laid)


def _rate(products: pd.DataFrame) -> Doubles:
    """Purchase days per day since the first one, as if four weeks more had been watched."""
    first = products["first_days"].to_numpy(dtype=np.float64)
    return np.asarray(products["purchase_days"].to_numpy(dtype=np.float64) / (first + 28.0))


def _gap(products: pd.DataFrame) -> Doubles:
    """Mean days between purchases of the product; NaN where bought on one day only."""
    span = products["first_days"].to_numpy(float) - products["last_days"].to_numpy(float)
    between = products["purchase_days"].to_numpy(float) - 1.0
    return np.asarray(np.where(between > 0, span / np.where(between > 0, between, 1.0), np.nan))


def _overdue(products: pd.DataFrame) -> Doubles:
    """Silence over the own gap; NaN where there is no gap."""
    gap = _gap(products)
    silence = products["last_days"].to_numpy(dtype=np.float64)
    return np.asarray(np.where(gap > 0, silence / np.where(gap > 0, gap, 1.0), np.nan))
