"""Rows of the tables as the things they hold, and back."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import Row, Table

from loyalty.account import Account, Lot, Qualifying
from loyalty.postings import Posting

Rows = Sequence[dict[str, Any]]
# New rows; rows of known keys; either, with what they hold now; either, to be added to what is.
How = Literal["append", "change", "upsert", "add_up"]
# A `Qualifying`, in the order of its fields.
MEASURES = (
    "qualifying_points", "qualifying_cents", "qualifying_orders", "qualifying_engagements",
    "capped_points",
)  # fmt: skip


class Write(NamedTuple):
    """Rows for one table, and how they are written."""

    how: How
    table: Table
    rows: Rows


@cache
def keys_of(table: Table) -> list[str]:
    """Return the names of the columns by which a table knows its rows."""
    return [column.name for column in table.primary_key]


def account_of(row: Row[Any]) -> Account:
    """Return the account a row of `accounts` holds; its lots are not loaded."""
    return Account(
        row.member_id, row.recorded_at, row.postings, row.lots, row.active, row.pending,
        row.spent, row.expired, row.due_at, row.idle_at, row.chain, row.birthday,
    )  # fmt: skip


def account_row(account: Account) -> dict[str, Any]:
    """Return the row of `accounts` that holds an account."""
    return {
        "member_id": account.member_id, "postings": account.postings, "lots": account.lots_made,
        "active": account.active, "pending": account.pending, "spent": account.spent,
        "expired": account.expired, "recorded_at": account.recorded_at,
        "due_at": account.due_at, "idle_at": account.idle_at, "chain": account.chain,
        "birthday": account.birthday,
    }  # fmt: skip


def lot_of(row: Row[Any]) -> Lot:
    """Return the lot a row of `lots` holds."""
    return Lot(
        row.lot_no, row.posting_no, row.points, row.available_at, row.expires_at, row.ends_at,
        row.idle, row.waiting, row.remaining, row.spent, row.expired, row.reversed,
    )  # fmt: skip


def lot_row(member_id: str, lot: Lot) -> dict[str, Any]:
    """Return the row of `lots` that holds a member's lot."""
    return {"member_id": member_id, **vars(lot)}


def qualifying_of(row: Row[Any]) -> Qualifying:
    """Return what a row of `member_days` counted."""
    return Qualifying(*(getattr(row, name) for name in MEASURES))


def posting_of(row: Row[Any]) -> Posting:
    """Return the posting a row of `postings` holds."""
    fields = dict(row._mapping)
    amounts = [fields.pop(name) for name in MEASURES]
    return Posting(**fields, qualifying=Qualifying(*amounts))


def posting_row(posting: Posting) -> dict[str, Any]:
    """Return the row of `postings` that holds a posting."""
    fields = dict(vars(posting))
    amounts = fields.pop("qualifying").amounts
    return {**fields, **dict(zip(MEASURES, amounts, strict=True))}
