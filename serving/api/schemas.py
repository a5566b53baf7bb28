"""The public contract of `/v1/scores`: what is asked, what is answered."""

from datetime import date, datetime
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from training.scores import MEMBER_ID_LENGTH_MAX, Direction, Importance, PopulationName, RiskBand

# One answer within the timeout: explaining a member costs a few milliseconds. Raise both together.
MEMBERS_PER_REQUEST_MAX = 500

MemberId = Annotated[str, StringConstraints(min_length=1, max_length=MEMBER_ID_LENGTH_MAX)]
Probability = Annotated[float, Field(ge=0, le=1)]
Percentile = Annotated[int, Field(ge=1, le=100)]


Part = Literal["churn", "value", "next_products", "next_order"]
PARTS: tuple[Part, ...] = get_args(Part)


class ScoresRequest(BaseModel):
    """Whom to score, and in which language to give the reasons."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"member_ids": ["1", "nobody"], "language": "en"}]},
    )

    member_ids: Annotated[list[MemberId], Field(min_length=1, max_length=MEMBERS_PER_REQUEST_MAX)]
    parts: Annotated[
        list[Part],
        Field(min_length=1, max_length=len(PARTS), description="what to say of each member"),
    ] = list(PARTS)
    drivers: Annotated[
        bool,
        Field(strict=True, description="false leaves the reasons out, which cost most of the time"),
    ] = True
    language: Annotated[
        Literal["en", "zh"] | None,
        Field(description="of the labels; without it, Accept-Language decides"),
    ] = None


class Driver(BaseModel):
    """One reason: its sentence, the raw facts in it, and what it moved."""

    code: str
    label: str
    value: float | str | None
    parameters: dict[str, float | str]
    contribution: float
    direction: Direction
    importance: Importance


Content = TypeVar("Content")
_Reasons = Annotated[Content | None, Field(description="left out where `drivers` was false")]
_Asked = Annotated[Content | None, Field(description="left out unless `parts` names it")]


class Churn(BaseModel):
    """P(no purchase within the horizon); `base` + contributions == `raw_score`, in log-odds."""

    churn_probability: Probability
    horizon_days: int
    percentile: Annotated[Percentile, Field(description="100: the most likely to leave")]
    risk_band: RiskBand
    population: PopulationName
    eligible: Annotated[bool, Field(description="active, so that she can still be kept")]
    base: _Reasons[float] = None
    raw_score: _Reasons[float] = None
    drivers: _Reasons[list[Driver]] = None
    no_single_driver: Annotated[
        bool | None, Field(description="no reason stands out: name several; left out likewise")
    ] = None
    model_name: str
    model_version: int


class Value(BaseModel):
    """Expected spend within the horizon; the reasons are those of an additive imitation.

    `base` + contributions == `raw_score` = log(1 + cents) of the imitation, which lies
    `error_cents` away from `value_cents`.
    """

    value_cents: Annotated[int, Field(description="expected spend, net of returns: an average")]
    low_cents: Annotated[
        int | None,
        Field(description="with high_cents: holds what interval_level of such members spend"),
    ]
    high_cents: Annotated[
        int | None, Field(description="below value_cents where most spend nothing")
    ]
    interval_level: Probability | None
    historic_cents: Annotated[int, Field(description="spend before as_of, net of returns")]
    total_cents: Annotated[int, Field(description="historic_cents + value_cents")]
    margin_cents: Annotated[
        int | None, Field(description="of value_cents, what the shop keeps; null: margins unknown")
    ]
    currency: str
    horizon_days: int
    percentile: Annotated[Percentile, Field(description="100: the most valuable")]
    base: _Reasons[float] = None
    raw_score: _Reasons[float] = None
    drivers: _Reasons[list[Driver]] = None
    no_single_driver: Annotated[
        bool | None, Field(description="no reason stands out: name several; left out likewise")
    ] = None
    exact: Literal[False]
    error_cents: int
    model_name: str
    model_version: int


class Product(BaseModel):
    """One product worth showing."""

    product_id: str
    rank: int
    score: float
    reason: str
    label: str
    parameters: dict[str, float | str]


class Next(BaseModel):
    """Products bought before, to buy again, and products never bought."""

    repeat: list[Product]
    explore: list[Product]


class PurchaseBy(BaseModel):
    """How likely a purchase is within some days."""

    days: Annotated[int, Field(description="from `as_of`, which is day 0; the last is excluded")]
    probability: Probability


class Due(BaseModel):
    """A category the member will need soon, by her own rhythm in it."""

    category: str
    due_on: Annotated[date, Field(description="before `as_of` where she is overdue")]
    overdue: bool
    label: str
    parameters: dict[str, float | str]


_BEYOND = "null: not within `horizon_days`"


class NextOrder(BaseModel):
    """When the next purchase day is expected, and how surely.

    Four in five of such members buy from `earliest_on` to `latest_on`, both included.
    """

    expected_on: Annotated[date | None, Field(description=f"half have bought by it; {_BEYOND}")]
    earliest_on: Annotated[date | None, Field(description=_BEYOND)]
    latest_on: Annotated[date | None, Field(description=_BEYOND)]
    horizon_days: int
    p_by: Annotated[list[PurchaseBy], Field(description="never falls from week to week")]
    due: list[Due]
    exact: Literal[False]
    model_name: str
    model_version: int


class KnownMember(BaseModel):
    """A member with at least one purchase before `as_of`."""

    member_id: str
    known: Literal[True]
    as_of: Annotated[date, Field(description="00:00 of this day in the programme's timezone")]
    data_as_of: Annotated[datetime, Field(description="the last purchase that was known, UTC")]
    churn: _Asked[Churn] = None
    value: _Asked[Value] = None
    next_products: _Asked[Next] = None
    next_order: Annotated[
        NextOrder | None,
        Field(
            description="null: this programme trains no model for it; left out unless `parts` "
            "names it"
        ),
    ] = None


class UnknownMember(BaseModel):
    """A member_id without a purchase before `as_of`."""

    member_id: str
    known: Literal[False]


class ScoresAnswer(BaseModel):
    """One entry per member asked for, in the order asked."""

    scores: list[Annotated[KnownMember | UnknownMember, Field(discriminator="known")]]
    caveat: Annotated[str, Field(description="what the reasons are not; to be shown beside them")]
