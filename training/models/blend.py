"""Never-bought products by a weighted vote of tastes, neighbours and what is taken up now."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from programme.errors import InputRefused
from training.models import folder
from training.models.inputs import asked_members, product_rows
from training.models.origin import Origin
from training.models.pool import answer, best_unbought
from training.models.reasons import Reasons
from training.models.search import SEARCH_MEMBERS, searched_weights
from training.models.signals import NAMES, Chunk, Recipe, Signals, facts_of

Doubles = NDArray[np.float64]
# The best on 2017-11-06 and, looked at beside it, on a test day: experiments/explore_vs_repeat
# tells what that means for its figures. `follows` was added on three days before the test.
WEIGHTS: Mapping[str, float] = {
    "taste_log": 0.5,
    "taste_binary": 0.5,
    "neighbours": 0.5,
    "follows": 0.2,
    "taken_up_28d": 0.5,
    "taken_up_14d": 0.5,
}


class SignalModel(ABC):
    """Ranks the products a member never bought by the signals of a day; only the vote differs."""

    kind: str
    signals_: Signals

    @abstractmethod
    def _vote(self, chunk: Chunk) -> Doubles:
        """Score every product for the members of a chunk; (n_members, n_products)."""

    def recommend(
        self,
        products: pd.DataFrame,
        member_ids: Sequence[str],
        k: int,
        barred: Collection[str] = (),
    ) -> pd.DataFrame:
        """Name up to k products each member has never bought, each with its reason.

        Parameters
        ----------
        products : DataFrame as `Snapshot.products`: what it lacks may be recommended
        member_ids : whom to answer for; one without purchases gets what is taken up now
        k : at most this many each; fewer when a member has bought nearly the whole pool
        barred : product_ids that may not be named, such as those out of stock

        Returns
        -------
        DataFrame with `member_id`, `rank` from 1, `product_id`, `score`, `reason` (a code) and
        `because` (the product_id the reason is about, or an empty text)
            In the order of `member_ids`, then rank; equal scores by product_id.
        """
        members = asked_members(member_ids, k)
        frame = product_rows(products, dated=True)
        pool = self.signals_.pool
        closed = pool.positions(barred)
        rows, columns, scores = [np.empty(0, int)], [np.empty(0, int)], [np.empty(0)]
        reasons = Reasons(self.signals_)
        for chunk in self.signals_.chunks(frame, members):
            vote = self._vote(chunk)
            vote[:, closed] = -np.inf
            row, column = best_unbought(vote, chunk.bought, k)
            rows.append(row + chunk.start)
            columns.append(column)
            scores.append(vote[row, column])
            reasons.add(chunk, row, column)
        ids = pool.product_ids.to_numpy(dtype=object)[np.concatenate(columns)]
        named = answer(members, np.concatenate(rows), ids, np.concatenate(scores))
        return named.assign(reason=reasons.codes(), because=reasons.because())


class Blend(SignalModel):
    """A weighted sum of signals, each in standard deviations over what a member never bought.

    Parameters
    ----------
    weights : signal -> weight
    draws : weights tried on past days, where there are any; 0 keeps the given ones
    seed : of the draws
    members_max : judged per past day in the search; of more, a seeded sample
    """

    kind = "blend"
    learns_from_origins = True

    def __init__(
        self,
        weights: Mapping[str, float] = WEIGHTS,
        recipe: Recipe | None = None,
        *,
        draws: int = 0,
        seed: int = 0,
        members_max: int = SEARCH_MEMBERS,
    ) -> None:
        self.weights = checked_weights(weights)
        self.recipe = recipe or Recipe()
        self.draws = draws
        self.seed = seed
        self.members_max = members_max

    def fit(
        self,
        products: pd.DataFrame,
        origins: Sequence[Origin] = (),
        items: pd.DataFrame | None = None,  # noqa: ARG002 - a ranker reads them
    ) -> Self:
        """Learn the signals of the day, and the weights from past days if `draws` says so.

        Parameters
        ----------
        products : product frame of the present day, as `Snapshot.products`
        origins : past days whose windows ended by the present one
        """
        self.signals_ = Signals.of(products, self.recipe)
        if self.draws and origins:
            self.weights = searched_weights(
                origins,
                self.recipe,
                self.weights,
                seed=self.seed,
                draws=self.draws,
                members_max=self.members_max,
            )
        return self

    def _vote(self, chunk: Chunk) -> Doubles:
        return voted(chunk, self.weights)

    def save(self, path: Path) -> None:
        """Write weights as JSON and signals as npz."""
        path.mkdir(parents=True, exist_ok=True)
        facts = {
            "weights": self.weights,
            "recipe": facts_of(self.recipe),
            "draws": self.draws,
            "seed": self.seed,
            "members_max": self.members_max,
        }
        folder.write(path, self.kind, facts, self.signals_.save(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts: dict[str, Any] = folder.read(path, cls.kind)
        model = cls(**{**facts, "recipe": Recipe(**facts["recipe"])})
        model.signals_ = Signals.load(path, model.recipe)
        return model


def voted(chunk: Chunk, weights: Mapping[str, float]) -> Doubles:
    """Return the weighted sum of standardised signals; (n_members, n_products)."""
    total = np.zeros((chunk.bought.shape[0], chunk.bought.shape[1]))
    for name in sorted(weights):
        if weights[name]:
            total += weights[name] * chunk.standardised(name)
    return total


def checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Refuse weights of unknown signals, and weights that leave nothing to sum."""
    unknown = sorted(set(weights) - set(NAMES))
    if unknown or not any(weights.values()) or not np.isfinite(list(weights.values())).all():
        raise InputRefused(
            f"A blend got weights {dict(weights)}; no model was made. Give finite weights, at "
            f"least one of them not 0, of {', '.join(NAMES)}."
        )
    return {name: float(weight) for name, weight in weights.items()}
