"""Members who shop alike, and products bought by the same members: the neighbours' word."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from training.models import folder
from training.models.explore import NewProducts, at_least_one
from training.models.inputs import product_rows
from training.models.pool import POOL_FILE, ProductPool, text

Doubles = NDArray[np.float64]
CROWD_FILE, WEIGHTS_FILE = "crowd.npz", "weights.npz"


@dataclass(frozen=True, eq=False)
class Crowd:
    """Some members and what they bought lately; nobody is named in it.

    Parameters
    ----------
    bought : csr of shape (n_crowd, n_products), 1 where bought
    n_neighbours : of them, how many speak for a product
    """

    bought: sparse.csr_matrix
    n_neighbours: int

    @classmethod
    def of(cls, bought: sparse.csr_matrix, n_neighbours: int, crowd_max: int) -> Self:
        """Keep the members with purchases; of more than `crowd_max`, evenly spaced ones."""
        rows = np.flatnonzero(np.diff(bought.indptr))
        if len(rows) > crowd_max:
            rows = rows[np.linspace(0, len(rows) - 1, crowd_max).astype(int)]
        return cls(bought[rows], n_neighbours)

    def scores(self, own: sparse.csr_matrix) -> Doubles:
        """Return the share of each member's neighbours who bought a product.

        Parameters
        ----------
        own : csr of shape (n_members, n_products), what they bought lately

        Returns
        -------
        array of shape (n_members, n_products), weighted by cosine similarity; 0 for a member
        who is like nobody. She may be in the crowd herself: it only adds to what she bought.
        """
        n_products = self.bought.shape[1]
        if not self.bought.shape[0]:
            return np.zeros((own.shape[0], n_products))
        alike = (_unit_rows(own) @ _unit_rows(self.bought).T).toarray()
        k = min(self.n_neighbours, alike.shape[1])
        floor = np.partition(alike, -k, axis=1)[:, -k]
        near = sparse.csr_matrix(np.where(alike >= floor[:, None], alike, 0.0))
        weight = np.asarray(near.sum(axis=1)).ravel()
        said = (near @ self.bought).toarray()
        return np.asarray(said / np.where(weight > 0, weight, 1.0)[:, None])

    def save(self, path: Path) -> None:
        """Write it as npz."""
        np.savez_compressed(path, indices=self.bought.indices, indptr=self.bought.indptr)

    @classmethod
    def load(cls, path: Path, n_neighbours: int, n_products: int) -> Self:
        """Read it back."""
        with np.load(path, allow_pickle=False) as arrays:
            indices, indptr = arrays["indices"], arrays["indptr"]
        shape = (len(indptr) - 1, n_products)
        ones = np.ones(len(indices))
        return cls(sparse.csr_matrix((ones, indices, indptr), shape=shape), n_neighbours)


class MemberNeighbours(NewProducts):
    """Never-bought products by what the members who shop alike bought in the last weeks.

    Parameters
    ----------
    n_items : products considered, the most widely bought ones
    n_neighbours : members who are asked
    recent_days : how far back a purchase still says what somebody is like
    crowd_max : members to look for neighbours among; of more, an even sample
    """

    kind = "member_neighbours"

    def __init__(
        self,
        n_items: int = 3_000,
        n_neighbours: int = 200,
        *,
        recent_days: int = 91,
        crowd_max: int = 10_000,
    ) -> None:
        self.n_items = at_least_one(n_items)
        self.n_neighbours = at_least_one(n_neighbours)
        self.recent_days = at_least_one(recent_days)
        self.crowd_max = at_least_one(crowd_max)

    def fit(self, products: pd.DataFrame) -> Self:
        """Remember what members bought lately."""
        frame = product_rows(products)
        self.pool_ = ProductPool.of(frame, self.n_items)
        members = text(frame["member_id"]).unique().sort_values()
        self.crowd_ = Crowd.of(self._recent(frame, members), self.n_neighbours, self.crowd_max)
        return self

    def _recent(self, frame: pd.DataFrame, members: pd.Index) -> sparse.csr_matrix:
        lately = frame[frame["last_days"] <= self.recent_days]
        return self.pool_.purchases(lately, members, np.ones(len(lately)))

    def _weights(self, products: pd.DataFrame) -> Doubles:
        # Older purchases are bought all the same: a weight that the scores leave out.
        return np.where(products["last_days"].to_numpy() <= self.recent_days, 1.0, 1e-9)

    def _scores(self, bought: sparse.csr_matrix) -> Doubles:
        recent = bought.copy()
        recent.data = np.where(recent.data >= 1.0, 1.0, 0.0)
        recent.eliminate_zeros()
        scores = self.crowd_.scores(recent)
        scores[np.diff(recent.indptr) == 0] = self.pool_.share
        return scores

    def save(self, path: Path) -> None:
        """Write pool and crowd as npz."""
        path.mkdir(parents=True, exist_ok=True)
        self.pool_.save(path / POOL_FILE)
        self.crowd_.save(path / CROWD_FILE)
        facts = {
            name: getattr(self, name)
            for name in ("n_items", "n_neighbours", "recent_days", "crowd_max")
        }
        folder.write(path, self.kind, facts, [POOL_FILE, CROWD_FILE])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        model = cls(**folder.read(path, cls.kind))
        model.pool_ = ProductPool.load(path / POOL_FILE)
        model.crowd_ = Crowd.load(path / CROWD_FILE, model.n_neighbours, len(model.pool_))
        return model


def _unit_rows(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1.0)) @ rows)
