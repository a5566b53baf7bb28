"""What a member has never bought but may like: EASE, and the popularity it must beat."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from programme.errors import InputRefused, PerennialError
from training.models import folder
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
# Weights kept per product: the rest are small, and a full matrix would be 100 MB on disk.
WEIGHTS_PER_PRODUCT = 100
COLUMNS_PER_CHUNK = 256


class _NewProducts(ABC):
    """Ranks the products of the pool that a member never bought; only the score differs."""

    pool_: ProductPool

    @abstractmethod
    def _scores(self, bought: sparse.csr_matrix) -> NDArray[np.float64]:
        """Score every product for members with these purchases; (n_members, n_products)."""

    @abstractmethod
    def _weights(self, products: pd.DataFrame) -> NDArray[np.float64]:
        """Weigh each purchase row, > 0; shape (n,)."""

    def recommend(self, products: pd.DataFrame, member_ids: Sequence[str], k: int) -> pd.DataFrame:
        """Name up to k products each member has never bought.

        Parameters
        ----------
        products : DataFrame with `member_id`, `product_id`, `purchase_days`, `last_days`
            All that was ever bought before `as_of`: what it lacks may be recommended.
        member_ids : whom to answer for; one without purchases gets the most popular products
        k : at most this many each; fewer when a member has bought nearly the whole pool

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
            row, column = best_unbought(chunk, own, k)
            rows.append(row + start)
            columns.append(column)
            scores.append(chunk[row, column])
        ids = self.pool_.product_ids.to_numpy(dtype=object)[np.concatenate(columns)]
        return answer(members, np.concatenate(rows), ids, np.concatenate(scores))


class Popularity(_NewProducts):
    """Never-bought products by the share of members who bought them.

    Parameters
    ----------
    n_items : products considered, the most widely bought ones
    """

    kind = "popularity"

    def __init__(self, n_items: int = 3_000) -> None:
        self.n_items = _at_least_one(n_items)

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


class EASE(_NewProducts):
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
        self.n_items = _at_least_one(n_items)
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
        self.map_ = _strongest(
            self._solve(self.pool_.purchases(frame, members, self._weights(frame)))
        )
        return self

    def _solve(self, bought: sparse.csr_matrix) -> NDArray[np.float64]:
        """Weights between all products, (n_products, n_products), source by target."""
        n_products = bought.shape[1]
        gram = (bought.T @ bought).toarray()
        np.fill_diagonal(gram, gram.diagonal() + self.l2)
        # In place, as Cholesky: the matrix is symmetric, its transpose is itself in column order.
        # One thread: 2 s for 3,000 products, where two take 17 s if something else wants a core.
        with threadpool_limits(1):
            factor, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
            inverse, failed_too = lapack.dpotri(factor, lower=1, overwrite_c=1)
        if failed or failed_too:
            raise PerennialError(
                f"The co-purchase matrix of {n_products} products could not be inverted with l2 "
                f"{self.l2}. No recommender was fitted. Raise l2."
            )
        weights = inverse + inverse.T  # only the lower half was filled
        diagonal = weights.diagonal() / 2
        weights /= -diagonal[None, :]
        np.fill_diagonal(weights, 0.0)
        return np.asarray(weights)

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


def _strongest(weights: NDArray[np.float64]) -> sparse.csr_matrix:
    """Keep the strongest weights towards each product; shape unchanged, sparse."""
    size = len(weights)
    kept = min(WEIGHTS_PER_PRODUCT, size)
    blocks = []
    for start in range(0, size, COLUMNS_PER_CHUNK):
        block = weights[:, start : start + COLUMNS_PER_CHUNK]
        strength = np.abs(block)
        floor = np.partition(strength, size - kept, axis=0)[size - kept]
        blocks.append(sparse.csc_matrix(np.where(strength >= floor, block, 0.0)))
    return sparse.csr_matrix(sparse.hstack(blocks))


def _at_least_one(n_items: int) -> int:
    if n_items < 1:
        raise InputRefused(f"n_items is {n_items}; no model was made. Give at least 1.")
    return n_items
