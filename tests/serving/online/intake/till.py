"""Rows as tills and sites hand them in, and what becomes of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from programme.database import Database
from programme.settings import PROGRAMME_FILE, Programme, Settings
from serving.online.inbox import Accepted, accept
from serving.online.rows import EventRow, PurchaseRow, Row
from serving.online.tables import INBOX

NOW = datetime(2024, 6, 3, 17, 30, tzinfo=UTC)
ZONE = "America/New_York"
PROGRAMME = Programme(name="corner", timezone=ZONE, currency="USD")
HOUR = timedelta(hours=1)


def line(order_id: str = "o1", net_cents: int = 1_000, **more: Any) -> PurchaseRow:
    given: dict[str, Any] = {
        "source": "till", "line_no": "1", "occurred_at": NOW - HOUR, "source_key": "ann",
        "product_id": "soap", "quantity": 1.0,
    }  # fmt: skip
    return PurchaseRow(order_id=order_id, net_cents=net_cents, **given | more)


def event(event_id: str = "e1", kind: str = "view", **more: Any) -> EventRow:
    given: dict[str, Any] = {"source": "web", "occurred_at": NOW - HOUR, "source_key": "ann"}
    return EventRow(event_id=event_id, kind_of_event=kind, **given | more)


def hand_in(database: Database, rows: Sequence[Row], now: datetime = NOW) -> list[Accepted]:
    return database.write(lambda connection: accept(connection, rows, now))


def kept(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(INBOX).order_by(INBOX.c.seq)).all())


def found_home(settings: Settings) -> Settings:
    """Give a home its programme."""
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    return settings
