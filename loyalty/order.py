"""One order: its lines, the day it is of, and what it has earned so far."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from loyalty.account import Qualifying
from loyalty.earning import Line
from loyalty.postings import digest
from programme.calendar import local_date


@dataclass(frozen=True)
class DatedLine:
    """A line with its instant; `own`: of the order itself, not of goods that came back later."""

    line: Line
    occurred_at: datetime
    own: bool


@dataclass
class Order:
    """One order, in whatever order its lines came.

    Attributes
    ----------
    occurred_at : of its earliest purchase; while only returns are known, of the first of them
    rule_version, tier, birthday : by which it earns; of the day it was settled for
    settled_at : the `occurred_at` for which these were looked up; None where no purchase of it
        was known
    points, qualifying : posted so far, less what was taken back
    """

    source: str
    order_id: str
    member_id: str
    occurred_at: datetime
    rule_version: str = ""
    tier: str | None = None
    birthday: str | None = None
    postings: int = 0
    points: int = 0
    qualifying: Qualifying = field(default_factory=Qualifying)
    lines: list[DatedLine] = field(default_factory=list)
    settled_at: datetime | None = None

    @property
    def key(self) -> str:
        """Return it with its source, as postings name it."""
        return f"{self.source}/{self.order_id}"

    def posting_id(self, number: int) -> str:
        """Return the id of its posting of that number, from 1."""
        return f"#order:{number}:{digest([self.source, self.order_id])[:40]}"

    def purchased_at(self, timezone: str) -> datetime | None:
        """Return when its first purchase was; None while only returns of it are known.

        It is of the first day on which its own lines come to more than nought: neither goods that
        come back date it, nor a line that was taken back again to correct its day.
        """
        own = [kept for kept in self.lines if kept.own]
        bought = [kept.occurred_at for kept in own if kept.line.net_cents > 0]
        if not bought or len({kept.occurred_at for kept in own}) == 1:
            return bought[0] if bought and sum(kept.line.net_cents for kept in own) > 0 else None
        spent = dict.fromkeys((local_date(moment, timezone) for moment in bought), 0)
        for kept in own:
            if (day := local_date(kept.occurred_at, timezone)) in spent:
                spent[day] += kept.line.net_cents
        first = min((day for day, cents in spent.items() if cents > 0), default=None)
        return min((at for at in bought if local_date(at, timezone) == first), default=None)

    def date(self, timezone: str) -> None:
        """Date it by the lines it has now."""
        purchased_at = self.purchased_at(timezone)
        if purchased_at is not None:
            self.occurred_at = purchased_at
        elif self.settled_at is None:
            self.occurred_at = min(kept.occurred_at for kept in self.lines)


def order_of(row: Row[Any]) -> Order:
    """Return the order a row of `orders` holds; its lines are not loaded."""
    return Order(
        row.source, row.order_id, row.member_id, row.occurred_at, row.rule_version, row.tier,
        row.birthday, row.postings, row.points,
        Qualifying(row.qualifying_points, row.qualifying_cents, row.qualifying_orders),
    )  # fmt: skip


def order_row(order: Order) -> dict[str, Any]:
    """Return the row of `orders` that holds an order."""
    fields = dict(vars(order))
    counted = fields.pop("qualifying")
    del fields["lines"], fields["settled_at"]
    return {
        **fields, "qualifying_points": counted.points, "qualifying_cents": counted.cents,
        "qualifying_orders": counted.orders,
    }  # fmt: skip


def line_of(row: Row[Any], order: Order) -> DatedLine:
    """Return the line a row of `order_lines` holds, which counts for `order`."""
    line = Line(
        row.line_no, row.net_cents, row.quantity, row.product_id, row.category, row.channel,
        json.loads(row.numbers) if row.numbers else {},
    )  # fmt: skip
    own = row.order_id == row.counts_for
    return DatedLine(line, row.occurred_at or order.occurred_at, own)


def line_fields(line: Line) -> dict[str, Any]:
    """Return the columns of `order_lines` that hold what a line says itself."""
    fields = dict(vars(line))
    numbers: Mapping[str, float] = fields.pop("numbers")
    return {**fields, "numbers": json.dumps(dict(numbers)) if numbers else None}
