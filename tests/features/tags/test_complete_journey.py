"""The built-in tags on a real year: three hundred count, and the children's tags find children.

Thresholds were chosen at 2017-08-07 and 2017-09-04; what is asserted here is judged at 2017-10-02
and 2017-10-30, with outcomes until 2017-11-27.
"""

from datetime import date, timedelta

import numpy as np
import pytest

from features.lake import Lake
from features.tags import quality
from features.tags.figures import JACCARD_MOST, duplicates, lift
from features.tags.quality import Report
from features.tags.store import Tagged
from tests.features.conftest import Loaded

pytestmark = pytest.mark.slow
AS_OF = date(2017, 10, 30)
ASKED_FOR = {
    "mother_and_baby", "affordable_luxury", "coupon_hunter", "weekend_stocker", "lunch_hour",
    "full_price_loyal", "trading_up", "trading_down", "home_store_loyal",
}  # fmt: skip


@pytest.fixture(scope="module")
def judged(complete_journey: Loaded) -> tuple[Report, Tagged]:
    return quality.judge(complete_journey.settings, AS_OF)


def test_three_hundred_tags_of_eight_families_count(judged: tuple[Report, Tagged]) -> None:
    report, _ = judged
    counted = [one for one in report.tags if one.counted]

    assert (report.before, report.as_of) == (AS_OF - timedelta(days=28), AS_OF)
    assert len(counted) >= 300
    assert sum(one.of_goods for one in counted) <= 120
    assert sum(number >= 10 for number in report.counted.values()) >= 8
    for one in counted:
        assert 0.005 <= one.coverage <= 0.60, one
        assert one.flip_rate is not None and one.flip_rate < 0.20, one
        assert not one.absence, one
    assert {one.id for one in counted} >= ASKED_FOR


def test_no_two_that_count_hold_nearly_the_same_members(judged: tuple[Report, Tagged]) -> None:
    report, tagged = judged
    wide = tagged.wide()
    held = {one.id: wide[one.id].notna().to_numpy() for one in report.tags if one.counted}

    assert max(overlap for _, overlap in duplicates(held).values()) < JACCARD_MOST


def test_every_tag_that_counts_says_something_with_an_interval(
    judged: tuple[Report, Tagged],
) -> None:
    report, _ = judged

    for one in report.tags:
        if one.counted:
            assert one.lift.low is not None and one.lift.value is not None, one.id
            assert one.lift.high is None or one.lift.low <= one.lift.value <= one.lift.high


def test_the_childrens_tags_find_declared_children(
    judged: tuple[Report, Tagged], complete_journey: Loaded
) -> None:
    _, tagged = judged
    lake = Lake(complete_journey.settings)
    rows = lake.rows_sql("members", lake.manifest())
    import duckdb

    with duckdb.connect() as connection:
        children = dict(connection.execute(
            f"select member_id, attributes->>'kids_count' from ({rows})"
        ).fetchall())  # fmt: skip
    wide = tagged.wide()
    declared = [name for name in wide.index if children.get(name) is not None]
    has_children = np.array([children[name] != "0" for name in declared], dtype=float)

    for tag in ("mother_and_baby", "children_at_home", "school_children"):
        found = lift(wide.loc[declared, tag].notna().to_numpy(), has_children)
        assert found.value is not None and found.low is not None
        assert found.value >= 1.4, (tag, found)
        assert found.low > 1.15, (tag, found)


def test_judging_twice_gives_the_same_figures(
    judged: tuple[Report, Tagged], complete_journey: Loaded
) -> None:
    again, tagged = quality.judge(complete_journey.settings, AS_OF)

    assert again == judged[0]
    assert tagged.path == judged[1].path
