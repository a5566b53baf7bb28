"""No feature knows the future: neither what happened later nor what was learned later."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from features import engine, identities, rollups, snapshot, table
from features.group import FeatureGroup
from features.lake import STORED_EXTRA
from features.snapshot import Snapshot
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import (
    AS_OF,
    MIDNIGHT,
    Till,
    contact,
    event,
    identity,
    line,
    posting,
    product,
)

SECOND = timedelta(seconds=1)
BOUGHT = MIDNIGHT - timedelta(days=3)


def a_purchase(known_at: Any) -> Till:
    """A purchase of last week that came in late, of a kind that every family would notice."""
    return Till([line("ann", BOUGHT, 70_000, known_at=known_at, product_id="soap", store_id="new")])


def a_correction(known_at: Any) -> Till:
    bought = next(row for row in shop.year().purchases if row["source_key"] == "bob")
    return Till([{**bought, "net_cents": 99_999, "known_at": known_at}])


def a_return(known_at: Any) -> Till:
    goods = line("cid", BOUGHT, -500, quantity=-1.0, known_at=known_at, order_id="returned")
    return Till([goods])


def a_new_category(known_at: Any) -> Till:
    return Till((), [product(name, "moved", known_at) for name in shop.PRODUCTS])


def a_merge(known_at: Any) -> Till:
    return Till((), (), [identity("bob", "cid", known_at)])


def a_split(known_at: Any) -> Till:
    return Till((), (), [identity("dee", "dee", known_at)])


def an_event(known_at: Any) -> Till:
    return Till(events=[event("ann", BOUGHT, known_at=known_at)])


def a_message(known_at: Any) -> Till:
    return Till(contacts=[contact("ann", BOUGHT, known_at=known_at)])


def some_points(known_at: Any) -> Till:
    return Till(points=[posting("ann", BOUGHT, known_at=known_at)])


FEEDS = {"engagement": an_event, "response": a_message, "points": some_points}
ROWS = [
    a_purchase, a_correction, a_return, a_new_category, a_merge, a_split, *FEEDS.values()
]  # fmt: skip


@dataclass(frozen=True)
class Year:
    """A home with a year of purchases, and what its snapshot of `AS_OF` says."""

    settings: Settings
    built: Snapshot
    features: pd.DataFrame
    products: pd.DataFrame
    weekly: npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def told_once(tmp_path_factory: pytest.TempPathFactory) -> Year:
    settings = Settings(home=tmp_path_factory.mktemp("year"), threads=1)
    shop.take(settings, shop.fed_year())
    built = snapshot.build(settings, AS_OF)
    return Year(settings, built, built.features(), built.products(), built.weekly(60)[1])


@pytest.fixture
def year(told_once: Year, tmp_path: Path) -> Year:
    """A year whose home the test may write to."""
    shutil.copytree(told_once.settings.home, tmp_path / "year")
    settings = Settings(home=tmp_path / "year", threads=1)
    return replace(told_once, settings=settings, built=replace(told_once.built, settings=settings))


def moves_nothing(year: Year, rows: Till) -> None:
    """Assert that ingesting the rows changes nothing of what was known at `AS_OF`."""
    shop.take(year.settings, rows)
    again = snapshot.build(year.settings, AS_OF)

    assert again.lake_version == year.built.lake_version + 1
    assert not year.built.is_stale()
    shop.same(shop.rebuilt(year.settings), year.features)
    shop.same(again.features(), year.features)
    shop.same(again.products(), year.products)
    np.testing.assert_array_equal(again.weekly(60)[1], year.weekly)


@pytest.mark.parametrize("rows", ROWS)
def test_what_was_learned_at_the_as_of_or_later_moves_nothing(
    year: Year, rows: Callable[[Any], Till]
) -> None:
    moves_nothing(year, rows(MIDNIGHT))


@pytest.mark.parametrize("rows", ROWS)
def test_what_was_learned_a_second_earlier_counts(year: Year, rows: Callable[[Any], Till]) -> None:
    shop.take(year.settings, rows(MIDNIGHT - SECOND))

    assert year.built.is_stale()
    now = snapshot.build(year.settings, AS_OF).features()
    assert not now.equals(year.features)
    shop.same(now, shop.rebuilt(year.settings))


def test_what_happened_at_the_as_of_or_later_moves_nothing(year: Year) -> None:
    moves_nothing(
        year,
        Till(
            [
                line("ann", MIDNIGHT, product_id="soap"),
                line("bob", MIDNIGHT + timedelta(days=20), -300, quantity=-1.0),
                line("new", MIDNIGHT + SECOND),
            ]
        ),
    )


def test_shifting_every_later_event_by_a_year_changes_no_feature() -> None:
    later = [
        line("ann", MIDNIGHT + timedelta(days=days), known_at=MIDNIGHT + timedelta(days=days + 2))
        for days in range(0, 30, 3)
    ]
    catalogue = [product("soap", "moved", MIDNIGHT + timedelta(days=5))]
    merged = [identity("cid", "bob", MIDNIGHT + timedelta(days=6))]

    def shifted(rows: list[shop.Row]) -> list[shop.Row]:
        return [
            row
            | {
                name: row[name] + timedelta(days=365)
                for name in ("occurred_at", "known_at")
                if name in row
            }
            for row in rows
        ]

    as_it_was = shop.features_of(shop.year(), Till(later, catalogue, merged))
    a_year_on = Till(shifted(later), shifted(catalogue), shifted(merged))

    shop.same(shop.features_of(shop.year(), a_year_on), as_it_was)


@pytest.mark.parametrize("rows", [a_purchase, a_correction, a_return, a_new_category])
def test_a_table_that_ignores_when_we_knew_is_caught(
    year: Year, rows: Callable[[Any], Till], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "KNOWN", "where occurred_on < {as_of}")

    with pytest.raises(AssertionError):
        moves_nothing(year, rows(MIDNIGHT))


@pytest.mark.parametrize("group", table.GROUPS, ids=lambda group: str(group.name))
def test_a_leak_is_seen_in_every_family(
    group: FeatureGroup, year: Year, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "KNOWN", "where occurred_on < {as_of}")
    monkeypatch.setattr(table, "IN_TIME", "where occurred_at < {midnight}")

    shop.take(year.settings, FEEDS.get(group.name, a_purchase)(MIDNIGHT))
    leaky = shop.rebuilt(year.settings)

    names = [column.name for column in group.columns]
    assert not leaky[names].equals(year.features[names])


@pytest.mark.parametrize("rows", [a_merge, a_split])
def test_an_identity_learned_too_late_is_caught(
    year: Year, rows: Callable[[Any], Till], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "midnight_sql", lambda *_: "timestamp '2100-01-01'")

    with pytest.raises(AssertionError):
        moves_nothing(year, rows(MIDNIGHT))


def test_a_rollup_that_forgets_when_we_knew_is_caught(
    year: Year, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = rollups.order_days_sql

    def leaky(lines: str, local: Callable[[str], str]) -> str:
        happened = f"select * replace (occurred_at as known_at) from ({lines})"
        return honest(happened, local)

    monkeypatch.setattr(rollups, "order_days_sql", leaky)

    with pytest.raises(AssertionError):
        moves_nothing(year, a_purchase(MIDNIGHT))


class Overheard:
    """An engine that remembers what it was asked."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.asked: list[str] = []

    def execute(self, sql: str, *more: Any) -> duckdb.DuckDBPyConnection:
        self.asked.append(sql)
        return self.connection.execute(sql, *more)


def test_no_feature_asks_when_or_in_which_batch_a_row_came_in(
    year: Year, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Overheard] = []
    connect = engine.connect

    @contextmanager
    def overheard(settings: Settings) -> Iterator[Overheard]:
        with connect(settings) as connection:
            heard.append(Overheard(connection))
            yield heard[-1]

    shop.take(year.settings, a_purchase(BOUGHT))
    monkeypatch.setattr(engine, "connect", overheard)
    built = snapshot.build(year.settings, AS_OF)
    built.products()
    built.weekly(8)

    # An empty table is asked for in its stored shape, without a row.
    nothing = "cast(null as timestamp) as ingested_at, cast(null as integer) as batch_no"
    asked = "\n".join(sql for one in heard for sql in one.asked).replace(nothing, "")
    rolled_up = rollups.order_days_sql("", str) + rollups.event_days_sql("", str)
    rolled_up += rollups.spans_sql("", str) + rollups.placed_sql("", "", str)
    rolled_up += rollups.days_sql("", "")
    for rollup in rollups.BY_PRODUCT:
        rolled_up += rollups.by_product_sql(rollup, products_move=True)
    assert "ingested_at timestamp" in STORED_EXTRA
    assert "known_at" in asked
    for name in ("ingested_at", "batch_no"):
        assert name not in asked
        assert name not in rolled_up
