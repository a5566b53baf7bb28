"""A little programme's rules and purchases, for tests of what orders earn."""

from datetime import UTC, date, datetime, timedelta
from itertools import count

from loyalty.earning import Line
from loyalty.orders import Purchase
from loyalty.rulebook import Rulebook
from loyalty.rules import Rules, read
from programme.settings import Programme

PROGRAMME = Programme(name="corner", timezone="Asia/Shanghai", currency="CNY", points_scale=2)
NOW = datetime(2018, 6, 15, 4, tzinfo=UTC)  # noon in Shanghai
RULES = """
version = "2018-01"
valid_from = 2018-01-01

[points]
until = "days"
count = 365

[earn]
unit = 1.00
points = 1

[[factor]]
name = "fresh food counts double"
category = "FOOD/FRESH"
factor = 2

[[exclude]]
category = "TOBACCO"

[[multiplier]]
name = "member day"
days_of_month = [8]
factor = 3

[[multiplier]]
name = "birthday month"
birthday = "month"
factor = 2

[behaviours]
daily_cap = 200

[[behaviour]]
kind = "check_in"
points = 5
times_a_day = 1

[[behaviour]]
kind = "review"
points = 80

[[behaviour]]
kind = "event"
from_value = true
min_points = 300
max_points = 800
capped = false

[tiers]
by = "spend"
window = "year"
grace_days = 30

[[tiers.level]]
name = "silver"
benefits = ["free delivery"]

[[tiers.level]]
name = "gold"
threshold = 1000
retain = 800
multiplier = 1.2
benefits = ["birthday gift"]

[[tiers.level]]
name = "diamond"
threshold = 5000
multiplier = 1.5
benefits = ["hot line"]
"""
_numbers = count(1)


def rules(text: str = RULES, **changes: str) -> Rules:
    """Return the rules; `changes` replace what stands in the text, key by key."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return read(text, PROGRAMME)


def rulebook(text: str = RULES) -> Rulebook:
    return Rulebook(PROGRAMME, [read(text, PROGRAMME)])


def line(cents: int, category: str = "FOOD/DRY", *, line_no: str | None = None) -> Line:
    return Line(line_no or f"l{next(_numbers)}", cents, category=category)


def purchase(
    order_id: str, cents: int, *, member: str = "ann", category: str = "FOOD/DRY",
    at: datetime = NOW, line_no: str | None = None, returns: str | None = None,
) -> Purchase:  # fmt: skip
    return Purchase("till", order_id, member, at, line(cents, category, line_no=line_no), returns)


def on(day: date, hour: int = 12) -> datetime:
    """Return an hour of a day in Shanghai, which never changes its clocks."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 8)
