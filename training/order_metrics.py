"""How good dates and curves of the next order are, where some orders did not come in time.

Everybody is followed to the same horizon, so a missing order is censored there and nowhere else:
figures that look no further need no weights, and none is lost.
"""

import numpy as np
from numpy.typing import ArrayLike

from training.metrics import Doubles, pair


def share_right(silence: Doubles, next_days: ArrayLike) -> Doubles:
    """One minus the Brier score of "no purchase yet", averaged over the days of the horizon.

    It is proper: nobody gains by saying another curve than she believes. For a date without doubt
    it is one minus the error in days, cut at the horizon, over the horizon; so dates and curves
    stand on one scale, and nobody is left out for want of an order.

    Parameters
    ----------
    silence : curves of shape (n, horizon_days)
    next_days : array of shape (n,), the horizon where no purchase came

    Returns
    -------
    array of shape (n,), 1 is perfect

    Source
    ------
    Graf, Schmoor, Sauerbrei & Schumacher (1999), Assessment and comparison of prognostic
    classification schemes for survival data, Statistics in Medicine 18, section 3: the integrated
    Brier score, whose weights are 1 where nobody is censored before its end. Gneiting & Raftery
    (2007), Strictly proper scoring rules, JASA 102, section 4.2: integrated over time it is the
    continuous ranked probability score, which is the absolute error where the forecast is a point.
    """
    day = np.arange(silence.shape[1])
    silent = (day < np.asarray(next_days, dtype=np.float64)[:, None]).astype(np.float64)
    return np.asarray(1 - ((silence - silent) ** 2).mean(axis=1))


def absolute_error(next_days: ArrayLike, said_days: ArrayLike) -> float:
    """Mean distance in days; both count as the horizon beyond it."""
    happened, said = pair(next_days, said_days)
    return float(np.abs(happened - said).mean())


def concordance(next_days: ArrayLike, said_days: ArrayLike) -> float:
    """Share of pairs of which the one said to buy first did; ties in what was said count half.

    Pairs whose orders came on the same day, or not at all, say nothing and are left out.

    Source
    ------
    Harrell, Lee & Mark (1996), Multivariable prognostic models, Statistics in Medicine 15,
    section 5.5: the c index.
    """
    happened, said = pair(next_days, said_days)
    right = pairs = 0.0
    for day in np.unique(happened)[:-1]:
        first, later = said[happened == day], np.sort(said[happened > day])
        below = np.searchsorted(later, first, "left")
        until = np.searchsorted(later, first, "right")
        right += (len(later) - until + (until - below) / 2).sum()
        pairs += len(first) * len(later)
    return float(right / pairs) if pairs else float("nan")
