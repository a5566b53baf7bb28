"""Why a product never bought is named: the one signal that speaks for it most, as a code."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.models.signals import PERSONAL, Chunk, Signals

# Code of the reason by what speaks loudest; its sentence is `reason.<code>` in the word books.
BECAUSE, FOLLOWS, ALIKE = "because", "follows", "alike"
TAKEN_UP, POPULAR = "taken_up", "popular"
_CODES = {
    "follows": FOLLOWS,
    "neighbours": ALIKE,
    "taken_up_28d": TAKEN_UP,
    "share_28d": POPULAR,
}
_SPEAKERS = (*PERSONAL, "taken_up_28d", "share_28d")
# What makes a recommendation personal is the better reason to give when it is nearly as strong.
PERSONAL_BONUS = 0.5


class Reasons:
    """Collects a reason for each product named.

    Parameters
    ----------
    signals : the day's, whose tastes tell which earlier purchase speaks for a product
    """

    def __init__(self, signals: Signals) -> None:
        self._ids = np.append(signals.pool.product_ids.to_numpy(dtype=object), "")
        self._towards = signals.tastes["taste_log"].T.tocsr()
        self._follows = signals.tastes["follows"].T.tocsr()
        self._codes: list[NDArray[np.object_]] = [np.empty(0, dtype=object)]
        self._because: list[NDArray[np.object_]] = [np.empty(0, dtype=object)]

    def add(self, chunk: Chunk, row: NDArray[np.intp], column: NDArray[np.intp]) -> None:
        """Find the reasons of the products at (row, column) of a chunk."""
        said = np.stack([chunk.standardised(name)[row, column] for name in _SPEAKERS])
        said[: len(PERSONAL)] += PERSONAL_BONUS
        loudest = np.argmax(said, axis=0)
        codes = np.array([_CODES.get(name, BECAUSE) for name in _SPEAKERS], dtype=object)[loudest]
        source = _source(chunk.bought[row], self._towards[column])
        after = codes == FOLLOWS
        source[after] = _source(chunk.started[row[after]], self._follows[column[after]])
        # Nothing she bought speaks for it: what is said of it in general is all there is.
        codes[np.isin(codes, (BECAUSE, FOLLOWS)) & (source < 0)] = POPULAR
        unknown = np.diff(chunk.bought.indptr)[row] == 0
        codes[unknown & (codes == ALIKE)] = POPULAR
        self._codes.append(codes)
        about = np.isin(codes, (BECAUSE, FOLLOWS))
        self._because.append(np.where(about, self._ids[source], ""))

    def codes(self) -> NDArray[np.object_]:
        """Return a code per product named, in the order they were added."""
        return np.concatenate(self._codes)

    def because(self) -> NDArray[np.object_]:
        """Return the product_id each reason is about; an empty text where it is about none."""
        return np.concatenate(self._because)


def _source(bought: sparse.csr_matrix, towards: sparse.csr_matrix) -> NDArray[np.intp]:
    """Return the purchase that adds most towards the product of each row; -1 where none does."""
    adds = sparse.coo_matrix(bought.multiply(towards))
    order = np.lexsort((adds.col, -adds.data, adds.row))
    first, at = np.unique(adds.row[order], return_index=True)
    best = order[at]
    found = np.full(bought.shape[0], -1)
    found[first] = np.where(adds.data[best] > 0, adds.col[best], -1)
    return found
