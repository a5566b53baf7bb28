"""Several value models weighed by how well they did on members they had not seen."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from programme.errors import InputRefused
from training.models.inputs import value_labels
from training.models.parts import load_parts, plain_names, save_parts
from training.rows import MemberRows

# Pull of the weights towards the plain mean, as a share of what the data say: few members leave
# the models equal, many let them differ.
RIDGE = 0.02
# Below this share of the mean value, members are weighed alike: their spread is that of chance.
FLOOR = 0.1
# Fewer members than this say nothing of which model is better.
MEMBERS_MIN = 50


class ValueStack:
    """Expected cents: the sum of the named models' answers, each times a weight of 0 or more.

    Parameters
    ----------
    models : name -> value model; `fit` fits and weighs them
    weights : name -> weight, of models that are fitted already; None weighs them alike
    seed : of the halves the members are dealt into to find the weights
    """

    kind = "value_stack"

    def __init__(
        self,
        models: Mapping[str, Any],
        *,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.models = plain_names(models, "A stack")
        self.weights = dict(weights or dict.fromkeys(models, 1 / len(models)))
        if set(self.weights) != set(self.models) or min(self.weights.values()) < 0:
            raise InputRefused(
                f"The models {', '.join(self.models)} have the weights {self.weights}. No stack "
                "was made. Give each model a weight of 0 or more."
            )
        self.seed = seed

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:
        """Weigh the models by each half of the members from the other, then fit all on all.

        Raises
        ------
        InputRefused
            When there are no rows, a column is missing, or nobody spent anything.
        """
        values = value_labels(value_cents, len(rows), "The stack of value models")

        def learn(shown: NDArray[np.bool_]) -> dict[str, Any]:
            part, spent = rows.take(shown), values[shown]
            return {name: deepcopy(model).fit(part, spent) for name, model in self.models.items()}

        newest, answers = unseen(learn, rows, values, self.seed)
        if answers:
            self.weights = nonnegative_weights(answers, values[newest])
        for model in self.models.values():
            model.fit(rows, values)
        return self

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        """Weighted sum of the models' cents per row, shape (n,), in the order of the rows."""
        used = [name for name, weight in self.weights.items() if weight > 0]
        total = np.zeros(len(rows))
        for name in used or list(self.models):
            total += self.weights[name] * self.models[name].predict(rows)
        return total

    def save(self, path: Path) -> None:
        """Write each model into a folder of its name, and the weights as JSON."""
        save_parts(path, self.kind, self.models, weights=self.weights, seed=self.seed)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read each model from the folder of its name."""
        models, facts = load_parts(path, cls.kind)
        return cls(models, **facts)


def unseen(
    learn: Callable[[NDArray[np.bool_]], Mapping[str, Any]],
    rows: MemberRows,
    values: NDArray[np.float64],
    seed: int,
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float64]]]:
    """Ask models about members they did not learn from, at the newest `as_of` of the rows.

    Half of the members teaches models that are asked about the other half. A stack weighed by
    answers about its own training rows would trust the model that remembers best.

    Parameters
    ----------
    learn : from a mask of rows to the models fitted on them, by name
    values : shape (n,), cents that followed each row
    seed : of the halves

    Returns
    -------
    mask of the newest rows, and the answers for them by model; none where the members are too few

    Source
    ------
    Wolpert (1992), Stacked Generalization, Neural Networks 5(2); Breiman (1996), Stacked
    Regressions, Machine Learning 24, for weights that are not negative.
    """
    newest = np.asarray(rows.as_of == rows.as_of.max())
    members, member = np.unique(rows.member_id.astype(str), return_inverse=True)
    half = np.random.default_rng(seed).permutation(len(members))[member] % 2
    spent = [values[half == side] for side in (0, 1)]
    if int(newest.sum()) < MEMBERS_MIN or not all(part.any() for part in spent):
        return newest, {}
    answers: dict[str, NDArray[np.float64]] = {}
    for side in (0, 1):
        asked = newest & (half == side)
        for name, model in learn(half != side).items():
            whole = answers.setdefault(name, np.zeros(len(rows)))
            whole[asked] = model.predict(rows.take(asked))
    return newest, {name: answer[newest] for name, answer in answers.items()}


def nonnegative_weights(
    answers: Mapping[str, NDArray[np.float64]], truth: NDArray[np.float64]
) -> dict[str, float]:
    """Return the weights, none negative, under which the models' sum comes nearest to the truth.

    Errors count over the spread of a Tweedie variable of power 1.5 and the mean answer, so that
    the largest spender does not decide alone.

    Parameters
    ----------
    answers : by model, cents of shape (n,)
    truth : cents of shape (n,), >= 0
    """
    said = np.stack(list(answers.values()), axis=1)
    mean = said.mean(axis=1)
    spread = np.maximum(mean, FLOOR * max(mean.mean(), 1e-9)) ** 0.75
    design, target = said / spread[:, None], np.maximum(truth, 0.0) / spread
    n_models = said.shape[1]
    pull = np.sqrt(RIDGE * (design**2).sum(axis=0).mean())
    found, _ = nnls(
        np.vstack([design, pull * np.eye(n_models)]),
        np.concatenate([target, np.full(n_models, pull / n_models)]),
    )
    return {name: float(weight) for name, weight in zip(answers, found, strict=True)}
