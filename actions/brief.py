"""What a marketer asks for: one campaign as a TOML file, checked before anything is worked out."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actions.arms import BUCKETS, buckets_of
from actions.offers import Catalogue, Channel, Offer
from programme import declared
from programme.errors import InputRefused

_UNDONE = "Nothing was proposed."
WholeWeeks = Annotated[int, Field(gt=0, le=364, multiple_of=7)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Namespace(_Section):
    """Campaigns that must not meet share a namespace, and hold ranges that do not overlap.

    A member's bucket in it, of ten thousand, lies in [first, end) of one of them at most.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    first: Annotated[int, Field(ge=0, lt=BUCKETS)] = 0
    end: Annotated[int, Field(gt=0, le=BUCKETS)] = BUCKETS

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end <= self.first:
            raise ValueError("end must lie above first")
        return self

    def meets(self, other: "Namespace") -> bool:
        """Return whether some member could be in both."""
        return self.name == other.name and self.first < other.end and other.first < self.end


class Brief(_Section):
    """One campaign, as it is asked for.

    Attributes
    ----------
    campaign : its id
    grows : id of an earlier campaign that this one opens to more members: whoever was covered by
        that one is covered, and in the same arm; None: it draws anew
    offers : ids of the catalogue
    budget : units of currency for contacts and redemptions together, as expected; None: no end
    capacity : messages by channel
    control_share : of those who would be contacted, who are not, so that the effect can be told
    explore_share : of every resource, kept for offers drawn at random, so that we go on learning
    coverage : share of members it is open to so far
    horizon_days : for which effects are counted
    """

    campaign: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    grows: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")] | None = None
    name: Annotated[str, Field(min_length=1, max_length=200)] = ""
    offers: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    budget: Annotated[Decimal, Field(gt=0, le=10**10, allow_inf_nan=False)] | None = None
    capacity: dict[Channel, Annotated[int, Field(gt=0, le=10**9)]] = Field(default_factory=dict)
    control_share: Annotated[float, Field(ge=0.01, le=0.5, allow_inf_nan=False)] = 0.1
    explore_share: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.15
    coverage: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    horizon_days: WholeWeeks = 28
    namespace: Namespace | None = None

    @model_validator(mode="after")
    def _shares_are_buckets(self) -> Self:
        for share in (self.control_share, self.coverage):
            try:
                buckets_of(share)
            except InputRefused as error:
                raise ValueError(str(error).split(".")[0] + "; one in ten thousand is the "
                                 "finest share") from error  # fmt: skip
        if repeated := sorted({one for one in self.offers if self.offers.count(one) > 1}):
            raise ValueError(f"offer {repeated[0]} is named twice")
        return self

    @property
    def salt(self) -> str:
        """Return the salt of who is covered and who is in which arm."""
        return self.grows or self.campaign

    def chosen(self, catalogue: Catalogue) -> tuple[Offer, ...]:
        """Return the offers it names.

        Raises
        ------
        InputRefused : if the catalogue lacks one.
        """
        return tuple(catalogue.named(offer) for offer in self.offers)


@dataclass(frozen=True)
class Asked:
    """A brief and the text it was read from."""

    brief: Brief
    text: str


def read(text: str, where: str = "the campaign") -> Asked:
    """Read a brief.

    Raises
    ------
    InputRefused : naming the key that cannot be used.
    """
    tables = declared.tables_of(text, where, _UNDONE)
    return Asked(declared.checked(Brief, tables, where, _UNDONE), text)


def read_file(path: Path) -> Asked:
    """Read a brief from a file; see `read`."""
    return read(declared.text_of(path, _UNDONE), str(path))
