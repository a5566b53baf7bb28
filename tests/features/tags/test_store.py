"""The tags of a day are written once, remember the days before, and follow whoever is meant."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from features import snapshot
from features.tags import store
from features.tags.store import Tagged
from programme.errors import InputRefused, NotReady
from programme.files import sha256_of
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Till, line
from tests.features.tags.declaring import tag

pytestmark = pytest.mark.usefixtures("few_rules")
DAY = timedelta(days=1)
OWN = 'defaults = { window_days = 182, min_support = 0, freshness_days = 0, outcome = "buys" }\n'


def own_tags(home: Settings, *texts: str) -> None:
    home.home.mkdir(parents=True, exist_ok=True)
    (home.home / "tags.toml").write_text(OWN + "\n".join(texts), "utf-8")


def mine(rule: str, name: str = "mine") -> str:
    return tag(name, rule, 'family = "lifecycle"')


def held(tagged: Tagged) -> pd.DataFrame:
    return tagged.wide()


def test_tags_are_made_once_and_never_change(home: Settings) -> None:
    shop.take(home, shop.fed_year())

    first = store.build(home, AS_OF)
    before = {path.name: sha256_of(path) for path in first.path.iterdir()}
    again = store.build(home, AS_OF)

    assert again.path == first.path
    assert {path.name: sha256_of(path) for path in first.path.iterdir()} == before
    assert first.path.parent.name == snapshot.build(home, AS_OF).path.name
    assert sorted(before) == ["facts.parquet", "meta.json", "tags.parquet"]
    assert first.meta["members"] == len(held(first)) == 3
    assert list(first.path.parent.glob(".*")) == []


def test_another_rule_makes_other_tags_beside(home: Settings) -> None:
    shop.take(home, shop.year())
    first = store.build(home, AS_OF)

    own_tags(home, mine('{ column = "purchase_days", at_least = 1 }'))
    second = store.build(home, AS_OF)

    assert second.path != first.path
    assert second.path.parent == first.path.parent
    assert held(second)["mine"].notna().all()


def test_the_state_of_an_earlier_day_decides_between_enter_and_exit(home: Settings) -> None:
    # Silent for 9 days at the first day, for 16 at the second, for 23 at the third.
    days = [AS_OF - timedelta(days=14), AS_OF - timedelta(days=7), AS_OF]
    bought = [line("ann", MIDNIGHT - 23 * DAY + timedelta(hours=9))]
    shop.take(home, Till([*bought, line(None, MIDNIGHT + DAY)]))
    own_tags(home, mine('{ column = "recency_days", at_most = 10, exit = 20 }'))

    since = [held(store.build(home, day))["mine"].iloc[0] for day in days]
    cold = held(store.build(home, days[1], chained=False))["mine"].iloc[0]

    assert since[0] == since[1] == days[0]
    assert pd.isna(since[2])
    assert pd.isna(cold)


def test_a_tag_that_was_redefined_does_not_remember(home: Settings) -> None:
    shop.take(home, shop.year())
    own_tags(home, mine('{ column = "purchase_days", at_least = 1 }'))
    store.build(home, AS_OF - timedelta(days=7))
    own_tags(home, mine('{ column = "purchase_days", at_least = 99, exit = 1 }'))

    assert held(store.build(home, AS_OF))["mine"].isna().all()


def test_renaming_members_renames_their_tags(home: Settings, tmp_path: Path) -> None:
    names = {"ann": "王小明", "bob": "b'o\"b", "cid": "=cmd", "dee": "dee"}
    till = replace(shop.year(), identities=())
    renamed = replace(
        till,
        purchases=[{**row, "source_key": names.get(str(row["source_key"]), row["source_key"])}
                   for row in till.purchases],
    )  # fmt: skip
    other = Settings(home=tmp_path / "other", threads=1)
    shop.take(home, till)
    shop.take(other, renamed)

    plain, named = held(store.build(home, AS_OF)), held(store.build(other, AS_OF))

    pd.testing.assert_frame_equal(
        plain.rename(index=names).sort_index(), named.sort_index(), check_names=False
    )


def test_row_order_and_threads_do_not_matter(home: Settings, tmp_path: Path) -> None:
    till = shop.year(baskets=60)
    other = Settings(home=tmp_path / "other", threads=2)
    shop.take(home, till)
    shop.take(other, replace(till, purchases=list(reversed(till.purchases))))

    one, two = store.build(home, AS_OF), store.build(other, AS_OF)

    pd.testing.assert_frame_equal(one.wide(), two.wide())
    assert one.meta["quantiles"] == two.meta["quantiles"]


def test_two_writers_of_the_same_tags_both_get_them(home: Settings) -> None:
    shop.take(home, shop.year())
    snapshot.build(home, AS_OF)

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: store.build(home, AS_OF).path, range(2))

    assert one == two
    assert [path.name for path in one.parent.iterdir()] == [one.name]


def test_what_was_left_unfinished_is_neither_read_nor_in_the_way(home: Settings) -> None:
    shop.take(home, shop.year())
    first = store.build(home, AS_OF)
    killed = first.path.with_name(f".{first.path.name}.1-1.unfinished")
    first.path.rename(killed)

    assert store.newest(home, first.rules) is None
    assert store.build(home, AS_OF).path == first.path


def test_one_member_is_a_programme(home: Settings) -> None:
    shop.take(home, Till([line("ann", MIDNIGHT - 9 * DAY), line(None, MIDNIGHT + DAY)]))

    wide = held(store.build(home, AS_OF))

    assert list(wide.index) == ["ann"]


def test_a_programme_without_categories_has_no_tags_of_goods(home: Settings) -> None:
    shop.take(home, replace(shop.year(), products=()))
    tagged = store.build(home, AS_OF)

    absent = tagged.meta["absent"]
    assert not [one.id for one in tagged.rules.tags if one.of_goods]
    assert absent["bread_fond"] == "needs category, which this programme's data does not carry"
    assert not [name for name in held(tagged) if str(name).endswith("_fond")]
    assert held(tagged).notna().any(axis=None)


def test_products_whose_category_is_null_are_of_no_kind(home: Settings) -> None:
    till = shop.year()
    shop.take(home, replace(till, products=[{**row, "category": None} for row in till.products]))

    tagged = store.build(home, AS_OF)

    assert tagged.meta["goods_fit"] == 0.0


def test_the_largest_amounts_there_are_overflow_nothing(home: Settings) -> None:
    most = [
        line("ann", MIDNIGHT - days * DAY, 1_000_000_000, quantity=1e9, product_id="gold",
             discount_cents=1_000_000_000, order_id=f"o{days}")
        for days in range(1, 40)
    ]  # fmt: skip
    gold = [shop.product("gold", "BABY FOODS")]
    shop.take(home, Till([*most, line(None, MIDNIGHT + DAY)], gold))

    tagged = store.build(home, AS_OF)

    facts = pd.read_parquet(tagged.path / "facts.parquet").select_dtypes("number")
    assert not facts.isin([float("inf"), float("-inf")]).any(axis=None)


def nobody(home: Settings) -> None:
    shop.take(home, Till([line(None, MIDNIGHT - 2 * DAY), line(None, MIDNIGHT + DAY)]))


def test_where_nobody_is_known_nobody_has_tags(home: Settings) -> None:
    nobody(home)

    tagged = store.build(home, AS_OF)

    assert len(held(tagged)) == 0


@pytest.mark.parametrize(
    ("fill", "day", "error", "says"),
    [
        (lambda _: None, AS_OF, NotReady, "holds no programme yet"),
        (lambda home: shop.take(home, shop.year()), date(2001, 1, 1), InputRefused,
         "outside the data"),
        (lambda home: shop.take(home, shop.year()), date(2031, 1, 1), InputRefused,
         "outside the data"),
    ],
)  # fmt: skip
def test_a_day_without_data_is_refused(
    fill: Callable[[Settings], object], day: date, error: type[Exception], says: str,
    home: Settings,
) -> None:  # fmt: skip
    fill(home)

    with pytest.raises(error, match=says):
        store.build(home, day)
    assert not (home.home / "tags").exists()


def test_a_wrong_rule_is_refused_before_anything_is_computed(home: Settings) -> None:
    shop.take(home, shop.year())
    own_tags(home, mine('{ column = "nothing", at_least = 1 }'))

    with pytest.raises(InputRefused, match="no such column"):
        store.build(home, AS_OF)
    assert not (home.home / "snapshots").exists()


def segments(path: Path, **columns: list[object]) -> Path:
    full: dict[str, list[object]] = {
        "member_id": ["ann", "bob", "cid"], "r": [5, 3, 1], "f": [5, 3, 1], "m": [5, 3, 1],
        "rfm": ["555", "333", "111"], "rfm_group": ["champions", "loyal", "dormant"],
        "gap_ratio": [0.5, 1.0, float("nan")], "return_probability": [0.9, 0.5, None],
        "stage": ["mature", "new", "lost"], "stage_since": ["2024-01-01"] * 3,
        "cluster": ["a", "b", None], "outlier": [False, False, True],
    }  # fmt: skip
    pd.DataFrame(full | columns).to_parquet(path)
    return path


def test_tags_of_segments_are_there_where_segments_are(home: Settings, tmp_path: Path) -> None:
    shop.take(home, shop.year())
    path = segments(tmp_path / "segments.parquet")

    without, with_them = store.build(home, AS_OF), store.build(home, AS_OF, segments=path)

    assert "rfm_champions" not in held(without)
    wide = held(with_them)
    assert list(wide.index[wide["rfm_champions"].notna()]) == ["ann"]
    assert list(wide.index[wide["stage_lost"].notna()]) == ["cid"]
    assert list(wide.index[wide["unusual_member"].notna()]) == ["cid"]


def test_segments_that_are_not_there_or_not_segments_are_refused(
    home: Settings, tmp_path: Path
) -> None:
    shop.take(home, shop.year())
    wrong = tmp_path / "wrong.parquet"
    pd.DataFrame({"member_id": ["ann"]}).to_parquet(wrong)

    for path in (tmp_path / "absent.parquet", wrong):
        with pytest.raises(InputRefused, match="perennial"):
            store.build(home, AS_OF, segments=path)


def test_the_thresholds_it_measured_are_written_down(home: Settings) -> None:
    shop.take(home, shop.year())
    own_tags(home, mine('{ column = "spend_cents_life", top = 0.5 }'))

    tagged = store.build(home, AS_OF)

    spends = snapshot.build(home, AS_OF).features()["spend_cents_life"].sort_values()
    found = {
        one["share"]: one["value"]
        for one in json.loads((tagged.path / "meta.json").read_text("utf-8"))["quantiles"]
        if one["column"] == "spend_cents_life"
    }
    assert found == {0.5: spends.iloc[1], 0.0: spends.iloc[0]}


@pytest.mark.parametrize(("rule", "holders"), [("top = 0.5", {"ann"}), ("bottom = 0.9", set())])
def test_a_share_of_members_ends_before_a_tie_of_all_the_others(
    rule: str, holders: set[str], home: Settings
) -> None:
    # Coupons: ann used some, bob and cid none; nobody is among "the half with most" for none.
    rows = [
        line(member, MIDNIGHT - n * DAY, coupon_cents=90 if member == "ann" else 0)
        for member in ("ann", "bob", "cid")
        for n in range(1, 6)
    ]
    column = "coupon_orders_364d" if holders else "purchase_days"
    shop.take(home, Till(rows))
    own_tags(home, mine(f'{{ column = "{column}", {rule} }}'))

    mine_held = held(store.build(home, AS_OF))["mine"]

    assert set(mine_held[mine_held.notna()].index) == holders
