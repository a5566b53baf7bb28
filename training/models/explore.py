"""What a member has never bought but may like: EASE, and the popularity it must beat."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from programme.errors import InputRefused
from training.models import folder
from training.models.ease import strongest, weights_between
from training.models.inputs import asked_members, product_rows
from training.models.pool import (
    MEMBERS_PER_CHUNK,
    POOL_FILE,
    ProductPool,
    answer,
    best_unbought,
    text,
)

WEIGHTS_FILE = "weights.npz"


class NewProducts(ABC):
    """Ranks the products of the pool that a member never bought; only the score differs."""

    pool_: ProductPool

    @abstractmethod
    def _scores(self, bought: sparse.csr_matrix) -> NDArray[np.float64]:
        """Score every product for members with these purchases; (n_members, n_products)."""

    @abstractmethod
    def _weights(self, products: pd.DataFrame) -> NDArray[np.float64]:
        """Weigh each purchase row, > 0; shape (n,)."""

    def recommend(
        self,
        products: pd.DataFrame,
        member_ids: Sequence[str],
        k: int,
        barred: Collection[str] = (),
    ) -> pd.DataFrame:
        """Name up to k products each member has never bought.

        Parameters
        ----------
        products : DataFrame with `member_id`, `product_id`, `purchase_days`, `last_days`
            All that was ever bought before `as_of`: what it lacks may be recommended.
        member_ids : whom to answer for; one without purchases gets the most popular products
        k : at most this many each; fewer when a member has bought nearly the whole pool
        barred : product_ids that may not be named, such as those out of stock

        Returns
        -------
        DataFrame with `member_id`, `rank` from 1, `product_id`, `score`
            In the order of `member_ids`, then rank; equal scores by product_id.
        """
        members = asked_members(member_ids, k)
        frame = product_rows(products)
        bought = self.pool_.purchases(frame, members, self._weights(frame))
        rows, columns, scores = [np.empty(0, int)], [np.empty(0, int)], [np.empty(0)]
        for start in range(0, len(members), MEMBERS_PER_CHUNK):
            own = bought[start : start + MEMBERS_PER_CHUNK]
            chunk = self._scores(own)
            chunk[:, self.pool_.positions(barred)] = -np.inf
            row, column = best_unbought(chunk, own, k)
            rows.append(row + start)
            columns.append(column)
            scores.append(chunk[row, column])
        ids = self.pool_.product_ids.to_numpy(dtype=object)[np.concatenate(columns)]
        return answer(members, np.concatenate(rows), ids, np.concatenate(scores))


class Popularity(NewProducts):
    """Never-bought products by the share of members who bought them.

    Parameters
    ----------
    n_items : products considered, the most widely bought ones
    """

    kind = "popularity"

    def __init__(self, n_items: int = 3_000) -> None:
        self.n_items = at_least_one(n_items)

    def fit(self, products: pd.DataFrame) -> Self:
        """Count the members per product."""
        self.pool_ = ProductPool.of(product_rows(products), self.n_items)
        return self

    def _weights(self, products: pd.DataFrame) -> NDArray[np.float64]:
        return np.ones(len(products))

    def _scores(self, bought: sparse.csr_matrix) -> NDArray[np.float64]:
        return np.repeat(self.pool_.share[None, :], bought.shape[0], axis=0)

    def save(self, path: Path) -> None:
        """Write the pool as npz."""
        path.mkdir(parents=True, exist_ok=True)
        self.pool_.save(path / POOL_FILE)
        folder.write(path, self.kind, {"n_items": self.n_items}, [POOL_FILE])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        model = cls(folder.read(path, cls.kind)["n_items"])
        model.pool_ = ProductPool.load(path / POOL_FILE)
        return model


class EASE(NewProducts):
    """A linear map from what a member bought to what she may buy, in closed form.

    Parameters
    ----------
    n_items : products considered, the most widely bought ones
    l2 : ridge penalty; larger trusts co-purchases less
    weighting : "binary" counts a product once, "log" by log(1 + purchase days)

    Source
    ------
    Steck (2019), Embarrassingly Shallow Autoencoders for Sparse Data, WWW '19, eq. (8):
    with P = (X'X + l2 I)^-1, the weights are B = I - P diag(1 / diag P).
    """

    kind = "ease"

    def __init__(
        self,
        n_items: int = 3_000,
        l2: float = 300.0,
        *,
        weighting: Literal["binary", "log"] = "log",
    ) -> None:
        if not l2 > 0 or weighting not in ("binary", "log"):
            raise InputRefused(
                f"EASE got l2 {l2} and weighting {weighting!r}; no model was made. "
                "Give l2 above 0 and weighting binary or log."
            )
        self.n_items = at_least_one(n_items)
        self.l2 = l2
        self.weighting: Literal["binary", "log"] = weighting

    def fit(self, products: pd.DataFrame) -> Self:
        """Solve for the weights between the products of the pool.

        Parameters
        ----------
        products : DataFrame with `member_id`, `product_id`, `purchase_days`, `last_days`

        Raises
        ------
        InputRefused
            When a column is missing or there are no rows.
        """
        frame = product_rows(products)
        self.pool_ = ProductPool.of(frame, self.n_items)
        members = text(frame["member_id"]).unique()
        bought = self.pool_.purchases(frame, members, self._weights(frame))
        self.map_ = strongest(weights_between(bought, self.l2))
        return self

    def _weights(self, products: pd.DataFrame) -> NDArray[np.float64]:
        if self.weighting == "binary":
            return np.ones(len(products))
        return np.asarray(np.log1p(products["purchase_days"].to_numpy(dtype=np.float64)))

    def _scores(self, bought: sparse.csr_matrix) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = (bought @ self.map_).toarray()
        # Nothing known of her taste: what most members buy.
        scores[np.diff(bought.indptr) == 0] = self.pool_.share
        return scores

    def save(self, path: Path) -> None:
        """Write pool and weights as npz."""
        path.mkdir(parents=True, exist_ok=True)
        self.pool_.save(path / POOL_FILE)
        np.savez_compressed(
            path / WEIGHTS_FILE,
            data=self.map_.data,
            indices=self.map_.indices,
            indptr=self.map_.indptr,
        )
        facts = {"n_items": self.n_items, "l2": self.l2, "weighting": self.weighting}
        folder.write(path, self.kind, facts, [POOL_FILE, WEIGHTS_FILE])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        model = cls(facts["n_items"], facts["l2"], weighting=facts["weighting"])
        model.pool_ = ProductPool.load(path / POOL_FILE)
        size = len(model.pool_)
        with np.load(path / WEIGHTS_FILE, allow_pickle=False) as arrays:
            parts = (arrays["data"], arrays["indices"], arrays["indptr"])
            model.map_ = sparse.csr_matrix(parts, shape=(size, size))
        return model


def at_least_one(n_items: int) -> int:
    """Refuse a count that leaves nothing to do."""
    if n_items < 1:
        raise InputRefused(f"n_items is {n_items}; no model was made. Give at least 1.")
    return n_items
