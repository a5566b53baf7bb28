"""A rule decides the same in SQL and by hand, and a band keeps members from trembling."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from features.tags import compiled
from features.tags.comparison import Compare
from features.tags.declared import Declaration
from features.tags.rules import Rules
from features.tags.thresholds import Quantile
from tests.features.tags import declaring, slow_tagger
from tests.features.tags.declaring import ruled, tag

NUMBERS = ("recency_days", "tenure_days", "spend_cents_84d", "spend_trend_84d")
NAMES = ("home_store", "top_channel")
_VALUES = st.one_of(
    st.none(),
    st.integers(-5, 5).map(float),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 0.1, -0.0]),
)


def rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of members, with everything a column should not hold but may."""
    one = dict.fromkeys(NUMBERS, _VALUES)
    text = {name: st.sampled_from([None, "north", "south", "o'hara"]) for name in NAMES}
    support = {"purchase_days_182d": st.sampled_from([None, 0.0, 1.0, 2.0, 3.0, 6.0])}
    return st.lists(st.fixed_dictionaries({**one, **text, **support}), min_size=1, max_size=12)


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    """A comparison of any kind, with or without a band."""
    made: dict[str, Any] = {"column": draw(st.sampled_from(NUMBERS))}
    if draw(st.booleans()):
        made["over"] = draw(st.sampled_from(NUMBERS))
    kind = draw(st.sampled_from(["at_least", "at_most", "top", "bottom"]))
    band = draw(st.sampled_from([None, 0.0, 1.0, 2.0]))
    if kind in ("top", "bottom"):
        made[kind] = draw(st.sampled_from([0.1, 0.25, 0.5]))
        if band is not None:
            made["exit"] = made[kind] + 0.1 * band
        return made
    made[kind] = float(draw(st.integers(-3, 3)))
    if band is not None:
        made["exit"] = made[kind] + (-band if kind == "at_least" else band)
    if draw(st.booleans()):
        made["of_quantile"] = draw(st.sampled_from([0.25, 0.5]))
    return made


def names() -> st.SearchStrategy[dict[str, Any]]:
    """A question about a column of names."""
    return st.fixed_dictionaries(
        {
            "column": st.sampled_from(NAMES),
            "among": st.lists(st.sampled_from(["north", "o'hara"]), min_size=1, max_size=2),
        },
        optional={"exit": st.just(["south"])},
    )


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    """Conditions nested in and, or and not."""

    def without_band(one: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in one.items() if key != "exit"}

    leaves = st.one_of(comparisons(), names())
    negated = leaves.map(lambda one: {"not": without_band(one)})
    return st.recursive(
        st.one_of(leaves, negated),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        ),
        max_leaves=5,
    )


def one_tag(name: str, rule: list[dict[str, Any]], support: int, freshness: int) -> Declaration:
    return Declaration.model_validate({
        "id": name, "family": "test", "name": {"en": name, "zh": name},
        "says": {"en": name, "zh": name}, "rule": rule, "window_days": 182,
        "min_support": support, "freshness_days": freshness, "outcome": "spend",
    })  # fmt: skip


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    return ruled(tmp_path_factory.mktemp("frame") / "rules", tag("a", ""
        '{ column = "recency_days", at_least = 0 }'))  # fmt: skip


def with_tags(frame: Rules, *made: Declaration) -> Rules:
    """Return checked rules of these declarations, as if a file had said them."""
    from features.tags import rules
    from features.tags.declared import RulesFile

    file = RulesFile(family=frame.families[0], tag=made)
    return rules.Declared(frame.families, (), ((file, "test"),), False).expand(None)


@given(
    members=rows(), first=st.lists(conditions(), min_size=1, max_size=3),
    second=st.lists(conditions(), min_size=1, max_size=2), support=st.integers(0, 4),
    freshness=st.integers(0, 3), data=st.data(),
)  # fmt: skip
def test_the_sql_decides_as_a_slow_reading_of_the_rules_does(
    frame: Rules, members: list[dict[str, Any]], first: list[dict[str, Any]],
    second: list[dict[str, Any]], support: int, freshness: int, data: st.DataObject,
) -> None:  # fmt: skip
    one = one_tag("one", first, support, freshness)
    # The second asks for the first, too.
    other = one_tag("other", [*second, {"any": [{"tag": "one"}, *first]}], 0, 0)
    ours = with_tags(frame, other, one)
    before = [data.draw(st.sets(st.sampled_from(["one", "other"])), label="held") for _ in members]

    found = declaring.decided(ours, members, before)

    assert found == slow_tagger.holders(ours.tags, members, before)


@settings(max_examples=10)
@given(values=st.lists(st.floats(0.41, 0.59), min_size=2, max_size=8), held=st.booleans())
def test_inside_the_band_nobody_enters_and_nobody_leaves(
    frame: Rules, values: list[float], held: bool
) -> None:
    rule = [{"column": "recency_days", "at_least": 0.6, "exit": 0.4}]
    ours = with_tags(frame, one_tag("one", rule, 0, 0))
    state = [{"one"} if held else set()]

    for value in values:
        state = declaring.decided(ours, [{"recency_days": value}], state)
        assert state == [{"one"} if held else set()]


@settings(max_examples=25)
@given(members=rows(), rule=st.lists(conditions(), min_size=1, max_size=3))
def test_whoever_enters_may_stay(
    frame: Rules, members: list[dict[str, Any]], rule: list[dict[str, Any]]
) -> None:
    ours = with_tags(frame, one_tag("one", rule, 3, 0))
    nobody: list[set[str]] = [set() for _ in members]

    entered = declaring.decided(ours, members, nobody)

    assert declaring.decided(ours, members, entered) == entered


@settings(max_examples=25)
@given(members=rows(), rule=st.lists(conditions(), min_size=1, max_size=3), data=st.data())
def test_the_order_of_rows_and_the_number_of_threads_do_not_matter(
    frame: Rules, members: list[dict[str, Any]], rule: list[dict[str, Any]], data: st.DataObject
) -> None:
    ours = with_tags(frame, one_tag("one", rule, 1, 0))
    order = data.draw(st.permutations(range(len(members))))

    straight = declaring.decided(ours, members)
    mixed = declaring.decided(ours, [members[place] for place in order], threads=1)

    assert mixed == [straight[place] for place in order]


def test_a_quantile_is_a_value_somebody_has_among_those_with_support(tmp_path: Path) -> None:
    rule = '{ column = "spend_cents_84d", top = 0.25 }'
    ours = ruled(tmp_path / "r", tag("rich", rule, "min_support = 2"))
    # Of the four with support a quarter is one; the fifth and largest has none.
    members = [
        {"spend_cents_84d": float(cents), "purchase_days_182d": days}
        for cents, days in ((100, 2), (200, 2), (300, 2), (400, 2), (900, 1))
    ]

    # quantile_disc(0.75) of 100, 200, 300, 400 is 300.
    assert declaring.decided(ours, members) == [set(), set(), {"rich"}, {"rich"}, set()]


def test_who_holds_a_tag_keeps_it_with_half_the_support(tmp_path: Path) -> None:
    rule = '{ column = "spend_cents_84d", at_least = 0 }'
    ours = ruled(tmp_path / "r", tag("one", rule, "min_support = 6"))
    members = [{"spend_cents_84d": 1.0, "purchase_days_182d": days} for days in (6, 3, 2.9, 3)]

    found = declaring.decided(ours, members, [set(), {"one"}, {"one"}, set()])

    assert found == [{"one"}, {"one"}, set(), set()]


def test_without_new_evidence_a_tag_is_void(tmp_path: Path) -> None:
    rule = '{ column = "spend_cents_84d", at_least = 0 }'
    ours = ruled(tmp_path / "r", tag("one", rule, "freshness_days = 56"))
    members = [{"spend_cents_84d": 1.0, "recency_days": days} for days in (56.0, 57.0, None)]

    assert declaring.decided(ours, members, [{"one"}] * 3) == [{"one"}, set(), set()]


def test_a_multiple_of_nothing_tells_nobody_apart(tmp_path: Path) -> None:
    rule = '{ column = "spend_cents_84d", at_least = 2, of_quantile = 0.5 }'
    ours = ruled(tmp_path / "r", tag("one", rule))

    row = {"spend_cents_84d": 0.0, "purchase_days_182d": 1.0}
    assert declaring.decided(ours, [row] * 3) == [set()] * 3


@pytest.mark.parametrize(
    ("rule", "values", "holders"),
    [
        # The quarter that has least has nothing: everybody has at least as much.
        ("at_least = 1, of_quantile = 0.25", [0, 0, 5, 9], []),
        ("at_least = 1, of_quantile = 0.5", [0, 0, 5, 9], []),
        ("at_least = 1, of_quantile = 0.75", [0, 0, 5, 9], [2, 3]),
        ("at_least = 0.5, of_quantile = 0.5", [4, 4, 4, 4], []),
        ("at_most = 1, of_quantile = 0.75", [1, 9, 9, 9], []),
        ("at_most = 1, of_quantile = 0.25", [1, 9, 9, 9], [0]),
        ("at_most = 0.5, of_quantile = 0.5", [4, 4, 1, 4], [2]),
    ],
)
def test_a_threshold_everybody_reaches_is_held_by_nobody_and_says_why(
    rule: str, values: list[float], holders: list[int], tmp_path: Path
) -> None:
    asked = f'{{ column = "spend_cents_84d", {rule} }}'
    ours = ruled(tmp_path / "r", tag("one", asked), tag("contrary", f"{{ not = {asked} }}"))
    measured: dict[Quantile, float | None] = {
        one: float(sorted(values)[max(0, math.ceil(one.share * len(values)) - 1)])
        for each in ours.tags
        for one in compiled.wanted(each)
    }

    rows = [{"spend_cents_84d": float(value), "purchase_days_182d": 1.0} for value in values]

    found = declaring.decided(ours, rows)

    assert [n for n, names in enumerate(found) if "one" in names] == holders
    if not holders:
        assert found == [set()] * len(values)
        reasons = compiled.unjudged(ours.tags, measured)
        assert set(reasons) == {"one", "contrary"}
        assert "spend_cents_84d" in reasons["one"] and "nobody apart" in reasons["one"]
    else:
        assert compiled.unjudged(ours.tags, measured) == {}


def test_a_column_nobody_has_is_fulfilled_by_nobody(tmp_path: Path) -> None:
    ours = ruled(
        tmp_path / "r",
        tag("one", '{ column = "points_balance", top = 0.5 }'),
        tag("two", '{ column = "points_balance", at_most = 5 }'),
        tag("three", '{ not = { column = "points_balance", at_most = 5 } }'),
    )

    assert declaring.decided(ours, [{}] * 2) == [{"three"}] * 2


@pytest.mark.parametrize(
    ("given_keys", "complaint"),
    [
        ({}, "exactly one of at_least, at_most, top and bottom"),
        ({"at_least": 1, "at_most": 2}, "exactly one of"),
        ({"at_least": 1, "exit": 2}, "stricter"),
        ({"at_most": 1, "exit": 0}, "stricter"),
        ({"top": 0.2, "exit": 0.1}, "staying is easier"),
        ({"bottom": 0.2, "exit": 1.0}, "staying is easier"),
        ({"top": 0.2, "of_quantile": 0.5}, "quantile already"),
        ({"top": 1.0}, "less than 1"),
        ({"at_least": math.nan}, "finite number"),
        ({"at_least": math.inf}, "finite number"),
    ],
)
def test_an_impossible_threshold_is_refused(given_keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Compare.model_validate({"column": "recency_days", **given_keys})
