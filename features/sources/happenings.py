"""Sections of a mapping that say what happened: purchases, events, contacts, points, consents."""

from typing import Literal, Self

from pydantic import Field, model_validator

from features import contracts
from features.sources.sections import (
    NO,
    YES,
    Happenings,
    Section,
    refuse_two_meanings,
    refuse_unclear_constants,
    refuse_unknown_kinds,
)


class Returns(Section):
    """How a return is told from a purchase; a negative amount always is one."""

    flag: str | None = None
    values: tuple[str, ...] = ("1", "true", "Y", "yes")
    prefix: str | None = None


class PurchaseColumns(Happenings):
    """Purchase lines."""

    member: str
    order: str | None = None
    line: str | None = None
    product: str | None = None
    amount: str | None = None
    quantity: str | None = None
    unit_price: str | None = None
    discount: str | None = None
    coupon: str | None = None
    store: str | None = None
    channel: str | None = None
    returns_order: str | None = None
    returns: Returns = Returns()
    anonymous: tuple[str, ...] = ()
    exact_duplicates: Literal["keep", "drop"] = "keep"

    def headers(self) -> list[str]:
        """Return the headers that must be present, that of the returns' flag among them."""
        flag = self.returns.flag
        return [*super().headers(), *([flag] if flag is not None else [])]

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        priced = self.quantity is not None and self.unit_price is not None
        if (self.amount is None) == (not priced):
            raise ValueError("say either amount, or quantity and unit_price")
        if self.returns.prefix is not None and self.order is None:
            raise ValueError("returns.prefix is read off the order number: map order too")
        return self


class EventColumns(Happenings):
    """What members do besides buying."""

    event: str | None = None
    number_prefix: str = ""
    member: str
    anonymous: tuple[str, ...] = ()
    kind: str | None = None
    kinds: dict[str, str] = Field(default_factory=dict)
    product: str | None = None
    channel: str | None = None
    duration_seconds: str | None = None
    value: str | None = None
    always: dict[str, str] = Field(default_factory=dict)
    exact_duplicates: Literal["keep", "drop"] = "keep"

    @model_validator(mode="after")
    def _kinds_are_ours(self) -> Self:
        refuse_unclear_constants(self, ("kind", "channel"), needed=("kind",))
        refuse_unknown_kinds(self.kinds, self.always, contracts.EVENT_KINDS)
        return self


class ContactColumns(Happenings):
    """Messages to members and what became of them."""

    contact: str
    number_prefix: str = ""
    member: str
    kind: str | None = None
    kinds: dict[str, str] = Field(default_factory=dict)
    decision: str | None = None
    campaign: str | None = None
    channel: str | None = None
    offer: str | None = None
    arm: str | None = None
    propensity: str | None = None
    always: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _kinds_are_ours(self) -> Self:
        settable = ("kind", "campaign", "channel", "offer", "arm")
        refuse_unclear_constants(self, settable, needed=("kind",))
        refuse_unknown_kinds(self.kinds, self.always, contracts.CONTACT_KINDS)
        return self


class PointsColumns(Happenings):
    """Postings of the loyalty ledger."""

    posting: str | None = None
    number_prefix: str = ""
    member: str
    kind: str | None = None
    kinds: dict[str, str] = Field(default_factory=dict)
    subtracted: tuple[str, ...] = ()
    points: str
    expires_at: str | None = None
    tier: str | None = None
    always: dict[str, str] = Field(default_factory=dict)
    exact_duplicates: Literal["keep", "drop"] = "keep"

    @model_validator(mode="after")
    def _kinds_are_ours(self) -> Self:
        refuse_unclear_constants(self, ("kind",), needed=("kind",))
        refuse_unknown_kinds(self.kinds, self.always, contracts.POINTS_KINDS)
        if self.subtracted and self.kind is None:
            raise ValueError("subtracted lists words of a column: map kind too")
        return self


class ConsentColumns(Happenings):
    """What members agreed to, and when they took it back."""

    member: str
    channel: str | None = None
    purpose: str | None = None
    granted: str
    yes: tuple[str, ...] = YES
    no: tuple[str, ...] = NO
    proof: str | None = None
    always: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_what_for(self) -> Self:
        refuse_unclear_constants(self, ("channel", "purpose"), needed=("channel", "purpose"))
        refuse_two_meanings(self.yes, self.no)
        return self
