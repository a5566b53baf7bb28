"""Every table of the contract comes from somebody's files, and arrives in the features."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features import contracts, snapshot
from features.finding import TableCount
from features.sources.mapping import TABLES
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Till, contact, event, line, posting
from tests.features.sources import feed_files
from tests.features.sources.feed_files import ROWS, SECTIONS, STORED, at, count, feed, stored

DAY = timedelta(days=1)
BOUGHT = [
    line("ann", MIDNIGHT - 60 * DAY),
    line("bob", MIDNIGHT - 3 * DAY),
    line(None, MIDNIGHT, order_id="last"),
]


def till(**feeds: Any) -> Till:
    """Return two members' purchases, and whatever feeds are given, in the shop's programme."""
    return Till(BOUGHT, **feeds, programme=feed_files.PROGRAMME)


def test_every_table_of_the_contract_can_be_mapped() -> None:
    assert set(TABLES) == set(contracts.TABLES)
    assert set(SECTIONS) == set(contracts.TABLES) - {"purchases"}


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("table", SECTIONS)
def test_rows_arrive_as_the_contract_says(
    table: str, name: str, home: Settings, tmp_path: Path
) -> None:
    source = feed(tmp_path, table, name=name)

    first, again = shop.take(home, source, source)

    assert count(first, table) == TableCount(table, read=2, stored=2)
    assert count(again, table) == TableCount(table, read=2, unchanged=2)
    assert again.batch_no is None
    assert stored(home, table) == STORED[table]


EVENTS = {
    "views_28d": 1, "reviews_364d": 0, "events_84d": 1, "days_since_event": 6,
    "session_seconds_28d": 43,
}  # fmt: skip
CONTACTS = {
    "contacts_28d": 1, "open_rate_364d": 1, "days_since_contact": 18, "contact_channels_364d": 1,
}  # fmt: skip
POINTS = {
    "points_balance": 75, "points_earned_84d": 125, "points_redeemed_364d": 50,
    "days_to_points_expiry": 269, "tier": "gold",
}  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize(
    ("table", "expected"), [("events", EVENTS), ("contacts", CONTACTS), ("points", POINTS)]
)
def test_a_feed_becomes_features(
    table: str, expected: dict[str, Any], name: str, home: Settings, tmp_path: Path
) -> None:
    named = {"events": [{**ROWS["events"][0], "user": "ann"}]}

    shop.take(home, till(), feed(tmp_path, table, named.get(table), name))

    ann = snapshot.build(home, AS_OF).features().loc["ann"]
    assert {column: ann[column] for column in expected} == pytest.approx(expected)


def test_features_from_files_are_those_of_the_same_rows_given_directly(tmp_path: Path) -> None:
    rows = {
        "events": [event("ann", MIDNIGHT - 9 * DAY, kind="cart"), event("bob", MIDNIGHT - DAY)],
        "contacts": [contact("ann", MIDNIGHT - 5 * DAY, channel="mail")],
        "points": [posting("bob", MIDNIGHT - 7 * DAY, 70, tier="gold")],
    }
    files = {
        "events": [
            {"id": row["event_id"], "who": row["source_key"], "at": f"{row['occurred_at']}Z",
             "what": row["kind"]} for row in rows["events"]
        ],
        "contacts": [
            {"id": row["contact_id"], "who": row["member_id"], "at": f"{row['occurred_at']}Z",
             "what": row["kind"], "via": "mail"} for row in rows["contacts"]
        ],
        "points": [
            {"id": row["posting_id"], "who": row["member_id"], "at": f"{row['occurred_at']}Z",
             "what": row["kind"], "n": "7.0", "level": "gold"} for row in rows["points"]
        ],
    }  # fmt: skip
    common = {"member": "who", "occurred_at": "at", "kind": "what"}
    sections = {
        "events": {"event": "id", **common},
        "contacts": {"contact": "id", "channel": "via", **common},
        "points": {"posting": "id", "points": "n", "tier": "level", **common},
    }

    with shop.new_home() as home:
        shop.take(home, till(), *(
            feed_files.export(tmp_path / table, files[table], {table: sections[table]})
            for table in files
        ))  # fmt: skip
        from_files = shop.features(home)

    shop.same(from_files, shop.features_of(till(**rows)))


def test_an_identity_makes_two_systems_one_member(home: Settings, tmp_path: Path) -> None:
    app = {"source": "app"}
    events = feed_files.export(tmp_path, ROWS["events"], {"events": SECTIONS["events"]} | app)

    shop.take(home, till(), feed(tmp_path / "who", "identities"), events)

    assert snapshot.build(home, AS_OF).features().loc["ann", "views_28d"] == 1


def test_identities_are_the_mappings_own_where_no_column_names_a_system(
    home: Settings, tmp_path: Path
) -> None:
    section = {"key": "user", "member": "card", "known_from_beginning": True}

    shop.take(home, feed_files.export(tmp_path, ROWS["identities"], {"identities": section}))

    assert [row[:3] for row in stored(home, "identities")] == [
        ("files", "u-1", "ann"),
        ("files", "u-2", "ann"),
    ]


def test_a_merge_may_be_undone_by_a_later_row(home: Settings, tmp_path: Path) -> None:
    section = {"key": "key", "member": "member", "known_at": "known"}
    merged = {"key": "bob", "member": "ann", "known": "2024-04-05"}
    undone = {"key": "bob", "member": "bob", "known": "2024-04-06"}
    source = {"source": "till", "identities": section}

    shop.take(home, till(), *(
        feed_files.export(tmp_path / row["member"], [row], source) for row in (merged, undone)
    ))  # fmt: skip

    spent = {
        days: snapshot.build(home, AS_OF - days * DAY).features()["spend_cents_life"].to_dict()
        for days in (1, 0)
    }
    assert spent == {1: {"ann": 2_000}, 0: {"ann": 1_000, "bob": 1_000}}


def test_a_later_corrected_row_is_a_new_version(home: Settings, tmp_path: Path) -> None:
    rows = [
        {**row, "user": "ann", "known": known, "what": kind}
        for row, known, kind in (
            (ROWS["events"][0], "2024-04-02", "page_view"),
            (ROWS["events"][0], "2024-04-05", "search"),
        )
    ]
    pieces = [
        feed(tmp_path / str(number), "events", [row], known_at="known")
        for number, row in enumerate(rows)
    ]

    *_, corrected = shop.take(home, till(), *pieces)

    assert count(corrected, "events") == TableCount("events", read=1, corrected=1)
    columns = ["views_28d", "searches_28d", "events_28d"]
    seen = {
        days: list(snapshot.build(home, AS_OF - days * DAY).features().loc["ann", columns])
        for days in (3, 0)
    }
    assert seen == {3: [1, 0, 1], 0: [0, 1, 1]}


def test_corrected_points_count_once(home: Settings, tmp_path: Path) -> None:
    wrong, right = (
        {**ROWS["points"][0], "points": points, "known": known}
        for points, known in ((12.5, "2024-03-21"), (1.5, "2024-03-25"))
    )

    shop.take(home, till(), feed(tmp_path, "points", [wrong, right], known_at="known"))

    balance = {
        days: snapshot.build(home, AS_OF - days * DAY).features().loc["ann", "points_balance"]
        for days in (13, 0)
    }
    assert balance == {13: 125, 0: 15}


def test_a_consent_taken_back_is_a_row_of_its_own(home: Settings, tmp_path: Path) -> None:
    shop.take(home, feed(tmp_path, "consents"))

    assert [row[4] for row in stored(home, "consents")] == [True, False]


def test_parquet_may_hold_instants_with_a_zone(home: Settings, tmp_path: Path) -> None:
    rows = [{**row, "at": pd.Timestamp(row["at"], tz="UTC")} for row in ROWS["points"]]

    shop.take(home, feed(tmp_path, "points", rows, "a.parquet"))

    assert [row[1] for row in stored(home, "points")] == [at("2024-03-20 09:00"), at("2024-03-21")]
