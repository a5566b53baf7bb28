"""Lifecycle stages, cut on the probability to come back; see `return_table`."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.segments.return_table import LONG_GAP_DAYS, NEW_DAYS, ReturnTable

STAGES = ("new", "growing", "mature", "declining", "dormant", "lost", "reactivated")
# P(return) from which a member is in full swing, may still be won, and is not yet lost.
ACTIVE_FROM, DORMANT_BELOW, LOST_BELOW, NEW_FROM = 0.7, 0.4, 0.1, 0.5
GROWING_FROM, DECLINING_BELOW = 1.25, 0.75
# A fall of the probability within four weeks that makes a decline of its own.
FALL, FALL_DAYS = 0.15, 28
# A stage is left only when the probability, or the spend against the season, lies this far past
# the edge, and not before two weeks.
MARGIN, SPEND_MARGIN, STAY_DAYS = 0.05, 0.15, 14
# Whoever was not there in both windows of the spend trend has none yet.
_TREND_DAYS = 168


def stages(
    features: pd.DataFrame,
    table: ReturnTable,
    as_of: pd.Timestamp,
    previous: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Give every member her stage.

    Parameters
    ----------
    features : of a snapshot, indexed by member_id
    table : P(return) as the past tells it
    as_of : of the snapshot
    previous : what this returned for an earlier day, with a column `as_of`

    Returns
    -------
    DataFrame with the index of `features`: gap_ratio, return_probability, stage, stage_since
    """
    probability = table.of(features)
    came_back = table.just_back(features)
    fell = np.zeros(len(features), dtype=bool)
    if previous is not None:
        earlier = previous.reindex(features.index)
        near = ((as_of - earlier["as_of"]).dt.days <= FALL_DAYS).to_numpy()
        fell = near & (earlier["return_probability"].to_numpy() - probability >= FALL)
    found = _stage_of(features, probability, came_back, fell)
    since = pd.Series(as_of, index=features.index)
    if previous is not None:
        found, since = _held(features, probability, came_back, fell, found, earlier, as_of)
    return pd.DataFrame(
        {
            "gap_ratio": features["overdue_ratio_shrunk"].to_numpy(dtype=np.float64),
            "return_probability": probability,
            "stage": found,
            "stage_since": since,
        },
        index=features.index,
    )


def transitions(
    given: pd.DataFrame, previous: pd.DataFrame | None, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Return one event for each member whose stage is another than on the earlier day.

    Parameters
    ----------
    given, previous : what `stages` returned for this day and an earlier one; None: no events

    Returns
    -------
    DataFrame with member_id, occurred_on, from_stage (absent for who was not there before),
    to_stage, gap_ratio, return_probability, return_probability_before
    """
    earlier = given.iloc[:0] if previous is None else previous
    before = earlier.reindex(given.index)
    moved = (given["stage"] != before["stage"]) & (previous is not None)
    events = given.loc[moved, ["stage", "gap_ratio", "return_probability"]]
    return pd.DataFrame(
        {
            "member_id": events.index.to_numpy(dtype=object),
            "occurred_on": as_of,
            "from_stage": before.loc[moved, "stage"].to_numpy(dtype=object),
            "to_stage": events["stage"].to_numpy(dtype=object),
            "gap_ratio": events["gap_ratio"].to_numpy(),
            "return_probability": events["return_probability"].to_numpy(),
            "return_probability_before": before.loc[moved, "return_probability"].to_numpy(),
        }
    )


def _stage_of(
    features: pd.DataFrame,
    probability: NDArray[np.float64],
    came_back: NDArray[np.bool_],
    fell: NDArray[np.bool_],
    spend_shift: float = 0.0,
) -> NDArray[np.object_]:
    recency = features["recency_days"].to_numpy(dtype=np.float64)
    tenure = features["tenure_days"].to_numpy(dtype=np.float64)
    change = np.exp(features["spend_season_84d"].to_numpy(dtype=np.float64, na_value=np.nan))
    change = np.where((tenure > _TREND_DAYS) & np.isfinite(change), change + spend_shift, 1.0)
    young = (tenure <= NEW_DAYS) & (probability >= NEW_FROM)
    return np.select(
        [
            (probability < LOST_BELOW) | (recency >= LONG_GAP_DAYS),
            came_back,
            young,
            probability < DORMANT_BELOW,
            (probability < ACTIVE_FROM) | fell,
            change >= GROWING_FROM,
            change < DECLINING_BELOW,
        ],
        ["lost", "reactivated", "new", "dormant", "declining", "growing", "declining"],
        default="mature",
    ).astype(object)


def _held(
    features: pd.DataFrame,
    probability: NDArray[np.float64],
    came_back: NDArray[np.bool_],
    fell: NDArray[np.bool_],
    found: NDArray[np.object_],
    earlier: pd.DataFrame,
    as_of: pd.Timestamp,
) -> tuple[NDArray[np.object_], pd.Series]:
    """Keep the earlier stage where nothing moved by more than the margin, or it is too young."""
    stage, since = earlier["stage"].to_numpy(dtype=object), earlier["stage_since"]
    known = earlier["stage"].notna().to_numpy()
    nearly = [
        _stage_of(features, np.clip(probability + shift, 0, 1), came_back, fell, spend_shift)
        for shift in (-MARGIN, 0.0, MARGIN)
        for spend_shift in (-SPEND_MARGIN, 0.0, SPEND_MARGIN)
    ]
    within = np.logical_or.reduce([near == stage for near in nearly])
    fresh = ((as_of - since).dt.days < STAY_DAYS).to_numpy()
    keep = known & (within | fresh) & (found != "reactivated")
    kept = np.where(keep, stage, found)
    same = pd.Series(kept == stage, index=features.index) & known
    return kept, since.where(same, as_of)
