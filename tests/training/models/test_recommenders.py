"""Products bought again and products never bought: arithmetic by hand, then laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programme.errors import InputRefused
from tests.training.models.worlds import baskets
from training.metrics import judge_members
from training.models.explore import EASE, Popularity
from training.models.repeat import PersonalFrequency, RepeatPopularity


def frame(*rows: tuple[str, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["member_id", "product_id", "purchase_days", "last_days"])


LITTLE = frame(
    ("ann", "milk", 8, 60),
    ("ann", "bread", 3, 0),
    ("ann", "tea", 3, 0),
    ("bob", "milk", 1, 5),
    ("bob", "beer", 1, 5),
    ("eve", "milk", 2, 9),
)

purchases = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from([f"p{number}" for number in range(8)]),
        st.integers(1, 20),
        st.integers(0, 300),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda row: (row[0], row[1]),
)


def test_a_habit_halves_with_every_half_life() -> None:
    model = PersonalFrequency(half_life_days=30).fit(LITTLE)

    named = model.recommend(LITTLE, ["ann"], 3)

    # Milk: 8 days, 60 days ago = two half-lives: 2. Bread and tea tie at 3: by product_id.
    assert named["product_id"].tolist() == ["bread", "tea", "milk"]
    assert named["score"].tolist() == [3, 3, 2]
    assert named["rank"].tolist() == [1, 2, 3]


def test_own_products_are_ranked_by_how_many_members_bought_them() -> None:
    named = RepeatPopularity().fit(LITTLE).recommend(LITTLE, ["ann"], 2)

    assert named["product_id"].tolist() == ["milk", "bread"]
    assert named["score"].tolist() == pytest.approx([1, 1 / 3])


def test_a_stranger_gets_nothing_to_repeat_and_what_is_popular_to_explore() -> None:
    asked = ["nobody"]

    assert PersonalFrequency().fit(LITTLE).recommend(LITTLE, asked, 3).empty
    popular = Popularity().fit(LITTLE).recommend(LITTLE, asked, 2)
    explored = EASE(l2=1.0).fit(LITTLE).recommend(LITTLE, asked, 2)
    assert popular["product_id"].tolist() == ["milk", "beer"]
    pd.testing.assert_frame_equal(explored, popular)


def test_the_answer_follows_the_order_of_the_question() -> None:
    named = Popularity().fit(LITTLE).recommend(LITTLE, ["eve", "nobody", "ann"], 2)

    assert named["member_id"].tolist() == ["eve", "eve", "nobody", "nobody", "ann"]
    assert named["rank"].tolist() == [1, 2, 1, 2, 1]


def test_the_weights_are_those_of_the_closed_form() -> None:
    model = EASE(l2=0.5, weighting="binary").fit(LITTLE)
    # Columns beer, bread, milk, tea; rows ann, bob, eve.
    bought = np.array([[0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 1, 0]], float)

    inverse = np.linalg.inv(bought.T @ bought + 0.5 * np.eye(4))
    weights = np.eye(4) - inverse / np.diag(inverse)[None, :]

    assert model.map_.toarray() == pytest.approx(weights, abs=1e-12)
    named = model.recommend(LITTLE, ["eve"], 4)
    expected = pd.Series(bought[2] @ weights, ["beer", "bread", "milk", "tea"]).drop("milk")
    # Ann bought bread and tea alike: they tie.
    expected = expected.round(12).sort_values(ascending=False, kind="stable")
    assert named["product_id"].tolist() == expected.index.tolist()
    assert named["score"].tolist() == pytest.approx(expected.tolist())


def test_only_the_most_widely_bought_products_are_considered() -> None:
    model = EASE(n_items=2, l2=1.0).fit(LITTLE)

    named = model.recommend(LITTLE, ["nobody"], 10)

    assert named["product_id"].tolist() == ["milk", "beer"]  # beer before bread and tea by its id


def test_a_member_whose_products_are_all_rare_gets_what_is_popular() -> None:
    rare = frame(("zoe", "caviar", 1, 1))

    named = EASE(n_items=2, l2=1.0).fit(LITTLE).recommend(rare, ["zoe"], 2)

    assert named["product_id"].tolist() == ["milk", "beer"]


@given(purchases, st.integers(1, 10), st.sampled_from(["binary", "log"]))
@settings(max_examples=40)
def test_exploring_never_names_a_product_ever_bought(
    rows: list[tuple[str, str, int, int]], k: int, weighting: str
) -> None:
    products = frame(*rows)
    known = set(zip(products["member_id"], products["product_id"], strict=True))
    members = ["f", "a", "c", "nobody"]

    for model in (EASE(l2=3.0, weighting=weighting), Popularity()):  # type: ignore[arg-type]
        named = model.fit(products).recommend(products, members, k)

        pairs = list(zip(named["member_id"], named["product_id"], strict=True))
        assert not known & set(pairs)
        assert len(pairs) == len(set(pairs))
        # Everything unbought is named, as far as k goes.
        n_products = products["product_id"].nunique()
        for member in members:
            unbought = n_products - sum(owner == member for owner, _ in known)
            assert (named["member_id"] == member).sum() == min(k, unbought)
        assert_ranked(named)


@given(purchases, st.integers(1, 10))
@settings(max_examples=40)
def test_repeating_names_own_products_only(rows: list[tuple[str, str, int, int]], k: int) -> None:
    products = frame(*rows)
    known = set(zip(products["member_id"], products["product_id"], strict=True))
    members = ["f", "a", "c", "nobody"]

    for model in (PersonalFrequency(30.0), RepeatPopularity()):
        named = model.fit(products).recommend(products, members, k)

        pairs = list(zip(named["member_id"], named["product_id"], strict=True))
        assert set(pairs) <= known
        assert len(pairs) == len(set(pairs))
        for member in members:
            owned = sum(owner == member for owner, _ in known)
            assert (named["member_id"] == member).sum() == min(k, owned)
        assert_ranked(named)


def assert_ranked(named: pd.DataFrame) -> None:
    for _, part in named.groupby("member_id"):
        assert part["rank"].tolist() == list(range(1, len(part) + 1))
        keys = list(zip(-part["score"], part["product_id"], strict=True))
        assert keys == sorted(keys)


@given(purchases)
@settings(max_examples=20)
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[str, str, int, int]]) -> None:
    products = frame(*rows)
    turned = products.iloc[::-1].reset_index(drop=True)

    for make in (PersonalFrequency, RepeatPopularity, Popularity):
        pd.testing.assert_frame_equal(
            make().fit(products).recommend(products, ["a", "b"], 5),
            make().fit(turned).recommend(turned, ["a", "b"], 5),
        )


def test_ease_finds_tastes_that_popularity_misses() -> None:
    members = np.array([f"m{number}" for number in range(900)], dtype=object)
    products = baskets(members, seed=8)
    hidden = np.random.default_rng(9).random(len(products)) < 0.3
    seen, truth = products[~hidden], products[hidden]
    asked = sorted(set(seen["member_id"]) & set(truth["member_id"]))

    def recall(model: EASE | Popularity) -> float:
        named = model.fit(seen).recommend(seen, asked, 5)
        return float(judge_members(named, truth, 5)["recall"].mean())

    assert recall(EASE(l2=300.0)) > 1.1 * recall(Popularity())


def test_asking_in_one_go_or_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [f"m{number}" for number in range(60)]
    products = baskets(np.array(members, dtype=object), seed=3)
    model = EASE(l2=5.0).fit(products)
    whole = model.recommend(products, members, 7)

    monkeypatch.setattr("training.models.explore.MEMBERS_PER_CHUNK", 7)

    pd.testing.assert_frame_equal(model.recommend(products, members, 7), whole)


@pytest.mark.parametrize("model", [PersonalFrequency(), Popularity()])
def test_questions_that_make_no_sense_are_refused(model: PersonalFrequency | Popularity) -> None:
    model.fit(LITTLE)

    with pytest.raises(InputRefused, match="k is 0"):
        model.recommend(LITTLE, ["ann"], 0)
    with pytest.raises(InputRefused, match="asked for twice: ann"):
        model.recommend(LITTLE, ["ann", "bob", "ann"], 3)


@pytest.mark.parametrize(
    ("column", "odd"), [("purchase_days", 0), ("purchase_days", np.nan), ("last_days", -1)]
)
def test_days_that_cannot_be_are_refused(column: str, odd: float) -> None:
    products = LITTLE.astype({column: float})
    products.loc[1, column] = odd

    with pytest.raises(InputRefused, match="purchase_days must be above 0"):
        EASE().fit(products)


def test_a_member_and_product_given_twice_are_refused() -> None:
    with pytest.raises(InputRefused, match="1 rows of the product frame repeat"):
        Popularity().fit(frame(("ann", "milk", 1, 1), ("ann", "milk", 2, 3)))


@pytest.mark.parametrize("arguments", [{"l2": 0.0}, {"n_items": 0}, {"weighting": "cubic"}])
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputRefused, match="no model was made"):
        EASE(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InputRefused, match="no model was made"):
        PersonalFrequency(half_life_days=0)
