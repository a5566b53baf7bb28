"""What one order or one behaviour earns: arithmetic over rules, exact until it is rounded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor

from loyalty.account import Qualifying
from loyalty.errors import OutsideLimits
from loyalty.rules import WEEKDAYS, Behaviour, Goods, Multiplier, Rules
from programme.calendar import local_date

# What one order may count for tiers, in smallest units: sums of many still fit the database.
COUNTED_MAX = 10**15
_ONE = Fraction(1)


@dataclass(frozen=True)
class Line:
    """One line of an order, as the till has it; returned goods have negative amounts.

    Attributes
    ----------
    category : path from the widest to the narrowest, joined by "/"; a rule for "FOOD" means all
        below it too
    numbers : what else a rule may count by, such as {"eco_score": 3}
    """

    line_no: str
    net_cents: int
    quantity: float = 1.0
    product_id: str | None = None
    category: str | None = None
    channel: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fired:
    """One rule that had a say in what was earned."""

    rule: str
    factor: Fraction


@dataclass(frozen=True)
class Earned:
    """What an order or a behaviour earns, and which rules said so.

    Attributes
    ----------
    points : in the smallest unit, at least nought
    base : points before multipliers, before rounding
    qualifying : what it counts for tiers
    """

    points: int
    base: Fraction
    fired: tuple[Fired, ...]
    qualifying: Qualifying


def order_earns(
    rules: Rules,
    lines: Sequence[Line],
    occurred_at: datetime,
    *,
    tier: str | None,
    birthday: str | None,
) -> Earned:
    """Return what all lines of one order earn together.

    Parameters
    ----------
    tier : of the member before the order
    birthday : of the member as MM-DD, if it is known

    Raises
    ------
    OutsideLimits : if it comes to more than can be counted.
    """
    earn, fired = rules.file.earn, dict[str, Fired]()
    spent = 0
    # By factor: most lines share one, and whole numbers add up faster than fractions.
    counted: dict[Fraction, int | Fraction] = {}
    for line in lines:
        if any(_fits(goods, line) for goods in rules.file.exclude):
            fired["excluded goods"] = Fired("excluded goods", Fraction(0))
            continue
        factor = _ONE
        for rule in rules.file.factor:
            if _fits(rule, line):
                factor *= Fraction(rule.factor)
                fired[rule.name] = Fired(rule.name, Fraction(rule.factor))
        spent += line.net_cents
        counted[factor] = counted.get(factor, 0) + _counted(earn.by, line)
    base = sum((factor * number for factor, number in counted.items()), Fraction(0))
    base = max(Fraction(0), base * rules.points_per_unit)
    if base > COUNTED_MAX or spent > COUNTED_MAX:
        raise OutsideLimits(
            f"The order comes to more than {COUNTED_MAX:,} of the smallest unit, which is more "
            "than can be counted. Nothing was posted. Correct its amounts, or the factors of the "
            "rules."
        )
    bought = spent > 0
    if not bought or spent < rules.money(earn.min_spend):
        return Earned(0, base, tuple(fired.values()), Qualifying(0, max(0, spent), int(bought)))
    multipliers = _multipliers(rules, occurred_at, tier, birthday)
    fired.update((multiplier.rule, multiplier) for multiplier in multipliers)
    whole = _rounded(base, earn.rounding)
    start = Fraction(whole) if earn.rounded == "before_multipliers" else base
    points = _rounded(start * _stacked(earn.stacking, multipliers), earn.rounding)
    points = max(points, rules.points(earn.min_points))
    if earn.max_points is not None:
        points = min(points, rules.points(earn.max_points))
    return Earned(points, base, tuple(fired.values()), Qualifying(whole, spent, 1))


def behaviour_earns(
    rules: Rules, kind: str, value: float | None, *, times_before: int, capped_before: int
) -> Earned | None:
    """Return what a thing a member did earns; None where no rule names it.

    Parameters
    ----------
    value : of the event, in points, where the rule goes by it
    times_before : how often the same kind earned on that day of the programme already
    capped_before : points that behaviours earned on that day towards the cap
    """
    rule = next((rule for rule in rules.file.behaviour if rule.kind == kind), None)
    if rule is None:
        return None
    points = _worth(rules, rule, value)
    if rule.times_a_day is not None and times_before >= rule.times_a_day:
        points = 0
    cap = rules.file.behaviours.daily_cap
    if rule.capped and cap is not None:
        points = min(points, max(0, rules.points(cap) - capped_before))
    counted = Qualifying(
        points, engagements=1 if points else 0, capped_points=points if rule.capped else 0
    )
    return Earned(points, Fraction(points), (Fired(kind, Fraction(1)),), counted)


def _worth(rules: Rules, rule: Behaviour, value: float | None) -> int:
    if rule.points is not None:
        return rules.points(rule.points)
    assert rule.max_points is not None, "checked when the rules were read"
    written = Decimal(repr(value)) if value is not None else Decimal(0)
    return int(min(max(written, rule.min_points), rule.max_points).scaleb(rules.scale))


def _fits(goods: Goods, line: Line) -> bool:
    if goods.category is not None:
        path = line.category or ""
        if path != goods.category and not path.startswith(goods.category + "/"):
            return False
    if goods.products and line.product_id not in goods.products:
        return False
    return goods.channel is None or goods.channel == line.channel


def _counted(by: str, line: Line) -> int | Fraction:
    if by == "spend":
        return line.net_cents
    number = line.quantity if by == "quantity" else line.numbers.get(by, 0.0)
    # As it is written, not as it is stored in binary: 0.1 of a kilo is a tenth.
    return Fraction(repr(float(number)))


def _multipliers(
    rules: Rules, occurred_at: datetime, tier: str | None, birthday: str | None
) -> list[Fired]:
    day = local_date(occurred_at, rules.terms.timezone)
    found = [
        Fired(rule.name, Fraction(rule.factor))
        for rule in rules.file.multiplier
        if _falls_on(rule, day, birthday)
    ]
    if (factor := rules.tier_factor(tier)) != 1:
        found.append(Fired(f"tier {tier}", factor))
    return found


def _falls_on(rule: Multiplier, day: date, birthday: str | None) -> bool:
    if rule.first_day is not None and day < rule.first_day:
        return False
    if rule.last_day is not None and day > rule.last_day:
        return False
    if rule.days and day not in rule.days:
        return False
    if rule.days_of_month and day.day not in rule.days_of_month:
        return False
    if rule.weekdays and WEEKDAYS[day.weekday()] not in rule.weekdays:
        return False
    return rule.birthday is None or _celebrates(rule.birthday, day, birthday)


def _celebrates(span: str, day: date, birthday: str | None) -> bool:
    if birthday is None:
        return False
    month, of_month = (int(part) for part in birthday.split("-"))
    if span == "month":
        return day.month == month
    if (month, of_month) == (2, 29) and (day.year % 4 or (day.year % 100 == 0 and day.year % 400)):
        of_month = 28  # who is born on a leap day is not forgotten in other years
    return (day.month, day.day) == (month, of_month)


def _stacked(stacking: str, multipliers: Sequence[Fired]) -> Fraction:
    factors = [multiplier.factor for multiplier in multipliers]
    if stacking == "add":
        return 1 + sum((factor - 1 for factor in factors), Fraction(0))
    if stacking == "highest":
        return max(factors, default=Fraction(1))
    total = Fraction(1)
    for factor in factors:
        total *= factor
    return total


def _rounded(points: Fraction, rounding: str) -> int:
    return floor(points) if rounding == "floor" else floor(points + Fraction(1, 2))
