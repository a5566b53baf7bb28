"""Clusters of members alike in recency, frequency and value.

Logs of recency, frequency and value have no gaps between groups, so no index finds "the" number
of clusters: silhouette always asks for two. A number is worth something if the same groups come
back from other members, and if they tell what members will spend. So k-means it is, with the k
whose groups are stable under subsampling (adjusted Rand index) and, of those, explain next
quarter's spend best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from features.segments import cluster_names
from features.segments.scale import MEASURES, Scale, some

KS = (2, 3, 4, 5, 6, 7, 8)
# Stable: at least so much of a grouping comes back from four fifths of the members, in all but
# one of twenty draws. Below that a member's cluster is an accident of who else was there. The
# number of clusters of the day before may stay down to a little less.
STABLE_FROM, STILL_STABLE_FROM = 0.85, 0.80
DRAWS, DRAWN, QUANTILE = 40, 0.8, 0.05
# Another k must explain this much more before members are regrouped under new names.
WORTH_A_CHANGE = 0.02
# Fewer members than this have no clusters; more than that say nothing new of them.
MEMBERS_LEAST, FITTED_MOST, JUDGED_MOST = 100, 50_000, 5_000
FUTURE_DAYS = 91

_PAST = f"""
    select recency_days, purchase_days_364d, spend_cents_364d, future_cents, came_back
    from (
        select member_id,
               min(days_ago) filter (where bought > 0 and days_ago > {FUTURE_DAYS})
                   - {FUTURE_DAYS} as recency_days,
               count(*) filter (where bought > 0
                   and days_ago between {FUTURE_DAYS + 1} and {FUTURE_DAYS + 364})
                   as purchase_days_364d,
               coalesce(sum(net_cents) filter (where
                   days_ago between {FUTURE_DAYS + 1} and {FUTURE_DAYS + 364}), 0)
                   as spend_cents_364d,
               coalesce(sum(net_cents) filter (where days_ago <= {FUTURE_DAYS}), 0)
                   as future_cents,
               count(*) filter (where bought > 0 and days_ago <= {FUTURE_DAYS}) > 0 as came_back
        from member_days group by member_id
    ) where recency_days is not null order by member_id"""


@dataclass(frozen=True)
class Clustering:
    """Clusters of one day.

    Parameters
    ----------
    ids : one a cluster, most valuable first; an id stays with a cluster from day to day
    given : how many ids were given out until this day
    centres : array-like of shape (n_clusters, 3), on the scale
    candidates : per k: ari_mean, ari_p5, explained (share of the variance of the next 91 days'
        spend; absent where the programme is too young), silhouette (reported, never decides)
    """

    ids: tuple[str, ...]
    given: int
    scale: Scale
    centres: tuple[tuple[float, ...], ...]
    candidates: tuple[dict[str, Any], ...]

    def of(self, features: pd.DataFrame) -> NDArray[np.int64]:
        """Return the place of each member's cluster in `ids`, shape (n,)."""
        return _nearest(self.scale(features), np.asarray(self.centres))

    @property
    def ari_p5(self) -> float:
        """Return the stability of the k that was chosen."""
        found = {row["k"]: row["ari_p5"] for row in self.candidates}
        return float(found[len(self.ids)])


def past_measures(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Return what members were 91 days ago, and what they have done since.

    Returns
    -------
    DataFrame with `MEASURES`, future_cents and came_back; no rows in a younger programme
    """
    return connection.execute(_PAST).df()


def cluster(
    features: pd.DataFrame,
    past: pd.DataFrame,
    seed: int,
    before: pd.Series | None = None,
    given: int = 0,
) -> Clustering | None:
    """Group the members; None where they are too few or all alike.

    Parameters
    ----------
    features : of a snapshot, indexed by member_id
    past : see `past_measures`
    seed : of k-means and of the draws
    before : cluster ids by member_id of an earlier day
    given : how many ids were given out until then
    """
    scale = Scale.of(features, MEASURES)
    points = scale(features)
    distinct = len(np.unique(points, axis=0))
    if len(points) < MEMBERS_LEAST or distinct < MEMBERS_LEAST:
        return None
    with threadpool_limits(1):
        candidates = [_candidate(k, points, past, seed) for k in KS]
        k = _chosen(candidates, before.nunique() if before is not None else None)
        fitted = _fit(some(points, FITTED_MOST, seed), k, seed)
    # Rounded, so that the last digit of a sum never decides whose neighbour a member is.
    centres = fitted.cluster_centers_.round(6)
    spend = features["spend_cents_364d"].to_numpy(dtype=np.float64)
    labels = _nearest(points, centres)
    value = np.array([spend[labels == place].mean() for place in range(k)])
    order = np.argsort(-value, kind="stable")
    centres = centres[order]
    now = pd.Series(_nearest(points, centres), index=features.index)
    ids, given = cluster_names.ids(now, k, before, given)
    return Clustering(
        tuple(ids), given, scale, tuple(tuple(centre) for centre in centres.tolist()),
        tuple(candidates),
    )  # fmt: skip


def grouped(
    features: pd.DataFrame,
    past: pd.DataFrame | None,
    seed: int,
    before: pd.Series | None = None,
    given: int = 0,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return each member's cluster, and what can be told of the clusters.

    Parameters
    ----------
    features, past, seed, before, given : see `cluster`; without a past there are no clusters

    Returns
    -------
    DataFrame with the index of `features`: `MEASURES`, cluster (an id) and cluster_name (words);
    and the facts: clusters (see `profiles`), clusters_given, cluster_candidates
    """
    members = features[list(MEASURES)].assign(cluster=None, cluster_name=None)
    found = cluster(features, past, seed, before, given) if past is not None else None
    if past is None or found is None:
        return members, {"clusters": [], "clusters_given": given, "cluster_candidates": []}
    members["cluster"] = np.asarray(found.ids, dtype=object)[found.of(features)]
    told = profiles(members, found, past)
    members["cluster_name"] = members["cluster"].map({one["cluster"]: one["name"] for one in told})
    return members, {
        "clusters": told,
        "clusters_given": found.given,
        "cluster_candidates": list(found.candidates),
    }


def profiles(members: pd.DataFrame, found: Clustering, past: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what can be said of each cluster: words, medians, sizes, shares, how many leave.

    Parameters
    ----------
    members : with `MEASURES` and cluster, an id
    past : see `past_measures`; churn is that of those who were in the cluster's place then
    """
    spend = members["spend_cents_364d"].clip(lower=0)
    shoppers = members[members["purchase_days_364d"] > 0]
    past_place = found.of(past) if len(past) else np.empty(0, dtype=np.int64)
    said = []
    for place, cluster_id in enumerate(found.ids):
        own = members["cluster"] == cluster_id
        medians = {name: float(members.loc[own, name].median()) for name in MEASURES}
        stayed = past.loc[past_place == place, "came_back"]
        said.append({
            "cluster": cluster_id,
            "name": cluster_names.words(medians, shoppers),
            "members": int(own.sum()),
            "member_share": float(own.mean()),
            "value_share": float(spend[own].sum() / spend.sum()) if spend.sum() else None,
            "churn_rate": float(1 - stayed.mean()) if len(stayed) else None,
            "churn_members": len(stayed),
            **medians,
        })  # fmt: skip
    told = cluster_names.apart(said)
    return [profile | {"apart": measure} for profile, measure in zip(said, told, strict=True)]


def _candidate(
    k: int, points: NDArray[np.float64], past: pd.DataFrame, seed: int
) -> dict[str, Any]:
    judged = some(points, JUDGED_MOST, seed)
    whole = _fit(judged, k, seed).labels_
    agreement = []
    for draw in range(DRAWS):
        generator = np.random.default_rng((seed, draw))
        drawn = generator.choice(len(judged), int(DRAWN * len(judged)), replace=False)
        agreement.append(
            adjusted_rand_score(whole[drawn], _fit(judged[drawn], k, seed + 1 + draw).labels_)
        )
    seen = slice(0, 2_000)
    return {
        "k": k,
        "ari_mean": round(float(np.mean(agreement)), 4),
        "ari_p5": round(float(np.quantile(agreement, QUANTILE)), 4),
        "explained": _explained(k, past, seed),
        "silhouette": round(float(silhouette_score(judged[seen], whole[seen])), 4)
        if len(np.unique(whole[seen])) > 1
        else None,
    }


def _explained(k: int, past: pd.DataFrame, seed: int) -> float | None:
    """Return the share of the variance of later spend that lies between the past day's clusters."""
    if len(past) < MEMBERS_LEAST:
        return None
    sample = past if len(past) <= FITTED_MOST else past.sample(FITTED_MOST, random_state=seed)
    labels = _fit(Scale.of(sample, MEASURES)(sample), k, seed).labels_
    spend = sample["future_cents"].to_numpy(dtype=np.float64)
    total = ((spend - spend.mean()) ** 2).sum()
    if total <= 0:
        return None
    within = sum(
        ((part - part.mean()) ** 2).sum()
        for part in (spend[labels == place] for place in np.unique(labels))
    )
    return round(float(1 - within / total), 4)


def _chosen(candidates: Sequence[dict[str, Any]], k_before: int | None) -> int:
    """Return the stable k that explains most; the steadiest where none is stable."""
    stable = [
        row
        for row in candidates
        if row["ari_p5"] >= (STILL_STABLE_FROM if row["k"] == k_before else STABLE_FROM)
    ]
    if not stable:
        return int(max(candidates, key=lambda row: (row["ari_p5"], -row["k"]))["k"])

    def explained(row: dict[str, Any]) -> float:
        return row["explained"] if row["explained"] is not None else 0.0

    best = max(stable, key=lambda row: (explained(row), -row["k"]))
    for row in stable:
        if row["k"] == k_before and explained(best) - explained(row) < WORTH_A_CHANGE:
            return int(row["k"])
    return int(best["k"])


def _fit(points: NDArray[np.float64], k: int, seed: int) -> KMeans:
    return KMeans(n_clusters=k, n_init=10, random_state=seed).fit(points)


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    distance = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)
