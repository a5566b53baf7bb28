"""Whatever rules can be adopted can be posted by: what makes no sense is refused when read."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from loyalty.behaviours import Event, take_events
from loyalty.earning import Line
from loyalty.errors import OutsideLimits
from loyalty.orders import simulate, take_purchases
from loyalty.points import balance, ledger
from loyalty.rulebook import Rulebook
from loyalty.rules import read
from loyalty.status import tier_status
from loyalty.verify import verify
from programme.database import Database
from programme.errors import InputRefused, NotReady
from tests.loyalty.shop import NOW, PROGRAMME, on, purchase

_runs = count(1)
_SENSIBLE: dict[str, dict[str, str]] = {
    "": {"version": '"v1"', "valid_from": "2018-01-01"},
    "points": {"until": '"days"', "count": "365", "grace_days": "0", "pending_days": "0"},
    "limits": {"points_max": "1000", "backdated_days": "400", "future_minutes": "5"},
    "earn": {"by": '"spend"', "unit": "1.00", "points": "1", "rounding": '"floor"',
             "stacking": '"multiply"', "min_spend": "0", "min_points": "0", "max_points": "900"},
    "[factor]": {"name": '"fresh"', "category": '"FOOD"', "factor": "2"},
    "[multiplier]": {"name": '"always"', "factor": "3"},
    "behaviours": {"daily_cap": "200"},
    "[behaviour]": {"kind": '"review"', "points": "5", "times_a_day": "1"},
    "[behaviour] ": {"kind": '"event"', "from_value": "true", "min_points": "3",
                     "max_points": "8"},
    "tiers": {"by": '"spend"', "window": '"year"', "grace_days": "30", "downgrade": '"none"'},
    "[tiers.level]": {"name": '"silver"'},
    "[tiers.level] ": {"name": '"gold"', "threshold": "1000", "retain": "800",
                       "multiplier": "1.2"},
}  # fmt: skip
_WILD = [
    "0", "1", "-1", "0.001", "0.01", "7.77", "28", "366", "1000", "40000", "1e9", "1e12", "1e30",
    "1e-6", "1e-9", "1e-30", "1e-999999999", "1e999999999", "1e99999999999999999999", "nan", "inf",
    "1" * 30, "0." + "1" * 30, "9" * 400, "9" * 5000, "true", "[]", "[1]", "{}", "2018-06-01",
    "9999-12-31", "0001-01-01",
    '""', '"x"', '"a\\u0000b"', '"a\\nb"', '"event"', '"quantity"', '"half_up"',
    '"never"', '"idle"', '"month"', '"quarter"', '"year"', '"rolling"', '"points"', '"orders"',
    '"engagements"', '"add"', '"highest"', '"one_down"', '"balance_based"', '"gold"',
    '"' + "n" * 201 + '"',
]  # fmt: skip
_KEYS = [(section, key) for section, keys in _SENSIBLE.items() for key in keys]


def written(changes: dict[tuple[str, str], str | None], days: str | None) -> str:
    text = ""
    for section, keys in _SENSIBLE.items():
        text += f"[{section.strip()}]\n" if section else ""
        for key, value in keys.items():
            wild = changes.get((section, key), value)
            text += f"{key} = {wild}\n" if wild is not None else ""
        text += f"days = {days}\n" if section == "tiers" and days is not None else ""
    return text


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(
    changes={("earn", "unit"): "0.01", ("earn", "points"): "1e12"}, days=None, scale=2, cents=12_50
)
@given(
    changes=st.dictionaries(
        st.sampled_from(_KEYS), st.none() | st.sampled_from(_WILD), max_size=2
    ),
    days=st.sampled_from([None] * 40 + _WILD),
    scale=st.sampled_from([0, 2, 4]),
    cents=st.sampled_from([1, 12_50, 10**12]),
)  # fmt: skip
def test_rules_that_can_be_read_can_be_posted_by(
    database: Database, changes: dict[Any, Any], days: str | None, scale: int, cents: int
) -> None:
    programme = PROGRAMME.model_copy(update={"points_scale": scale})
    try:
        rules = read(written(changes, days), programme)
        book = Rulebook(programme, [rules])
        terms = book.terms(NOW)
    except InputRefused as refused:
        event("refused")
        assert str(refused)
        return
    except NotReady:
        event("of another time")
        return
    event("adopted")
    member = f"m{next(_runs)}"
    bought = purchase(f"o-{member}", cents, member=member, at=NOW)
    numbers = {"x": 1e12, "event": 0.1}
    bought = replace(bought, line=replace(bought.line, quantity=1e12, numbers=numbers))
    events = [
        Event("app", f"{kind}-{member}", member, NOW, kind, value)
        for kind, value in (("review", None), ("event", 1e12), ("event2", -1e-12), ("x", 5.5))
    ]

    take_purchases(database, book, [bought], now=NOW)
    take_events(database, book, events, now=NOW)

    simulated = [Line("1", 12_50, 1.0, category="FOOD")]
    try:
        assert simulate(book, simulated, NOW).points >= 0
    except OutsideLimits as refused:  # each number may be as large as it is, and their product not
        event("more than can be counted")
        assert "than can be counted" in str(refused)
    if not any(ledger_of(database, member)):
        return
    balance(database, terms, member, now=NOW)
    if terms.tiers is not None:
        assert tier_status(database, terms, member, now=on(NOW.date())).tier in rules.tier_names
    assert not verify(database, only=[member]).violations


def ledger_of(database: Database, member: str) -> list[Any]:
    with database.read() as connection:
        there = connection.exec_driver_sql(
            f"select count(*) from accounts where member_id = '{member}'"
        ).scalar()
    return list(ledger(database, member)) if there else []


@pytest.mark.parametrize(
    ("section", "key", "value", "why"),
    [
        ("[tiers.level] ", "threshold", "1e30", "tiers.level.1.threshold: it must be at most"),
        ("earn", "min_spend", "1e30", "earn.min_spend: it must be at most 1000000000000"),
        ("points", "count", "40001", "points.count: it must be at most 40000"),
        ("points", "count", "9" * 400, "points.count: it must be at most 40000"),
        ("points", "count", "0", 'until = "days" needs count'),
        ("earn", "unit", "1e-30", "earn.unit: it must be at least 0.000001"),
        ("limits", "points_max", "0", "limits.points_max: it must be greater than 0"),
        ("earn", "min_points", "901", "earn: min_points is above max_points"),
        ("[behaviour] ", "min_points", "9", "behaviour.1: min_points is above max_points"),
        ("[behaviour]", "points", "1001", "points of review is 1001, above limits.points_max"),
        ("[factor]", "factor", "1e-30", "factor.0.factor: it must have at most 9 decimal places"),
        ("[factor]", "factor", "1e-999999999", "is no number that can be worked with"),
        ("points", "count", "1e999999999", "is no number that can be worked with"),
        ("[tiers.level] ", "name", '"a\\u0000b"', "cannot be printed"),
        ("limits", "points_max", "9" * 5000, "is not TOML"),
        ("earn", "by", "[" * 3000 + "]" * 3000, "is not TOML"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    section: str, key: str, value: str, why: str
) -> None:
    with pytest.raises(InputRefused) as refused:
        read(written({(section, key): value}, None), PROGRAMME)

    assert why in str(refused.value)
    assert str(refused.value).endswith("No rule was changed.")


@pytest.mark.parametrize("until", ["month", "quarter", "year"])
def test_points_that_would_outlast_the_calendar_are_refused(until: str) -> None:
    with pytest.raises(InputRefused, match=f'with until = "{until}" it is at most'):
        read(written({("points", "until"): f'"{until}"', ("points", "count"): "40000"}, None),
             PROGRAMME)  # fmt: skip
