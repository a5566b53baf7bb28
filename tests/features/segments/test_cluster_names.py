import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.segments import cluster_names
from features.segments.cluster_names import KEPT_FROM, apart, ids, words
from features.segments.described import cluster_label
from programme.words import LANGUAGES

labels = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def shoppers(days: list[int], cents: list[int] | None = None) -> pd.DataFrame:
    spend = cents if cents is not None else [1_000 * n for n in days]
    return pd.DataFrame({"purchase_days_364d": days, "spend_cents_364d": spend}).astype(float)


def said(recency: float, days: float, cents: float, others: pd.DataFrame) -> list[str]:
    medians = {"recency_days": recency, "purchase_days_364d": days, "spend_cents_364d": cents}
    return words(medians, others).split("_")


def series(places: list[int], prefix: str = "") -> pd.Series:
    named = [f"{prefix}{place}" if prefix else place for place in places]
    return pd.Series(named, index=[f"m{n}" for n in range(len(places))])


@given(
    days=st.lists(st.integers(1, 9), min_size=1, max_size=40), median=st.integers(1, 9),
)  # fmt: skip
def test_a_comparison_with_most_is_true(days: list[int], median: int) -> None:
    frequency, value, _ = said(5, median, 1_000 * median, shoppers(days))
    fewer = np.mean([n < median for n in days])
    more = np.mean([n > median for n in days])

    assert (value == "low") == (more >= 2 / 3)
    assert (value in ("high", "top")) == (fewer >= 2 / 3 and value != "low")
    assert value != "top" or fewer >= 0.9
    assert (frequency == "once") == (median == 1)
    if frequency in ("often", "always"):
        assert fewer > 0.5
    if frequency == "rarely":
        assert more > 0.5


def test_who_did_not_shop_is_compared_with_nobody() -> None:
    # Most members stay away: among all of them no purchase is an average number of purchases.
    assert said(408, 0, 0, shoppers([1, 1, 2, 9])) == ["none", "nothing", "years"]
    assert said(408, 0, 0, shoppers([])) == ["none", "nothing", "years"]


@pytest.mark.parametrize("days", [1, 2, 5])
def test_a_tie_with_everybody_is_never_often(days: int) -> None:
    assert said(3, days, 1, shoppers([days] * 50, [1] * 50))[:2] == [
        "once" if days == 1 else "sometimes", "middle",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("recency", "word"),
    [(1, "week"), (7, "week"), (7.5, "month"), (28, "month"), (91, "quarter"), (182, "half"),
     (364, "year"), (365, "years"), (728, "years"), (729, "ages")],
)  # fmt: skip
def test_recency_is_said_in_days_that_are_true_whoever_else_is_there(
    recency: float, word: str
) -> None:
    assert said(recency, 3, 100, shoppers([3]))[2] == word


@given(now=labels, before=labels)
def test_an_id_is_kept_by_one_cluster_that_is_mostly_the_same(
    now: list[int], before: list[int]
) -> None:
    members = min(len(now), len(before))
    today, then = series(now[:members]), series(before[:members], "c")

    found, given_now = ids(today, 4, then, given=4)

    assert len(set(found)) == 4
    assert given_now == 4 + sum(one not in set(then) for one in found)
    for place, one in enumerate(found):
        ours, theirs = today == place, then == one
        if theirs.any():
            assert (ours & theirs).sum() / (ours | theirs).sum() >= KEPT_FROM


def test_the_same_clusters_in_another_order_keep_their_ids() -> None:
    found, given_now = ids(series([0, 0, 1, 1, 2]), 3, series([7, 7, 2, 2, 9], "c"), given=9)

    assert found == ["c7", "c2", "c9"]
    assert given_now == 9


def test_half_a_cluster_is_another_cluster() -> None:
    found, _ = ids(series([0] * 10 + [1] * 10), 2, series([3] * 20, "c"), given=3)

    assert found == ["c4", "c5"]


def test_members_who_were_not_there_before_decide_no_id() -> None:
    found, _ = ids(series([0, 0, 0, 1]), 2, series([5], "c"), given=5)

    assert found == ["c5", "c6"]


def test_an_id_that_ended_is_never_given_again() -> None:
    found, given_now = ids(series([0, 0, 1, 1]), 2, series([1, 1, 1, 1], "c"), given=4)

    assert (found, given_now) == (["c5", "c6"], 6)


def test_namesakes_are_told_apart_by_what_differs_most() -> None:
    def profile(name: str, recency: float, days: float) -> dict[str, float | str]:
        return {
            "name": name, "recency_days": recency, "purchase_days_364d": days,
            "spend_cents_364d": 9_000.0,
        }  # fmt: skip

    profiles = [profile("a", 2, 40), profile("b", 2, 40), profile("a", 6, 44), profile("c", 6, 4)]

    assert apart(profiles) == ["recency_days", None, "recency_days", None]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_name_can_be_said(language: str) -> None:
    frequencies = ("none", "once", *cluster_names._FREQUENCY)
    values = ("nothing", *cluster_names._VALUE)
    recencies = (*cluster_names._RECENCY, cluster_names._LONGEST)
    names = [f"{f}_{v}_{r}" for f in frequencies for v in values for r in recencies]

    spoken = {cluster_label("c1", name, language) for name in names}

    # Whoever did not shop spent nothing: that is said once.
    assert len(spoken) == (len(frequencies) - 1) * len(values) * len(recencies) + len(recencies)
    assert all(text.startswith("c1") for text in spoken)
