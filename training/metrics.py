"""How good predictions are: pure functions of what happened and what was said.

`truth` comes first everywhere. Rows are sorted stably, so ties keep their input order. A figure
that these rows do not define (the lift where nobody churned) is NaN; rows that do not belong
together, or an answer that is not a number, are refused.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from programme.errors import InputRefused
from training.models.pool import text

Doubles = NDArray[np.float64]
Metric = Callable[[Doubles, Doubles], float]

N_BINS = 10
UNIT_CENTS = 100.0  # one unit of currency


def auc(truth: ArrayLike, score: ArrayLike) -> float:
    """Chance that a random positive is scored above a random negative; ties count half.

    Source
    ------
    Hanley & McNeil (1982), Radiology 143(1): the Mann-Whitney statistic over n_pos * n_neg.
    """
    happened, scores = pair(truth, score)
    n_positive = happened.sum()
    n_negative = len(happened) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    above = rankdata(scores)[happened == 1].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def average_precision(truth: ArrayLike, score: ArrayLike) -> float:
    """Precision averaged over the recalls reached at each distinct score, highest first."""
    happened, scores = pair(truth, score)
    if not happened.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    found = np.cumsum(happened[order])[last_of_tie]
    precision = found / (last_of_tie + 1)
    return float((np.diff(found, prepend=0.0) * precision).sum() / happened.sum())


def brier(truth: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared distance of the probability from what happened, 0 or 1."""
    happened, said = pair(truth, probability)
    return float(((said - happened) ** 2).mean())


def brier_skill(truth: ArrayLike, probability: ArrayLike) -> float:
    """Share of the Brier score of always naming the base rate that is saved; 1 is perfect."""
    happened, said = pair(truth, probability)
    if np.ptp(happened) == 0:
        return float("nan")
    return 1 - brier(happened, said) / float(happened.var())


def ece(truth: ArrayLike, probability: ArrayLike) -> float:
    """Expected calibration error over ten equal-count bins of probability.

    Mean over rows of |mean probability - share that happened| of the row's bin; with fewer than
    ten rows, one bin per row.
    """
    happened, said = pair(truth, probability)
    gaps = [len(b) * abs(said[b].mean() - happened[b].mean()) for b in bins(said)]
    return float(np.sum(gaps) / len(said))


def top_decile_lift(truth: ArrayLike, score: ArrayLike) -> float:
    """How many times more often it happened in the highest tenth (rounded up) than overall."""
    happened, scores = pair(truth, score)
    if not happened.any():
        return float("nan")
    return float(happened[bins(scores)[0]].mean() / happened.mean())


def top_decile_share(truth: ArrayLike, score: ArrayLike) -> float:
    """Share of all that happened, such as spend, that fell to the tenth scored highest."""
    happened, scores = pair(truth, score)
    if not happened.sum() > 0:
        return float("nan")
    return float(happened[bins(scores)[0]].sum() / happened.sum())


def decile_table(truth: ArrayLike, prediction: ArrayLike) -> pd.DataFrame:
    """Ten equal-count bins of prediction, the highest first.

    Returns
    -------
    DataFrame of at most 10 rows
        `decile` from 1, `members`, `predicted_mean`, `actual_mean`, `lift` (actual over the
        overall mean) and `cumulative_share` of all that happened, in this and higher deciles;
        the last two are NaN when nothing happened.
    """
    actual, predicted = pair(truth, prediction)
    parts = bins(predicted)
    sums = np.array([actual[part].sum() for part in parts])
    sizes = np.array([len(part) for part in parts])
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "decile": np.arange(1, len(parts) + 1),
                "members": sizes,
                "predicted_mean": [predicted[part].mean() for part in parts],
                "actual_mean": sums / sizes,
                "lift": sums / sizes / actual.mean(),
                "cumulative_share": np.cumsum(sums) / sums.sum(),
            }
        )


def normalised_gini(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Gini of the cumulative gain by prediction over the Gini by truth: 1 is a perfect order.

    The gain curve runs from (0, 0) to (1, 1); its Gini is twice the area between curve and
    diagonal (trapezoids), so the reverse of a perfect order without ties gives -1. Undefined
    when all are worth the same, or nothing in sum.
    """
    actual, predicted = pair(truth, prediction)
    if not actual.sum() > 0 or np.ptp(actual) == 0:
        return float("nan")
    return _gini(actual, predicted) / _gini(actual, actual)


def _gini(actual: Doubles, order_by: Doubles) -> float:
    gain = np.cumsum(actual[np.argsort(-order_by, kind="stable")])
    return float(2 * gain.sum() / (len(gain) * gain[-1]) - 1 - 1 / len(gain))


def decile_mape(truth: ArrayLike, prediction: ArrayLike, *, unit: float = UNIT_CENTS) -> float:
    """Mean over ten equal-count bins of prediction of |predicted - actual| / max(actual, unit).

    Parameters
    ----------
    truth, prediction : arrays of shape (n,), in cents
    unit : one unit of currency, in cents
    """
    actual, predicted = pair(truth, prediction)
    means = [(predicted[part].mean(), actual[part].mean()) for part in bins(predicted)]
    return float(np.mean([abs(said - was) / max(was, unit) for said, was in means]))


def rmse(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the truth."""
    actual, predicted = pair(truth, prediction)
    return float(np.sqrt(((predicted - actual) ** 2).mean()))


def aggregate_bias(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Sum of predictions over sum of truths, less 1: .05 promises 5 % too much."""
    actual, predicted = pair(truth, prediction)
    return float(predicted.sum() / actual.sum() - 1) if actual.sum() > 0 else float("nan")


def spearman(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Correlation of ranks, ties sharing their mean rank; undefined when a side is constant."""
    actual, predicted = (rankdata(side) for side in pair(truth, prediction))
    if np.ptp(actual) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(np.corrcoef(actual, predicted)[0, 1])


def mean_of(truth: ArrayLike, value: ArrayLike) -> float:
    """Mean of a figure each member has already, such as her recall; `truth` is not compared."""
    return float(pair(truth, value)[1].mean())


def judge_members(recommended: pd.DataFrame, truth: pd.DataFrame, k: int) -> pd.DataFrame:
    """Judge the first k recommendations of each member who bought something.

    Parameters
    ----------
    recommended : DataFrame with `member_id`, `rank` from 1, `product_id`
    truth : DataFrame with `member_id`, `product_id`; a pair counts once
    k : recommendations judged per member, at least 1

    Returns
    -------
    DataFrame indexed by `member_id`, ascending: every member of `truth`
        `recall` (named and bought / bought), `hit` (1 if any was), `ndcg`, and `recall_possible`:
        the recall of a perfect list of k, below 1 for who bought more.
        A member nobody recommended anything to scores 0.

    Source
    ------
    Jarvelin & Kekalainen (2002), TOIS 20(4): gain 1 / log2(rank + 1), here over the best gain
    reachable with k places and the member's own purchases.
    """
    bought = truth[["member_id", "product_id"]].drop_duplicates()
    members = pd.Index(text(bought["member_id"]).unique().sort_values(), name="member_id")
    n_bought = np.bincount(members.get_indexer(text(bought["member_id"])), minlength=len(members))
    named = recommended.loc[recommended["rank"] <= k, ["member_id", "product_id", "rank"]]
    found = named.merge(bought, on=["member_id", "product_id"])
    row = members.get_indexer(text(found["member_id"]))
    n_found = np.bincount(row, minlength=len(members))
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain = np.bincount(row, discount[found["rank"].to_numpy(dtype=int) - 1], len(members))
    reachable = np.minimum(n_bought, k)
    return pd.DataFrame(
        {
            "recall": n_found / n_bought,
            "hit": (n_found > 0).astype(np.float64),
            "ndcg": gain / np.cumsum(discount)[reachable - 1],
            "recall_possible": reachable / n_bought,
        },
        index=members,
    )


def recall_at_k(recommended: pd.DataFrame, truth: pd.DataFrame, k: int) -> "pd.Series[float]":
    """Share of each member's purchases that were among her first k; see `judge_members`."""
    return judge_members(recommended, truth, k)["recall"]


def hit_at_k(recommended: pd.DataFrame, truth: pd.DataFrame, k: int) -> "pd.Series[float]":
    """1 for each member who bought any of her first k, else 0; see `judge_members`."""
    return judge_members(recommended, truth, k)["hit"]


def ndcg_at_k(recommended: pd.DataFrame, truth: pd.DataFrame, k: int) -> "pd.Series[float]":
    """Discounted gain of each member's first k over the best reachable; see `judge_members`."""
    return judge_members(recommended, truth, k)["ndcg"]


def bins(score: Doubles, n_bins: int = N_BINS) -> list[NDArray[np.intp]]:
    """Positions of the rows in equal-count bins, highest scores first; none is empty."""
    order = np.argsort(-score, kind="stable")
    return np.array_split(order, min(n_bins, len(order)))


def pair(truth: ArrayLike, score: ArrayLike) -> tuple[Doubles, Doubles]:
    """Check two finite columns of one length, at least one row.

    Raises
    ------
    InputRefused
        Otherwise.
    """
    actual, said = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if actual.ndim != 1 or actual.shape != said.shape or len(actual) == 0:
        raise InputRefused(
            f"A metric compares two columns of one length, at least one row; got shapes "
            f"{actual.shape} and {said.shape}. Nothing was measured. "
            "Score exactly the rows that are labelled."
        )
    n_odd = int((~(np.isfinite(actual) & np.isfinite(said))).sum())
    if n_odd:
        raise InputRefused(
            f"{n_odd} of {len(actual)} rows hold a truth or a prediction that is not finite. "
            "Nothing was measured. Leave unlabelled rows out; a model may not answer NaN."
        )
    return actual, said


def share_captured(truth: ArrayLike, prediction: ArrayLike, *, share: float) -> float:
    """Share of all value that the members of highest prediction brought.

    Parameters
    ----------
    share : of the members, in (0, 1]; their number is rounded up, ties keep their input order

    Raises
    ------
    InputRefused
        When the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputRefused(
            f"The share of members is {share}. Nothing was measured. Give one above 0, at most 1."
        )
    actual, predicted = pair(truth, prediction)
    if not actual.sum() > 0:
        return float("nan")
    best = np.argsort(-predicted, kind="stable")[: int(np.ceil(share * len(actual) - 1e-9))]
    return float(actual[best].sum() / actual.sum())


def covered(truth: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Share of rows whose truth lies within `[low, high]`, both ends included."""
    actual, least = pair(truth, low)
    _, most = pair(truth, high)
    return float(((least <= actual) & (actual <= most)).mean())
