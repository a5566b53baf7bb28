"""The products a recommender may name, and the best few of them per member."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from training.models.inputs import some_rows

POOL_FILE = "pool.npz"
MEMBERS_PER_CHUNK = 512


@dataclass(frozen=True, eq=False)
class ProductPool:
    """The most widely bought products.

    Parameters
    ----------
    product_ids : text, ascending: positions in it break ties as the ids do
    share : of the members who bought anything, how many bought each; in (0, 1]
    """

    product_ids: pd.Index
    share: NDArray[np.float64]

    @classmethod
    def of(cls, products: pd.DataFrame, n_products: int | None = None) -> Self:
        """Count members per product and keep the `n_products` bought by most, ties by id."""
        some_rows(len(products), "a recommender")
        counts = products.groupby("product_id", observed=True).size().sort_index()
        if n_products is not None:
            counts = counts.sort_values(ascending=False, kind="stable").head(n_products)
            counts = counts.sort_index()
        share = counts.to_numpy(dtype=np.float64) / products["member_id"].nunique()
        return cls(text(counts.index), np.asarray(share))

    def __len__(self) -> int:
        """Count the products."""
        return len(self.product_ids)

    def positions(self, product_ids: Collection[str]) -> NDArray[np.intp]:
        """Return where these products stand, leaving out those it does not hold."""
        found = self.product_ids.get_indexer(text(sorted(product_ids)))
        return np.asarray(found[found >= 0])

    def purchases(
        self, products: pd.DataFrame, members: pd.Index, weights: NDArray[np.float64]
    ) -> sparse.csr_matrix:
        """Lay the purchases of these members out; shape (n_members, n_products).

        Parameters
        ----------
        products : DataFrame with `member_id`, `product_id`
        members : rows of the answer, unique
        weights : array of shape (len(products),), > 0
        """
        row = members.get_indexer(text(products["member_id"]))
        column = self.product_ids.get_indexer(text(products["product_id"]))
        kept = (row >= 0) & (column >= 0)
        shape = (len(members), len(self))
        return sparse.csr_matrix((weights[kept], (row[kept], column[kept])), shape=shape)

    def save(self, path: Path) -> None:
        """Write it as npz: plain arrays, no pickled objects."""
        ids = np.asarray(self.product_ids.to_numpy(dtype=object), dtype=str)
        np.savez_compressed(path, product_ids=ids, share=self.share)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it back."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(text(arrays["product_ids"]), arrays["share"])


def text(values: object) -> pd.Index:
    """Index of text, whatever dtype the ids came in."""
    index: pd.Index = pd.Index(values).astype("str")  # type: ignore[call-overload]
    return index


def best_unbought(
    scores: NDArray[np.float64], bought: sparse.csr_matrix, k: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pick the k best products per member among those she never bought.

    Parameters
    ----------
    scores : array of shape (n_members, n_products); overwritten where bought
    bought : same shape, non-zero where the member ever bought the product
    k : at most this many each

    Returns
    -------
    member positions and product positions, by member, then score falling, then product position
    """
    scores[bought.nonzero()] = -np.inf
    k = min(k, scores.shape[1])
    # Everything at or above the k-th best score may be among the k: ties are cut by id below.
    floor = np.partition(scores, -k, axis=1)[:, -k]
    row, column = np.nonzero((scores >= floor[:, None]) & np.isfinite(scores))
    order = np.lexsort((column, -scores[row, column], row))
    row, column = row[order], column[order]
    kept = place(row) <= k
    return row[kept], column[kept]


def place(group: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number the entries of each run of equal values 1, 2, 3, ...; shape (n,)."""
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else group
    lengths = np.diff(np.r_[starts, len(group)])
    return np.asarray(np.arange(len(group)) - np.repeat(starts, lengths) + 1)


def answer(
    members: pd.Index,
    row: NDArray[np.intp],
    product_ids: NDArray[np.object_],
    scores: NDArray[np.float64],
) -> pd.DataFrame:
    """Write recommendations as a table: `member_id`, `rank`, `product_id`, `score`."""
    return pd.DataFrame(
        {
            "member_id": members[row],
            "rank": place(row),
            "product_id": text(product_ids),
            "score": scores,
        }
    )
