"""The public contract of intake: rows of purchases and events as they are handed in.

What a request must be to be read at all stands here. What a row must be to be kept is the contract
of `features.contracts`: a row that breaks it is refused by its place, and the others are kept.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from features.contracts import CENTS_MAX, EVENT_KINDS, MEMBER_KEY_LENGTH_MAX, TEXT_LENGTH_MAX
from serving.online.rows import EventRow, PurchaseRow

ROWS_PER_REQUEST_MAX = 1_000
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII
)


def _written_with_offset(value: Any) -> Any:
    # Left to itself pydantic takes a bare number for seconds since 1970.
    if not isinstance(value, datetime) and not (
        isinstance(value, str) and _INSTANT.fullmatch(value)
    ):
        raise ValueError("write an instant with its UTC offset, such as 2024-06-03T13:30:00-04:00")
    return value


Text = Annotated[str, Field(max_length=TEXT_LENGTH_MAX)]
Maybe = Text | None
Cents = Annotated[
    int,
    Field(
        ge=-(10**15), le=10**15, strict=True,
        description=f"minor units of the programme's currency, within {CENTS_MAX:,} either way",
    ),
]  # fmt: skip
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False, strict=True)]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written_with_offset),
    Field(
        description="with its UTC offset; not after now, not before 1970",
        examples=["2024-06-03T13:30:00-04:00"],
    ),
]
Source = Annotated[
    str,
    Field(min_length=1, max_length=64, description="the system that numbers the rows"),
]
Key = Annotated[
    Maybe,
    Field(
        description=f"the member in that system, of up to {MEMBER_KEY_LENGTH_MAX} characters; "
        "null: anonymous"
    ),
]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class IntakeLine(_Asked):
    """One line of an order; source, order_id and line_no name it.

    The same line again changes nothing; with other content it corrects the earlier one. Returned
    goods have negative net_cents and quantity; discounts and coupons are amounts of nought or more.
    """

    source: Source = "api"
    order_id: Text
    line_no: Text
    source_key: Key = None
    occurred_at: Moment
    product_id: Maybe = None
    quantity: Annotated[
        Number | None, Field(description="units, within a thousand million; negative: returned")
    ] = None
    net_cents: Cents
    discount_cents: Cents | None = None
    coupon_cents: Cents | None = None
    store_id: Maybe = None
    channel: Maybe = None
    returns_order_id: Annotated[Maybe, Field(description="the order whose goods come back")] = None
    returns_line_no: Maybe = None

    def as_row(self) -> PurchaseRow:
        """Return it as the inbox takes it."""
        return PurchaseRow(**self.__dict__)


class IntakeEvent(_Asked):
    """One thing that a member did; event_id names it, over all sources.

    The same event again changes nothing; with other content it corrects the earlier one.
    """

    event_id: Text
    source: Source = "api"
    source_key: Key = None
    occurred_at: Moment
    kind: Annotated[Text, Field(description=f"one of {', '.join(EVENT_KINDS)}")]
    product_id: Maybe = None
    channel: Maybe = None
    duration_seconds: Annotated[Number | None, Field(description="from 0 to 1e9")] = None
    value: Annotated[
        Number | None, Field(description="stars, score, amount: as its kind means it")
    ] = None

    def as_row(self) -> EventRow:
        """Return it as the inbox takes it."""
        values = dict(self.__dict__)
        return EventRow(kind_of_event=values.pop("kind"), **values)


class LinesIntake(_Asked):
    """Lines of purchases, from one order or many."""

    purchases: Annotated[list[IntakeLine], Field(min_length=1, max_length=ROWS_PER_REQUEST_MAX)]


class EventsIntake(_Asked):
    """Events, of one member or many."""

    events: Annotated[list[IntakeEvent], Field(min_length=1, max_length=ROWS_PER_REQUEST_MAX)]


Reason = Literal[
    "missing", "too_long", "nul_character", "unknown_kind", "out_of_range", "not_a_number",
    "in_the_future", "known_before_it_happened", "wrong_sign", "negative",
]  # fmt: skip


class RefusedRow(BaseModel):
    """A row that was not kept: its place in the request, from 0, and why."""

    index: int
    code: Reason
    detail: str


class IntakeAnswer(BaseModel):
    """What became of the rows; those that are not refused are on disk."""

    accepted: Annotated[int, Field(description="new rows, and corrections of earlier ones")]
    known: Annotated[int, Field(description="rows that had come before with the same content")]
    refused: list[RefusedRow]
    last_seq: Annotated[
        int | None, Field(description="the highest number these rows have in the inbox; null: none")
    ]


class WaitingAnswer(BaseModel):
    """What was accepted and is not shown yet."""

    rows: Annotated[int, Field(description="rows whose members are still to be refreshed")]
    since: Annotated[datetime | None, Field(description="when the oldest was accepted; null: none")]
