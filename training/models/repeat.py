"""What a member will buy again: her own products, by habit or by how common they are."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from programme.errors import InputRefused
from training.models import folder
from training.models.inputs import asked_members, product_rows, some_rows
from training.models.pool import POOL_FILE, ProductPool, answer, place, text


class OwnProducts(ABC):
    """Ranks the products a member has bought; only the score differs."""

    def _rows(self, products: pd.DataFrame) -> pd.DataFrame:
        """Check the product frame and return the columns the score reads."""
        return product_rows(products)

    @abstractmethod
    def _scores(self, products: pd.DataFrame) -> NDArray[np.float64]:
        """Score each row of a checked product frame, shape (n,)."""

    def recommend(
        self,
        products: pd.DataFrame,
        member_ids: Sequence[str],
        k: int,
        barred: Collection[str] = (),
    ) -> pd.DataFrame:
        """Name up to k products each member has bought before.

        Parameters
        ----------
        products : DataFrame with `member_id`, `product_id`, `purchase_days`, `last_days`
        member_ids : whom to answer for; a member without purchases gets no rows
        k : at most this many each
        barred : product_ids that may not be named, such as those out of stock

        Returns
        -------
        DataFrame with `member_id`, `rank` from 1, `product_id`, `score`
            In the order of `member_ids`, then rank; equal scores by product_id.
        """
        members = asked_members(member_ids, k)
        frame = self._rows(products)
        row = members.get_indexer(text(frame["member_id"]))
        frame, row = frame[row >= 0], row[row >= 0]
        scores = self._scores(frame)
        product_ids = frame["product_id"].to_numpy(dtype=object)
        allowed = ~text(product_ids).isin(list(barred))
        row, scores, product_ids = row[allowed], scores[allowed], product_ids[allowed]
        _, position = np.unique(product_ids.astype(str), return_inverse=True)
        order = np.lexsort((position, -scores, row))
        order = order[place(row[order]) <= k]
        return answer(members, row[order], product_ids[order], scores[order])


class PersonalFrequency(OwnProducts):
    """The member's own products by purchase days, halved for every `half_life_days` of silence.

    Parameters
    ----------
    half_life_days : days after which a habit counts half
    """

    kind = "personal_frequency"

    def __init__(self, half_life_days: float = 60.0) -> None:
        if not half_life_days > 0:
            raise InputRefused(
                f"half_life_days is {half_life_days}; no model was made. Give a number above 0."
            )
        self.half_life_days = half_life_days

    def fit(self, products: pd.DataFrame) -> Self:
        """Check the frame; the habits are read when asked, nothing is learned."""
        some_rows(len(product_rows(products)), "a recommender")
        return self

    def _scores(self, products: pd.DataFrame) -> NDArray[np.float64]:
        days = products["purchase_days"].to_numpy(dtype=np.float64)
        silence = products["last_days"].to_numpy(dtype=np.float64)
        return np.asarray(days * np.exp2(-silence / self.half_life_days))

    def save(self, path: Path) -> None:
        """Write the half-life as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        folder.write(path, self.kind, {"half_life_days": self.half_life_days})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model."""
        return cls(folder.read(path, cls.kind)["half_life_days"])


class RepeatPopularity(OwnProducts):
    """The member's own products by the share of members who bought them."""

    kind = "repeat_popularity"

    def fit(self, products: pd.DataFrame) -> Self:
        """Count the members who bought each product."""
        self.pool_ = ProductPool.of(product_rows(products))
        return self

    def _scores(self, products: pd.DataFrame) -> NDArray[np.float64]:
        position = self.pool_.product_ids.get_indexer(text(products["product_id"]))
        return np.where(position >= 0, self.pool_.share[position], 0.0)

    def save(self, path: Path) -> None:
        """Write the counts as npz."""
        path.mkdir(parents=True, exist_ok=True)
        self.pool_.save(path / POOL_FILE)
        folder.write(path, self.kind, {}, [POOL_FILE])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        folder.read(path, cls.kind)
        model = cls()
        model.pool_ = ProductPool.load(path / POOL_FILE)
        return model
