"""The public contract of campaigns: what is asked, what is answered.

Amounts named `*_cents` are minor units of the currency; as expectations they are doubles.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from actions.brief import Brief
from actions.campaigns import APPROVER_LENGTH_MAX, State
from actions.decisions import ArmName
from loyalty.tables import MEMBER_ID_LENGTH_MAX

CATALOGUE_LENGTH_MAX = 200_000
PAGE_MAX = 500
DECISIONS_OF_MEMBER_MAX = 50

MemberId = Annotated[str, StringConstraints(min_length=1, max_length=MEMBER_ID_LENGTH_MAX)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class CatalogueRequest(_Asked):
    """A version of the offers, as the TOML file that declares it."""

    toml: Annotated[str, StringConstraints(min_length=1, max_length=CATALOGUE_LENGTH_MAX)]


class CampaignRequest(Brief):
    """A campaign to work out: the keys of its file, and the day whose midnight ends the past."""

    as_of: Annotated[date | None, Field(description="null: the latest day there is")] = None


class ApprovalRequest(_Asked):
    """Who says yes."""

    by: Annotated[str, StringConstraints(min_length=1, max_length=APPROVER_LENGTH_MAX)]


class SuppressionRequest(_Asked):
    """Why a member is left alone, and until when."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    until: Annotated[date | None, Field(description="last day of it; null: for good")] = None


class Named(BaseModel):
    """A text in each language."""

    en: str
    zh: str


class OfferAnswer(BaseModel):
    """One offer of the catalogue that holds."""

    id: str
    kind: str
    name: Named
    says: Named
    channel: str
    purpose: str
    entitlement: bool
    contact_cost_cents: float
    redeem_cost_cents: float
    points: int
    first_day: date | None
    last_day: date | None
    stock: int | None


class CatalogueAnswer(BaseModel):
    """The catalogue that holds."""

    version: str
    digest: str
    offers: list[OfferAnswer]


class AdoptedAnswer(BaseModel):
    """What became of a version of the offers."""

    version: str
    new: Annotated[bool, Field(description="false: it was adopted before, nothing changed")]


class CampaignListed(BaseModel):
    """One campaign and how far it has come."""

    campaign_id: str
    name: str
    state: State
    catalogue: str
    as_of: date
    proposal: Annotated[str, Field(description="SHA-256 of what would be done, or was")]
    proposed_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    launched_at: datetime | None
    closed_at: datetime | None


class CampaignAnswer(CampaignListed):
    """One campaign, and what its plan said."""

    facts: Annotated[
        dict[str, Any], Field(description="arms, offers, refusals, prices, power, models")
    ]


class CampaignsAnswer(BaseModel):
    """Campaigns, the last proposed first."""

    campaigns: list[CampaignListed]
    next_cursor: str | None


class ReadOutAnswer(BaseModel):
    """What a campaign changed, in minor units of currency for one member assigned to contact."""

    campaign_id: str
    complete: bool
    stopped: Literal["sample_ratio", "no_control", "too_few"] | None
    readout: Annotated[
        dict[str, Any],
        Field(description="arms, effects with intervals (`always`: valid at any look), costs"),
    ]


class Considered(BaseModel):
    """One offer as it stood for one member."""

    offer: str
    profit_cents: float | None
    error_cents: float | None
    chance: float
    refused: Annotated[str | None, Field(description="code of the gate that refused it")]
    label: Annotated[str | None, Field(description="the refusal in words")] = None


class DecisionAnswer(BaseModel):
    """What was decided about one member in one campaign."""

    decision_id: str
    campaign_id: str
    member_id: str
    arm: ArmName
    planned: str | None
    offer: str | None
    propensity: float
    considered: list[Considered]


class DecisionsAnswer(BaseModel):
    """Decisions of a campaign, by member."""

    decisions: list[DecisionAnswer]
    next_cursor: str | None


class WhyAnswer(DecisionAnswer):
    """A decision, in words, and what became of it."""

    arm_label: str
    decided_at: datetime
    message: Annotated[str | None, Field(description="state of the message, if there was one")]
    why: Annotated[str | None, Field(description="code of why it was not sent")]
    why_label: str | None
    models: dict[str, str]


class MemberDecisionsAnswer(BaseModel):
    """Decisions about a member, the newest first."""

    member_id: str
    decisions: list[WhyAnswer]


class SuppressionAnswer(BaseModel):
    """Whether a member is left alone."""

    member_id: str
    suppressed: bool
    until: date | None = None


class DeliveredAnswer(BaseModel):
    """What one run of the deliverer did; refused: messages by the gate that refused them."""

    sent: int
    later: int
    given_up: int
    refused: dict[str, int]
    files: Annotated[list[str], Field(description="hand-offs in the home's outbox/")]
