"""The catalogue of offers as data: what may be made to whom, what it costs, and for how long.

An offer knows no tier. Neither can its conditions ask for one: whatever a tier decided, a status
or an amount of points that a tier multiplied, is refused when the file is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from actions.errors import UnknownOffer
from features.points import POINTS
from features.tags import columns
from features.tags.comparison import Compare
from features.tags.conditions import Among, Condition, Holds, walk
from features.tags.declared import Identifier, Words
from features.tags.rules import Rules as TagRules
from programme import declared
from programme.declared import Place
from programme.errors import InputRefused
from programme.settings import Programme
from programme.words import MINOR_DIGITS

OfferKind = Literal["win_back", "cross_sell", "nurture", "replenish", "care"]
Channel = Literal[
    "sms", "email", "app_push", "template_message", "call", "coupon_at_till", "points"
]  # fmt: skip
Purpose = Literal["marketing", "service"]
Reason = Literal["service", "price", "need_gone", "habit_shift"]
Money = Annotated[Decimal, Field(ge=0, le=10**7, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

KINDS: tuple[OfferKind, ...] = ("win_back", "cross_sell", "nurture", "replenish", "care")
# What the global control withholds: that which is meant to change what somebody buys.
WITHHELD: tuple[OfferKind, ...] = ("win_back", "cross_sell", "nurture", "replenish")
# Reaching somebody at home asks for her consent; what meets her in the shop does not.
CONSENTED: tuple[Channel, ...] = ("sms", "email", "app_push", "template_message", "call")
# Whatever a tier decided, or multiplied.
TIER_DERIVED = frozenset(column.name for column in POINTS.columns if column.use == "report")
_UNDONE = "No offer was read."
_SOURCES = ("features", "segments", "scores")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Offer(_Section):
    """One offer: an action the programme can take towards a member.

    Attributes
    ----------
    says : what the member reads
    contact_cost : of one message, in units of currency; spent whether or not she answers
    redeem_cost : what the programme gives up when she redeems
    redeem_rate : share of those contacted who redeem, before anything is measured
    uplift : share of the churn probability that a contact is believed to take away before
        anything is measured; None: the published prior
    points : posted to her account when the offer is delivered
    stock : how many there are; None: no end
    entitlement : she has a right to it: neither the global control nor caps hold it back
    reason : the inferred reason to leave that it answers
    when : all of it must be true of her
    """

    id: Identifier
    kind: OfferKind
    name: Words
    says: Words
    channel: Channel
    purpose: Purpose = "marketing"
    contact_cost: Money = Decimal(0)
    redeem_cost: Money = Decimal(0)
    redeem_rate: Share = 0.1
    uplift: Share | None = None
    points: Annotated[Decimal, Field(ge=0, le=10**9)] = Decimal(0)
    first_day: date | None = None
    last_day: date | None = None
    valid_days: Annotated[int, Field(ge=1, le=366)] = 28
    stock: Annotated[int, Field(ge=1, le=10**9)] | None = None
    entitlement: bool = False
    reason: Reason | None = None
    when: tuple[Condition, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError("last_day lies before first_day")
        if self.entitlement and self.kind != "care":
            raise ValueError("only an offer of kind care can be an entitlement")
        if self.channel == "points" and not self.points:
            raise ValueError("an offer by points says how many points")
        if self.reason is not None and self.kind != "win_back":
            raise ValueError("only an offer of kind win_back has a reason")
        return self

    @property
    def is_withheld(self) -> bool:
        """Return whether members of the global control do without it."""
        return self.kind in WITHHELD and not self.entitlement

    def holds_on(self, day: date) -> bool:
        """Return whether it can be made on a day."""
        return (self.first_day is None or day >= self.first_day) and (
            self.last_day is None or day <= self.last_day
        )

    def conditions(self) -> Iterator[Condition]:
        """Yield everything its conditions ask."""
        for condition in self.when:
            yield from walk(condition)


class Cap(_Section):
    """At most so many contacts within so many days.

    Attributes
    ----------
    channel : None counts the contacts of every channel
    """

    channel: Channel | None = None
    most: Annotated[int, Field(ge=0, le=1_000)]
    days: Annotated[int, Field(ge=1, le=366)]


# What is worth refusing before anybody complains; a programme that knows better says so.
CAPS = (
    Cap(most=2, days=7), Cap(channel="sms", most=1, days=14),
    Cap(channel="coupon_at_till", most=1, days=28),
)  # fmt: skip


class Guards(_Section):
    """What holds for every offer.

    Attributes
    ----------
    without_consent : what becomes of a member of whom no consent is known for a channel that
        asks for it
    global_control : share of members who get nothing of what is meant to change what they buy
    control_period : names it; another name draws other members
    cool_down_days : between two offers of one kind
    after_redemption_days : between a redemption and the next offer
    complaint_days : for which somebody who complained is left alone
    quiet_from, quiet_until : hours of the programme's day in which nothing is sent
    """

    without_consent: Literal["refuse", "allow"] = "refuse"
    global_control: Share = 0.05
    control_period: Annotated[str, Field(min_length=1, max_length=64)] = "first"
    cool_down_days: Annotated[int, Field(ge=0, le=366)] = 28
    after_redemption_days: Annotated[int, Field(ge=0, le=366)] = 14
    complaint_days: Annotated[int, Field(ge=0, le=366)] = 28
    quiet_from: Annotated[int, Field(ge=0, le=23)] = 21
    quiet_until: Annotated[int, Field(ge=0, le=23)] = 9
    cap: tuple[Cap, ...] = CAPS


class CatalogueFile(_Section):
    """Everything one file declares.

    Attributes
    ----------
    margin_rate : what the shop keeps of a unit of spend, where goods do not say it
    """

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    margin_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.25
    guards: Guards = Guards()
    offer: Annotated[tuple[Offer, ...], Field(min_length=1, max_length=500)]

    @field_validator("offer")
    @classmethod
    def _each_once(cls, offers: tuple[Offer, ...]) -> tuple[Offer, ...]:
        ids = [offer.id for offer in offers]
        if repeated := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"two offers are called {repeated[0]}")
        return offers


@dataclass(frozen=True)
class Catalogue:
    """One version of the offers, for a programme.

    Attributes
    ----------
    text : the file as it was written
    digest : 16 hexadecimal digits of it
    cents : decimal places of the currency
    scale : decimal places of points
    """

    file: CatalogueFile
    text: str
    cents: int
    scale: int

    @property
    def version(self) -> str:
        """Return the name of this version."""
        return self.file.version

    @property
    def digest(self) -> str:
        """Return 16 hexadecimal digits of the file."""
        return sha256(self.text.encode()).hexdigest()[:16]

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Return the offers in the order of the file."""
        return self.file.offer

    def named(self, offer_id: str) -> Offer:
        """Return an offer by its id.

        Raises
        ------
        InputRefused : if there is none.
        """
        for offer in self.offers:
            if offer.id == offer_id:
                return offer
        raise UnknownOffer(
            f"The catalogue {self.version} has no offer {offer_id[:64]!r}. Nothing was done. It "
            f"has: {', '.join(offer.id for offer in self.offers)[:1000]}."
        )

    def minor_units(self, written: Decimal) -> float:
        """Return an amount of currency in minor units; a message may cost part of one."""
        return float(written.scaleb(self.cents))

    def points(self, offer: Offer) -> int:
        """Return what an offer posts, in the smallest unit of points."""
        return int(offer.points.scaleb(self.scale))

    def check_tags(self, known: TagRules) -> None:
        """Refuse offers that ask for tags which are not there, or which a tier had a hand in.

        Raises
        ------
        InputRefused : naming the offer and the tag.
        """
        reads = {tag.id: tag for tag in (*known.tags, *known.off)}
        for offer in self.offers:
            for asked in (part.tag for part in offer.conditions() if isinstance(part, Holds)):
                if asked not in reads and asked not in known.absent:
                    raise InputRefused(
                        f"Offer {offer.id!r} asks for the tag {asked!r}, which nobody declared. "
                        "Nothing was done. perennial tags --list shows all."
                    )
                tainted = sorted(_taints(asked, known) & TIER_DERIVED)
                if tainted and offer.kind != "care":
                    raise InputRefused(
                        f"Offer {offer.id!r} asks for the tag {asked!r}, which reads "
                        f"{tainted[0]}: a tier decided it, and a tier never decides an offer. "
                        "Nothing was done. Ask for what the member did instead."
                    )


def read(text: str, programme: Programme, where: str = "the catalogue") -> Catalogue:
    """Read one version of the catalogue.

    Parameters
    ----------
    where : what the text is called in errors, such as its file

    Raises
    ------
    InputRefused : naming the offer and the key that cannot be used.
    """
    tables = declared.tables_of(text, where, _UNDONE)
    file = declared.checked(
        CatalogueFile, tables, where, _UNDONE, lambda place: _named_key(place, tables)
    )
    catalogue = Catalogue(
        file, text, MINOR_DIGITS.get(programme.currency, 2), programme.points_scale
    )
    for offer in file.offer:
        _check_columns(offer, f"{where}: offer {offer.id!r}")
        if offer.points != round(offer.points, programme.points_scale):
            raise InputRefused(
                f"{where}: offer {offer.id!r} gives {offer.points} points, finer than "
                f"{programme.points_scale} decimal places, which is how they are counted here. "
                "No offer was read."
            )
    return catalogue


def read_file(path: Path, programme: Programme) -> Catalogue:
    """Read one version of the catalogue from a file; see `read`."""
    return read(declared.text_of(path, _UNDONE), programme, str(path))


def _check_columns(offer: Offer, where: str) -> None:
    for part in offer.conditions():
        if not isinstance(part, Compare | Among):
            continue
        for name in part.columns():
            if name in TIER_DERIVED and (offer.kind != "care" or name in columns.TIER_DERIVED):
                raise InputRefused(
                    f"{where} reads {name}, which a tier decided. A tier never decides an offer. "
                    "No offer was read. Use what the member did instead."
                )
            known = columns.find(name, frozenset(), where, undone="No offer was read.")
            if known.source not in _SOURCES:
                raise InputRefused(
                    f"{where} reads {name}; an offer reads features, segments and scores. No "
                    "offer was read. Declare a tag that reads it in tags.toml, and ask for the "
                    "tag."
                )
            wanted = "name" if isinstance(part, Among) else "number"
            if known.kind != wanted:
                how = "among" if known.kind == "name" else "at_least or at_most"
                raise InputRefused(
                    f"{where} reads {name} as a {wanted}, but it holds {known.kind}s. No offer "
                    f"was read. Compare it with {how}."
                )


def _taints(tag_id: str, known: TagRules) -> set[str]:
    """Return the columns a tag reads, itself or through the tags it asks for."""
    found: set[str] = set()
    waiting, seen = [tag_id], set[str]()
    rules = {tag.id: tag for tag in (*known.tags, *known.off)}
    while waiting:
        one = waiting.pop()
        if one in seen or one not in rules:
            continue
        seen.add(one)
        for part in (part for condition in rules[one].rule for part in walk(condition)):
            if isinstance(part, Holds):
                waiting.append(part.tag)
            elif isinstance(part, Compare | Among):
                found |= set(part.columns())
    return found


def _named_key(place: Place, tables: dict[str, object]) -> str:
    """Return where a fault lies, with an offer's id in place of its number."""
    shown = [str(part) for part in place]
    if len(place) > 1 and place[0] == "offer" and isinstance(place[1], int):
        listed = tables.get("offer")
        entry = listed[place[1]] if isinstance(listed, list) else None
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            shown[1] = str(entry["id"])[:64]
    return ".".join(shown)
