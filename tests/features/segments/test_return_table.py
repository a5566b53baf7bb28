import numpy as np
import pandas as pd
import pytest

from features.segments import return_table
from features.segments.return_table import RATIO_EDGES, ROWS, ReturnTable, tabulate
from programme.errors import NotReady
from tests.features.segments.worlds import members, programme


def at_random(daily: float, n_members: int = 1_500, n_days: int = 400) -> ReturnTable:
    """Return the table of members who forget: each day the same chance, whatever came before."""
    with programme(np.full((n_members, n_days), daily), gap_days=1 / daily) as connection:
        return tabulate(connection)


@pytest.mark.parametrize("daily", [1 / 40, 1 / 120])
def test_the_known_chance_of_members_without_memory_is_found(daily: float) -> None:
    table = at_random(daily)

    # 91 days, each with the same chance to buy.
    expected = 1 - (1 - daily) ** 91
    seen = table.members >= 20
    mean = np.average(table.probability[seen], weights=table.members[seen])
    assert seen.sum() > 10
    assert mean == pytest.approx(expected, abs=0.02)
    # One day of one cell is a small sample; none strays far from the truth all members share.
    assert np.abs(table.probability[seen] - expected).max() < 0.25


def test_a_programme_that_slows_down_is_seen_before_91_days_have_passed() -> None:
    before, since = 1 / 40, 1 / 120
    rates = np.full((2_000, 400), before)
    rates[:, -80:] = since

    with programme(rates, gap_days=40) as connection:
        table = tabulate(connection)

    mean = np.average(table.probability, weights=table.members)
    old, new = 1 - (1 - before) ** 91, 1 - (1 - since) ** 91
    # A cohort that has had its 91 days would say nearly the old chance, or a mixture of both.
    assert old == pytest.approx(0.9, abs=0.01)
    assert new == pytest.approx(0.53, abs=0.01)
    assert mean == pytest.approx(new, abs=0.06)


def test_a_longer_silence_never_has_the_better_chance() -> None:
    table = at_random(1 / 60)

    assert (np.diff(table.probability, axis=1) <= 1e-12).all()
    assert ((table.probability >= 0) & (table.probability <= 1)).all()
    assert table.probability.shape == (len(ROWS), len(RATIO_EDGES) + 1)


def test_who_will_not_come_back_is_told_from_who_will() -> None:
    # Half of the members stop for good after 300 of 500 days; the others go on every week or so.
    rates = np.full((1_000, 500), 1 / 7)
    rates[:500, 300:] = 0

    with programme(rates, gap_days=7) as connection:
        table = tabulate(connection)

    chance = table.of(
        members(
            {"recency_days": 3, "overdue_ratio_shrunk": 0.4, "gap_days_shrunk": 7},
            {"recency_days": 200, "overdue_ratio_shrunk": 28, "gap_days_shrunk": 7},
        )
    )
    assert chance[0] > 0.95
    assert chance[1] < 0.05


def test_the_table_does_not_depend_on_the_order_of_rows() -> None:
    rates = np.full((200, 300), 1 / 30)
    with programme(rates, gap_days=30) as connection:
        once = tabulate(connection)
        connection.execute(
            "create or replace temp table member_days as "
            "select * from member_days order by hash(member_id || days_ago)"
        )
        again = tabulate(connection)

    np.testing.assert_array_equal(once.probability, again.probability)


def test_a_silence_that_few_end_makes_a_member_who_ends_it_just_back() -> None:
    rates = np.full((1_000, 500), 1 / 7)
    rates[:500, 300:] = 0
    with programme(rates, gap_days=7) as connection:
        table = tabulate(connection)

    table_of = members(
        {"gap_days_last": 200, "gap_days_shrunk": 12, "recency_days": 4},
        {"gap_days_last": 9, "gap_days_shrunk": 7, "recency_days": 4},
        {"gap_days_last": 200, "gap_days_shrunk": 12, "recency_days": 61},
        {"gap_days_last": np.nan, "purchase_days": 1, "gap_days_shrunk": 7, "recency_days": 4},
    )
    assert table.just_back(table_of).tolist() == [True, False, False, False]


def test_a_young_programme_is_told_to_wait() -> None:
    with (
        programme(np.full((50, 100), 0.1), gap_days=10) as connection,
        pytest.raises(NotReady, match=r"100 days old; stages need 119.*No stage was given"),
    ):
        tabulate(connection)


def test_a_programme_of_one_day_is_one_day_old() -> None:
    with (
        programme(np.ones((1, 1)), gap_days=10) as connection,
        pytest.raises(NotReady, match="is 1 day old"),
    ):
        tabulate(connection)


def test_a_programme_without_purchases_is_told_to_wait() -> None:
    with (
        programme(np.zeros((1, 200)), gap_days=10) as connection,
        pytest.raises(NotReady, match="0 days old"),
    ):
        tabulate(connection)


def test_one_member_is_enough() -> None:
    with programme(np.full((1, 300), 0.2), gap_days=5) as connection:
        table = tabulate(connection)

    assert np.isfinite(table.probability).all()


def test_a_member_without_a_known_gap_has_a_chance_all_the_same() -> None:
    table = at_random(1 / 40, n_members=300)

    chance = table.of(
        members({"overdue_ratio_shrunk": np.nan, "gap_days_shrunk": np.nan, "purchase_days": 1})
    )

    assert np.isfinite(chance).all()


def test_what_it_says_of_itself_can_be_written_down() -> None:
    told = at_random(1 / 40, n_members=200).as_json()

    assert told["rows"] == list(ROWS)
    assert len(told["probability"]) == len(ROWS)
    assert pd.DataFrame(told["members"]).to_numpy().sum() == pytest.approx(
        200, rel=0.1
    )  # every member is in one cell of each past day
    assert return_table.RETURN_DAYS == 91
