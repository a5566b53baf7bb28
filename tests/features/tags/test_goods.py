"""Kinds of goods: found in any catalogue by their words, measured to the line."""

from datetime import timedelta

import pytest

from features import identities, snapshot, table
from features.lake import Lake
from features.tags import goods, rules
from features.tags.catalogue import describe, matcher
from features.tags.declared import Goods, Words
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, ZONE, Till, line, product

DAY = timedelta(days=1)


def kind(name: str) -> Goods:
    (found,) = (one for one in rules.read().goods if one.id == name)
    return found


@pytest.mark.parametrize(
    ("name", "category", "belongs"),
    [
        ("baby", "BABY FOODS", True),
        ("baby", "Diapers & Disposables", True),
        ("baby", "婴儿奶粉", True),
        ("baby", "纸尿裤", True),
        ("baby", "Baby carrots", False),
        ("cat", "CAT FOOD", True),
        ("cat", "CATALOGUE ITEMS", False),
        ("cat", "猫粮", True),
        ("cat", "cat0", False),
        ("cat", "CAT_12", False),
        ("cat", "cat-7", False),
        ("cat", "2cats", False),
        ("cat", "CAT_FOOD", True),
        ("cat", "Dogs & cats", True),
        ("cat", "cat猫粮", True),
        ("tea", "étea", False),
        ("dog", "HOT DOGS", False),
        ("dog", "DOG FOODS", True),
        ("milk", "奶粉", False),
        ("fruit", "FRUIT - SHELF STABLE", False),
        ("fruit", "新鲜水果", True),
        ("wine", "红酒", True),
    ],
)
def test_a_category_is_known_by_its_words_in_english_and_chinese(
    name: str, category: str, belongs: bool
) -> None:
    assert matcher(kind(name))(category, "") is belongs


def test_a_department_says_what_its_categories_do_not() -> None:
    assert matcher(kind("organic"))("REFRIGERATED", "NUTRITION")
    assert not matcher(kind("organic"))("REFRIGERATED", "DELI")


BABY = Goods(id="baby", name=Words(en="baby goods", zh="母婴用品"), words=("baby",))


def test_what_she_does_with_a_kind_of_goods_is_counted_by_hand(home: Settings) -> None:
    bought = [  # days before as_of, product, cents, discount
        (1, "wipes", 300, 0), (1, "bread", 500, 0), (3, "formula", 1_000, 100),
        (90, "wipes", 300, 0), (200, "wipes", 400, 0), (400, "wipes", 400, 0),
    ]  # fmt: skip
    lines = [
        line("ann", MIDNIGHT - days * DAY + timedelta(hours=12), cents, product_id=name,
             discount_cents=off, line_no=str(number), order_id=f"{days}-{number}")
        for number, (days, name, cents, off) in enumerate(bought)
    ]  # fmt: skip
    catalogue = [product("wipes", "BABY WIPES"), product("formula", "BABY FORMULA"),
                 product("bread", "BREAD")]  # fmt: skip
    shop.take(home, Till([*lines, line(None, MIDNIGHT + DAY)], catalogue))
    built = snapshot.build(home, AS_OF)
    wanted = tuple(("baby", name) for name in goods.MEASURES)

    lake = Lake(home)
    with built.prepared() as connection:
        found = describe(
            connection, lake, lake.manifest(), identities.midnight_sql(AS_OF, ZONE), (BABY,)
        )
        goods.measure(connection, found.places, wanted)
        row = connection.execute("select * from tag_goods").df().iloc[0].to_dict()
    # The midday of n days before the midnight of as_of lies n + 1 - 1 days back: 1 is yesterday.
    got = {name: row[f"goods.baby.{name}"] for name in goods.MEASURES}

    assert found.places == (("BABY FORMULA", "baby"), ("BABY WIPES", "baby"))
    assert found.fit == pytest.approx(4 / 5)
    assert {name: got[name] for name in ("days_84d", "days_182d", "days_364d")} == {
        "days_84d": 2, "days_182d": 3, "days_364d": 4,
    }  # fmt: skip
    first, last = got["first_days"], got["last_days"]
    assert (last, first - last) == (got["last_days"], 399)
    assert got["category_count_364d"] == 2
    assert got["spend_share_364d"] == pytest.approx(2_000 / 2_500)
    # Two gaps and a half a year: the usual gap is the span over the gaps, 199 / 3.
    assert got["overdue_ratio"] == pytest.approx(last * 3 / 199)
    assert got["discount_share_364d"] == pytest.approx(100 / 2_100)
    # One member is the programme: whatever she buys is what is usual.
    assert got["share_index_364d"] == pytest.approx(1)
    assert got["price_index_364d"] == pytest.approx(1)
    assert got["discount_index_364d"] == pytest.approx(1)


def test_the_same_comes_out_when_members_are_measured_in_parts(
    monkeypatch: pytest.MonkeyPatch, home: Settings
) -> None:
    shop.take(home, shop.year(baskets=80))
    built = snapshot.build(home, AS_OF)
    places = (("aisle-b", "baby"), ("aisle-m", "baby"), ("aisle-t", "pets"))
    wanted = tuple((kind, name) for kind in ("baby", "pets") for name in goods.MEASURES)

    def measured() -> object:
        with built.prepared() as connection:
            goods.measure(connection, places, wanted)
            return connection.execute("select * from tag_goods order by member_id").df()

    whole = measured()
    monkeypatch.setattr(table, "ROWS_AT_ONCE", 20)

    shop.same(measured(), whole)  # type: ignore[arg-type]
