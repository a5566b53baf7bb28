"""Sections of a mapping that say what is so: products, members, who is who, campaigns, stock."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from features.sources.sections import (
    NO,
    YES,
    Columns,
    DeclaredFacts,
    Facts,
    SourceName,
    refuse_two_meanings,
)


class ProductColumns(Facts):
    """The catalogue, in a file of its own or repeated on every line of another table."""

    product: str
    known_from_beginning: bool = False
    name: str | None = None
    department: str | None = None
    category: str | None = None
    product_type: str | None = None
    path: str | None = None
    path_separator: Annotated[str, Field(min_length=1)] = ">"
    brand: str | None = None
    private_label: str | None = None
    price: str | None = None
    margin_rate: str | None = None
    size: str | None = None
    yes: tuple[str, ...] = YES
    no: tuple[str, ...] = NO

    @model_validator(mode="after")
    def _words_and_dates_agree(self) -> Self:
        if self.known_at is not None and self.known_from_beginning:
            raise ValueError("say either known_at or known_from_beginning, not both")
        if self.path is not None and (self.department or self.category or self.product_type):
            raise ValueError("say either path, or department, category and product_type")
        refuse_two_meanings(self.yes, self.no)
        return self


class MemberColumns(DeclaredFacts):
    """What is declared about members."""

    member: str
    joined_at: str | None = None
    joined_channel: str | None = None
    referred_by: str | None = None
    acquisition_cost: str | None = None
    attributes: tuple[str, ...] = ()


class IdentityColumns(DeclaredFacts):
    """Which member a key of some system is."""

    key: str
    member: str
    system: str | None = None
    systems: dict[str, SourceName] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _systems_have_a_column(self) -> Self:
        if self.systems and self.system is None:
            raise ValueError("systems translates the words of a column: map system too")
        return self


class CampaignColumns(Facts):
    """Campaigns; without a date, known when they begin."""

    campaign: str
    starts_at: str
    ends_at: str | None = None
    last_day: str | None = None
    kind: str | None = None
    products: str | None = None
    separator: Annotated[str, Field(min_length=1)] = ","

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.ends_at is None) == (self.last_day is None):
            raise ValueError(
                "say either ends_at, the first moment after, or last_day, the last day of it"
            )
        return self


class StockColumns(Columns):
    """Units on hand in one shop, each time they were counted."""

    known_at: str
    time_format: str | None = None
    product: str
    store: str
    available: str
