"""What may be named: not what is out of stock or age-restricted; and what earns more first."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd

from features import contracts
from features.sources.staging import Staged
from programme.settings import Programme
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Row, Rows, Till, line, product
from training import shelf
from training.shelf import Shelf

DAY = timedelta(days=1)

NAMED = pd.DataFrame(
    {
        "member_id": ["ann", "ann", "ann", "bob"],
        "rank": [1, 2, 3, 1],
        "product_id": ["tea", "milk", "soap", "soap"],
        "score": [3.0, 2.0, 1.0, 1.0],
    }
)


def test_without_margins_the_order_is_what_members_want() -> None:
    kept = Shelf(margin_rate=pd.Series({"soap": 0.9})).weighed(NAMED, 2)

    assert kept["product_id"].tolist() == ["tea", "milk", "soap"]


def test_what_earns_more_moves_forward_by_places() -> None:
    rates = pd.Series({"tea": 0.0, "milk": 0.9, "soap": 0.1})

    kept = Shelf(margin_rate=rates, margin_weight=1.0).weighed(NAMED, 2)

    # Worth: tea 1, milk 1.9 / log2(3) = 1.20, soap 1.1 / 2.
    assert kept[["member_id", "rank", "product_id"]].to_numpy().tolist() == [
        ["ann", 1, "milk"], ["ann", 2, "tea"], ["bob", 1, "soap"],
    ]  # fmt: skip


@dataclass
class StockedTill(Till):
    """A till that also tells what lies on the shelves."""

    stock: Rows = ()

    def stage(
        self, connection: duckdb.DuckDBPyConnection, scratch: Path, programme: Programme
    ) -> Iterator[Staged]:
        yield from super().stage(connection, scratch, programme)
        yield Staged(contracts.STOCK, self._sql(contracts.STOCK, self.stock))


def on_hand(product_id: str, store_id: str, available: float, days_ago: int) -> Row:
    return {
        "product_id": product_id,
        "store_id": store_id,
        "available": available,
        "known_at": MIDNIGHT - days_ago * DAY,
    }


def test_what_is_restricted_or_sold_out_is_barred_as_known_that_day() -> None:
    stock = [
        on_hand("tea", "a", 5, 9),
        on_hand("tea", "a", 0, 2),  # sold out since
        on_hand("milk", "a", 0, 2),
        on_hand("milk", "b", 3, 2),  # another shop has it
        on_hand("soap", "a", 0, 9),
        on_hand("soap", "a", 4, 1),  # filled up again
    ]
    goods = [product("wine", "Wine"), product("beer", "beer")]
    with shop.new_home() as home:
        bought = [line("ann", MIDNIGHT - DAY, product_id="wine")]
        shop.take(home, StockedTill(bought, goods, stock=stock))

        read = shelf.read(home, AS_OF, ["WINE "])
        before = shelf.read(home, AS_OF - 5 * DAY)

    assert read.barred == {"wine", "tea"}
    assert before.barred == {"soap"}
