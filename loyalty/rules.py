"""Earning rules as data: one TOML file is one version, checked whole before it is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from loyalty.lasting import Lasting, Until
from loyalty.terms import POINTS_MAX, Limits, SpentPoints, Terms
from loyalty.tiers import Downgrade, Measure, Tier, TierPolicy
from programme import declared
from programme.calendar import zone
from programme.errors import InputRefused
from programme.settings import Programme
from programme.words import MINOR_DIGITS

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNDONE = "No rule was changed."
# Points and money may be written to this many places, whatever the programme counts.
PLACES_MAX = 9
AMOUNT_MAX = 10**12


def _writable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds a character that cannot be printed")
    return text


def _exact(number: Decimal) -> Decimal:
    """Refuse numbers whose exact fractions would be endless, or whose digits would be rounded."""
    _, digits, exponent = number.as_tuple()
    if len(digits) > 25 or not isinstance(exponent, int) or -exponent > PLACES_MAX:
        raise ValueError(f"it must have at most {PLACES_MAX} decimal places")
    return number


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_writable)]
# As people write them: 1.5 points, 0.50 of currency, three times. Read as decimals, never binary.
Points = Annotated[Decimal, Field(ge=0, le=POINTS_MAX), AfterValidator(_exact)]
SomePoints = Annotated[Decimal, Field(gt=0, le=POINTS_MAX), AfterValidator(_exact)]
Amount = Annotated[Decimal, Field(ge=0, le=AMOUNT_MAX), AfterValidator(_exact)]
FactorOf = Annotated[Decimal, Field(ge=0, le=1_000), AfterValidator(_exact)]
Unit = Annotated[Decimal, Field(ge=Decimal("0.000001"), le=10**9), AfterValidator(_exact)]
# A hundred years and more: beyond, a calendar ends.
LONGEST = {"days": 40_000, "idle": 40_000, "month": 1_200, "quarter": 400, "year": 100}
SHORTEST_WINDOW = {"month": 28, "quarter": 90, "half_year": 181, "year": 365, "rolling": 0}
WINDOW_MONTHS = {"month": 1, "quarter": 3, "half_year": 6, "year": 12}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PointsSection(_Section):
    """How long points last, and what happens to spent points that are taken back."""

    until: Until = "never"
    count: Annotated[int, Field(ge=0, le=40_000)] = 0
    grace_days: Annotated[int, Field(ge=0, le=366)] = 0
    pending_days: Annotated[int, Field(ge=0, le=366)] = 0
    spent_points: SpentPoints = "negative"

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        longest = LONGEST.get(self.until, 0)
        if self.count > longest:
            raise ValueError(
                f'count is {self.count}; with until = "{self.until}" it is at most {longest}'
            )
        if self.until in ("days", "idle") and not self.count:
            raise ValueError(f'until = "{self.until}" needs count: for how many days points last')
        return self


class LimitsSection(_Section):
    """What is refused as a mistake."""

    points_max: SomePoints = Decimal(1_000_000)
    backdated_days: Annotated[int, Field(ge=0, le=40_000)] = 400
    future_minutes: Annotated[int, Field(ge=0, le=1_440)] = 5
    closed_through: date | None = None


class EarnSection(_Section):
    """What an order earns before multipliers: some points for each unit."""

    by: Text = "spend"  # spend, quantity, or the name of a number that lines carry
    unit: Unit = Decimal(1)
    points: Points = Decimal(1)
    rounding: Literal["floor", "half_up"] = "floor"
    rounded: Literal["before_multipliers", "after_multipliers"] = "after_multipliers"
    stacking: Literal["multiply", "add", "highest"] = "multiply"
    min_spend: Amount = Decimal(0)
    min_points: Points = Decimal(0)
    max_points: SomePoints | None = None

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.max_points is not None and self.min_points > self.max_points:
            raise ValueError("min_points is above max_points")
        return self


class Goods(_Section):
    """Which lines of an order are meant; all that are given must fit."""

    category: Text | None = None
    products: tuple[Text, ...] = ()
    channel: Text | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.category is None and not self.products and self.channel is None:
            raise ValueError("name a category, products or a channel")
        return self


class Factor(Goods):
    """Goods that earn more or less than others."""

    name: Text
    factor: FactorOf


class Multiplier(_Section):
    """Days on which an order earns more; all that is given must fit."""

    name: Text
    factor: FactorOf
    days: tuple[date, ...] = ()
    days_of_month: tuple[Annotated[int, Field(ge=1, le=31)], ...] = ()
    weekdays: tuple[Weekday, ...] = ()
    birthday: Literal["day", "month"] | None = None
    first_day: date | None = None
    last_day: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError("last_day lies before first_day")
        return self


class Behaviour(_Section):
    """What a thing a member does earns, besides buying."""

    kind: Text
    points: Points | None = None
    from_value: bool = False  # as many points as the event's value, within the two bounds
    min_points: Points = Decimal(0)
    max_points: SomePoints | None = None
    times_a_day: Annotated[int, Field(ge=1, le=1_000)] | None = None
    capped: bool = True  # counts towards the daily cap and ends with it

    @model_validator(mode="after")
    def _says_how_many(self) -> Self:
        if (self.points is None) != self.from_value:
            raise ValueError("give either points or from_value = true")
        if self.from_value and self.max_points is None:
            raise ValueError("from_value needs max_points")
        if not self.from_value and (self.min_points or self.max_points is not None):
            raise ValueError("min_points and max_points go with from_value = true")
        if self.max_points is not None and self.min_points > self.max_points:
            raise ValueError("min_points is above max_points")
        return self


class BehavioursSection(_Section):
    """What all behaviours together earn on one day of the programme."""

    daily_cap: Points | None = None


class Level(_Section):
    """One tier."""

    name: Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_writable)]
    threshold: Amount = Decimal(0)
    retain: Amount | None = None
    multiplier: FactorOf = Decimal(1)
    benefits: tuple[Text, ...] = ()


class TiersSection(_Section):
    """How tiers are reached, kept and lost."""

    by: Literal["points", "spend", "orders", "engagements"]
    window: Literal["month", "quarter", "half_year", "year", "rolling"] = "year"
    days: Annotated[int, Field(ge=1, le=3_660)] | None = None
    downgrade: Downgrade = "one_down"
    grace_days: Annotated[int, Field(ge=0, le=366)] = 0
    level: Annotated[tuple[Level, ...], Field(min_length=2, max_length=9)]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if (self.window == "rolling") != (self.days is not None):
            raise ValueError('window = "rolling" and days go together')
        shortest = self.days or SHORTEST_WINDOW[self.window]
        if self.grace_days >= shortest:
            raise ValueError(f"grace_days must be less than the window, {shortest} days")
        if self.level[0].threshold:
            raise ValueError("the first level has threshold 0: everybody has it")
        names = [level.name for level in self.level]
        thresholds = [level.threshold for level in self.level]
        if len(set(names)) < len(names):
            raise ValueError("two levels have the same name")
        if sorted(set(thresholds)) != thresholds:
            raise ValueError("thresholds must rise from level to level")
        for level in self.level:
            if level.retain is not None and level.retain > level.threshold:
                raise ValueError(f"{level.name}: retain is above its threshold")
        return self


class RulesFile(_Section):
    """A whole file, as it is written."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
    valid_from: date
    points: PointsSection = PointsSection()
    limits: LimitsSection = LimitsSection()
    earn: EarnSection = EarnSection()
    factor: tuple[Factor, ...] = ()
    exclude: tuple[Goods, ...] = ()
    multiplier: tuple[Multiplier, ...] = ()
    behaviours: BehavioursSection = BehavioursSection()
    behaviour: tuple[Behaviour, ...] = ()
    tiers: TiersSection | None = None

    @field_validator("behaviour")
    @classmethod
    def _each_once(cls, behaviours: tuple[Behaviour, ...]) -> tuple[Behaviour, ...]:
        kinds = [behaviour.kind for behaviour in behaviours]
        if len(set(kinds)) < len(kinds):
            raise ValueError("two behaviours have the same kind")
        return behaviours

    @model_validator(mode="after")
    def _can_be_posted(self) -> Self:
        """Refuse rules by which whatever earned at all would be refused as too much."""
        least = {"earn.min_points": self.earn.min_points}
        for rule in self.behaviour:
            least[f"points of {rule.kind}"] = rule.points or rule.min_points
        for what, points in least.items():
            if points > self.limits.points_max:
                raise ValueError(
                    f"{what} is {points}, above limits.points_max, {self.limits.points_max}"
                )
        return self


@dataclass(frozen=True)
class Rules:
    """One version of the rules, in the smallest units of a programme.

    Attributes
    ----------
    text : the file as it was written
    scale, cents : decimal places of points and of the currency
    """

    file: RulesFile
    text: str
    terms: Terms
    scale: int
    cents: int

    @property
    def version(self) -> str:
        """Return the name of this version."""
        return self.file.version

    def points(self, written: Decimal) -> int:
        """Return written points in the smallest unit; `read` saw that they are whole ones."""
        return int(written.scaleb(self.scale))

    def money(self, written: Decimal) -> int:
        """Return a written amount of currency in minor units."""
        return int(written.scaleb(self.cents))

    @property
    def points_per_unit(self) -> Fraction:
        """Return points, in the smallest unit, for one unit of what orders earn by.

        The unit is a minor unit of currency where that is spend.
        """
        earn = self.file.earn
        unit = earn.unit.scaleb(self.cents) if earn.by == "spend" else earn.unit
        return Fraction(earn.points.scaleb(self.scale)) / Fraction(unit)

    @property
    def tier_names(self) -> tuple[str, ...]:
        """Return the tiers, lowest first."""
        tiers = self.file.tiers
        return () if tiers is None else tuple(level.name for level in tiers.level)

    def tier_factor(self, tier: str | None) -> Fraction:
        """Return by how much a tier multiplies what an order earns."""
        levels = () if self.file.tiers is None else self.file.tiers.level
        return Fraction(next((level.multiplier for level in levels if level.name == tier), 1))


def read(text: str, programme: Programme, where: str = "the rules") -> Rules:
    """Read one version of the rules.

    Parameters
    ----------
    where : what the text is called in errors, such as its file

    Raises
    ------
    InputRefused : naming the key that cannot be used.
    """
    tables = declared.tables_of(text, where, _UNDONE)
    file = declared.checked(RulesFile, tables, where, _UNDONE)
    cents = MINOR_DIGITS.get(programme.currency, 2)
    _check_scales(file, programme.points_scale, cents, where)
    return Rules(file, text, _terms(file, programme, cents), programme.points_scale, cents)


def read_file(path: Path, programme: Programme) -> Rules:
    """Read one version of the rules from a file; see `read`."""
    return read(declared.text_of(path, _UNDONE), programme, str(path))


def _terms(file: RulesFile, programme: Programme, cents: int) -> Terms:
    zone(programme.timezone)
    points, limits = file.points, file.limits
    return Terms(
        programme.timezone,
        programme.points_scale,
        Lasting(points.until, points.count, points.grace_days, points.pending_days),
        points.spent_points,
        None if file.tiers is None else _policy(file.tiers, programme.points_scale, cents),
        Limits(
            int(limits.points_max.scaleb(programme.points_scale)),
            limits.backdated_days,
            limits.future_minutes,
            limits.closed_through,
        ),
    )


def _policy(tiers: TiersSection, scale: int, cents: int) -> TierPolicy:
    measure: Measure = "cents" if tiers.by == "spend" else tiers.by
    digits = {"cents": cents, "points": scale}.get(measure, 0)
    levels, benefits = [], list[str]()
    for level in tiers.level:
        # What a lower tier unlocks, a higher one has too.
        benefits += level.benefits
        retain = level.threshold if level.retain is None else level.retain
        levels.append(
            Tier(
                level.name, int(level.threshold.scaleb(digits)), int(retain.scaleb(digits)),
                tuple(benefits),
            )
        )  # fmt: skip
    months = WINDOW_MONTHS.get(tiers.window)
    return TierPolicy(tuple(levels), measure, months, tiers.days, tiers.downgrade, tiers.grace_days)


def _check_scales(file: RulesFile, scale: int, cents: int, where: str) -> None:
    """Refuse points and money finer than the programme counts them."""
    tiers = file.tiers
    digits = {"points": scale, "spend": cents}.get(tiers.by, 0) if tiers else 0
    written: Sequence[tuple[str, Any, int]] = [
        ("limits.points_max", file.limits.points_max, scale),
        ("earn.min_points", file.earn.min_points, scale),
        ("earn.max_points", file.earn.max_points, scale),
        ("earn.min_spend", file.earn.min_spend, cents),
        ("behaviours.daily_cap", file.behaviours.daily_cap, scale),
        *(
            (f"behaviour.{behaviour.kind}.{name}", getattr(behaviour, name), scale)
            for behaviour in file.behaviour
            for name in ("points", "min_points", "max_points")
        ),
        *(
            (f"tiers.level.{level.name}.{name}", getattr(level, name), digits)
            for level in (tiers.level if tiers else ())
            for name in ("threshold", "retain")
        ),
    ]
    for key, value, places in written:
        if value is not None and value != round(value, places):
            raise InputRefused(
                f"{where}: {key} is {value}, finer than {places} decimal places, which is how it "
                "is counted here. No rule was changed. Round it, or count finer from the first "
                "posting on (points_scale of perennial.toml)."
            )
