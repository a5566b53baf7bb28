"""How sure we are of a difference: bootstrap over members, and the grade that follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from programme.errors import InputRefused
from training.metrics import Doubles, Metric
from training.reweighted import mean_of_defined, prepare

SKILL_FOR_A = 0.05
DRAWS_PER_CHUNK = 100
# With more undefined resamples than this (a fold hardly anyone churns in), no interval is honest.
UNDEFINED_SHARE_MAX = 0.05


@dataclass(frozen=True)
class Interval:
    """A figure and where it lies in 95 % of the resamples.

    Parameters
    ----------
    mean : the figure on all members, mean over the folds
    low, high : 2.5 % and 97.5 % quantiles over the resamples
        NaN, like `mean`, where the figure is undefined; such an interval grades C.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, observed: float, drawn: Doubles) -> Self:
        """Make it from the figure on all members and on each resample, shape (n_draws,)."""
        defined = drawn[np.isfinite(drawn)]
        if not np.isfinite(observed) or len(defined) < (1 - UNDEFINED_SHARE_MAX) * len(drawn):
            return cls(float("nan"), float("nan"), float("nan"))
        low, high = np.quantile(defined, [0.025, 0.975])
        return cls(float(observed), float(low), float(high))


def grade(skill: Interval) -> Literal["A", "B", "C"]:
    """A: surely .05 better than the best rule; B: surely better; C: serve the rule."""
    if skill.low >= SKILL_FOR_A:
        return "A"
    return "B" if skill.low > 0 else "C"


def resampled(
    metric: Metric, rows: pd.DataFrame, names: Sequence[str], *, seed: int, draws: int
) -> tuple[dict[str, float], dict[str, Doubles]]:
    """Compute a metric of several candidates on all members, and on the same resamples of them.

    Parameters
    ----------
    metric : a function of `training.metrics`; for recommendations `mean_of`
    rows : DataFrame with `as_of`, `member_id`, `truth` and one column of answers per name
        The figure is the mean over as_ofs, leaving out those on which it is undefined; a
        member who is drawn is drawn in every as_of she is in.
    names : the candidates; the resamples are the same for all, so figures may be subtracted
    seed : of the resamples
    draws : number of resamples, at least 1

    Returns
    -------
    figure per name, and figures per name on each resample, shape (draws,)

    Raises
    ------
    InputRefused
        When there are no rows or draws, or an answer is not finite.
    """
    if len(rows) == 0 or draws < 1:
        raise InputRefused(
            f"Cannot resample {len(rows)} rows {draws} times. No interval was made. "
            "Judge on at least one member, with at least one draw."
        )
    member = np.unique(rows["member_id"].to_numpy(dtype=str), return_inverse=True)[1]
    as_of = np.unique(rows["as_of"].to_numpy(), return_inverse=True)[1]
    folds = [np.flatnonzero(as_of == number) for number in range(as_of.max() + 1)]
    truth = rows["truth"].to_numpy(dtype=np.float64)
    answers = {name: rows[name].to_numpy(dtype=np.float64) for name in names}
    prepared = {
        name: [prepare(metric, truth[fold], answer[fold]) for fold in folds]
        for name, answer in answers.items()
    }

    def figures(counts: Doubles) -> dict[str, Doubles]:
        per_fold = [counts[:, member[fold]] for fold in folds]
        # Of a fold whose members all went undrawn, nothing can be said.
        return {
            name: mean_of_defined([of(part) for of, part in zip(ofs, per_fold, strict=True)])
            for name, ofs in prepared.items()
        }

    n_members = int(member.max()) + 1
    observed = figures(np.ones((1, n_members)))
    rng = np.random.default_rng(seed)
    sizes = [min(DRAWS_PER_CHUNK, draws - done) for done in range(0, draws, DRAWS_PER_CHUNK)]
    chunks = [figures(_draw(rng, n_members, size)) for size in sizes]
    return (
        {name: float(observed[name][0]) for name in names},
        {name: np.concatenate([chunk[name] for chunk in chunks]) for name in names},
    )


def paired_bootstrap(
    metric: Metric,
    truth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    seed: int,
    draws: int = 1_000,
) -> Interval:
    """Interval of `metric(truth, a) - metric(truth, b)` over resamples of members.

    Parameters
    ----------
    metric : a function of `training.metrics`
    truth : array of shape (n,)
    a, b : arrays of shape (n,), two predictions of each row
    groups : array of shape (n,), the member of each row; None makes each row its own member
    folds : array of shape (n,), the fold of each row; None puts all in one
    seed, draws : as in `resampled`
    """
    n_rows = len(np.asarray(truth))
    columns = {
        "truth": truth,
        "a": a,
        "b": b,
        "member_id": np.arange(n_rows) if groups is None else groups,
        "as_of": np.zeros(n_rows) if folds is None else folds,
    }
    lengths = {name: len(np.asarray(column)) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputRefused(
            f"The columns to compare differ in length: {lengths}. No interval was made. "
            "Give one truth, two predictions, one member and one fold per row."
        )
    rows = pd.DataFrame({name: np.asarray(column) for name, column in columns.items()})
    observed, drawn = resampled(metric, rows, ("a", "b"), seed=seed, draws=draws)
    return Interval.of(observed["a"] - observed["b"], drawn["a"] - drawn["b"])


def _draw(rng: np.random.Generator, n_members: int, n_draws: int) -> Doubles:
    """Count how often each member is drawn; shape (n_draws, n_members)."""
    drawn = rng.integers(n_members, size=(n_draws, n_members))
    drawn += np.arange(n_draws)[:, None] * n_members
    counts = np.bincount(drawn.ravel(), minlength=n_draws * n_members)
    return counts.reshape(n_draws, n_members).astype(np.float64)
