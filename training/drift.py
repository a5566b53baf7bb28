"""How far today's members are from those a model learned from."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused

N_BINS = 10
# Half a member in an empty bin: the logarithm stays finite, and a whole empty decile is loud.
EMPTY_COUNT = 0.5


def psi(before: ArrayLike, after: ArrayLike, n_bins: int = N_BINS) -> float:
    """Population stability index between two samples of one quantity.

    Parameters
    ----------
    before, after : arrays of shape (n,) and (m,); NaN, absent, is a bin of its own
    n_bins : bins of about equal count in `before`; fewer where values repeat

    Returns
    -------
    sum over bins of (a - b) * ln(a / b), a and b the shares in the bin; 0 for equal shares

    Raises
    ------
    InputRefused : if either sample is empty, or n_bins is below 2

    Source
    ------
    Siddiqi (2006), Credit Risk Scorecards, ch. 8; by custom .10 is worth a look, .25 is a change.
    With b bins and two samples of n and m from one distribution it is near (b - 1)(1/n + 1/m)
    (Yurdakul and Naranjo 2020, Journal of Risk Model Validation 14(4)).
    """
    earlier, later = (np.asarray(sample, dtype=np.float64) for sample in (before, after))
    if len(earlier) == 0 or len(later) == 0 or n_bins < 2:
        raise InputRefused(
            f"The drift between {len(earlier)} and {len(later)} values in {n_bins} bins is not "
            "defined. Nothing was compared. Give two samples that are not empty, and 2 bins."
        )
    known = earlier[~np.isnan(earlier)]
    inner = np.arange(1, n_bins) / n_bins
    edges = np.unique(np.quantile(known, inner, method="inverted_cdf")) if len(known) else known
    b, a = (_shares(sample, edges) for sample in (earlier, later))
    return float(((a - b) * np.log(a / b)).sum())


def _shares(sample: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the sample at or below each edge, above the last, and absent; all above 0."""
    bins = np.searchsorted(edges, sample, side="left")
    bins[np.isnan(sample)] = len(edges) + 1
    counts = np.bincount(bins, minlength=len(edges) + 2).astype(np.float64)
    counts = np.maximum(counts, EMPTY_COUNT)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def column_drift(before: pd.DataFrame, after: pd.DataFrame) -> "pd.Series[float]":
    """Return the index of every column that both frames have, the largest first."""
    names = [name for name in before.columns if name in after.columns]
    found = {name: psi(before[name], after[name]) for name in names}
    return pd.Series(found, dtype=np.float64).sort_values(ascending=False, kind="stable")
