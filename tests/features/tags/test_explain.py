"""Every tag a member holds is said with the facts of its rule, in both languages."""

# ruff: noqa: RUF001 - Chinese punctuation is meant

import re
from pathlib import Path

import pytest

from features import snapshot
from features.tags import rules, store
from features.tags.explain import explain, in_unit, label
from features.tags.store import Tagged
from programme.errors import InputRefused
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF
from tests.features.tags.test_store import mine, own_tags


@pytest.fixture
def tagged(home: Settings, few_rules: Path) -> Tagged:
    del few_rules
    shop.take(home, shop.fed_year())
    own_tags(
        home,
        mine('{ column = "purchase_days", at_least = 1, exit = 1 }, '
             '{ column = "spend_cents_life", at_least = 100, exit = 50 }', "first"),
        mine('{ any = [{ column = "tenure_days", at_most = 1 }, { tag = "first" }, '
             '{ column = "home_store", among = ["north"] }] }', "second"),
        mine('{ column = "discount_share_364d", over = "purchase_days", at_least = 0 }', "third"),
    )  # fmt: skip
    return store.build(home, AS_OF)


def test_facts_thresholds_and_the_day_are_said(tagged: Tagged, home: Settings) -> None:
    features = snapshot.build(home, AS_OF).features().loc["bob"].to_dict()

    why = {one.tag.id: one for one in explain(tagged, "bob", "en", "USD")}

    spend = in_unit(float(features["spend_cents_life"]), "cents", "USD")
    assert why["first"].facts == (
        f"days with a purchase: {features['purchase_days']:.0f} (at least 1)",
        f"spend net of returns, ever: {spend} (at least USD 1.00, to stay USD 0.50)",
    )
    assert why["first"].since == AS_OF
    # Of an "any" only the parts that hold are said.
    assert why["second"].facts == (
        'holds the tag "first"',
        "most visited store, last 182 days; first by name on a tie: north (one of north)",
    )


def test_the_same_facts_are_said_in_chinese(tagged: Tagged) -> None:
    english = explain(tagged, "bob", "en", "USD")
    chinese = explain(tagged, "bob", "zh", "USD")

    assert [one.tag.id for one in english] == [one.tag.id for one in chinese]
    assert [len(one.facts) for one in english] == [len(one.facts) for one in chinese]
    first = next(one for one in chinese if one.tag.id == "first")
    assert first.facts[0].startswith("购物天数：")
    assert "（至少1）" in first.facts[0]


def test_exactly_the_tags_she_holds_are_explained(tagged: Tagged) -> None:
    wide = tagged.wide()

    for member in wide.index:
        said = {one.tag.id for one in explain(tagged, str(member), "en", "USD")}
        assert said == set(wide.columns[wide.loc[member].notna()])


@pytest.mark.parametrize("member", ["nobody", "", "x" * 10_000_000, "' or true --"])
def test_a_member_nobody_knows_is_refused(tagged: Tagged, member: str) -> None:
    with pytest.raises(InputRefused, match="had bought nothing before") as caught:
        explain(tagged, member, "en", "USD")
    assert len(str(caught.value)) < 300


def test_a_language_we_do_not_speak_is_refused(tagged: Tagged) -> None:
    with pytest.raises(InputRefused, match="no words in language 'fr'"):
        explain(tagged, "bob", "fr", "USD")


def test_every_column_built_in_tags_read_has_words_in_both_languages() -> None:
    ours = rules.read().expand(None, sensitive=True)
    han = re.compile(r"[\u4e00-\u9fff]")

    for one in ours.tags:
        for known in ours.reads[one.id]:
            assert han.search(label(known, "zh", ours)), known.name
            assert not han.search(label(known, "en", ours)), known.name


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (123_456, "cents", "USD 1,234.56"), (0.256, "share", "25.6 %"), (0.0, "share", "0 %"),
        (0.5, "log ratio", "+65 %"), (-0.5, "log ratio", "-39 %"), (7.0, "days", "7"),
        (1.2345, "index", "1.23"), (1234.5, "ratio", "1,234"), (2.5, "days", "2.5"),
    ],
)  # fmt: skip
def test_numbers_are_said_in_their_unit(value: float, unit: str, said: str) -> None:
    assert in_unit(value, unit, "USD") == said
