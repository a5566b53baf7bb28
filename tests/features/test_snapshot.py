"""A snapshot never changes: what is learned afterwards makes another one beside it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import snapshot, table
from programme.calendar import local_midnight
from programme.errors import InputRefused, NotReady
from programme.files import sha256_of
from programme.settings import Settings
from tests.features import oracle, shop
from tests.features.shop import AS_OF, MIDNIGHT, ZONE, Till, identity, line, product

DAY = timedelta(days=1)
BACKFILL = Till([line("bob", MIDNIGHT - 30 * DAY, 4_200)])


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir())}


def meta(built: snapshot.Snapshot) -> dict[str, object]:
    found: dict[str, object] = json.loads((built.path / "meta.json").read_text("utf-8"))
    return found


def test_its_key_is_as_of_feature_set_lake_version_and_reference(home: Settings) -> None:
    shop.take(home, shop.year())

    built = snapshot.build(home, AS_OF)

    assert built.path.name == f"{AS_OF}_{table.feature_set()}_000001_{built.reference.digest}"
    assert meta(built) == {
        "as_of": "2024-04-07",
        "feature_set": table.feature_set(),
        "lake_version": 1,
        "reference": built.reference.digest,
        "data_as_of": built.data_as_of.isoformat(),
        "members": len(built.features()),
        "computed_members": len(built.features()),
        "built_on": None,
    }
    parts = ["features.parquet", "meta.json", "reference.json"]
    assert sorted(path.name for path in built.path.iterdir()) == parts


def test_a_backfill_makes_it_stale_and_a_rebuild_leaves_its_bytes_alone(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "REBUILD_ABOVE", 1.0)
    shop.take(home, shop.year())
    first = snapshot.build(home, AS_OF)
    first.products()
    before, seen = hashes(first.path), first.features()
    assert not first.is_stale()

    shop.take(home, BACKFILL)
    assert first.is_stale()
    second = snapshot.build(home, AS_OF)

    assert hashes(first.path) == before
    shop.same(first.features(), seen)
    assert second.path != first.path
    gained = second.features()["purchase_days"] - seen["purchase_days"]
    assert gained.to_dict() == {"ann": 0, "bob": 1, "cid": 0}
    assert not second.is_stale()
    # Only the member that the backfill touches was computed again.
    assert (meta(second)["computed_members"], meta(second)["built_on"]) == (1, 1)
    assert snapshot.build(home, AS_OF) == second
    assert snapshot.latest(home) == second


def test_a_backfill_of_many_members_is_measured_against_a_programme_of_its_own(
    home: Settings,
) -> None:
    shop.take(home, shop.year())
    first = snapshot.build(home, AS_OF)

    shop.take(home, BACKFILL)
    second = snapshot.build(home, AS_OF)

    # One member in three: more than a tenth.
    assert (meta(second)["computed_members"], meta(second)["built_on"]) == (3, None)
    assert second.reference_digest != first.reference_digest


def test_threads_may_ask_for_the_same_snapshot_at_once(home: Settings) -> None:
    shop.take(home, shop.year())

    with ThreadPoolExecutor(4) as threads:
        built = list(threads.map(lambda _: snapshot.build(home, AS_OF), range(4)))
        products = list(threads.map(lambda one: one.products(), built))

    assert len(set(built)) == 1
    assert [path.name for path in (home.home / "snapshots").iterdir()] == [built[0].path.name]
    for found in products[1:]:
        shop.same(found, products[0])


def test_parts_made_late_come_from_the_lake_as_it_was(home: Settings) -> None:
    shop.take(home, shop.year())
    early = snapshot.build(home, AS_OF)
    weekly, products = early.weekly(20)[1], early.products()
    (early.path / snapshot.PRODUCTS).unlink()

    shop.take(home, Till([line("ann", MIDNIGHT - DAY, product_id="soap", order_id="late")]))

    shop.same(early.products(), products)
    np.testing.assert_array_equal(early.weekly(20)[1], weekly)


def test_a_row_known_only_after_the_as_of_keeps_it_fresh(home: Settings) -> None:
    shop.take(home, shop.year())
    built = snapshot.build(home, AS_OF)

    shop.take(home, Till([line("ann", MIDNIGHT - DAY, known_at=MIDNIGHT)], [product("x", "y")]))

    assert not built.is_stale()


@pytest.mark.parametrize(
    "rows",
    [
        Till((), [product("tea", "moved", MIDNIGHT - DAY)]),
        Till((), (), [identity("bob", "ann", MIDNIGHT - DAY)]),
    ],
)
def test_what_was_learned_late_about_products_and_members_makes_it_stale(
    rows: Till, home: Settings
) -> None:
    shop.take(home, shop.year())
    built = snapshot.build(home, AS_OF)

    shop.take(home, rows)

    assert built.is_stale()


def test_the_default_as_of_is_the_midnight_after_the_last_purchase(home: Settings) -> None:
    late = local_midnight(date(2024, 3, 10), ZONE).replace(tzinfo=None) - timedelta(seconds=1)
    shop.take(home, Till([line("ann", late - 9 * DAY), line("ann", late)]))
    assert snapshot.default_as_of(home) == date(2024, 3, 10)
    assert snapshot.build(home, date(2024, 3, 10)).features().loc["ann", "recency_days"] == 1

    shop.take(home, Till([line("ann", late + timedelta(seconds=1), order_id="midnight")]))
    assert snapshot.default_as_of(home) == date(2024, 3, 11)


@pytest.mark.parametrize(
    ("as_of", "inside"),
    [
        (date(2024, 2, 1), False),
        (date(2024, 2, 3), False),  # the first purchase was learned of on that day
        (date(2024, 2, 4), True),
        (date(2024, 3, 2), True),
        (date(2024, 3, 3), False),
    ],
)
def test_an_as_of_outside_the_data_is_refused(as_of: date, inside: bool, home: Settings) -> None:
    def noon(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, 17)  # noqa: DTZ001 - stored as UTC

    first = line("ann", noon(date(2024, 2, 1)), known_at=noon(date(2024, 2, 3)))
    shop.take(home, Till([first, line("ann", noon(date(2024, 3, 1)))]))

    if inside:
        assert len(snapshot.build(home, as_of).features()) == 1
    else:
        with pytest.raises(InputRefused, match="lies outside the data") as refusal:
            snapshot.build(home, as_of)
        assert "from 2024-02-03 to 2024-03-01" in str(refusal.value)
        assert not (home.home / "snapshots").exists()


def test_one_member_with_one_purchase_is_a_table(home: Settings) -> None:
    shop.take(home, Till([line("ann", MIDNIGHT - DAY, product_id="tea")]))
    built = snapshot.build(home, AS_OF)

    features = built.features()

    assert features.index.tolist() == ["ann"]
    assert features.loc["ann", "population"] == "active"
    days = features.loc["ann", ["recency_days", "tenure_days", "purchase_days"]]
    assert list(days) == [1, 1, 1]
    assert features.loc["ann", ["gap_days_mean", "overdue_ratio"]].isna().all()
    assert built.products().to_dict("records") == [
        {
            "member_id": "ann",
            "product_id": "tea",
            "purchase_days": 1,
            "last_days": 1,
            "first_days": 1,
            "purchase_days_28d": 1,
            "purchase_days_84d": 1,
            "purchase_days_182d": 1,
        }
    ]
    assert built.weekly(4)[1].shape == (1, 4, 4)


def test_purchases_without_a_member_make_an_empty_table(home: Settings) -> None:
    shop.take(home, Till([line(None, MIDNIGHT - DAY, product_id="tea")]))
    built = snapshot.build(home, AS_OF)

    assert built.features().shape == (0, len(table.ALL_COLUMNS) + 1)
    assert built.products().empty
    assert built.weekly(4)[1].shape == (0, 4, 4)
    assert built.data_as_of == (MIDNIGHT - DAY).replace(tzinfo=UTC)


def test_a_member_who_only_ever_returned_is_not_one(home: Settings) -> None:
    shop.take(home, Till([line("ann", MIDNIGHT - DAY, -500, quantity=-1.0), *BACKFILL.purchases]))

    assert snapshot.build(home, AS_OF).features().index.tolist() == ["bob"]


def test_a_taste_of_long_ago_is_no_favourite(home: Settings) -> None:
    rows = [
        line("ann", MIDNIGHT - 500 * DAY, product_id="soap"),
        line("bob", MIDNIGHT - 500 * DAY, product_id="soap"),
        line("bob", MIDNIGHT - 2 * DAY, product_id="tea"),
    ]
    catalogue = [product("soap", "home"), product("tea", "drink")]
    shop.take(home, Till([*rows, line(None, MIDNIGHT)], catalogue))

    features = snapshot.build(home, AS_OF).features()

    assert features["category_count"].to_dict() == {"ann": 1, "bob": 2}
    assert features["category_count_364d"].to_dict() == {"ann": 0, "bob": 1}
    assert features["top_category"].fillna("-").to_dict() == {"ann": "-", "bob": "drink"}
    assert features["category_entropy"].fillna(-1).to_dict() == {"ann": -1, "bob": 0}


def test_active_means_an_order_in_the_last_56_days(home: Settings) -> None:
    bought = {"ann": 56, "bob": 57, "cid": 1}
    # The clocks changed in between: 56 days ago is a date, not a number of hours.
    midnights = {who: local_midnight(AS_OF - days * DAY, ZONE) for who, days in bought.items()}
    rows = [line(who, midnight.replace(tzinfo=None)) for who, midnight in midnights.items()]
    shop.take(home, Till([*rows, line(None, MIDNIGHT)]))

    features = snapshot.build(home, AS_OF).features()

    assert features["recency_days"].to_dict() == {"ann": 56, "bob": 57, "cid": 1}
    assert features["population"].to_dict() == {"ann": "active", "bob": "dormant", "cid": "active"}


def test_columns_stand_in_the_order_of_the_table_in_plain_types(home: Settings) -> None:
    shop.take(home, shop.year())

    features = snapshot.build(home, AS_OF).features()

    assert tuple(features.columns) == ("population", *table.ALL_COLUMNS)
    assert features.index.is_monotonic_increasing
    assert {str(features[name].dtype) for name in table.MODEL_COLUMNS} == {"float64"}
    for group in table.GROUPS:
        has_rows = set(group.reads) <= {"purchases", "products"}
        for column in group.columns:
            if not has_rows:
                assert features[column.name].isna().all(), column.name
            elif column.absent is not None:
                assert features[column.name].notna().all(), column.name


def test_weeks_and_products_are_those_counted_by_hand(home: Settings) -> None:
    till = shop.year(seed=5)
    back = line("ann", MIDNIGHT - 20 * DAY, -70, quantity=-1.0, product_id="tea", order_id="back")
    shop.take(home, Till([*till.purchases, back], till.products, till.identities))
    built = snapshot.build(home, AS_OF)
    members, weekly = built.weekly(60)

    expected = oracle.weekly(
        [*till.purchases, back], till.identities, members, 60, as_of=AS_OF, timezone=ZONE
    )
    np.testing.assert_allclose(weekly, expected)
    pd.testing.assert_frame_equal(
        built.products(),
        oracle.products([*till.purchases, back], till.identities, as_of=AS_OF, timezone=ZONE),
        check_dtype=False,
    )
    assert members == built.features().index.tolist()


def test_the_last_day_before_the_as_of_is_in_the_last_week(home: Settings) -> None:
    rows = [line("ann", MIDNIGHT - days * DAY, 100 * days) for days in (1, 7, 8, 14, 15)]
    shop.take(home, Till([*rows, line(None, MIDNIGHT)]))

    _, weekly = snapshot.build(home, AS_OF).weekly(2)

    # Oldest week first; orders, net, discount, returned.
    assert weekly[0].tolist() == [[2, 2_200, 0, 0], [2, 800, 0, 0]]


def test_without_purchases_nothing_can_be_built(home: Settings) -> None:
    with pytest.raises(NotReady, match="holds no programme yet"):
        snapshot.build(home, AS_OF)

    shop.take(home, Till((), [product("tea", "drink")]))

    for ask in (snapshot.default_as_of, lambda settings: snapshot.build(settings, AS_OF)):
        with pytest.raises(NotReady, match="holds no purchases"):
            ask(home)
    with pytest.raises(NotReady, match="holds no snapshot"):
        snapshot.latest(home)


def test_the_latest_is_the_one_with_the_latest_as_of(home: Settings) -> None:
    shop.take(home, shop.year())
    later, earlier = (snapshot.build(home, day) for day in (AS_OF, AS_OF - 28 * DAY))

    assert snapshot.latest(home) == later

    shop.take(home, BACKFILL)
    snapshot.build(home, earlier.as_of)
    assert snapshot.latest(home) == later
    assert snapshot.latest(home).is_stale()
