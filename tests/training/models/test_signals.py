"""The signals for new products, their blend and their ranking: arithmetic by hand, then laws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from programme.errors import InputRefused
from tests.training.models.cases import origin
from tests.training.models.worlds import baskets, dated
from training.metrics import judge_members
from training.models.blend import Blend
from training.models.explore import Popularity
from training.models.habit import Habit, RepeatRanker, faded_days
from training.models.neighbours import MemberNeighbours
from training.models.origin import Origin
from training.models.pool import ProductPool
from training.models.ranker import ExploreRanker
from training.models.signals import PRIOR_MEMBERS, Recipe, Signals, standardised, taken_up

MEMBERS = np.array([f"m{number}" for number in range(400)], dtype=object)


def frame(*rows: tuple[str, str, int, int, int]) -> pd.DataFrame:
    """Lay out member, product, purchase days, days since the last and the first."""
    columns = ["member_id", "product_id", "purchase_days", "last_days", "first_days"]
    known = pd.DataFrame(rows, columns=columns)
    first = known["first_days"]
    return dated(known).assign(first_days=first)


def test_what_is_taken_up_is_counted_among_those_who_lacked_it() -> None:
    products = frame(
        ("ann", "milk", 9, 2, 200),
        ("ann", "wrap", 1, 3, 3),
        ("bob", "milk", 9, 2, 200),
        ("cid", "milk", 1, 5, 5),
        ("cid", "tea", 4, 100, 300),
        ("new", "wrap", 1, 1, 1),  # a newcomer takes everything up: she is left out
        ("old", "milk", 1, 90, 300),  # silent in the window: so is she
    )
    pool = ProductPool.of(products)

    share = taken_up(pool, products, 28)

    # milk: cid of cid; wrap: ann of ann, bob, cid; tea: nobody of ann, bob. Two of six lacked.
    mean = (2 + 0.5) / (6 + 1)
    expected = [
        (new + PRIOR_MEMBERS * mean) / (lacked + PRIOR_MEMBERS)
        for new, lacked in ((1, 1), (0, 2), (1, 3))
    ]
    assert list(pool.product_ids) == ["milk", "tea", "wrap"]
    assert share == pytest.approx(expected)


def test_scores_are_standardised_over_what_was_not_bought() -> None:
    scores = np.array([[1.0, 3.0, 100.0], [2.0, 2.0, 7.0]])
    among = np.array([[True, True, False], [True, True, False]])

    made = standardised(scores, among)

    assert made[0, :2] == pytest.approx([-1.0, 1.0])
    assert made[1] == pytest.approx([0.0, 0.0, 0.0])  # equal scores say nothing


def test_the_neighbours_of_a_member_are_those_who_shop_alike_now() -> None:
    products = frame(
        *((name, "tea", 2, 5, 50) for name in ("ann", "bob", "cid")),
        *((name, "cake", 2, 5, 50) for name in ("bob", "cid")),
        *((name, "beer", 2, 5, 50) for name in ("dan", "eve", "fay", "gus")),
        *((name, "chips", 2, 5, 50) for name in ("dan", "eve", "fay", "gus")),
        ("hal", "beer", 9, 200, 300),  # what he was like long ago does not count
        ("hal", "tea", 1, 3, 3),
    )

    model = MemberNeighbours(n_neighbours=3).fit(products)
    named = model.recommend(products, ["ann", "hal"], 1)

    assert named["product_id"].tolist() == ["cake", "cake"]


def started_and_followed() -> pd.DataFrame:
    """Lay out members who all buy bread; half start a machine, and take up a grinder soon after."""
    rng = np.random.default_rng(4)
    rows = []
    for number in range(240):
        member = f"m{number:03}"
        rows.append((member, "bread", 40, 3, 360))
        rows.append((member, "soap", 4, int(rng.integers(1, 90)), int(rng.integers(100, 300))))
        if number % 2:
            began = int(rng.integers(120, 290))
            rows.append((member, "machine", 1, began, began))
            rows.append((member, "grinder", 1, began - 20, began - 20))
        elif number % 8 == 0:  # who took up a grinder without
            day = int(rng.integers(70, 300))
            rows.append((member, "grinder", 1, day, day))
    rows += [("new", "bread", 40, 3, 360), ("new", "machine", 1, 9, 9)]
    rows += [("late", "bread", 40, 3, 360), ("late", "machine", 1, 200, 200)]
    return frame(*rows)


def test_what_was_started_lately_speaks_for_what_others_took_up_after_it() -> None:
    products = started_and_followed()
    signals = Signals.of(products, Recipe(n_items=10, l2=30.0))

    (chunk,) = signals.chunks(products, pd.Index(["new", "late", "m000"]))

    grinder = signals.pool.product_ids.get_loc("grinder")
    machine = signals.pool.product_ids.get_loc("machine")
    assert chunk.scores["follows"][0, grinder] > 0.5
    # Started too long ago, or never: it says nothing.
    assert (chunk.scores["follows"][1:] == 0).all()
    # The other way round nobody went.
    assert signals.tastes["follows"][grinder, machine] == 0


def test_the_reason_of_a_complement_is_what_was_started() -> None:
    products = started_and_followed()
    model = Blend({"follows": 1.0}, Recipe(n_items=10, l2=30.0)).fit(products)

    named = model.recommend(products, ["new"], 1)

    assert named[["product_id", "reason", "because"]].to_numpy().tolist() == [
        ["grinder", "follows", "machine"]
    ]


def test_products_are_alike_by_the_cosine_of_their_members() -> None:
    products = frame(
        *((name, "tea", 2, 5, 50) for name in ("ann", "bob", "cid", "dan")),
        *((name, "cake", 7, 5, 50) for name in ("ann", "bob", "cid")),
        ("dan", "beer", 1, 5, 50),
    )

    signals = Signals.of(products, Recipe(n_items=10, l2=30.0))

    beer, cake, tea = range(3)
    alike = signals.tastes["bought_together"].toarray()
    assert alike[cake, tea] == pytest.approx(3 / np.sqrt(3 * 4))
    assert alike[tea, beer] == pytest.approx(1 / np.sqrt(4 * 1))
    assert alike[cake, beer] == 0
    assert (np.diag(alike) == 0).all()


def test_a_reason_names_a_purchase_of_the_member_herself() -> None:
    products = baskets(MEMBERS, seed=3)
    named = (
        Blend(recipe=Recipe(n_items=50, l2=30.0))
        .fit(products)
        .recommend(products, [*MEMBERS[:40], "nobody"], 8)
    )

    own = set(zip(products["member_id"], products["product_id"], strict=True))
    about = named[named["because"] != ""]
    assert len(about)
    assert set(zip(about["member_id"], about["because"], strict=True)) <= own
    assert set(about["reason"]) <= {"because", "follows"}
    assert set(named["reason"]) <= {"because", "follows", "alike", "taken_up", "popular"}
    assert set(named.loc[named["member_id"] == "nobody", "reason"]) <= {"taken_up", "popular"}


@pytest.mark.parametrize("kind", ["blend", "ranker", "popularity", "habit"])
def test_what_is_barred_is_named_to_nobody_and_another_takes_its_place(kind: str) -> None:
    products = baskets(MEMBERS, seed=5)
    recipe = Recipe(n_items=50, l2=30.0)
    made: dict[str, Callable[[], Any]] = {
        "blend": lambda: Blend(recipe=recipe).fit(products),
        "ranker": lambda: ExploreRanker(seed=1, recipe=recipe, n_candidates=20).fit(
            products, [origin(products)]
        ),
        "popularity": lambda: Popularity().fit(products),
        "habit": lambda: Habit().fit(products),
    }
    model = made[kind]()
    open_ = model.recommend(products, list(MEMBERS[:30]), 3)
    barred = set(open_["product_id"].unique()[:2])

    closed = model.recommend(products, list(MEMBERS[:30]), 3, barred)

    assert not barred & set(closed["product_id"])
    unmoved = ~open_.groupby("member_id")["product_id"].transform(
        lambda ids: ids.isin(barred).any()
    )
    pd.testing.assert_frame_equal(
        closed[closed["member_id"].isin(open_.loc[unmoved, "member_id"])].reset_index(drop=True),
        open_[unmoved].reset_index(drop=True),
    )


def test_the_search_and_the_ranker_find_tastes_that_popularity_misses() -> None:
    recipe = Recipe(n_items=60, l2=100.0, n_neighbours=60)
    found: dict[str, list[float]] = {"popular": [], "blend": [], "ranker": []}
    for seed in (8, 18, 28):  # one small world is luck
        products = baskets(MEMBERS, seed=seed)
        hidden = np.random.default_rng(9).random(len(products)) < 0.3
        seen, truth = products[~hidden], products[hidden]
        past = np.random.default_rng(7).random(len(seen)) < 0.3
        origins = [Origin(seen[~past].reset_index(drop=True), seen[past])]
        asked = sorted(set(seen["member_id"]) & set(truth["member_id"]))
        blend = Blend(recipe=recipe, draws=12, seed=1).fit(seen, origins)
        ranker = ExploreRanker(seed=1, recipe=recipe, weights=blend.weights, n_candidates=40)
        models: dict[str, Popularity | Blend | ExploreRanker] = {
            "popular": Popularity().fit(seen),
            "blend": blend,
            "ranker": ranker.fit(seen, origins),
        }
        for name, model in models.items():
            named = model.recommend(seen, asked, 5)
            found[name].append(float(judge_members(named, truth, 5)["recall"].mean()))

    mean = {name: np.mean(recalls) for name, recalls in found.items()}
    assert mean["blend"] > 1.04 * mean["popular"]
    assert mean["ranker"] > mean["popular"]


def test_purchase_days_fade_by_stretches() -> None:
    products = frame(("ann", "tea", 2, 10, 40), ("ann", "old", 1, 250, 250))
    products["purchase_days_28d"] = [1, 0]

    faded = faded_days(products, 28.0)

    # One day in the first four weeks, one in the eight after; the other lies beyond 26 weeks.
    tea = (2**-0.5 + 2**-2.0) * 2 ** (-10 / 28 / 8)
    old = 2 ** (-((182 + 250) / 2) / 28) * 2 ** (-250 / 28 / 8)
    assert faded == pytest.approx([tea, old])


def test_a_habit_outgrown_by_silence_is_let_go() -> None:
    weekly = ("ann", "weekly", 10, 60, 123)  # every seven days, silent for sixty
    monthly = ("ann", "monthly", 4, 60, 150)  # every thirty days

    kept = Habit(letting_go=0.0).fit(frame(weekly)).recommend(frame(weekly, monthly), ["ann"], 2)
    gone = Habit(letting_go=0.5).fit(frame(weekly)).recommend(frame(weekly, monthly), ["ann"], 2)

    assert kept["product_id"].tolist() == ["weekly", "monthly"]
    assert gone["product_id"].tolist() == ["monthly", "weekly"]


def test_rankers_without_a_past_are_refused() -> None:
    products = baskets(MEMBERS[:50], seed=2)
    nothing = Origin(products, products.head(0)[["member_id", "product_id"]])

    with pytest.raises(InputRefused, match="0 such days were given"):
        ExploreRanker(seed=1).fit(products)
    with pytest.raises(InputRefused, match="0 first purchases"):
        ExploreRanker(seed=1).fit(products, [nothing])
    with pytest.raises(InputRefused, match="0 of"):
        RepeatRanker(seed=1).fit(products, [nothing])


@pytest.mark.parametrize("weights", [{}, {"taste_log": 0.0}, {"luck": 1.0}, {"share": np.nan}])
def test_weights_that_make_no_sense_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InputRefused, match="no model was made"):
        Blend(weights)


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputRefused, match="no model was made"):
        Recipe(l2=0.0)
    with pytest.raises(InputRefused, match="no model was made"):
        Habit(half_life_days=0.0)
    with pytest.raises(InputRefused, match="no model was made"):
        MemberNeighbours(n_neighbours=0)


@pytest.mark.parametrize("column", ["first_days", "purchase_days_28d", "purchase_days_182d"])
def test_dates_that_cannot_be_are_refused(column: str) -> None:
    products = baskets(MEMBERS[:30], seed=2)

    with pytest.raises(InputRefused, match=column):
        Signals.of(products.drop(columns=column), Recipe())
    with pytest.raises(InputRefused, match="at least 0"):
        Signals.of(products.assign(**{column: -1}), Recipe())
