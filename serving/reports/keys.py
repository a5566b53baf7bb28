"""Keys on the terminal: what there are, never what their holders send."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.access.keys import Key
from serving.access.scopes import SCOPES


def show_keys(console: Console, keys: Iterable[Key], *, now: datetime) -> None:
    """Print keys, the oldest first."""
    table = Table("key", "whose", "opens", "a second", "made", "ends", "state")
    for key in keys:
        table.add_row(
            key.key_id, Text(key.name), ", ".join(_in_order(key)), f"{key.per_second:,}",
            _minute(key.created_at), _minute(key.revoked_at or key.expires_at), key.state(now),
        )  # fmt: skip
    console.print(table, markup=False)


def as_json(key: Key, *, now: datetime) -> dict[str, Any]:
    """Return what may be told of a key."""
    return {
        "key_id": key.key_id, "name": key.name, "scopes": _in_order(key),
        "per_second": key.per_second, "created_at": key.created_at, "expires_at": key.expires_at,
        "revoked_at": key.revoked_at, "state": key.state(now),
    }  # fmt: skip


def _in_order(key: Key) -> list[str]:
    return [scope for scope in SCOPES if scope in key.scopes]


def _minute(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
