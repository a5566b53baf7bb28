"""What a campaign against churn would earn, by whom a score puts first; before any experiment.

A member who is about to leave and is contacted stays with the save rate, and then takes the offer;
one who would have stayed takes the offer too. Figures are money, so models can be told apart by
what they are for. They rest on an assumed save rate: once campaigns were measured, use that.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import betainc

from training.config import Campaign
from training.metrics import Doubles, Metric, pair

# Points of the campaign curve: every hundredth of the members.
CURVE_POINTS = 100


def expected_maximum_profit(
    churned: ArrayLike, score: ArrayLike, campaign: Campaign
) -> tuple[float, float]:
    """Return the profit of the best campaign per member, and the share it contacts.

    The save rate is not known: for each value it may have, the best threshold is taken, and both
    figures are averaged over its distribution (EMPC).

    Parameters
    ----------
    churned : array of shape (n,), 0 or 1
    score : array of shape (n,), higher for likelier leavers; only its order matters

    Returns
    -------
    cents per member, at least 0, and share contacted in [0, 1]; NaN where nobody or everybody left

    Source
    ------
    Verbraken, Verbeke & Baesens (2013), the definition of EMPC, over the segments of the convex
    hull of the ROC curve: on each one vertex is best, and the Beta integral is in closed form.
    """
    vertices = _best_thresholds(churned, score)
    if vertices is None:
        return float("nan"), float("nan")
    leavers, stayers = vertices
    d, f, clv = campaign.offer_cents, campaign.contact_cents, campaign.member_cents
    # The save rate at which going on to the next vertex begins to pay.
    begins = (f + (d + f) * np.diff(stayers) / np.diff(leavers)) / (clv - d)
    edges = np.r_[0.0, np.minimum(begins, 1.0), 1.0]
    alpha = campaign.save_rate * campaign.save_rate_weight
    beta = campaign.save_rate_weight - alpha
    mass = np.diff(betainc(alpha, beta, edges))
    mean = campaign.save_rate * np.diff(betainc(alpha + 1, beta, edges))
    profit = leavers * (mean * (clv - d) - mass * f) - mass * stayers * (d + f)
    return float(profit.sum()), float((mass * (leavers + stayers)).sum())


def maximum_profit(churned: ArrayLike, score: ArrayLike, campaign: Campaign) -> tuple[float, float]:
    """Return the same with the save rate taken as known (MPC).

    Source
    ------
    Verbeke et al. (2012), New insights into churn prediction in the telecommunication sector,
    EJOR 218(1).
    """
    vertices = _best_thresholds(churned, score)
    if vertices is None:
        return float("nan"), float("nan")
    leavers, stayers = vertices
    profit = leavers * campaign.gain_cents(campaign.save_rate) - stayers * campaign.loss_cents
    best = int(np.argmax(profit))
    return float(profit[best]), float(leavers[best] + stayers[best])


def campaign_metric(campaign: Campaign) -> Metric:
    """Return EMPC in units of currency per member, as a leaderboard column."""

    def empc(truth: Doubles, score: Doubles) -> float:
        return expected_maximum_profit(truth, score, campaign)[0] / 100

    return empc


def campaign_curve(churned: ArrayLike, score: ArrayLike, campaign: Campaign) -> pd.DataFrame:
    """Return what contacting the first k members would have earned, at the expected save rate.

    Returns
    -------
    DataFrame of at most 101 rows, from nobody to everybody
        `share` contacted, `members`, `leavers` among them, `saved` expected, `profit_cents` in sum
    """
    left, order = pair(churned, score)
    found = np.r_[0.0, np.cumsum(left[np.argsort(-order, kind="stable")])]
    members = np.unique(np.round(np.linspace(0, len(left), CURVE_POINTS + 1)).astype(int))
    leavers = found[members]
    profit = leavers * campaign.gain_cents(campaign.save_rate)
    return pd.DataFrame(
        {
            "share": members / len(left),
            "members": members,
            "leavers": leavers,
            "saved": campaign.save_rate * leavers,
            "profit_cents": profit - (members - leavers) * campaign.loss_cents,
        }
    )


def _best_thresholds(churned: ArrayLike, score: ArrayLike) -> tuple[Doubles, Doubles] | None:
    """Return the corners of the convex hull of the ROC curve, as shares of all members.

    Returns
    -------
    leavers, stayers contacted, both over n, from nobody; the leavers rise strictly, and ever more
    stayers come with each: stayers that follow the last leaver are left out. None if undefined.
    """
    left, said = pair(churned, score)
    if left.all() or not left.any():
        return None
    order = np.argsort(-said, kind="stable")
    last_of_tie = np.r_[np.flatnonzero(np.diff(said[order])), len(said) - 1]
    leavers = np.r_[0.0, np.cumsum(left[order])[last_of_tie]]
    stayers = np.r_[0.0, np.cumsum(1 - left[order])[last_of_tie]]
    kept: list[int] = []
    for point in range(len(leavers)):
        if kept and leavers[point] == leavers[kept[-1]]:
            continue  # more stayers and no leaver more
        while len(kept) > 1 and _bends_in(leavers, stayers, kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return leavers[kept] / len(left), stayers[kept] / len(left)


def _bends_in(leavers: Doubles, stayers: Doubles, first: int, middle: int, last: int) -> bool:
    """Tell whether the middle point lies on or below the line between the others."""
    before = (stayers[middle] - stayers[first]) * (leavers[last] - leavers[middle])
    after = (stayers[last] - stayers[middle]) * (leavers[middle] - leavers[first])
    return bool(before >= after)
