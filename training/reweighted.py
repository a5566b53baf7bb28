"""The metrics on thousands of resamples at once: sort the rows once, then only reweigh them.

A resample of members is a count per row: how often it was drawn. Each function here prepares
`counts of shape (n_draws, n)` -> `metric of shape (n_draws,)`, equal to the metric of
`training.metrics` on the rows repeated by their counts, NaN where that is undefined.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.metrics import Doubles, Metric

Reweighted = Callable[[Doubles], Doubles]


def prepare(metric: Metric, truth: Doubles, score: Doubles) -> Reweighted:
    """Prepare a metric for counts; one without a fast form is computed draw by draw."""
    truth, score = metrics.pair(truth, score)
    fast = _FAST.get(metric)
    reweighted = fast(truth, score) if fast else _one_by_one(metric, truth, score)

    def of(counts: Doubles) -> Doubles:
        any_drawn = counts.any(
            axis=1
        )  # of a fold none of whose members was drawn, nothing is known
        figures = np.full(len(counts), np.nan)
        figures[any_drawn] = reweighted(counts[any_drawn])
        return figures

    return of


def _auc(truth: Doubles, score: Doubles) -> Reweighted:
    order, first_of_tie = _ties(score)
    positive = truth[order]

    def of(counts: Doubles) -> Doubles:
        drawn = counts[:, order]
        n_positive = np.add.reduceat(drawn * positive, first_of_tie, axis=1)
        n_negative = np.add.reduceat(drawn * (1 - positive), first_of_tie, axis=1)
        below = n_negative.sum(axis=1, keepdims=True) - np.cumsum(n_negative, axis=1)
        above = (n_positive * (below + n_negative / 2)).sum(axis=1)
        return _over(above, n_positive.sum(axis=1) * n_negative.sum(axis=1))

    return of


def _average_precision(truth: Doubles, score: Doubles) -> Reweighted:
    order, first_of_tie = _ties(score)
    positive = truth[order]

    def of(counts: Doubles) -> Doubles:
        drawn = counts[:, order]
        found = np.add.reduceat(drawn * positive, first_of_tie, axis=1)
        named = np.cumsum(np.add.reduceat(drawn, first_of_tie, axis=1), axis=1)
        precision = np.cumsum(found, axis=1) / np.maximum(named, 1)
        return _over((found * precision).sum(axis=1), found.sum(axis=1))

    return of


def _normalised_gini(truth: Doubles, score: Doubles) -> Reweighted:
    by_score = np.argsort(-score, kind="stable")
    by_truth = np.argsort(-truth, kind="stable")

    def gini(counts: Doubles, order: NDArray[np.intp]) -> Doubles:
        drawn, value = counts[:, order], truth[order]
        before = np.cumsum(drawn * value, axis=1) - drawn * value
        # c copies of v after a gain of b add (b + v) + (b + 2 v) + ... + (b + c v).
        area = (drawn * before + value * drawn * (drawn + 1) / 2).sum(axis=1)
        n = drawn.sum(axis=1)
        return np.asarray(2 * _over(area, n * (drawn @ value)) - 1 - 1 / n)

    def of(counts: Doubles) -> Doubles:
        most = np.where(counts > 0, truth, -np.inf).max(axis=1)
        least = np.where(counts > 0, truth, np.inf).min(axis=1)
        defined = (counts @ truth > 0) & (most > least)
        return _over(gini(counts, by_score), np.where(defined, gini(counts, by_truth), 0.0))

    return of


def _top_decile_lift(truth: Doubles, score: Doubles) -> Reweighted:
    order = np.argsort(-score, kind="stable")

    def of(counts: Doubles) -> Doubles:
        drawn, happened = counts[:, order], truth[order]
        in_top = _bins(drawn)[0]
        share = (drawn @ happened) / drawn.sum(axis=1)
        return _over((in_top @ happened) / in_top.sum(axis=1), share)

    return of


def _top_decile_share(truth: Doubles, score: Doubles) -> Reweighted:
    order = np.argsort(-score, kind="stable")

    def of(counts: Doubles) -> Doubles:
        drawn, happened = counts[:, order], truth[order]
        return _over(_bins(drawn)[0] @ happened, drawn @ happened)

    return of


def _ece(truth: Doubles, score: Doubles) -> Reweighted:
    order = np.argsort(-score, kind="stable")
    gap = (score - truth)[order]

    def of(counts: Doubles) -> Doubles:
        drawn = counts[:, order]
        gaps = [np.abs(part @ gap) for part in _bins(drawn)]
        return np.asarray(np.sum(gaps, axis=0) / drawn.sum(axis=1))

    return of


def _decile_mape(truth: Doubles, score: Doubles) -> Reweighted:
    order = np.argsort(-score, kind="stable")
    actual, said = truth[order], score[order]

    def of(counts: Doubles) -> Doubles:
        errors = []
        for part in _bins(counts[:, order]):
            size = part.sum(axis=1)
            was = _over(part @ actual, size)
            error = np.abs(_over(part @ said, size) - was) / np.maximum(was, metrics.UNIT_CENTS)
            errors.append(error)
        return mean_of_defined(errors)  # fewer than ten rows leave bins empty

    return of


def _mean_of(per_row: Callable[[Doubles, Doubles], Doubles]) -> Callable[..., Reweighted]:
    def prepared(truth: Doubles, score: Doubles) -> Reweighted:
        figures = per_row(truth, score)
        return lambda counts: np.asarray(counts @ figures / counts.sum(axis=1))

    return prepared


def _one_by_one(metric: Metric, truth: Doubles, score: Doubles) -> Reweighted:
    def of(counts: Doubles) -> Doubles:
        repeats = counts.astype(int)
        return np.array([metric(np.repeat(truth, n), np.repeat(score, n)) for n in repeats])

    return of


def mean_of_defined(figures: list[Doubles]) -> Doubles:
    """Mean of arrays of one shape, leaving NaN out; NaN where all are."""
    stacked = np.array(figures)
    defined = np.isfinite(stacked)
    return _over(np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0))


def _ties(score: Doubles) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order, highest first, and where in it each run of equal scores begins."""
    order = np.argsort(-score, kind="stable")
    return order, np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])


def _bins(drawn: Doubles) -> list[Doubles]:
    """Split each resample, already in order, into ten bins of equal count; copies may be cut.

    Returns
    -------
    ten arrays like `drawn`: how many copies of each row fall into the bin
    """
    until = np.cumsum(drawn, axis=1)
    size, larger = np.divmod(until[:, -1:], metrics.N_BINS)
    edges = [number * size + np.minimum(number, larger) for number in range(metrics.N_BINS + 1)]
    below = [np.clip(edge - (until - drawn), 0, drawn) for edge in edges]
    return [upper - lower for lower, upper in pairwise(below)]


def _over(part: Doubles, whole: NDArray[np.generic]) -> Doubles:
    """Divide, NaN where the whole is 0."""
    answer = np.full(part.shape, np.nan)
    np.divide(part, whole, out=answer, where=whole != 0)
    return answer


_FAST: dict[Metric, Callable[[Doubles, Doubles], Reweighted]] = {
    metrics.auc: _auc,
    metrics.average_precision: _average_precision,
    metrics.normalised_gini: _normalised_gini,
    metrics.top_decile_lift: _top_decile_lift,
    metrics.top_decile_share: _top_decile_share,
    metrics.ece: _ece,
    metrics.decile_mape: _decile_mape,
    metrics.brier: _mean_of(lambda happened, said: (said - happened) ** 2),
    metrics.mean_of: _mean_of(lambda _, value: value),
}
