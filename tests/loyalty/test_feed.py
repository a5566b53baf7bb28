"""The ledger and the feature store meet in one table: what is posted is what features read."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features import contracts
from features.ingest import ingest
from features.lake import Lake
from loyalty.feed import FeedRow, rows
from loyalty.lasting import Lasting
from loyalty.points import balance, post
from loyalty.postings import Request
from loyalty.terms import Terms
from programme.database import Database
from programme.settings import PROGRAMME_FILE, Programme, Settings
from serving.points_feed import LedgerFeed

NOW = datetime(2018, 3, 9, 17, tzinfo=UTC)
TERMS = Terms("UTC", lasting=Lasting("days", 30))
DAY = timedelta(days=1)


def lived(database: Database) -> None:
    """Post something of every kind."""
    steps = [
        (Request("OPENING", "o", "ann", 40), 0),
        (Request("EARN", "e", "ann", 100, lasting=Lasting("days", 2)), 0),
        (Request("EARN", "p", "ann", 30, lasting=Lasting("days", 30, pending_days=1)), 0),
        (Request("EARN", "b", "bob", 10), 0),
        (Request("REDEEM", "r", "ann", 120), 1),
        (Request("REVERSE", "v", "ann", 90, reverses="r"), 2),
        (Request("TRANSFER", "t", "ann", 50, to_member_id="bob"), 2),
        (Request("ADJUST", "a", "bob", -5, reason="typo"), 3),
        (Request("EARN", "last", "ann", 1), 9),
    ]
    for request, days in steps:
        post(database, TERMS, request, now=NOW + days * DAY)


def test_a_row_of_the_feed_has_the_columns_of_the_contract() -> None:
    assert {field.name for field in fields(FeedRow)} == set(contracts.POINTS.column_names)
    assert set(LedgerFeed.columns) == set(contracts.POINTS.column_names)


def test_the_feed_adds_up_to_balances_at_every_end(database: Database) -> None:
    lived(database)
    found = list(rows(database))

    for member in ("ann", "bob"):
        mine = [row for row in found if row.member_id == member]
        later = NOW + 9 * DAY
        assert sum(row.points for row in mine) == balance(database, TERMS, member, now=later).active
    assert {row.kind for row in found} == {*contracts.POINTS_KINDS}
    assert len({row.posting_id for row in found}) == len(found)
    # 90 of 120 came back: to the lot that lasts longest first, then to the one that ends soon.
    returned = [(row.points, row.expires_at) for row in found if row.posting_id.startswith("v")]
    assert sum(points for points, _ in returned) == 90
    assert len({end for _, end in returned}) == 2


def test_the_feed_is_stored_whole_and_twice_is_once(database: Database, tmp_path: Path) -> None:
    lived(database)
    settings = Settings(home=tmp_path)
    programme = Programme(name="corner", timezone="UTC", currency="EUR")
    (tmp_path / PROGRAMME_FILE).write_text(programme.as_toml())

    first = ingest(LedgerFeed(database), settings, NOW + 20 * DAY)
    again = ingest(LedgerFeed(database), settings, NOW + 20 * DAY)

    (count,) = first.counts
    assert (count.refused, count.stored) == (0, len(list(rows(database))))
    assert again.batch_no is None
    assert Lake(settings).manifest().lake_version == 1


@pytest.mark.parametrize("days", [0, 1, 2, 9])
def test_a_reader_who_goes_on_misses_nothing(database: Database, days: int) -> None:
    lived(database)
    middle = NOW + days * DAY
    whole = {row.posting_id for row in rows(database)}

    before = {row.posting_id for row in rows(database, until=middle)}
    after = {row.posting_id for row in rows(database, since=middle)}

    assert before | after == whole
