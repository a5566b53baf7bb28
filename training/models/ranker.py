"""Never-bought products in the order LambdaRank learned from what was taken up on past days."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.models import boosting, folder
from training.models.blend import WEIGHTS, SignalModel, checked_weights, voted
from training.models.boosting import Trees
from training.models.explore import at_least_one
from training.models.inputs import product_rows
from training.models.origin import ITEM_FACTS, Origin, some_origins
from training.models.pool import best_unbought, text
from training.models.search import SEARCH_MEMBERS, searched_weights
from training.models.signals import NAMES, PERSONAL, Chunk, Recipe, Signals, facts_of, standardised

Doubles = NDArray[np.float64]
ITEMS_FILE = "items.npz"
RANKER_TREES = Trees(
    n_trees=120,
    learning_rate=0.05,
    num_leaves=15,
    min_data_in_leaf=200,
    feature_fraction=0.5,
    l2=10.0,
)
# The gain of a list is counted over its first places only.
TRUNCATION = 20
MEMBER_FACTS = ("breadth", "breadth_recent", "log_days")
COLUMNS = (
    "blend",
    *NAMES,
    *(f"{name}_z" for name in PERSONAL),
    "trend",
    *MEMBER_FACTS,
    *ITEM_FACTS,
    "price_fit",
)


class ExploreRanker(SignalModel):
    """LambdaRank over the candidates of a blend, trained on several past days.

    Parameters
    ----------
    seed : of the trees' samples, and of the members learned from
    weights, recipe : of the blend that picks the candidates; it keeps a say in the order
    n_candidates : products per member that the trees put in order; the rest follow as blended
    blend_share : weight of the blend's own standardised vote beside the trees'
    trees : size and regularisation
    members_max : learned from per past day; of more, a seeded sample
    draws : weights of the blend tried on past days; 0 keeps the given ones
    num_threads : at most this many at once; the answer does not depend on it
    """

    kind = "explore_ranker"
    learns_from_origins = True

    def __init__(
        self,
        *,
        seed: int,
        weights: Mapping[str, float] = WEIGHTS,
        recipe: Recipe | None = None,
        n_candidates: int = 100,
        blend_share: float = 0.5,
        trees: Trees = RANKER_TREES,
        members_max: int = 3_000,
        draws: int = 0,
        num_threads: int = 2,
    ) -> None:
        self.seed = seed
        self.weights = checked_weights(weights)
        self.recipe = recipe or Recipe()
        self.n_candidates = at_least_one(n_candidates)
        self.blend_share = blend_share
        self.trees = trees
        self.members_max = at_least_one(members_max)
        self.draws = draws
        self.num_threads = num_threads

    def fit(
        self,
        products: pd.DataFrame,
        origins: Sequence[Origin] = (),
        items: pd.DataFrame | None = None,
    ) -> Self:
        """Learn the order from past days, and the signals of the present one.

        Parameters
        ----------
        products : product frame of the present day, as `Snapshot.products`
        origins : past days whose windows ended by the present one
        items : facts of products as known today, indexed by product_id; see `Origin.items`

        Raises
        ------
        InputRefused
            When a column is missing, or no past day has a first purchase after it.
        """
        self.signals_ = Signals.of(products, self.recipe)
        some_origins(tuple(origins), "The ranker")
        if self.draws:
            self.weights = searched_weights(
                origins,
                self.recipe,
                self.weights,
                seed=self.seed,
                draws=self.draws,
                members_max=SEARCH_MEMBERS,
            )
        tables = [self._labelled(origin, number) for number, origin in enumerate(origins)]
        values, labels, sizes = (np.concatenate(parts) for parts in zip(*tables, strict=True))
        self.booster_ = self._grow(values, labels, sizes)
        self.items_ = _aligned(self.signals_, items)
        return self

    def _labelled(self, origin: Origin, number: int) -> tuple[Doubles, Doubles, NDArray[np.int64]]:
        """Return columns, 0/1 labels and rows per member of one past day's candidates."""
        signals = origin.signals(self.recipe)
        found = origin.found()
        members = text(found["member_id"]).unique().sort_values()
        if len(members) > self.members_max:
            rng = np.random.default_rng([self.seed, number])
            members = members[np.sort(rng.choice(len(members), self.members_max, replace=False))]
        wanted = signals.pool.purchases(found, members, np.ones(len(found)))
        items = _aligned(signals, origin.items)
        values, labels, sizes = [np.empty((0, len(COLUMNS)))], [np.empty(0)], [np.empty(0, int)]
        for chunk in signals.chunks(product_rows(origin.before, dated=True), members):
            blend = voted(chunk, self.weights)
            row, column = best_unbought(blend.copy(), chunk.bought, self.n_candidates)
            bought = np.asarray(wanted[row + chunk.start, column]).ravel()
            # Who bought nothing among the candidates teaches no order.
            teaches = np.isin(row, row[bought > 0])
            row, column, bought = row[teaches], column[teaches], bought[teaches]
            values.append(_columns(chunk, blend, items, row, column))
            labels.append(bought)
            sizes.append(np.unique(row, return_counts=True)[1])
        return np.concatenate(values), np.concatenate(labels), np.concatenate(sizes)

    def _grow(self, values: Doubles, labels: Doubles, sizes: NDArray[np.int64]) -> lgb.Booster:
        # Few rows are no reason to refuse: smaller leaves, as long as there is anything to order.
        leaf = min(self.trees.min_data_in_leaf, max(1, len(values) // 20))
        trees = replace(self.trees, min_data_in_leaf=leaf)
        settings = boosting.worth_sharing(
            {
                **trees.parameters(seed=self.seed, num_threads=self.num_threads),
                "objective": "lambdarank",
                "lambdarank_truncation_level": TRUNCATION,
            },
            len(values),
        )
        table = boosting.dataset(values, labels, COLUMNS, settings)
        table.set_group(sizes)
        booster = lgb.train(settings, table, num_boost_round=trees.n_trees)
        return lgb.Booster(model_str=booster.model_to_string())

    def _vote(self, chunk: Chunk) -> Doubles:
        blend = voted(chunk, self.weights)
        row, column = best_unbought(blend.copy(), chunk.bought, self.n_candidates)
        values = _columns(chunk, blend, self.items_, row, column)
        raw = boosting.raw_predictions(self.booster_, values, self.num_threads)
        within = np.zeros_like(blend)
        within[row, column] = raw
        candidate = np.zeros(blend.shape, dtype=np.bool_)
        candidate[row, column] = True
        vote = standardised(within, candidate) + self.blend_share * standardised(blend, candidate)
        # The others keep the blend's order, behind every candidate.
        return np.where(candidate, vote, blend - 1e6)

    def save(self, path: Path) -> None:
        """Write the trees as text, the signals and facts of products as npz."""
        path.mkdir(parents=True, exist_ok=True)
        names = self.signals_.save(path)
        np.savez_compressed(path / ITEMS_FILE, **self.items_)  # type: ignore[arg-type]
        facts = {
            "seed": self.seed,
            "weights": self.weights,
            "recipe": facts_of(self.recipe),
            "n_candidates": self.n_candidates,
            "blend_share": self.blend_share,
            "trees": asdict(self.trees),
            "members_max": self.members_max,
            "draws": self.draws,
            "num_threads": self.num_threads,
        }
        files = [*names, ITEMS_FILE, boosting.save_booster(self.booster_, path)]
        folder.write(path, self.kind, facts, files)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts: dict[str, Any] = folder.read(path, cls.kind)
        model = cls(
            **{**facts, "recipe": Recipe(**facts["recipe"]), "trees": Trees(**facts["trees"])}
        )
        model.signals_ = Signals.load(path, model.recipe)
        model.booster_ = boosting.load_booster(path)
        with np.load(path / ITEMS_FILE, allow_pickle=False) as arrays:
            model.items_ = {name: arrays[name] for name in ITEM_FACTS}
        return model


def _columns(
    chunk: Chunk,
    blend: Doubles,
    items: Mapping[str, Doubles],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
) -> Doubles:
    """Lay out `COLUMNS` for the products at (row, column) of a chunk; (n, n_columns)."""
    laid: list[Doubles] = [blend[row, column]]
    laid += [chunk.scores[name][row, column] for name in NAMES]
    laid += [chunk.standardised(name)[row, column] for name in PERSONAL]
    laid.append((chunk.scores["taken_up_14d"] - chunk.scores["taken_up_56d"])[row, column])
    breadth = np.diff(chunk.bought.indptr).astype(np.float64)
    recent = np.diff(chunk.recent.indptr).astype(np.float64)
    days = np.asarray(chunk.bought.sum(axis=1)).ravel()
    laid += [breadth[row], recent[row], days[row] / np.maximum(breadth[row], 1.0)]
    laid += [items[name][column] for name in ITEM_FACTS]
    laid.append(items["price_cents"][column] / _own_price(chunk, items["price_cents"])[row])
    return np.column_stack(laid)


def _own_price(chunk: Chunk, price_cents: Doubles) -> Doubles:
    """Return the mean price of what each member buys, weighted like her taste; NaN if unknown."""
    known = np.isfinite(price_cents)
    weight = chunk.bought @ known.astype(np.float64)
    total = chunk.bought @ np.where(known, price_cents, 0.0)
    return np.asarray(np.where(weight * total > 0, total / np.where(weight > 0, weight, 1), np.nan))


def _aligned(signals: Signals, items: pd.DataFrame | None) -> dict[str, Doubles]:
    """Return the facts of products in the order of the pool; NaN where not known."""
    given = pd.DataFrame() if items is None else items
    frame = given.set_axis(text(given.index)) if len(given) else given
    ordered = frame.reindex(index=signals.pool.product_ids, columns=list(ITEM_FACTS))
    return {name: ordered[name].to_numpy(dtype=np.float64) for name in ITEM_FACTS}
