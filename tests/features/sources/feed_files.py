"""Exports of every feed of a made-up shop: their mapping, good rows, and what becomes of them."""

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features import engine
from features.finding import TableCount
from features.ingest import Ingested
from features.lake import Lake
from features.sources.export import Export
from features.sources.mapping import Mapping as FileMapping
from programme.settings import Programme, Settings
from tests.features import shop

# A point has one decimal: what is stored counts tenths.
PROGRAMME = Programme(name="shop", timezone=shop.ZONE, currency="USD", points_scale=1)
Row = dict[str, Any]


def at(text: str) -> datetime:
    """Return an instant without a zone: the shop's clock in files, UTC in the lake."""
    return datetime.fromisoformat(text)


# Table: its section, two rows with their real types, and the rows as the lake keeps them.
SECTIONS: dict[str, dict[str, Any]] = {
    "events": {
        "event": "id", "member": "user", "occurred_at": "at", "kind": "what", "product": "sku",
        "channel": "via", "duration_seconds": "seconds", "value": "stars",
        "anonymous": ["guest"], "kinds": {"page_view": "view", "Rating": "review"},
    },
    "contacts": {
        "contact": "mail", "member": "card", "occurred_at": "at", "kind": "status",
        "decision": "decision", "campaign": "action", "channel": "via", "offer": "gift",
        "arm": "cell", "propensity": "chance", "kinds": {"SEND": "sent", "OPEN": "opened"},
    },
    "points": {
        "posting": "id", "member": "card", "occurred_at": "at", "kind": "why", "points": "points",
        "expires_at": "until", "tier": "level", "kinds": {"spent": "REDEEM"},
        "subtracted": ["spent"],
    },
    "members": {
        "member": "card", "known_at": "changed", "joined_at": "since", "joined_channel": "via",
        "referred_by": "friend", "acquisition_cost": "cost", "attributes": ["born", "region"],
    },
    "identities": {"key": "user", "member": "card", "system": "system", "known_at": "linked",
                   "systems": {"iOS": "app"}},
    "campaigns": {
        "campaign": "code", "kind": "what", "starts_at": "first", "last_day": "last",
        "products": "goods", "separator": "|",
    },
    "consents": {
        "member": "card", "occurred_at": "asked", "channel": "via", "granted": "answer",
        "proof": "sheet", "always": {"purpose": "marketing"},
    },
    "stock": {"product": "sku", "store": "shop", "available": "pieces", "known_at": "counted"},
    "products": {
        "product": "sku", "known_at": "changed", "name": "name", "department": "floor",
        "category": "aisle", "product_type": "shelf", "brand": "maker", "private_label": "own",
        "price": "list", "margin_rate": "margin", "size": "grams",
    },
}  # fmt: skip
ROWS: dict[str, list[Row]] = {
    "events": [
        {"id": "e1", "user": "u-1", "at": at("2024-04-01 10:00"), "what": "page_view",
         "sku": "A1", "via": "app", "seconds": 42.5, "stars": None},
        {"id": "e2", "user": "guest", "at": at("2024-04-02"), "what": "rating", "sku": None,
         "via": "web", "seconds": None, "stars": 4.0},
    ],
    "contacts": [
        {"mail": "m1", "card": "ann", "at": at("2024-03-20 09:00"), "status": "send",
         "decision": "d1", "action": "spring", "via": "mail", "gift": "tea10", "cell": "test",
         "chance": 0.123456789},
        {"mail": "m1", "card": "ann", "at": at("2024-03-21"), "status": "OPEN", "decision": "d1",
         "action": "spring", "via": "mail", "gift": "tea10", "cell": "test",
         "chance": 0.123456789},
    ],
    "points": [
        {"id": "p1", "card": "ann", "at": at("2024-03-20 09:00"), "why": "earn", "points": 12.5,
         "until": at("2025-01-01"), "level": "gold"},
        {"id": "p2", "card": "ann", "at": at("2024-03-21"), "why": "spent", "points": 5.0,
         "until": None, "level": None},
    ],
    "members": [
        {"card": "ann", "changed": at("2024-03-01"), "since": at("2020-02-03"), "via": "shop",
         "friend": "bob", "cost": 4.25, "born": "1984", "region": "Nørre"},
        {"card": "bob", "changed": at("2024-03-01"), "since": None, "via": None, "friend": None,
         "cost": None, "born": None, "region": 'the "old" town'},
    ],
    "identities": [
        {"user": "u-1", "card": "ann", "system": "iOS", "linked": at("2024-03-01")},
        {"user": "u-2", "card": "ann", "system": "iOS", "linked": at("2024-03-02")},
    ],
    "campaigns": [
        {"code": "spring", "what": "coupon", "first": at("2024-03-09"), "last": at("2024-03-10"),
         "goods": "A1| B7"},
        {"code": "all", "what": None, "first": at("2024-03-01"), "last": at("2024-03-01"),
         "goods": None},
    ],
    "consents": [
        {"card": "ann", "asked": at("2024-03-01"), "via": "mail", "answer": True, "sheet": "17"},
        {"card": "ann", "asked": at("2024-03-02"), "via": "mail", "answer": False, "sheet": None},
    ],
    "stock": [
        {"sku": "A1", "shop": "north", "pieces": 12.0, "counted": at("2024-03-01 20:00")},
        {"sku": "A1", "shop": "north", "pieces": 12.0, "counted": at("2024-03-02 20:00")},
    ],
    "products": [
        {"sku": "A1", "changed": at("2024-01-01"), "name": "White tea", "floor": "Food",
         "aisle": "tea", "shelf": "white", "maker": "Yun", "own": True, "list": 8.9,
         "margin": 0.45, "grams": 100.0},
        {"sku": "B7", "changed": at("2024-01-01"), "name": "Cup", "floor": None, "aisle": "cups",
         "shelf": None, "maker": None, "own": False, "list": None, "margin": None, "grams": None},
    ],
}  # fmt: skip
_SUMMER, _WINTER = "04:00", "05:00"  # midnight in New York, in UTC
STORED: dict[str, list[tuple[Any, ...]]] = {
    "events": [
        ("e1", "files", "u-1", at("2024-04-01 14:00"), "view", "A1", "app", 42.5, None,
         at("2024-04-01 14:00")),
        ("e2", "files", None, at(f"2024-04-02 {_SUMMER}"), "review", None, "web", None, 4.0,
         at(f"2024-04-02 {_SUMMER}")),
    ],
    "contacts": [
        ("m1", "opened", at(f"2024-03-21 {_SUMMER}"), "ann", "d1", "spring", "mail", "tea10",
         "test", 0.123456789, at(f"2024-03-21 {_SUMMER}")),
        ("m1", "sent", at("2024-03-20 13:00"), "ann", "d1", "spring", "mail", "tea10", "test",
         0.123456789, at("2024-03-20 13:00")),
    ],
    "points": [
        ("p1", at("2024-03-20 13:00"), "ann", "EARN", 125, at(f"2025-01-01 {_WINTER}"), "gold",
         at("2024-03-20 13:00")),
        ("p2", at(f"2024-03-21 {_SUMMER}"), "ann", "REDEEM", -50, None, None,
         at(f"2024-03-21 {_SUMMER}")),
    ],
    "members": [
        ("ann", at(f"2020-02-03 {_WINTER}"), "shop", "bob", 425,
         '{"born":"1984","region":"Nørre"}', at(f"2024-03-01 {_WINTER}")),
        ("bob", None, None, None, None, '{"born":null,"region":"the \\"old\\" town"}',
         at(f"2024-03-01 {_WINTER}")),
    ],
    "identities": [
        ("app", "u-1", "ann", at(f"2024-03-01 {_WINTER}")),
        ("app", "u-2", "ann", at(f"2024-03-02 {_WINTER}")),
    ],
    "campaigns": [
        ("all", at(f"2024-03-01 {_WINTER}"), at(f"2024-03-02 {_WINTER}"), None, None,
         at(f"2024-03-01 {_WINTER}")),
        # The clocks went forward on its last day, which has 23 hours.
        ("spring", at(f"2024-03-09 {_WINTER}"), at(f"2024-03-11 {_SUMMER}"), "coupon",
         '["A1","B7"]', at(f"2024-03-09 {_WINTER}")),
    ],
    "consents": [
        ("ann", "mail", "marketing", at(f"2024-03-01 {_WINTER}"), True, "17",
         at(f"2024-03-01 {_WINTER}")),
        ("ann", "mail", "marketing", at(f"2024-03-02 {_WINTER}"), False, None,
         at(f"2024-03-02 {_WINTER}")),
    ],
    "stock": [
        ("A1", "north", 12.0, at("2024-03-02 01:00")),
        ("A1", "north", 12.0, at("2024-03-03 01:00")),
    ],
    "products": [
        ("A1", "White tea", "Food", "tea", "white", "Yun", True, 890, 0.45, 100.0,
         at(f"2024-01-01 {_WINTER}")),
        ("B7", "Cup", None, "cups", None, None, False, None, None, None,
         at(f"2024-01-01 {_WINTER}")),
    ],
}  # fmt: skip


def export(
    folder: Path, rows: Sequence[Row], sections: Mapping[str, Any], name: str = "a.csv"
) -> Export:
    """Return a source over one file of rows, CSV or Parquet by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path, index=False)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    mapping = {"source": "files", "programme": PROGRAMME.model_dump(), **sections}
    return Export([path], FileMapping.model_validate(mapping))


def feed(
    folder: Path, table: str, rows: Sequence[Row] | None = None, name: str = "a.csv", **more: Any
) -> Export:
    """Return a source over rows of one table, mapped as above and as said besides."""
    columns = {**SECTIONS[table], **more}
    mapped = {key: value for key, value in columns.items() if value is not None}
    return export(folder, ROWS[table] if rows is None else rows, {table: mapped}, name)


def stored(home: Settings, table: str) -> list[tuple[Any, ...]]:
    """Return the contract's columns of a table's rows, those taken back included, in order."""
    lake = Lake(home)
    rows = lake.rows_sql(table, lake.manifest())
    with engine.connect(home) as connection:
        return connection.execute(
            f"select * exclude (sign, ingested_at, batch_no) from ({rows}) order by all"
        ).fetchall()


def count(done: Ingested, table: str) -> TableCount:
    """Return what became of a table's rows; every row read is somewhere."""
    found = next(one for one in done.counts if one.table == table)
    assert found.stored + found.corrected + found.unchanged + found.refused == found.read
    return found
