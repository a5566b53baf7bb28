"""The public contract of the loyalty routes: what is asked, what is answered.

Points are whole numbers of the programme's smallest unit; `points_scale` in an answer says how many
decimal places that unit has.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from loyalty.earning import Line
from loyalty.tables import (
    MEMBER_ID_LENGTH_MAX,
    ORDER_ID_LENGTH_MAX,
    POSTING_ID_LENGTH_MAX,
    SOURCE_LENGTH_MAX,
)
from loyalty.terms import POINTS_MAX

# One transaction within the timeout.
LINES_PER_REQUEST_MAX = 500
REASON_LENGTH_MAX = 500
LEDGER_PAGE_MAX = 200

MemberId = Annotated[str, StringConstraints(min_length=1, max_length=MEMBER_ID_LENGTH_MAX)]
PostingId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=POSTING_ID_LENGTH_MAX, pattern=r'^[!-"$-~]+$'),
    Field(description="made by the caller: sent again, it is carried out once"),
]
AnyPostingId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
OrderId = Annotated[str, StringConstraints(min_length=1, max_length=ORDER_ID_LENGTH_MAX)]
Source = Annotated[str, StringConstraints(min_length=1, max_length=SOURCE_LENGTH_MAX)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Points = Annotated[int, Field(gt=0, le=POINTS_MAX, strict=True)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=REASON_LENGTH_MAX)]
Number = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class GoodsLine(_Asked):
    """One line of an order; returned goods have negative amounts."""

    line_no: OrderId
    net_cents: Annotated[int, Field(ge=-(10**12), le=10**12, strict=True)]
    quantity: Number = 1.0
    product_id: Name | None = None
    category: Annotated[
        Name | None, Field(description="path from the widest, such as FOOD/FRESH/FISH")
    ] = None
    channel: Name | None = None
    numbers: Annotated[dict[Name, Number], Field(max_length=50)] = {}

    def as_line(self) -> Line:
        """Return it as the ledger takes it."""
        return Line(
            self.line_no, self.net_cents, self.quantity, self.product_id, self.category,
            self.channel, self.numbers,
        )  # fmt: skip


class PurchaseLine(GoodsLine):
    """One line as it comes in."""

    source: Source
    order_id: OrderId
    member_id: MemberId
    occurred_at: AwareDatetime
    returns_order_id: Annotated[
        OrderId | None, Field(description="the order whose goods come back")
    ] = None
    currency: Annotated[
        str | None,
        Field(pattern="^[A-Z]{3}$", description="refused if it is not the programme's"),
    ] = None


class PurchasesRequest(_Asked):
    """Lines of purchases that earn; a line that comes twice earns once."""

    purchases: Annotated[list[PurchaseLine], Field(min_length=1, max_length=LINES_PER_REQUEST_MAX)]


class RedemptionRequest(_Asked):
    """Points to spend; of the lot that expires first."""

    posting_id: PostingId
    member_id: MemberId
    points: Points
    reason: Reason | None = None


class ReversalRequest(_Asked):
    """A posting to undo, in whole or in part. Points that return keep their first expiry."""

    posting_id: PostingId
    member_id: MemberId
    reverses: AnyPostingId
    points: Annotated[Points | None, Field(description="null: all that is left of it")] = None
    reason: Reason | None = None


class TransferRequest(_Asked):
    """Points to give to another member; they keep their expiry."""

    posting_id: PostingId
    member_id: MemberId
    to_member_id: MemberId
    points: Points
    reason: Reason | None = None


class AdjustmentRequest(_Asked):
    """Points to give or take by hand, and why."""

    posting_id: PostingId
    member_id: MemberId
    points: Annotated[
        int, Field(ge=-POINTS_MAX, le=POINTS_MAX, strict=True, description="not nought")
    ]
    reason: Reason


class SimulationRequest(_Asked):
    """An order that has not happened; nothing is posted."""

    occurred_at: AwareDatetime
    lines: Annotated[list[GoodsLine], Field(min_length=1, max_length=LINES_PER_REQUEST_MAX)]
    member_id: Annotated[
        MemberId | None, Field(description="whose tier and birthday count; null: neither")
    ] = None


class Posted(BaseModel):
    """One change of a member's points, as it was recorded; it never changes."""

    posting_id: str
    posting_no: Annotated[int, Field(description="its place in the member's history")]
    member_id: str
    kind: Literal[
        "EARN", "REDEEM", "EXPIRE", "ADJUST", "REVERSE", "TRANSFER", "ACTIVATE", "OPENING"
    ]
    points: Annotated[int, Field(description="change of what she can spend")]
    pending: Annotated[int, Field(description="change of what she will be able to spend")]
    balance: Annotated[int, Field(description="what she could spend after it; below 0 she owes")]
    points_scale: int
    occurred_at: datetime
    recorded_at: datetime
    expires_at: datetime | None
    tier: str | None
    reverses: str | None
    reason: str | None
    order: str | None
    rule_version: str | None


class RefusedLine(BaseModel):
    """A line that was not taken: its place in the request, from 0, and why."""

    index: int
    code: str
    detail: str


class PurchasesAnswer(BaseModel):
    """What purchases earned."""

    postings: list[Posted]
    known: Annotated[int, Field(description="lines that had come before")]
    refused: list[RefusedLine]


class FiredRule(BaseModel):
    """A rule that had a say."""

    rule: str
    factor: float


class SimulationAnswer(BaseModel):
    """What the order would earn."""

    points: int
    base: Annotated[float, Field(description="before multipliers and rounding")]
    points_scale: int
    rules: list[FiredRule]
    rule_version: str


class BalanceAnswer(BaseModel):
    """What a member has at one instant."""

    member_id: str
    at: datetime
    active: Annotated[int, Field(description="what she can spend")]
    pending: int
    owed: Annotated[int, Field(description="taken from what she earns next")]
    spent: int
    expired: int
    expires_at: Annotated[datetime | None, Field(description="when points next expire")]
    expiring: int
    points_scale: int


class LedgerAnswer(BaseModel):
    """A page of a member's postings, the newest first."""

    postings: list[Posted]
    next_cursor: Annotated[str | None, Field(description="null: this was the last page")]


class TierStep(BaseModel):
    """A tier and the day from which she had it; null: from the beginning."""

    tier: str
    since: date | None


class TierAnswer(BaseModel):
    """Where a member stands, what is missing, until when."""

    member_id: str
    tier: str
    since: date | None
    measure: Literal["points", "cents", "orders", "engagements"]
    amount: int
    next_tier: str | None
    to_next: int | None
    to_retain: int
    after_window: Annotated[str, Field(description="if nothing more is counted by window_end")]
    window_start: date
    window_end: Annotated[date, Field(description="first day that is not judged")]
    grace_until: date | None
    benefits: list[str]
    history: list[TierStep]
