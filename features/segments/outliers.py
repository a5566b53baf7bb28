"""The few members who are like nobody: resellers, staff, test accounts.

DBSCAN says who lies where nobody else does; it makes no groups, for members have no gaps between
them.
"""

import numpy as np
import pandas as pd
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from features.segments.scale import MEASURES, Scale, some

OUTLIER_MEASURES = (*MEASURES, "spend_cents_max_364d", "orders_84d")
# In standard deviations of the logs; Complete Journey and CDNOW have about one in 200 beyond it.
DISTANCE, COMPANY = 1.0, 10
MEMBERS_LEAST, SAMPLED_MOST = 100, 5_000


def outliers(features: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Flag who lies where nobody else does.

    Parameters
    ----------
    features : of a snapshot, indexed by member_id
    seed : of the sample that says where members lie

    Returns
    -------
    DataFrame with the index of `features`: outlier, outlier_measure (in what she is farthest
    from all others; absent where she is not)
    """
    points = Scale.of(features, OUTLIER_MEASURES)(features)
    if len(points) < MEMBERS_LEAST:
        alone = np.zeros(len(points), dtype=bool)
    else:
        sample = some(points, SAMPLED_MOST, seed)
        dense = DBSCAN(eps=DISTANCE, min_samples=COMPANY).fit(sample)
        core = sample[dense.core_sample_indices_]
        company = NearestNeighbors(n_neighbors=1).fit(core)
        alone = company.kneighbors(points)[0][:, 0] > DISTANCE
    farthest = np.asarray(OUTLIER_MEASURES, dtype=object)[np.abs(points).argmax(axis=1)]
    return pd.DataFrame(
        {"outlier": alone, "outlier_measure": np.where(alone, farthest, None)},
        index=features.index,
    )
