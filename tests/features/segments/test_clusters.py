from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from features.segments import clusters, outliers
from features.segments.clusters import cluster
from features.segments.scale import MEASURES
from tests.features.segments.worlds import alike, members, programme

CENTRES = [(2.0, 80.0, 300_000.0), (12.0, 30.0, 90_000.0), (120.0, 3.0, 5_000.0)]
NOBODY = pd.DataFrame(columns=[*MEASURES, "future_cents", "came_back"])


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge stability on a few draws: planted groups are stable or not at once."""
    monkeypatch.setattr(clusters, "DRAWS", 4)
    monkeypatch.setattr(clusters, "KS", (2, 3, 4))


def named(table: pd.DataFrame, found: clusters.Clustering) -> pd.Series:
    return pd.Series(np.asarray(found.ids, dtype=object)[found.of(table)], index=table.index)


def past_of(table: pd.DataFrame, future: np.ndarray) -> pd.DataFrame:
    return table[list(MEASURES)].assign(future_cents=future, came_back=future > 0)


def test_planted_groups_are_found() -> None:
    table = alike(CENTRES, each=60)
    truth = np.repeat([0, 1, 2], 60)

    found = cluster(table, past_of(table, table["spend_cents_364d"].to_numpy() / 4), seed=1)

    assert found is not None
    assert found.ids == tuple(f"c{n + 1}" for n in range(len(found.ids)))
    assert adjusted_rand_score(truth, found.of(table)) > 0.99 or len(found.ids) != 3
    three = next(row for row in found.candidates if row["k"] == 3)
    assert three["ari_p5"] == pytest.approx(1)
    assert three["explained"] > 0.9


def test_the_most_valuable_cluster_comes_first() -> None:
    table = alike(CENTRES, each=60)
    found = cluster(table, NOBODY, seed=1)

    assert found is not None
    means = table["spend_cents_364d"].groupby(found.of(table)).mean()
    assert means.is_monotonic_decreasing


def test_the_same_members_in_another_order_have_the_same_clusters() -> None:
    table = alike(CENTRES, each=40)
    shuffled = table.sample(frac=1, random_state=3)

    once, again = cluster(table, NOBODY, seed=1), cluster(shuffled, NOBODY, seed=1)

    assert once is not None
    assert again is not None
    moved = named(table, once) != named(shuffled, again).reindex(table.index)
    assert moved.mean() < 0.02


def test_ids_stay_with_their_members() -> None:
    table = alike(CENTRES, each=60)
    found = cluster(table, NOBODY, seed=1)
    assert found is not None
    # Give the clusters other ids, then look at the same members a week later.
    own = {cluster_id: f"c{40 + n}" for n, cluster_id in enumerate(found.ids)}
    before = named(table, found).map(own)
    later = table.assign(recency_days=table["recency_days"] + 1)

    again = cluster(later, NOBODY, seed=1, before=before, given=50)

    assert again is not None
    assert again.given == 50
    assert len(again.ids) == len(found.ids)
    assert (named(later, again) == before).mean() > 0.97


def test_a_profile_says_what_is_true_of_its_cluster() -> None:
    away = [(400.0, 0.0, 0.0)]
    table = alike(CENTRES + away, each=60)
    past = past_of(table, table["spend_cents_364d"].to_numpy() / 4)

    members_, facts = clusters.grouped(table, past, seed=1)

    assert sum(one["members"] for one in facts["clusters"]) == len(table)
    assert [one["spend_cents_364d"] for one in facts["clusters"]] == sorted(
        (one["spend_cents_364d"] for one in facts["clusters"]), reverse=True
    )
    for one in facts["clusters"]:
        own = members_[members_["cluster"] == one["cluster"]]
        assert set(own["cluster_name"]) == {one["name"]}
        for measure in MEASURES:
            assert one[measure] == own[measure].median()
        assert one["name"].startswith("none_nothing_") == (own["purchase_days_364d"].median() == 0)


def test_without_a_past_there_are_no_clusters_and_ids_go_on_later() -> None:
    grouped, facts = clusters.grouped(alike(CENTRES, each=60), None, seed=1, given=7)

    assert grouped["cluster"].isna().all()
    assert facts == {"clusters": [], "clusters_given": 7, "cluster_candidates": []}


def row(k: int, ari: float, explained: float | None) -> dict[str, Any]:
    return {"k": k, "ari_p5": ari, "explained": explained}


@pytest.mark.parametrize(
    ("candidates", "before", "chosen"),
    [
        # Of the stable ones the one that explains most.
        ([row(2, 0.96, 0.2), row(5, 0.89, 0.4), row(6, 0.5, 0.6)], None, 5),
        # Nothing stable: the steadiest.
        ([row(2, 0.6, 0.2), row(5, 0.7, 0.4), row(6, 0.5, 0.6)], None, 5),
        # The number of the day before stays while it is nearly as stable, and nearly as good.
        ([row(4, 0.82, 0.39), row(5, 0.90, 0.40)], 4, 4),
        ([row(4, 0.82, 0.37), row(5, 0.90, 0.40)], 4, 5),
        ([row(4, 0.79, 0.41), row(5, 0.90, 0.40)], 4, 5),
        # A programme too young to explain anything takes the fewest that are stable.
        ([row(2, 0.9, None), row(3, 0.95, None)], None, 2),
    ],
)
def test_the_number_of_clusters_is_chosen_by_stability_then_future_value(
    candidates: list[dict[str, Any]], before: int | None, chosen: int
) -> None:
    assert clusters._chosen(candidates, before) == chosen


@pytest.mark.parametrize("table", [alike(CENTRES, each=30), members(*[{}] * 200)])
def test_too_few_members_or_all_alike_have_no_clusters(table: pd.DataFrame) -> None:
    assert cluster(table, NOBODY, seed=1) is None


def test_the_past_is_measured_as_of_91_days_ago() -> None:
    rates = np.zeros((2, 400))
    # m0 bought 300 and 200 days ago and yesterday; m1 yesterday only: she was not there.
    rates[0, [100, 200, 399]] = 1
    rates[1, 399] = 1

    with programme(rates, gap_days=50) as connection:
        past = clusters.past_measures(connection)

    assert past.to_dict("records") == [
        {
            "recency_days": 109, "purchase_days_364d": 2, "spend_cents_364d": 2_000,
            "future_cents": 1_000, "came_back": True,
        }
    ]  # fmt: skip


def test_a_reseller_is_like_nobody_else() -> None:
    table = alike(CENTRES, each=60)
    table.loc["m000", ["orders_84d", "spend_cents_max_364d"]] = [900.0, 9e7]

    flagged = outliers.outliers(table, seed=1)

    assert flagged.index[flagged["outlier"]].tolist() == ["m000"]
    assert flagged.loc["m000", "outlier_measure"] in {"orders_84d", "spend_cents_max_364d"}
    assert flagged["outlier_measure"].notna().sum() == 1


def test_few_members_have_no_outliers() -> None:
    table = members(*[{}] * 20, {"orders_84d": 900.0})

    assert not outliers.outliers(table, seed=1)["outlier"].any()


def test_absent_measures_are_nothing_and_break_nothing() -> None:
    table = alike(CENTRES, each=60).assign(spend_cents_max_364d=np.nan)

    assert outliers.outliers(table, seed=1)["outlier"].dtype == bool
