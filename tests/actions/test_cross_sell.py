"""What offers name: never what she has, never what is not there, what earns more not later."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions import candidates, chances, counter, cross_sell
from actions.chances import Calibration
from actions.cross_sell import RULES, Shown, Terms, name_products
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.errors import InputRefused
from programme.settings import Settings
from tests.little_programme import AS_OF, LittleProgramme
from training.models.calibration import PlattCalibration

NOTHING = pd.DataFrame({"member_id": [], "product_id": []}, dtype=str)
LINE = PlattCalibration(slope=1.0, intercept=0.0)
PLAIN = Calibration({"explore": LINE}, 1_000, 100)


def shop(seed: int, n_members: int = 12, n_products: int = 30) -> dict[str, pd.DataFrame]:
    """Make members who bought things, goods of every state, and candidates of both sources."""
    rng = np.random.default_rng(seed)
    products = [f"p{one:02d}" for one in range(n_products)]
    members = [f"m{one:02d}" for one in range(n_members)]
    pairs = pd.MultiIndex.from_product([members, products], names=["member_id", "product_id"])
    everything = pd.DataFrame(index=pairs).reset_index()
    bought = everything[rng.random(len(everything)) < 0.4].copy()
    bought["last_days"] = rng.integers(1, 300, len(bought))
    bought["first_days"] = bought["last_days"] + rng.integers(0, 60, len(bought))
    bought["purchase_days"] = 1 + (bought["first_days"] > bought["last_days"]) * rng.integers(
        1, 9, len(bought)
    )
    bought["purchase_days_182d"] = np.where(bought["last_days"] <= 182, bought["purchase_days"], 0)
    goods = pd.DataFrame(
        {
            "category": rng.choice([*"abcdefgh", None], n_products),
            "price_cents": np.where(rng.random(n_products) < 0.1, np.nan,
                                    rng.integers(50, 2_000, n_products)),
            "margin_rate": np.where(rng.random(n_products) < 0.4, np.nan,
                                    rng.uniform(0.05, 0.6, n_products)),
            "stock": rng.choice(["in_stock", "out_of_stock", "unknown"], n_products),
            "restricted": rng.random(n_products) < 0.1,
        },
        index=pd.Index(products, name="product_id"),
    )  # fmt: skip
    named = everything[rng.random(len(everything)) < 0.6].copy()
    named["rank"] = named.groupby("member_id").cumcount() + 1
    named["source"] = rng.choice(["explore", "complement"], len(named))
    named = named.assign(because="", lift=1.0)
    gone = everything[rng.random(len(everything)) < 0.05]
    return {"candidates": named, "goods": goods, "bought": bought, "returned": gone}


def chosen(kind: Any, made: dict[str, pd.DataFrame], **more: Any) -> Shown:
    return name_products(
        kind, made["candidates"], made["goods"], made["bought"], made["returned"], **more
    )


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, shown=st.integers(1, 12))
@settings(max_examples=12, deadline=None)
def test_nothing_is_named_that_may_not_be(seed: int, shown: int) -> None:
    made = shop(seed)

    found = chosen("cross_sell", made, terms=Terms(shown=shown)).rows

    pairs = set(zip(found["member_id"], found["product_id"], strict=True))
    lately = made["bought"][made["bought"]["last_days"] <= 182]
    assert not pairs & set(zip(lately["member_id"], lately["product_id"], strict=True))
    gone = made["returned"]
    assert not pairs & set(zip(gone["member_id"], gone["product_id"], strict=True))
    goods = made["goods"].loc[found["product_id"]]
    assert not goods["stock"].eq("out_of_stock").any()
    assert not goods["restricted"].any()
    assert (goods["price_cents"] > 0).all()
    known = found.dropna(subset=["category"])
    assert not known.duplicated(["member_id", "category"]).any()
    assert found.groupby("member_id").size().le(shown).all()


@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_a_replenishment_names_what_she_bought_again_and_nothing_else(seed: int) -> None:
    made = shop(seed)

    found = chosen("replenish", made).rows

    habit = made["bought"][
        (made["bought"]["last_days"] <= 182) & (made["bought"]["purchase_days"] >= 2)
    ]
    assert set(zip(found["member_id"], found["product_id"], strict=True)) <= set(
        zip(habit["member_id"], habit["product_id"], strict=True)
    )


@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_every_candidate_is_named_left_over_or_refused_by_one_rule(seed: int) -> None:
    made = shop(seed)

    everything = chosen("cross_sell", made, terms=Terms(shown=10_000))

    assert set(everything.refused) == set(RULES)
    n_pairs = len(made["candidates"])
    assert len(everything.rows) + sum(everything.refused.values()) == n_pairs


@given(seed=seeds, raised=st.floats(0.0, 0.4))
@settings(max_examples=12, deadline=None)
def test_a_higher_margin_is_worth_more_and_never_named_later(seed: int, raised: float) -> None:
    made = shop(seed)
    before = chosen("cross_sell", made, terms=Terms(shown=10_000)).rows
    if before.empty:
        return
    lucky = before["product_id"].iloc[0]
    goods = made["goods"].copy()
    rate = goods.loc[lucky, "margin_rate"]
    goods.loc[lucky, "margin_rate"] = (0.25 if pd.isna(rate) else rate) + raised

    after = chosen("cross_sell", {**made, "goods": goods}, terms=Terms(shown=10_000)).rows

    was = before[before["product_id"] == lucky].set_index("member_id")
    now = after[after["product_id"] == lucky].set_index("member_id")
    assert set(was.index) <= set(now.index)
    assert (now.loc[was.index, "place"] <= was["place"]).all()
    assert (now.loc[was.index, "margin_cents"] >= was["margin_cents"] - 1e-9).all()


@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_the_same_whatever_the_order_of_rows(seed: int) -> None:
    made = shop(seed)
    rng = np.random.default_rng(seed)
    mixed = {name: frame.iloc[rng.permutation(len(frame))] for name, frame in made.items()}

    pd.testing.assert_frame_equal(chosen("cross_sell", made).rows, chosen("cross_sell", mixed).rows)


def hand_made() -> dict[str, pd.DataFrame]:
    """Return one member, two goods she may be named, and five members to take things up."""
    bought = pd.DataFrame(
        {
            "member_id": ["her", "a", "b", "c", "a", "b"],
            "product_id": ["tea", "tea", "tea", "tea", "cup", "pot"],
            "purchase_days": 1, "purchase_days_182d": 1,
            "last_days": [10, 10, 10, 10, 5, 90], "first_days": [200, 200, 200, 200, 5, 90],
        }
    )  # fmt: skip
    goods = pd.DataFrame(
        {
            "category": ["drinks", "china", "china"], "price_cents": [300.0, 500.0, 2_000.0],
            "margin_rate": [0.2, np.nan, 0.4], "stock": ["in_stock", "unknown", "in_stock"],
            "restricted": False,
        },
        index=["tea", "cup", "pot"],
    )  # fmt: skip
    named = pd.DataFrame(
        {
            "member_id": "her", "product_id": ["tea", "cup", "pot"], "rank": [1, 2, 3],
            "source": "explore", "because": "", "lift": 1.0,
        }
    )  # fmt: skip
    return {"candidates": named, "goods": goods, "bought": bought, "returned": NOTHING}


def test_the_margin_is_chance_times_price_times_margin_less_what_it_cannibalises() -> None:
    # By hand. Four members come; a took the cup up lately, nobody the pot; b's pot is older.
    # cup: (1 + .5) / (4 - 0 + 1) = .3; pot: (0 + .5) / (4 - 1 + 1) = .125. New things in twelve
    # weeks: only a's cup, .25 a member, so her pace is (0 + 1) / (.25 + 1) = .8.
    # cup: .24 x 500 x .25 x .8 = 24; pot: .1 x 2,000 x .4 x .8 = 64, and china is named once.
    found = chosen("cross_sell", hand_made())

    (row,) = found.rows.to_dict("records")
    assert row["product_id"] == "pot"
    assert row["chance"] == pytest.approx(0.1)
    assert row["margin_cents"] == pytest.approx(64.0)
    assert found.worth_cents().to_dict() == {"her": pytest.approx(64.0)}
    assert {rule: n for rule, n in found.refused.items() if n} == {"bought": 1, "same_category": 1}
    assert not found.calibrated


def test_unknown_stock_and_margin_are_allowed_and_said() -> None:
    made = hand_made()
    made["candidates"] = made["candidates"].query("product_id != 'pot'")

    (row,) = chosen("cross_sell", made, calibration=PLAIN).rows.to_dict("records")

    assert (row["stock"], row["margin_known"], row["margin_rate"]) == ("unknown", False, 0.25)


def test_what_was_bought_before_the_look_back_is_new_again() -> None:
    made = hand_made()
    made["bought"].loc[0, "last_days"] = 183

    found = chosen("cross_sell", made, terms=Terms(shown=5)).rows

    assert "tea" in set(found["product_id"])


def test_a_calibration_turns_chances_into_what_they_turned_out_to_be() -> None:
    rng = np.random.default_rng(4)
    made = shop(4, n_members=300)
    before, named = made["bought"], made["candidates"]
    prior = chances.chances("cross_sell", named, before, None)
    true = np.clip(0.5 * prior, 0, 1)
    after = named[rng.random(len(named)) < true]

    fitted = Calibration.fit("cross_sell", named, before, after)

    told = chances.chances("cross_sell", named, before, fitted)
    assert told.mean() == pytest.approx(true.mean(), rel=0.1)
    assert abs(prior.mean() - true.mean()) > 3 * abs(told.mean() - true.mean())


def test_who_buys_several_lines_is_worth_as_many_prices() -> None:
    made = shop(6, n_members=60)
    named, price = made["candidates"], pd.Series(100.0, made["goods"].index)
    after = named[["member_id", "product_id"]].iloc[::5].assign(net_cents=250.0)

    fitted = Calibration.fit("cross_sell", named, made["bought"], after, price)

    assert fitted.prices_spent == pytest.approx(2.5)
    once = Calibration(fitted.lines, fitted.named, fitted.bought)
    many = chosen("cross_sell", made, calibration=fitted).rows["margin_cents"]
    assert many.to_numpy() == pytest.approx(
        2.5 * chosen("cross_sell", made, calibration=once).rows["margin_cents"].to_numpy()
    )


def test_chances_rise_with_take_up_and_fall_with_rank() -> None:
    prior, rank = np.array([0.01, 0.02, 0.02]), np.array([1.0, 1.0, 2.0])

    low, high, later = PLAIN.apply(prior, rank, np.full(3, "explore", dtype=object))

    assert low < high
    assert later < high


def test_a_source_that_was_not_there_has_no_chance_to_be_told() -> None:
    made = hand_made()
    made["candidates"] = made["candidates"].assign(source="complement")

    with pytest.raises(InputRefused, match="'complement' was named then"):
        chosen("cross_sell", made, calibration=PLAIN)


def test_too_few_purchases_calibrate_nothing() -> None:
    made = shop(5)

    with pytest.raises(InputRefused, match="0 were bought after; at least 30"):
        Calibration.fit("cross_sell", made["candidates"], made["bought"], NOTHING)


def test_what_goes_with_what_she_began_is_the_best_taken_up_of_its_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bought = pd.DataFrame(
        {
            "member_id": ["her", "a", "b", "c", "c", "d"],
            "product_id": ["machine", "arabica", "arabica", "robusta", "machine", "machine"],
            "purchase_days": 1, "last_days": [20, 9, 9, 9, 300, 30],
            "first_days": [20, 9, 9, 9, 300, 30],
        }
    )  # fmt: skip
    kinds = pd.Series({"machine": "machines", "arabica": "beans", "robusta": "beans"})
    pairs = pd.DataFrame(
        {"source": ["machines"], "target": ["beans"], "ratio": [2.5], "score": [1.0]}
    )

    found = candidates.from_complements(pairs, bought, kinds)
    monkeypatch.setattr(candidates, "MEMBERS_AT_ONCE", 1)

    pd.testing.assert_frame_equal(found, candidates.from_complements(pairs, bought, kinds))
    assert found.to_dict("records") == [
        {"member_id": who, "product_id": "arabica", "rank": 1, "source": "complement",
         "because": "machines", "lift": 2.5}
        for who in ("d", "her")
    ]  # fmt: skip


def test_lists_of_the_scores_become_candidates_and_only_what_is_due_is_replenished() -> None:
    scores = pd.DataFrame(
        {
            "member_id": ["a", "b"], "explore_products": [["x", "y"], []],
            "repeat_products": [["m", "b"], ["b"]], "next_order_due": [["milk"], []],
        }
    )  # fmt: skip
    goods = pd.DataFrame({"category": ["milk", "bread"]}, index=["m", "b"])

    new = candidates.from_scores(scores, "cross_sell", goods)
    due = candidates.from_scores(scores, "replenish", goods)

    assert list(zip(new["product_id"], new["rank"], strict=True)) == [("x", 1), ("y", 2)]
    assert due[["member_id", "product_id", "because"]].to_numpy().tolist() == [["a", "m", "milk"]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shown": 0}, "shown 0"),
        ({"lookback_days": 0}, "lookback_days 0"),
        ({"cannibalisation": 1.2}, "cannibalisation 1.2"),
        ({"cannibalisation": float("nan")}, "cannibalisation nan"),
        ({"margin_rate": 0.0}, "margin_rate 0.0"),
    ],
)
def test_terms_that_name_nothing_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputRefused, match=said):
        Terms(**wrong)


def test_bad_tables_are_refused_by_name() -> None:
    made = hand_made()

    with pytest.raises(InputRefused, match="Candidates lack rank"):
        chosen("cross_sell", made | {"candidates": made["candidates"].drop(columns="rank")})
    with pytest.raises(InputRefused, match="Goods lack stock"):
        chosen("cross_sell", made | {"goods": made["goods"].drop(columns="stock")})
    with pytest.raises(InputRefused, match="What was bought lack first_days"):
        chosen("cross_sell", made | {"bought": made["bought"].drop(columns="first_days")})
    with pytest.raises(InputRefused, match="'tea' is twice"):
        twice = pd.concat([made["goods"], made["goods"].head(1)])
        chosen("cross_sell", made | {"goods": twice})
    with pytest.raises(InputRefused, match="price below nothing"):
        chosen("cross_sell", made | {"goods": made["goods"].assign(price_cents=-1.0)})


PROGRAMME = {"name": "till", "timezone": "Europe/Berlin", "currency": "EUR"}


def kiosk(folder: Path) -> Settings:
    """Ingest a day of goods, stock in two shops, a purchase and its return."""
    home, now = Settings(home=folder / "home", threads=1), datetime(2024, 5, 1, tzinfo=UTC)
    home.home.mkdir()
    tables: list[tuple[str, str, dict[str, Any]]] = [
        (
            "products",
            "product,category,price,margin\ntea,drinks,3.00,0.2\ncup,china,5.00,\npot,china,20.00,0.4\n"
            "gin,spirits,9.00,0.3\n",
            {"product": "product", "category": "category", "price": "price",
             "margin_rate": "margin"},
        ),
        (
            "purchases",
            "member,day,order,line,product,amount\nann,2024-03-01,1,1,tea,2.50\n"
            "ann,2024-03-01,1,2,cup,5.00\nann,2024-03-09,2,1,cup,-5.00\nbob,2024-03-09,3,1,gin,9.00\n",
            {"member": "member", "occurred_at": "day", "order": "order", "line": "line",
             "product": "product", "amount": "amount"},
        ),
        (
            "stock",
            "product,store,available,known\npot,s1,3,2024-03-01\npot,s2,0,2024-03-02\n"
            "tea,s1,9,2024-03-01\ntea,s1,0,2024-03-05\ngin,s1,1,2024-03-01\n",
            {"product": "product", "store": "store", "available": "available",
             "known_at": "known"},
        ),
    ]  # fmt: skip
    for table, text, columns in tables:
        path = folder / f"{table}.csv"
        path.write_text(text, "utf-8")
        source = {"source": "till", "programme": PROGRAMME, table: columns}
        ingest(Export([path], Mapping.model_validate(source)), home, now)
    return home


def test_goods_are_as_known_at_the_day(tmp_path: Path) -> None:
    home = kiosk(tmp_path)

    late = counter.goods(home, date(2024, 3, 10), age_restricted=["Spirits"])
    early = counter.goods(home, date(2024, 3, 4))

    assert late["stock"].to_dict() == {
        "cup": "unknown", "gin": "in_stock", "pot": "in_stock", "tea": "out_of_stock",
    }  # fmt: skip
    assert early.loc["tea", "stock"] == "in_stock"
    assert late.index[late["restricted"]].tolist() == ["gin"]
    # What members paid comes before the list price.
    assert late["price_cents"].to_dict() == {"cup": 500, "gin": 900, "pot": 2000, "tea": 250}
    assert counter.returned(home, date(2024, 3, 10)).to_numpy().tolist() == [["ann", "cup"]]
    assert counter.returned(home, date(2024, 3, 9)).empty
    assert counter.spent(home, date(2024, 3, 1)).to_numpy().tolist() == [
        ["ann", "cup", 500.0], ["ann", "tea", 250.0], ["bob", "gin", 900.0],
    ]  # fmt: skip


def test_a_home_names_products_from_its_scores(trained: LittleProgramme, tmp_path: Path) -> None:
    settings_, as_of = trained.settings, AS_OF
    products = trained.snapshot.products()
    members = products["member_id"].unique()
    everything = sorted(products["product_id"].unique())
    scores = pd.DataFrame(
        {
            "member_id": members, "explore_products": [everything for _ in members],
            "repeat_products": [[] for _ in members], "next_order_due": [[] for _ in members],
        }
    )  # fmt: skip
    path = tmp_path / "scores.parquet"
    scores.to_parquet(path)

    found = counter.named(settings_, as_of, "cross_sell", path)

    assert len(found.rows)
    bought = set(zip(products["member_id"], products["product_id"], strict=True))
    lately = products["last_days"] <= 182
    assert found.refused["bought"] == int(lately.sum())
    old = {
        pair for pair, new in zip(zip(products["member_id"], products["product_id"], strict=True),
                                  ~lately, strict=True) if new
    }  # fmt: skip
    named = set(zip(found.rows["member_id"], found.rows["product_id"], strict=True))
    assert not named & (bought - old)


def test_the_newest_scores_whose_horizon_has_ended_are_found(tmp_path: Path) -> None:
    home = Settings(home=tmp_path)
    assert counter.earlier_scores(home, date(2024, 9, 2)) is None
    (tmp_path / "scores").mkdir()
    for name in (
        "2024-09-02_now", "2024-08-06_too-new", "2024-08-05_ended", "2024-07-01_older",
        "2024-01-01_too-old", "tags-of-2024-08-05_ended",
    ):  # fmt: skip
        (tmp_path / "scores" / f"{name}.parquet").touch()

    assert counter.earlier_scores(home, date(2024, 9, 2)) == (
        date(2024, 8, 5), tmp_path / "scores" / "2024-08-05_ended.parquet",
    )  # fmt: skip


def test_scores_of_which_little_was_bought_leave_chances_as_they_are(
    trained: LittleProgramme, tmp_path: Path
) -> None:
    members = trained.snapshot.products()["member_id"].unique()
    path, old = tmp_path / "now.parquet", tmp_path / "old.parquet"
    for where, named in ((path, ["p00", "p07"]), (old, ["unheard"])):
        pd.DataFrame(
            {
                "member_id": members, "explore_products": [named for _ in members],
                "repeat_products": [[] for _ in members], "next_order_due": [[] for _ in members],
            }
        ).to_parquet(where)  # fmt: skip
    earlier = (AS_OF - timedelta(days=28), old)

    found = counter.named(trained.settings, AS_OF, "cross_sell", path, earlier=earlier)

    alone = counter.named(trained.settings, AS_OF, "cross_sell", path)
    assert not found.calibrated
    pd.testing.assert_frame_equal(found.rows, alone.rows)


def test_a_day_whose_horizon_has_not_ended_calibrates_nothing(
    trained: LittleProgramme, tmp_path: Path
) -> None:
    then = AS_OF - timedelta(days=27)

    with pytest.raises(InputRefused, match="cannot be held against them yet"):
        counter.calibrated(trained.settings, AS_OF, "cross_sell", then, tmp_path / "none.parquet")
    with pytest.raises(InputRefused, match="over-promised until it is held"):
        counter.named(
            trained.settings, AS_OF, "cross_sell", tmp_path / "none.parquet", complements_too=True
        )
    with pytest.raises(InputRefused, match="holds no lists of products"):
        counter.named(trained.settings, AS_OF, "cross_sell", tmp_path / "none.parquet")


def test_the_rules_of_a_refusal_stand_in_the_order_they_are_met() -> None:
    made = hand_made()
    made["goods"].loc["tea", "stock"] = "out_of_stock"

    found = chosen("cross_sell", made)

    # She has tea and there is none: the first rule is the one that is told.
    assert found.refused["out_of_stock"] == 1
    assert found.refused["bought"] == 0
    assert cross_sell.TERMS.cannibalisation == 0.2
