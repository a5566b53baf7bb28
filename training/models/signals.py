"""What speaks for a product a member never bought: tastes, neighbours, and what is taken up now."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from programme.errors import InputRefused
from training.models.complements import followed
from training.models.ease import strongest, weights_between
from training.models.inputs import product_rows
from training.models.neighbours import Crowd
from training.models.pool import MEMBERS_PER_CHUNK, ProductPool, text

Doubles = NDArray[np.float64]
# From what she bought to what may be next: EASE on three readings of it, products bought by the
# same members (item-kNN), and what others took up after what she started lately.
TASTES = ("taste_log", "taste_binary", "taste_recent", "bought_together", "follows")
# Per member and product: who she is decides. The rest are of the product alone.
PERSONAL = (*TASTES, "neighbours")
TAKEN_UP_DAYS = (14, 28, 56)
SHARE_DAYS = (28, 84)
SHARED = (
    "share",
    *(f"share_{days}d" for days in SHARE_DAYS),
    *(f"taken_up_{days}d" for days in TAKEN_UP_DAYS),
)
NAMES = (*PERSONAL, *SHARED)
# Weeks in which a purchase says what a member is like now.
RECENT_DAYS = 91
# What was started in the last weeks may still bring on something else.
STARTED_DAYS = 60
STARTS_PER_STEP_DAYS = 28
FOLLOWERS_MIN = 5
# Of a product hardly anybody lacks or found: as if so many members had behaved like the average.
PRIOR_MEMBERS = 5.0


@dataclass(frozen=True)
class Recipe:
    """How the signals are made.

    Parameters
    ----------
    n_items : products considered, the most widely bought ones
    l2 : ridge penalty of the tastes
    n_neighbours : members whose recent purchases speak for a product
    crowd_max : members to look for neighbours among; of more, an even sample
    """

    n_items: int = 3_000
    l2: float = 300.0
    n_neighbours: int = 200
    crowd_max: int = 10_000

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing could be learned."""
        if min(self.n_items, self.n_neighbours, self.crowd_max) < 1 or not self.l2 > 0:
            raise InputRefused(
                f"{self} makes no sense; no model was made. Give counts of at least 1 and l2 "
                "above 0."
            )


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some members beside every product of the pool.

    Parameters
    ----------
    start : position of the first of them among those asked for
    bought : csr of shape (n_members, n_products); log(1 + purchase days), 0 where never bought
    recent : csr of the same shape; 1 where bought within `RECENT_DAYS`
    started : csr of the same shape; 1 where first bought within `STARTED_DAYS`
    scores : per signal an array of the same shape, not finite nowhere
    """

    start: int
    bought: sparse.csr_matrix
    recent: sparse.csr_matrix
    started: sparse.csr_matrix
    scores: dict[str, Doubles]
    _standardised: dict[str, Doubles] = field(default_factory=dict, repr=False)

    @cached_property
    def unbought(self) -> NDArray[np.bool_]:
        """Tell which products a member never bought; shape (n_members, n_products)."""
        return np.asarray(self.bought.toarray() == 0)

    def standardised(self, name: str) -> Doubles:
        """Return a signal in standard deviations over what each member never bought."""
        if name not in self._standardised:
            self._standardised[name] = standardised(self.scores[name], self.unbought)
        return self._standardised[name]


@dataclass(frozen=True, eq=False)
class Signals:
    """The signals learned from one day's product frame.

    Parameters
    ----------
    pool : products considered
    tastes : per personal taste, csr of shape (n_products, n_products), source by target
    crowd : members and what they bought lately
    shared : per signal of the product alone, array of shape (n_products,)
    """

    recipe: Recipe
    pool: ProductPool
    tastes: dict[str, sparse.csr_matrix]
    crowd: Crowd
    shared: dict[str, Doubles]

    @classmethod
    def of(cls, products: pd.DataFrame, recipe: Recipe) -> Self:
        """Learn from what everybody had bought.

        Parameters
        ----------
        products : DataFrame as `Snapshot.products`, with its dated columns
        """
        frame = product_rows(products, dated=True)
        pool = ProductPool.of(frame, recipe.n_items)
        members = text(frame["member_id"]).unique().sort_values()
        bought, recent, _ = _laid_out(pool, frame, members)
        binary = bought.sign()
        tastes = {
            "taste_log": strongest(weights_between(bought, recipe.l2)),
            "taste_binary": strongest(weights_between(binary, recipe.l2)),
            "taste_recent": strongest(weights_between(recent, recipe.l2)),
            "bought_together": strongest(_cosines(binary)),
            "follows": strongest(_following(pool, frame, members)),
        }
        return cls(
            recipe,
            pool,
            tastes,
            Crowd.of(recent, recipe.n_neighbours, recipe.crowd_max),
            _shared(pool, frame, len(members)),
        )

    def chunks(self, products: pd.DataFrame, members: pd.Index) -> Iterator[Chunk]:
        """Score members beside every product, some hundred at a time.

        Parameters
        ----------
        products : DataFrame as `Snapshot.products`
        members : whom to score, unique; one without purchases gets 0 for every personal signal
        """
        bought, recent, started = _laid_out(self.pool, product_rows(products, dated=True), members)
        for start in range(0, len(members), MEMBERS_PER_CHUNK):
            own = bought[start : start + MEMBERS_PER_CHUNK]
            lately = recent[start : start + MEMBERS_PER_CHUNK]
            begun = started[start : start + MEMBERS_PER_CHUNK]
            binary = own.sign()
            of_taste = dict(zip(TASTES, (own, binary, lately, binary, begun), strict=True))
            scores = {name: (of_taste[name] @ self.tastes[name]).toarray() for name in self.tastes}
            scores["neighbours"] = self.crowd.scores(lately)
            shape = (own.shape[0], len(self.pool))
            scores |= {name: np.broadcast_to(of, shape) for name, of in self.shared.items()}
            yield Chunk(start, own, lately, begun, scores)

    def save(self, folder: Path) -> list[str]:
        """Write npz files into a folder that exists; return their names."""
        self.pool.save(folder / "pool.npz")
        self.crowd.save(folder / "crowd.npz")
        np.savez_compressed(folder / "shared.npz", **self.shared)  # type: ignore[arg-type]
        for name, weights in self.tastes.items():
            np.savez_compressed(
                folder / f"{name}.npz",
                data=weights.data,
                indices=weights.indices,
                indptr=weights.indptr,
            )
        return ["pool.npz", "crowd.npz", "shared.npz", *(f"{name}.npz" for name in self.tastes)]

    @classmethod
    def load(cls, folder: Path, recipe: Recipe) -> Self:
        """Read what `save` wrote."""
        pool = ProductPool.load(folder / "pool.npz")
        shape = (len(pool), len(pool))
        tastes = {}
        for name in TASTES:
            with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
                parts = (arrays["data"], arrays["indices"], arrays["indptr"])
                tastes[name] = sparse.csr_matrix(parts, shape=shape)
        with np.load(folder / "shared.npz", allow_pickle=False) as arrays:
            shared = {name: arrays[name] for name in arrays.files}
        crowd = Crowd.load(folder / "crowd.npz", recipe.n_neighbours, len(pool))
        return cls(recipe, pool, tastes, crowd, shared)


def standardised(scores: Doubles, among: NDArray[np.bool_]) -> Doubles:
    """Return scores in standard deviations over the marked entries of each row; 0 where all tie."""
    count = np.maximum(among.sum(axis=1, keepdims=True), 1)
    centred = scores - np.where(among, scores, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.sqrt(np.where(among, centred**2, 0.0).sum(axis=1, keepdims=True) / count)
    # A row of equal scores has a spread of rounding errors: it says nothing.
    floor = 1e-9 * np.maximum(np.abs(scores).max(axis=1, keepdims=True, initial=0.0), 1e-9)
    return np.asarray(np.where(spread > floor, centred / np.maximum(spread, floor), 0.0))


def facts_of(recipe: Recipe) -> dict[str, float]:
    """Return a recipe as JSON values."""
    return asdict(recipe)


def taken_up(pool: ProductPool, frame: pd.DataFrame, days: int) -> Doubles:
    """Return the share of those who lacked a product that bought it first within the last days.

    Popularity says how many have a product; this says how many of the others are getting it,
    which is what an offer of something new depends on: in December, gift wrap.

    Parameters
    ----------
    frame : checked product frame with its dated columns
    days : the window; members who are new or silent in it are left out

    Returns
    -------
    array of shape (n_products,), shares drawn towards the mean of all products
    """
    by_member = frame.groupby("member_id", observed=True)
    member_began = by_member["first_days"].transform("max").to_numpy()
    member_last = by_member["last_days"].transform("min").to_numpy()
    counted = (member_began > days) & (member_last <= days)
    column = pool.product_ids.get_indexer(text(frame["product_id"]))
    kept = counted & (column >= 0)
    n_members = frame.loc[counted, "member_id"].nunique()
    found = frame["first_days"].to_numpy() <= days
    new = np.bincount(column[kept & found], minlength=len(pool)).astype(np.float64)
    lacked = n_members - np.bincount(column[kept & ~found], minlength=len(pool))
    mean = (new.sum() + 0.5) / (lacked.sum() + 1.0)
    return np.asarray((new + PRIOR_MEMBERS * mean) / (lacked + PRIOR_MEMBERS))


def _laid_out(
    pool: ProductPool, frame: pd.DataFrame, members: pd.Index
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, sparse.csr_matrix]:
    """Return what was ever bought, bought lately and started lately."""
    days = frame["purchase_days"].to_numpy(dtype=np.float64)
    lately = frame[frame["last_days"] <= RECENT_DAYS]
    begun = frame[frame["first_days"] <= STARTED_DAYS]
    return (
        pool.purchases(frame, members, np.log1p(days)),
        pool.purchases(lately, members, np.ones(len(lately))),
        pool.purchases(begun, members, np.ones(len(begun))),
    )


def _cosines(binary: sparse.csr_matrix) -> Doubles:
    """Return the cosine between the members of any two products; 0 on the diagonal."""
    both = (binary.T @ binary).toarray()
    length = np.sqrt(np.maximum(both.diagonal(), 1.0))
    both /= length[:, None]
    both /= length[None, :]
    np.fill_diagonal(both, 0.0)
    return np.asarray(both)


def _following(pool: ProductPool, frame: pd.DataFrame, members: pd.Index) -> Doubles:
    """Return how much more a product is taken up after another was started; 0 where no more."""
    who = members.get_indexer(text(frame["member_id"]))
    what = pool.product_ids.get_indexer(text(frame["product_id"]))
    first = frame["first_days"].to_numpy(dtype=np.intp)
    kept = what >= 0
    observed, ratio = followed(
        who[kept],
        what[kept],
        first[kept],
        len(pool),
        within_days=STARTED_DAYS,
        days_per_step=STARTS_PER_STEP_DAYS,
    )
    more = np.where(observed >= FOLLOWERS_MIN, np.log(np.maximum(ratio, 1.0)), 0.0)
    np.fill_diagonal(more, 0.0)
    return np.asarray(more)


def _shared(pool: ProductPool, frame: pd.DataFrame, n_members: int) -> dict[str, Doubles]:
    shared = {"share": pool.share}
    for days in SHARE_DAYS:
        lately = pool.product_ids.get_indexer(
            text(frame.loc[frame["last_days"] <= days, "product_id"])
        )
        shared[f"share_{days}d"] = np.bincount(lately[lately >= 0], minlength=len(pool)) / n_members
    return shared | {f"taken_up_{days}d": taken_up(pool, frame, days) for days in TAKEN_UP_DAYS}
