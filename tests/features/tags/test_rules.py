"""Rules files: what they may say, and every mistake refused by file, tag, key and remedy."""

import re
from pathlib import Path

import pytest

from features.tags import rules
from features.tags.catalogue import Catalogue, own_category
from features.tags.conditions import walk
from programme.errors import InputRefused
from tests.features.tags.declaring import GOODS, HEAD, declared, ruled, tag

FINE = '{ column = "recency_days", at_least = 3 }'
SENSITIVE = 'sensitivity = "sensitive"'


def refused(folder: Path, *texts: str, head: str = HEAD) -> str:
    with pytest.raises(InputRefused) as caught:
        ruled(folder / "rules", *texts, head=head)
    return str(caught.value)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ((tag("a", '{ column = "recensy_days", at_least = 3 }'),),
         r"Tag 'a' reads 'recensy_days'.*no such column.*Did you mean recency_days"),
        ((tag("a", '{ column = "habits.nothing", at_least = 3 }'),), "no such column"),
        ((tag("a", '{ column = "goods.cars.days_364d", at_least = 3 }'),), "no such column"),
        ((GOODS, tag("a", '{ column = "goods.baby.dayz_364d", at_least = 3 }')),
         "Did you mean goods.baby.days_364d"),
        ((tag("a", '{ column = "tier_days", at_least = 3 }'),), "tier never decides an offer"),
        ((tag("a", '{ column = "tier", among = ["gold"] }'),), "tier never decides an offer"),
        ((tag("a", FINE, 'support = "tier_days"\nmin_support = 1'),), "tier never decides"),
        ((tag("a", '{ tag = "b" }'), tag("b", '{ tag = "c" }'), tag("c", '{ tag = "a" }')),
         r"in a circle: (a -> c -> b -> a|b -> a -> c -> b|c -> b -> a -> c|a -> b -> c -> a"
         r"|b -> c -> a -> b|c -> a -> b -> c)"),
        ((tag("a", '{ tag = "a" }'),), "in a circle: a -> a"),
        ((tag("a", '{ tag = "b" }'),), "asks for tag 'b', which no file declares"),
        ((tag("a", FINE), tag("b", FINE, SENSITIVE), tag("c", '{ tag = "b" }')),
         "would tell it on"),
        ((tag("a", FINE), tag("a", FINE)), "declares tag a twice"),
        ((tag("a", FINE, "windw_days = 3"),), r"test.toml: tag 'a': there is no key 'windw_days'"),
        ((tag("a", '{ column = "recency_days", at_leest = 3 }'),), "at_leest"),
        ((tag("a", '{ column = "recency_days", at_least = "much" }'),), "must be a number"),
        ((tag("a", '{ column = "home_store", at_least = 3 }'),), "but it holds names"),
        ((tag("a", '{ column = "recency_days", among = ["3"] }'),), "but it holds numbers"),
        ((tag("a", FINE, 'support = "home_store"'),), "which holds names"),
        ((tag("a", FINE, 'outcome = "joy"'),), "'joy', which is no outcome"),
        ((tag("a", FINE, 'outcome = "goods.cars"'),), "no outcome"),
        ((tag("a", FINE, 'family = "nobody"'),), "family 'nobody', which no file declares"),
        ((tag("a", FINE, "window_days = 30"),), "multiple of 7"),
        ((tag("a", FINE, "min_support = -1"),), "at least 0"),
        ((tag("a", FINE, 'sensitivity = "secret"'),), "none.*sensitive"),
        ((tag("A b", FINE),), "pattern"),
        ((tag("a", ""),), "needs 1 or more entries"),
        ((tag("a", '{ not = { column = "recency_days", at_least = 3, exit = 2 } }'),),
         "inside 'not' has an exit"),
        ((tag("a", '{ column = "scores.churn_probability", at_least = 0.5 }, ' + FINE),),
         "Ask scores only"),
        (("[[tag", ), "is not TOML"),
        (('[[template]]\nid = "t"\neach = { goods = ["cars"] }\n[template.tag]\nid = "x"',),
         "goods 'cars', which no"),
        (('[[template]]\nid = "t"\neach = { day = [{ en = "x" }] }\n[template.tag]\nid = "x"',),
         "an item of 'day' has no id"),
        (('[[template]]\nid = "t"\neach = { day = ["x"] }\n[template.tag]\nid = "{hour}"',),
         "nothing fills {hour}"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_what_to_do(
    texts: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, *texts)

    assert re.search(says, message), message
    assert "No tag was read." in message


def test_what_neither_tag_nor_defaults_say_is_missing(tmp_path: Path) -> None:
    head = '[family]\nid = "test"\nname = { en = "Test", zh = "测试" }\n'

    assert "Tag 'a'" in refused(tmp_path, tag("a", FINE), head=head).replace("tag 'a'", "Tag 'a'")
    assert "says no window_days" in refused(tmp_path, tag("a", FINE), head=head)


def test_ten_megabytes_in_a_name_are_refused_without_being_repeated(tmp_path: Path) -> None:
    long = tag("a", FINE).replace('en = "a"', f'en = "{"x" * 1_000}"')
    assert "at most 200 characters" in refused(tmp_path, long)

    huge = tag("a", FINE).replace('en = "a"', f'en = "{"x" * 10_000_000}"')
    message = refused(tmp_path, huge)
    assert "a rules file has at most 2,000,000" in message
    assert len(message) < 500


def test_a_column_of_ten_megabytes_is_not_repeated_either(tmp_path: Path) -> None:
    message = refused(tmp_path, tag("a", f'{{ column = "{"x" * 100_000}", at_least = 1 }}'))

    assert "at most 160 characters" in message
    assert len(message) < 500


def test_text_never_becomes_sql(tmp_path: Path) -> None:
    rule = """{ column = "home_store", among = ["x') or true --", 'a"b'] }"""
    ours = ruled(tmp_path / "rules", tag("a", rule))
    from tests.features.tags.declaring import decided

    rows = [{"home_store": "north"}, {"home_store": "x') or true --"}, {"home_store": 'a"b'}]
    assert decided(ours, rows) == [set(), {"a"}, {"a"}]


def test_a_template_makes_a_tag_for_each_combination(tmp_path: Path) -> None:
    template = """
        [[template]]
        id = "t"
        [template.each]
        goods = ["baby", "pets"]
        depth = [{ id = "some", at = 2 }, { id = "much", at = 9 }]
        [template.tag]
        id = "{goods}_{depth}"
        name = { en = "{depth} {goods.en}", zh = "{goods.zh}" }
        says = { en = "x", zh = "x" }
        rule = [{ column = "goods.{goods}.days_364d", at_least = "{depth.at}" }]
        outcome = "goods.{goods}"
    """
    ours = ruled(tmp_path / "rules", GOODS, template)

    assert {one.id for one in ours.tags} == {"baby_some", "baby_much", "pets_some", "pets_much"}
    much = ours.named("pets_much")
    assert (much.name.en, much.template, much.of_goods) == ("much pet goods", "t", True)
    assert much.rule[0].at_least == 9  # type: ignore[union-attr]


OWN = """
    [[template]]
    id = "own"
    own_categories = { most = 2, where_goods_fit_less_than = 0.5 }
    [template.tag]
    id = "{goods}_fan"
    name = { en = "Fond of {goods.en}", zh = "{goods.zh}爱好者" }
    says = { en = "x", zh = "x" }
    rule = [{ column = "goods.{goods}.days_364d", at_least = 2 }]
    outcome = "goods.{goods}"
"""


def test_where_the_declared_goods_do_not_fit_the_own_categories_take_their_place(
    tmp_path: Path,
) -> None:
    files = declared(tmp_path / "rules", GOODS, OWN)
    names = ["鞋类", "Shoes & Boots", "hats", "x" * 900]
    own = tuple(own_category(name) for name in names)

    fitting = files.expand(Catalogue((), 0.5, own))
    strange = files.expand(Catalogue((), 0.4, own))

    assert fitting.tags == ()
    assert [one.name.en for one in strange.tags] == ["Fond of 鞋类", "Fond of Shoes & Boots"]
    assert all(re.fullmatch(r"own_[a-z0-9_]+_fan", one.id) for one in strange.tags)
    assert len({one.id for one in own}) == 4
    assert len(own[3].name.en) < 100


def test_a_programmes_own_file_adds_and_replaces(tmp_path: Path) -> None:
    (tmp_path / "tags.toml").write_text(
        'defaults = { window_days = 182, min_support = 1, freshness_days = 0, outcome = "buys" }\n'
        + tag("coupon_hunter", '{ column = "coupon_orders_364d", at_least = 99 }',
              'family = "promotion"')
        + tag("mine", FINE, 'family = "promotion"'), "utf-8",
    )  # fmt: skip

    built_in, ours = rules.read().expand(None), rules.read(tmp_path).expand(None)

    assert {one.id for one in ours.tags} - {one.id for one in built_in.tags} == {"mine"}
    assert len(ours.tags) == len(built_in.tags) + 1
    assert ours.named("coupon_hunter").min_support == 1
    assert ours.digest != built_in.digest


def test_sensitive_tags_are_off_until_the_programme_turns_them_on(tmp_path: Path) -> None:
    by_default = rules.read(tmp_path).expand(None)
    (tmp_path / "tags.toml").write_text("settings = { sensitive = true }\n", "utf-8")
    turned_on = rules.read(tmp_path).expand(None)

    sensitive = {one.id for one in by_default.off}
    assert {"health_concern", "expecting", "faith_table"} <= sensitive
    assert {one.id for one in turned_on.tags} - {one.id for one in by_default.tags} == sensitive
    assert turned_on.off == ()
    assert {one.id for one in rules.read(tmp_path).expand(None, sensitive=False).off} == sensitive


def test_a_tag_comes_after_the_tags_it_asks_for(tmp_path: Path) -> None:
    ours = ruled(tmp_path / "rules", tag("a", '{ tag = "b" }'), tag("b", '{ tag = "c" }'),
                 tag("c", FINE))  # fmt: skip

    assert [one.id for one in ours.tags] == ["c", "b", "a"]


def test_a_tag_whose_source_is_absent_takes_those_that_ask_for_it_along(tmp_path: Path) -> None:
    ours = ruled(
        tmp_path / "rules",
        tag("a", '{ column = "segments.r", at_least = 5 }'), tag("b", '{ tag = "a" }'),
        tag("c", FINE),
    )  # fmt: skip

    assert [one.id for one in ours.from_sources("features").tags] == ["c"]
    assert len(ours.from_sources("features", "segments").tags) == 3


def test_words_do_not_change_what_a_tag_is_but_thresholds_do(tmp_path: Path) -> None:
    first = ruled(tmp_path / "a", tag("a", FINE))
    renamed = ruled(tmp_path / "b", tag("a", FINE).replace("is a", "is said otherwise"))
    moved = ruled(tmp_path / "c", tag("a", FINE.replace("3", "4")))

    assert first.digest == renamed.digest
    assert first.digest != moved.digest


def test_every_built_in_tag_is_said_in_both_languages_and_none_reads_a_tier() -> None:
    ours = rules.read().expand(None, sensitive=True)
    han = re.compile(r"[\u4e00-\u9fff]")

    for one in ours.tags:
        assert han.search(one.name.zh), one.id
        assert han.search(one.says.zh), one.id
        assert not han.search(one.name.en + one.says.en), one.id
        assert not {c.local for c in ours.reads[one.id]} & {"tier", "tier_days"}
    assert len({one.name.en for one in ours.tags}) == len(ours.tags)
    assert len({one.name.zh for one in ours.tags}) == len(ours.tags)


def test_no_built_in_rule_names_a_data_set() -> None:
    for path in sorted(rules.BUILT_IN.glob("*.toml")):
        assert "journey" not in path.read_text("utf-8").lower()


def test_conditions_of_a_rule_are_all_walked(tmp_path: Path) -> None:
    rule = f'{{ any = [{{ all = [{FINE}, {{ not = {FINE} }}] }}, {{ tag = "b" }}] }}'
    ours = ruled(tmp_path / "rules", tag("a", rule), tag("b", FINE))

    kinds = [type(part).__name__ for part in walk(ours.named("a").rule[0])]
    assert kinds == ["AnyOf", "AllOf", "Compare", "Not", "Compare", "Holds"]
