"""A feature set names what columns mean: it changes with a definition and with nothing else."""

from dataclasses import replace

import pytest

from features import contracts, group, rollups, table
from features.group import Column, FeatureGroup

SOME = ("recency_days", "spend_cents_84d")


def changed(column: str, **facts: object) -> tuple[FeatureGroup, ...]:
    """Return the groups with one column's facts replaced."""
    return tuple(
        replace(
            one,
            columns=tuple(
                replace(c, **facts) if c.name == column else c  # type: ignore[arg-type]
                for c in one.columns
            ),
        )
        for one in table.GROUPS
    )


def test_the_order_of_names_does_not_matter() -> None:
    assert table.feature_set(SOME) == table.feature_set(SOME[::-1])
    assert table.feature_set(SOME) != table.feature_set(SOME[:1])
    assert len(table.feature_set()) == 16


def test_a_new_definition_of_a_consumed_column_is_a_new_feature_set() -> None:
    before = group.feature_set(table.GROUPS, SOME, "inputs")
    for facts in ({"sql": "min(days_ago)"}, {"absent": 0.0}):
        assert group.feature_set(changed("recency_days", **facts), SOME, "inputs") != before
    assert group.feature_set(table.GROUPS, SOME, "other inputs") != before


def test_words_spaces_and_other_columns_change_nothing() -> None:
    before = group.feature_set(table.GROUPS, SOME, "inputs")
    sql = next(c.sql for c in table.COLUMNS if c.name == "recency_days")
    for groups in (
        changed("recency_days", meaning="in other words", unit="d"),
        changed("recency_days", sql=sql.replace(" ", "\n   ")),
        changed("tenure_days", sql="0"),
    ):
        assert group.feature_set(groups, SOME, " inputs ") == before


def test_another_rollup_or_another_rule_of_knowing_is_another_feature_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {table.feature_set(SOME)}
    with monkeypatch.context() as patched:
        patched.setattr(table, "KNOWN", "where true")
        found.add(table.feature_set(SOME))
    with monkeypatch.context() as patched:
        patched.setattr(rollups, "order_days_sql", lambda *_: "select 1")
        found.add(table.feature_set(SOME))

    assert len(found) == 3


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        table.feature_set(("nonsense",))


def test_every_column_has_a_name_of_its_own_a_unit_and_a_meaning() -> None:
    assert len(set(table.ALL_COLUMNS)) == len(table.COLUMNS)
    for column in table.COLUMNS:
        assert column.unit
        assert column.meaning
    assert "top_category" not in table.MODEL_COLUMNS
    assert set(table.MODEL_COLUMNS) < set(table.ALL_COLUMNS)


def test_two_columns_of_one_name_are_refused() -> None:
    twice = Column("days", "days", "some", "count(*)")

    with pytest.raises(ValueError, match="has \\['days'\\] twice"):
        FeatureGroup("g", "m", "select 1", (twice, twice))


def test_a_key_must_be_a_column() -> None:
    with pytest.raises(ValueError, match="\\['nothing'\\] are not fields"):
        contracts.Table("t", ("nothing",), contracts.PRODUCTS.fields)


def test_every_table_says_when_a_row_was_known() -> None:
    for name, contract in contracts.TABLES.items():
        assert contract.name == name
        assert "known_at" in contract.column_names
        assert "known_at" not in contract.content
        assert not set(contract.key) & set(contract.content)
