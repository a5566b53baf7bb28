"""Rollups add up: whatever came first, in however many files, a day of a category is one day."""

from collections import defaultdict
from datetime import date, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features import engine, rollup_writer, rollups, table
from features.lake import Lake
from programme.settings import Settings
from tests.features import oracle, shop
from tests.features.shop import AS_OF, MIDNIGHT, ZONE, Till, identity, line, product

DAY = timedelta(days=1)
few = settings(max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def days_of_categories(home: Settings, known_before: date) -> dict[tuple[str, str], int]:
    """Return `sum(days)` by key and category, as far as was known."""
    lake = Lake(home)
    rows, keys, names = (
        rollups.rows_sql(lake, rollup, lake.manifest())
        for rollup in (rollups.CATEGORY_DAYS, rollups.KEYS, rollups.NAMES)
    )
    with engine.connect(home) as connection:
        found = connection.execute(
            f"""select source_key, name, sum(days) from ({rows}) join ({keys}) using (key_no)
            join ({names}) on name_no = category_no where known_on < date '{known_before}'
            group by source_key, name having sum(days) <> 0"""
        ).fetchall()
    return {(key, category): int(days) for key, category, days in found}


def test_a_day_counts_from_its_first_line_known_until_its_last_is_taken_back(
    home: Settings,
) -> None:
    bought = MIDNIGHT - 20 * DAY
    first = line("ann", bought, product_id="tea", order_id="a", known_at=bought + 3 * DAY)
    second = line("ann", bought, product_id="tea", order_id="b", known_at=bought + 5 * DAY)
    # Came in last, was known before the others: the day then counts from here.
    backfill = line("ann", bought, product_id="tea", order_id="c", known_at=bought + DAY)
    gone = {"source_key": "bob"}
    shop.take(home, Till([second], [product("tea", "drink")]), Till([first]), Till([backfill]))

    counted = [
        days_of_categories(home, (bought + days * DAY).date()).get(("ann", "drink"), 0)
        for days in range(8)
    ]
    assert counted == [0, 0, 1, 1, 1, 1, 1, 1]

    later = [{**row, **gone, "known_at": bought + 9 * DAY} for row in (first, second, backfill)]
    shop.take(home, Till(later[:2]), Till(later[2:]))
    assert days_of_categories(home, (bought + 9 * DAY).date()) == {("ann", "drink"): 1}
    assert days_of_categories(home, (bought + 10 * DAY).date()) == {("bob", "drink"): 1}


@few
@given(rows=shop.purchases(), catalogue=shop.catalogues(), data=st.data())
def test_days_are_those_on_which_something_is_left_as_far_as_was_known(
    rows: list[shop.Row], catalogue: list[shop.Row], data: st.DataObject
) -> None:
    fixes = data.draw(shop.corrections(rows))
    cut = data.draw(st.integers(1, len(rows) - 1))
    with shop.new_home() as home:
        for till in (Till(rows[cut:]), Till(rows[:cut], catalogue), Till(fixes)):
            if till != Till():
                shop.take(home, till)
        for known_before in (AS_OF - 60 * DAY, AS_OF, AS_OF + 300 * DAY):
            assert days_of_categories(home, known_before) == left(home, known_before)


def left(home: Settings, known_before: date) -> dict[tuple[str, str], int]:
    """Count the days by netting the stored sums of each day."""
    lake = Lake(home)
    rows, keys, names = (
        rollups.rows_sql(lake, rollup, lake.manifest())
        for rollup in (rollups.CATEGORY_DAYS, rollups.KEYS, rollups.NAMES)
    )
    with engine.connect(home) as connection:
        found = connection.execute(
            f"""select source_key, name from ({rows}) join ({keys}) using (key_no)
            join ({names}) on name_no = category_no where known_on < date '{known_before}'
            group by source_key, name, occurred_on having sum(lines) > 0"""
        ).fetchall()
    counted: dict[tuple[str, str], int] = defaultdict(int)
    for key, category in found:
        counted[key, category] += 1
    return dict(counted)


def test_keys_at_a_time_and_members_at_a_time_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    year = shop.year()
    late = Till((), [product("tea", "moved", MIDNIGHT - 40 * DAY)])
    whole = shop.features_of(year, late)

    monkeypatch.setattr(rollup_writer, "LINES_AT_ONCE", 4)
    monkeypatch.setattr(table, "ROWS_AT_ONCE", 5)
    with shop.new_home() as home:
        shop.take(home, year, late)
        manifest = Lake(home).manifest()
        in_parts = shop.features(home)

    assert manifest.batches[0].files[rollups.CATEGORY_DAYS] > 1
    assert len(Lake(home).paths(rollups.CATEGORY_DAYS, manifest)) > 2
    shop.same(in_parts, whole)


def test_a_member_of_two_keys_bought_a_category_on_one_day_once(home: Settings) -> None:
    rows = [
        line(who, MIDNIGHT - days * DAY, product_id="tea") for who in "ab" for days in (2, 9, 16)
    ]
    rows += [line("b", MIDNIGHT - 30 * DAY, product_id="tea"), line(None, MIDNIGHT)]
    catalogue = [product("tea", "drink", brand="acorn")]
    merged = [identity("b", "a", MIDNIGHT - DAY)]
    shop.take(home, Till(rows, catalogue, merged))

    features = shop.features(home)

    assert features.index.tolist() == ["a"]
    assert features.loc["a", "basket_categories_mean_84d"] == 1
    assert features.loc["a", "loyal_category_count_364d"] == 0
    oracle.check(
        features,
        oracle.feature_table(rows, catalogue, merged, as_of=AS_OF, timezone=ZONE),
    )
