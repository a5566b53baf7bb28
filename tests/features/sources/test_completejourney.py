"""Complete Journey as its package carries it: nothing lost, days of New York, no line twice."""

from datetime import UTC, date

import duckdb
import pandas as pd
import pytest

from features import engine, snapshot
from features.lake import Lake
from features.sources.completejourney import CompleteJourney
from tests.features import shop
from tests.features.conftest import Loaded

AS_OF = date(2017, 12, 4)


def test_every_row_of_the_package_is_stored(complete_journey: Loaded) -> None:
    counts = {count.table: count for count in complete_journey.ingested.counts}

    assert {name: count.stored for name, count in counts.items()} == {
        "products": 92_331,
        "members": 801,
        "campaigns": 27,
        "contacts": 8_691,
        "purchases": 1_469_307,
    }
    assert all(count.stored == count.read for count in counts.values())


def test_members_and_baskets_are_those_of_the_package(complete_journey: Loaded) -> None:
    home = complete_journey.settings
    lake = Lake(home)
    with engine.connect(home) as connection:
        found = connection.execute(
            "select count(distinct source_key), count(distinct order_id), count(*), "
            f"sum(net_cents) from ({lake.rows_sql('purchases', lake.manifest())})"
        ).fetchall()[0]

    transactions = CompleteJourney().files()[-1]
    assert transactions.name == "transactions.parquet"
    with duckdb.connect() as apart:
        spent = apart.execute(
            f"select sum(cast(round(sales_value * 100) as bigint)) from '{transactions}'"
        ).fetchall()[0][0]
    assert found == (2_469, 155_848, 1_469_307, spent)


def test_nearly_a_fifth_of_the_baskets_would_fall_on_the_wrong_day(
    complete_journey: Loaded,
) -> None:
    home = complete_journey.settings
    lake = Lake(home)
    rows = f"({lake.rows_sql('purchases', lake.manifest())})"
    orders = ", ".join(engine.text(p) for p in lake.paths("order_days", lake.manifest()))
    with engine.connect(home) as connection:
        naive = connection.execute(
            "select count(distinct (source_key, order_id, cast(occurred_at as date))) filter ("
            "cast(occurred_at as date) <> cast(timezone('America/New_York', timezone('UTC', "
            f"occurred_at)) as date)) / count(distinct order_id) from {rows}"
        ).fetchall()[0][0]
        baskets, christmas = connection.execute(
            "select count(distinct order_key), count(*) filter (occurred_on = '2017-12-25') "
            f"from read_parquet([{orders}])"
        ).fetchall()[0]

    assert naive == pytest.approx(0.18, abs=0.005)
    assert (baskets, christmas) == (155_848, 0)


def test_the_snapshot_of_a_december_monday_is_what_one_query_says(
    complete_journey: Loaded,
) -> None:
    built = snapshot.build(complete_journey.settings, AS_OF)
    with duckdb.connect() as apart:
        apart.execute("set timezone = 'UTC'")
        expected = apart.execute(
            f"""with bought as (
                select household_id, basket_id, sales_value, transaction_timestamp as at_utc,
                    date_diff('day', cast(timezone('America/New_York',
                        timezone('UTC', transaction_timestamp)) as date), date '{AS_OF}') as ago
                from '{CompleteJourney().files()[-1]}'
            )
            select cast(household_id as varchar) as member_id,
                min(ago) as recency_days,
                count(distinct ago) filter (ago <= 84) as purchase_days_84d,
                count(distinct (ago, basket_id)) filter (ago <= 28) as orders_28d,
                coalesce(sum(cast(round(sales_value * 100) as bigint)) filter (ago <= 28), 0)
                    as spend_cents_28d,
                max(at_utc) as last
            from bought where ago >= 1 group by 1 order by 1"""
        ).df()

    features = built.features()
    columns = ["recency_days", "purchase_days_84d", "orders_28d", "spend_cents_28d"]
    pd.testing.assert_frame_equal(
        features[columns], expected.set_index("member_id")[columns], check_dtype=False
    )
    assert built.data_as_of == expected["last"].max().tz_localize(UTC)
    active = expected["recency_days"] <= 56
    assert (features["population"] == "active").tolist() == active.tolist()


def test_two_builds_give_the_same_numbers_to_the_last_digit(complete_journey: Loaded) -> None:
    home = complete_journey.settings
    built = snapshot.build(home, AS_OF).features()

    pd.testing.assert_frame_equal(shop.rebuilt(home, AS_OF), built, check_exact=True)


def test_the_report_finds_nothing_to_mend(complete_journey: Loaded) -> None:
    report = complete_journey.ingested.report

    assert report.worst() == "information"
    assert {finding.step for finding in report.findings} >= {"rows", "size", "history", "catalogue"}
    assert any("UTC" in assumption for assumption in report.assumptions)
