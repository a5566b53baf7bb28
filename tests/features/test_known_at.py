"""No feature knows the future: neither what happened later nor what was learned later."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

from features import engine, rollups, snapshot, table
from features.lake import STORED_EXTRA
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Till, identity, line, product

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


ROWS = [a_purchase, a_correction, a_return, a_new_category, a_merge, a_split]


@contextmanager
def a_year() -> Iterator[Settings]:
    with shop.new_home() as home:
        shop.take(home, shop.year())
        snapshot.build(home, AS_OF)
        yield home


def moves_nothing(rows: Till) -> None:
    """Assert that ingesting the rows changes nothing of what was known at `AS_OF`."""
    with a_year() as home:
        built = snapshot.build(home, AS_OF)
        before = built.features(), built.products(), built.weekly(60)

        shop.take(home, rows)
        again = snapshot.build(home, AS_OF)

        assert again.lake_version == built.lake_version + 1
        assert not built.is_stale()
        shop.same(again.features(), before[0])
        shop.same(shop.rebuilt(home), before[0])
        shop.same(again.products(), before[1])
        np.testing.assert_array_equal(again.weekly(60)[1], before[2][1])


@pytest.mark.parametrize("rows", ROWS)
def test_what_was_learned_at_the_as_of_or_later_moves_nothing(rows: Callable[[Any], Till]) -> None:
    moves_nothing(rows(MIDNIGHT))


@pytest.mark.parametrize("rows", ROWS)
def test_what_was_learned_a_second_earlier_counts(rows: Callable[[Any], Till]) -> None:
    with a_year() as home:
        built = snapshot.build(home, AS_OF)

        shop.take(home, rows(MIDNIGHT - SECOND))

        assert built.is_stale()
        assert not snapshot.build(home, AS_OF).features().equals(built.features())
        shop.same(snapshot.build(home, AS_OF).features(), shop.rebuilt(home))


def test_what_happened_at_the_as_of_or_later_moves_nothing() -> None:
    moves_nothing(
        Till(
            [
                line("ann", MIDNIGHT, product_id="soap"),
                line("bob", MIDNIGHT + timedelta(days=20), -300, quantity=-1.0),
                line("new", MIDNIGHT + SECOND),
            ]
        )
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
    rows: Callable[[Any], Till], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "KNOWN", "where occurred_on < {as_of}")

    with pytest.raises(AssertionError):
        moves_nothing(rows(MIDNIGHT))


@pytest.mark.parametrize("rows", [a_merge, a_split])
def test_an_identity_learned_too_late_is_caught(
    rows: Callable[[Any], Till], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "midnight_sql", lambda *_: "timestamp '2100-01-01'")

    with pytest.raises(AssertionError):
        moves_nothing(rows(MIDNIGHT))


def test_a_rollup_that_forgets_when_we_knew_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = rollups.order_days_sql

    def leaky(lines: str, local: Callable[[str], str]) -> str:
        happened = f"select * replace (occurred_at as known_at) from ({lines})"
        return honest(happened, local)

    monkeypatch.setattr(rollups, "order_days_sql", leaky)

    with pytest.raises(AssertionError):
        moves_nothing(a_purchase(MIDNIGHT))


class Overheard:
    """An engine that remembers what it was asked."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.asked: list[str] = []

    def execute(self, sql: str, *more: Any) -> duckdb.DuckDBPyConnection:
        self.asked.append(sql)
        return self.connection.execute(sql, *more)


def test_no_feature_asks_when_or_in_which_batch_a_row_came_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[Overheard] = []
    connect = engine.connect

    @contextmanager
    def overheard(settings: Settings) -> Iterator[Overheard]:
        with connect(settings) as connection:
            heard.append(Overheard(connection))
            yield heard[-1]

    with a_year() as home:
        monkeypatch.setattr(engine, "connect", overheard)
        shop.take(home, a_purchase(BOUGHT))
        heard.clear()
        built = snapshot.build(home, AS_OF)
        built.products()
        built.weekly(8)
        built.is_stale()

    asked = "\n".join(sql for one in heard for sql in one.asked)
    rolled_up = rollups.order_days_sql("", str) + rollups.category_days_sql(
        "", "", str, str, categories_move=True
    )
    assert "ingested_at timestamp" in STORED_EXTRA
    assert "known_at" in asked
    for name in ("ingested_at", "batch_no"):
        assert name not in asked
        assert name not in rolled_up
