"""The public contract of what is asked of one member, and of segments, tags and models."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from serving.api.schemas import Churn, Driver, Next, NextOrder, Percentile, Probability, Value
from serving.nightly import Kind
from training.judged import Alias
from training.scores import PopulationName, RiskBand

_Caveat = Annotated[str, Field(description="what the reasons are not; to be shown beside them")]
_AsOf = Annotated[date, Field(description="00:00 of this day in the programme's timezone")]
_DataAsOf = Annotated[datetime, Field(description="the last that was known of her, UTC")]


class FeatureAnswer(BaseModel):
    """One thing that is known of a member."""

    code: str
    label: Annotated[
        str,
        Field(description="the value in a sentence, in the language asked for where it has words"),
    ]
    value: Annotated[float | str | None, Field(description="null: absent; `meaning` says why")]
    unit: str
    meaning: Annotated[str, Field(description="as an analyst defines it, in English")]


class SegmentOfMember(BaseModel):
    """Where a member stands in one way of dividing everybody."""

    kind: str
    name: str
    label: str


class TagOfMember(BaseModel):
    """A tag a member holds."""

    code: str
    label: str
    says: Annotated[str | None, Field(description="null: its words were not kept")]


class ChurnSummary(BaseModel):
    """How likely she is to stay away; scored when it was asked for."""

    churn_probability: Probability
    horizon_days: int
    percentile: Percentile
    risk_band: RiskBand
    model_name: str
    model_version: int


class ValueSummary(BaseModel):
    """What she is expected to spend; as of `updated_at`."""

    value_cents: int
    currency: str
    horizon_days: int
    percentile: Percentile
    model_name: str
    model_version: int


class ScoresSummary(BaseModel):
    """The scores in short; their routes have the reasons."""

    churn: ChurnSummary | None
    value: ValueSummary | None
    next_order_expected_on: Annotated[date | None, Field(description="null: not foreseen")]


class ProfileAnswer(BaseModel):
    """Everything that is known of one member."""

    member_id: str
    population: PopulationName
    stage: Annotated[SegmentOfMember | None, Field(description="null: the programme is too young")]
    segments: list[SegmentOfMember]
    tags: list[TagOfMember]
    scores: ScoresSummary
    features: list[FeatureAnswer]
    as_of: _AsOf
    tags_as_of: Annotated[
        date,
        Field(
            description="the midnight tags and clusters are of: they are made at night, and "
            "whoever came since has none"
        ),
    ]
    data_as_of: _DataAsOf
    updated_at: Annotated[datetime, Field(description="when her row was last written, UTC")]


class _OfMember(BaseModel):
    member_id: str
    as_of: _AsOf
    data_as_of: _DataAsOf


class MemberChurn(_OfMember):
    """The churn of one member, as `POST /v1/scores` answers it."""

    churn: Churn | None
    caveat: _Caveat


class MemberValue(_OfMember):
    """The value of one member, as `POST /v1/scores` answers it."""

    value: Value | None
    caveat: _Caveat


class MemberNextOrder(_OfMember):
    """The next order of one member, as `POST /v1/scores` answers it."""

    next_order: Annotated[NextOrder | None, Field(description="null: no model is trained for it")]


class MemberRecommendations(_OfMember):
    """What to show one member, as `POST /v1/scores` answers it."""

    next_products: Annotated[Next | None, Field(description="null: no model is trained for it")]


class Reasons(BaseModel):
    """Why a score is what it is: `base` + contributions == `raw_score`."""

    score: Annotated[float, Field(description="a probability of churn, or cents of value")]
    exact: Annotated[bool, Field(description="false: they explain an imitation of the model")]
    error_cents: Annotated[int | None, Field(description="of the imitation; null where exact")]
    base: float | None
    raw_score: float | None
    drivers: list[Driver]
    sentences: Annotated[
        list[str], Field(description="the drivers that are not low, each with its direction")
    ]
    no_single_driver: bool
    model_name: str
    model_version: int


class ExplanationAnswer(_OfMember):
    """Why the scores of one member are what they are, in words."""

    churn: Reasons | None
    value: Reasons | None
    caveat: _Caveat


class SegmentAnswer(BaseModel):
    """One group of members."""

    name: str
    label: str
    meaning: Annotated[str, Field(description="empty where the label says it")]
    members: int
    member_share: Probability


class SegmentKind(BaseModel):
    """One way of dividing everybody."""

    kind: Kind
    groups: list[SegmentAnswer]
    notes: Annotated[list[str], Field(description="how they are read, or why there are none")]


class SegmentsAnswer(BaseModel):
    """How members were divided when everybody was last written."""

    as_of: _AsOf
    published_at: datetime
    members: int
    kinds: list[SegmentKind]


class TagAnswer(BaseModel):
    """One tag: what it says of whoever holds it, by which rule, and how many do."""

    code: str
    label: str
    says: str
    family: str
    members: int
    window_days: int
    sensitivity: Literal["none", "sensitive"]
    rule: Annotated[list[dict[str, Any]], Field(description="all of it must be true")]


class TagsAnswer(BaseModel):
    """A page of tags by their codes, as of the night before everybody was last written."""

    as_of: _AsOf
    published_at: datetime
    tags: list[TagAnswer]
    next_cursor: Annotated[str | None, Field(description="null: this was the last page")]


class ModelAnswer(BaseModel):
    """One version of a registered model, and how it was judged."""

    name: str
    target: str
    alias: Alias
    version: int
    trained_at: datetime | None
    grade: Annotated[str | None, Field(description="A, B, or C: then the best rule is served")]
    kind: Annotated[str | None, Field(description="the candidate that won")]
    feature_set: str | None
    data_window: str | None
    metrics: Annotated[
        dict[str, float], Field(description="`skill` and its interval; of the champion by test")
    ]


class ModelsAnswer(BaseModel):
    """Which models answer, and which would like to."""

    models: list[ModelAnswer]
    in_service: Annotated[
        list[str], Field(description="what this process answers from; empty: nothing yet")
    ]
    shadow: Annotated[
        list[dict[str, Any]],
        Field(description="what the challenger would have said, by pair of versions"),
    ]
