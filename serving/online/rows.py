"""A purchase line or an event as it is handed in, and the first thing wrong with it.

What the lake would put into quarantine is refused here, for the same reason, while whoever sent it
can still mend it: the limits are read from the contract, not written down a second time.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from typing import Any, Literal

from features import contracts
from features.contracts import Field, Table
from serving.online.tables import KEY_LENGTH_MAX, SOURCE_LENGTH_MAX

Kind = Literal["purchase", "event"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASHED = "sha256:"


@dataclass(frozen=True, slots=True)
class PurchaseRow:
    """One line of an order; amounts are in minor units, returned goods have negative ones."""

    source: str
    order_id: str
    line_no: str
    occurred_at: datetime
    net_cents: int
    source_key: str | None = None
    product_id: str | None = None
    quantity: float | None = None
    discount_cents: int | None = None
    coupon_cents: int | None = None
    store_id: str | None = None
    channel: str | None = None
    returns_order_id: str | None = None
    returns_line_no: str | None = None

    @property
    def kind(self) -> Kind:
        """Return what it is called in the inbox."""
        return "purchase"

    @property
    def key(self) -> str:
        """Return what names it: other content under it is a correction."""
        return _short(json.dumps([self.source, self.order_id, self.line_no], ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class EventRow:
    """One thing that a member did; its id is its own over all sources."""

    source: str
    event_id: str
    occurred_at: datetime
    kind_of_event: str
    source_key: str | None = None
    product_id: str | None = None
    channel: str | None = None
    duration_seconds: float | None = None
    value: float | None = None

    @property
    def kind(self) -> Kind:
        """Return what it is called in the inbox."""
        return "event"

    @property
    def key(self) -> str:
        """Return what names it."""
        return _short(self.event_id)


Row = PurchaseRow | EventRow
TABLE_OF: dict[Kind, Table] = {"purchase": contracts.PURCHASES, "event": contracts.EVENTS}
_NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (PurchaseRow, EventRow)
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong with a row: a reason of the contract's, and the column."""

    reason: str
    column: str


def content_of(row: Row) -> str:
    """Return the columns of its contract as JSON, in their order; instants are UTC without a zone.

    Equal rows have equal text. An empty text says as little as an absent one.
    """
    values: dict[str, Any] = {}
    for name in _NAMES[type(row)]:
        value = getattr(row, name)
        if isinstance(value, datetime):
            value = value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        elif name in ("quantity", "duration_seconds", "value") and value is not None:
            value = float(value) + 0.0  # 2 and 2.0 are one quantity, and there is one nought
        values["kind" if name == "kind_of_event" else name] = None if value == "" else value
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def fault_of(row: Row, known_at: datetime, readable_until: datetime) -> Fault | None:
    """Return the first thing for which the lake would refuse a row, or that we do; None: nothing.

    Parameters
    ----------
    known_at : now, by our own clock
    readable_until : nothing can have happened after it: the programme's coming midnight
    """
    for column, field in _CHECKED[row.kind]:
        value = getattr(row, column)
        if value is None or value == "":
            if field.required:
                return Fault("missing", field.name)
            continue
        reason = _reason(field, value)
        if reason is not None:
            return Fault(reason, field.name)
        if field.name == "occurred_at" and value >= readable_until:
            return Fault("in_the_future", field.name)
    if known_at < row.occurred_at:
        return Fault("known_before_it_happened", "known_at")
    if len(row.source) > SOURCE_LENGTH_MAX:
        return Fault("too_long", "source")
    return _sign(row) if isinstance(row, PurchaseRow) else None


def _reason(field: Field, value: Any) -> str | None:
    """Return why the lake would not take a value; see `features.contracts`."""
    if field.kind == "text":
        is_member = field.name == "source_key"
        if len(value) > (contracts.MEMBER_KEY_LENGTH_MAX if is_member else field.longest):
            return "too_long"
        if "\0" in value:
            return "nul_character"
        return "unknown_kind" if field.kinds and value not in field.kinds else None
    if field.kind == "instant":
        return "out_of_range" if value < _EPOCH else None
    if field.kind == "cents":
        return "out_of_range" if abs(value) > contracts.CENTS_MAX else None
    if not isfinite(value):
        return "not_a_number"
    if field.within:
        low, high = _BOUNDS[field.within]
        return None if low <= value <= high else "out_of_range"
    return None


def _sign(row: PurchaseRow) -> Fault | None:
    """Return what is wrong with the signs of a line; files are given theirs when they are read."""
    if (row.quantity or 0.0) * row.net_cents < 0:
        return Fault("wrong_sign", "quantity")
    if row.returns_order_id and (row.net_cents > 0 or (row.quantity or 0.0) > 0):
        return Fault("wrong_sign", "net_cents")
    for column in ("discount_cents", "coupon_cents"):
        if (getattr(row, column) or 0) < 0:
            return Fault("negative", column)
    return None


def _short(key: str) -> str:
    """Return a key that fits its column; a long one by its hash, which no other key equals."""
    if len(key) <= KEY_LENGTH_MAX and not key.startswith(_HASHED):
        return key
    return _HASHED + sha256(key.encode()).hexdigest()


def _checked(table: Table, names: tuple[str, ...]) -> Iterator[tuple[str, Field]]:
    """Yield the columns in the order in which the contract finds fault with them."""
    for field in sorted(table.fields, key=lambda field: field.name in table.made_up):
        own = "kind_of_event" if field.name == "kind" else field.name
        if own in names:
            yield own, field


def _bounds(within: str) -> tuple[float, float]:
    """Return the bounds that a contract names in SQL."""
    _, low, _, high = within.split()
    return float(low), float(high)


_CHECKED: dict[Kind, tuple[tuple[str, Field], ...]] = {
    "purchase": tuple(_checked(contracts.PURCHASES, _NAMES[PurchaseRow])),
    "event": tuple(_checked(contracts.EVENTS, _NAMES[EventRow])),
}
_BOUNDS = {
    field.within: _bounds(field.within)
    for checked in _CHECKED.values()
    for _, field in checked
    if field.within
}
