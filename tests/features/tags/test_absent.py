"""A tag that reads what the data do not carry is not offered, and the reason is said."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from features.carried import FACTS, lacking
from features.tags import columns, rules, store
from features.tags.store import FACTS as FACTS_FILE
from features.tags.store import Tagged
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, Till, line, product

# Tags that a log of members, days and amounts once gave to everybody, or to a fifth of them.
FALSELY = {
    "many_brands": "brand", "wide_range": "category", "frugal": "discount",
    "promotion_calendar": "discount", "never_mind_the_offer": "discount",
    "full_price_often": "discount", "one_store_only": "store", "many_channels": "channel",
    "night_owl": "time of day", "large_packs": "size", "own_brand_sceptic": "private_label",
    "coupon_dabbler": "coupon", "cat_home": "category", "worth_a_contact": "contacts",
    "stock_up_shopper": "several lines", "top_up_shopper": "several lines",
    "weekly_big_shop": "several lines", "points_saver": "points", "reviewer": "events",
}  # fmt: skip
NEEDS_NOTHING_MORE = ("settled_member", "top_spender", "weekend_shopper", "every_month")


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tagged]:
    """Yield the tags of a log of member, date and amount."""
    folder = tmp_path_factory.mktemp("minimal")
    days = [AS_OF - timedelta(days=n) for n in range(1, 300, 3)]
    text = "who,day,amount\n" + "\n".join(
        f"m{n % 7},{day},{5 + n % 11}" for n, day in enumerate(days)
    )
    settings = Settings(home=folder / "home", threads=1)
    shop.take(settings, shop.export(folder, text, shop.mapping()))
    yield store.build(settings, AS_OF)


def test_a_log_of_members_days_and_amounts_offers_no_tag_on_anything_else(
    minimal: Tagged,
) -> None:
    absent, offered = minimal.meta["absent"], {tag.id for tag in minimal.rules.tags}

    for name, fact in FALSELY.items():
        assert name not in offered and name not in minimal.wide()
        assert fact in absent[name] and "does not carry" in absent[name]
    assert offered >= set(NEEDS_NOTHING_MORE)
    assert not offered & {name for name, why in absent.items() if "does not carry" in why}
    for tag in minimal.rules.tags:
        for column in minimal.rules.reads[tag.id]:
            assert set(column.needs) <= {"purchases"}, (tag.id, column.name)


def test_no_column_that_is_kept_is_made_of_what_is_not_there(minimal: Tagged) -> None:
    facts = pd.read_parquet(minimal.path / FACTS_FILE)

    named = ("goods", "brand", "discount", "coupon", "store", "channel", "evening", "contact")
    assert not [name for name in facts if any(part in str(name) for part in named)]


def test_a_tag_is_offered_once_the_data_carry_what_it_reads(
    home: Settings, few_rules: Path
) -> None:
    rows = [line("ann", shop.MIDNIGHT - timedelta(days=n, hours=9)) for n in range(9)]
    shop.take(home, Till([*rows, line(None, shop.MIDNIGHT + timedelta(days=1))]))
    before = store.build(home, AS_OF)

    named = [{**row, "product_id": "roll", "line_no": "2"} for row in rows]
    shop.take(home, Till(named, [product("roll", "BREAD")]))
    after = store.build(home, AS_OF)

    assert "category" in before.meta["absent"]["bread_fond"]
    assert "bread_fond" in after.wide() and "bread_fond" not in after.meta["absent"]
    assert few_rules.exists()


def test_a_tag_that_asks_for_an_absent_tag_is_absent_for_its_reason(tmp_path: Path) -> None:
    from tests.features.tags.declaring import ruled, tag

    ours = ruled(
        tmp_path / "r",
        tag("one", '{ column = "brand_count_364d", at_least = 3 }'),
        tag("two", '{ any = [{ tag = "one" }, { column = "orders_life", at_least = 9 }] }'),
        tag("three", '{ column = "orders_life", at_least = 9 }'),
    ).of_data(frozenset({"purchases", "products"}))

    assert [one.id for one in ours.tags] == ["three"]
    assert ours.absent == dict.fromkeys(
        ("one", "two"), "needs brand, which this programme's data does not carry"
    )


def test_every_need_is_a_fact_or_a_table_that_can_be_known() -> None:
    every = rules.read().expand(None, sensitive=True)
    needs = {need for known in every.reads.values() for column in known for need in column.needs}

    assert needs <= FACTS | {"purchases", "products", "events", "contacts", "points"}
    assert needs >= FACTS


def test_what_is_lacking_is_said_in_one_sentence() -> None:
    brands = columns.find("brand_count_364d", frozenset(), "A test").needs

    assert lacking(brands, frozenset({"purchases", "products", "brand"})) is None
    assert lacking(brands, frozenset({"purchases"})) == (
        "needs brand, which this programme's data does not carry"
    )
