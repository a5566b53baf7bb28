"""The gates: their order, what each refuses, and that silence is consent to nothing."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions import guardrails
from actions.arms import is_held_out
from actions.guardrails import FREE, GATES, History
from actions.offers import Cap, Guards, Offer

DAY = date(2026, 11, 2)
WORDS = {"en": "x", "zh": "x"}
EVERYBODY = Guards(without_consent="allow", global_control=0.0)


def offer(**given_: Any) -> Offer:
    basics = {"id": "o", "kind": "win_back", "name": WORDS, "says": WORDS, "channel": "sms"}
    return Offer.model_validate({**basics, **given_})


def refused(
    members: list[str],
    its: Offer,
    guards: Guards = EVERYBODY,
    history: History | None = None,
    fits: bool = True,
) -> list[str | None]:
    codes = guardrails.refusals(
        np.array(members, dtype=str), np.full((len(members), 1), fits), [its], guards,
        history or History(), DAY,
    )  # fmt: skip
    return guardrails.said(codes[:, 0])


def rows(*columns: str, of: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(of, columns=list(columns))


def test_whoever_said_nothing_is_refused_unless_the_programme_says_otherwise() -> None:
    assert refused(["a"], offer(), Guards(global_control=0)) == ["no_consent"]
    assert refused(["a"], offer(), EVERYBODY) == [None]
    assert refused(["a"], offer(channel="coupon_at_till"), Guards(global_control=0)) == [None]


def test_consent_is_of_one_channel_and_one_purpose() -> None:
    said = rows("member_id", "channel", "purpose", "granted", of=[
        ("a", "sms", "marketing", True), ("b", "sms", "service", True),
        ("c", "email", "marketing", True), ("d", "sms", "marketing", False),
    ])  # fmt: skip
    history = History(consents=said)

    found = refused(["a", "b", "c", "d"], offer(), Guards(global_control=0), history)
    assert found == [None, "no_consent", "no_consent", "no_consent"]
    assert refused(["d"], offer(), EVERYBODY, history) == ["no_consent"]


def test_complaints_and_suppressions_leave_a_member_alone() -> None:
    complained = rows("member_id", "day", of=[
        ("a", DAY - timedelta(days=27)), ("b", DAY - timedelta(days=28)),
    ])  # fmt: skip
    history = History(complaints=complained, suppressed={"c": "works here"})

    assert refused(["a", "b", "c"], offer(), history=history) == ["suppressed", None, "suppressed"]


def test_the_global_control_gets_nothing_that_is_meant_to_change_her_but_what_she_has_a_right_to(
) -> None:  # fmt: skip
    members = [f"m{n}" for n in range(2_000)]
    guards = Guards(without_consent="allow", global_control=0.05)
    held = [is_held_out("first", member, 0.05) for member in members]

    assert 60 < sum(held) < 140
    for kind in ("win_back", "cross_sell", "nurture", "replenish"):
        assert [
            code == "global_control" for code in refused(members, offer(kind=kind), guards)
        ] == held
    assert set(refused(members, offer(kind="care"), guards)) == {None}


def test_caps_count_contacts_of_their_days_and_channel() -> None:
    def sent(*ago: int, channel: str = "sms") -> list[tuple[Any, ...]]:
        return [("a", channel, None, DAY - timedelta(days=days)) for days in ago]

    def found(of: list[tuple[Any, ...]], **its: Any) -> str | None:
        history = History(contacts=rows("member_id", "channel", "kind", "day", of=of))
        return refused(["a"], offer(**its), history=history)[0]

    assert found(sent(13)) == "capped"
    assert found(sent(14)) is None
    assert found(sent(13), channel="email") is None
    assert found(sent(5, 6, channel="email"), channel="email") == "capped"
    assert found(sent(5, 7, channel="email"), channel="email") is None
    assert found(sent(1, 1, 1), purpose="service") is None
    assert found(sent(1, 1, 1), kind="care", entitlement=True) is None


def test_one_kind_of_offer_and_a_redemption_cool_down() -> None:
    def found(kind: str, ago: int) -> str | None:
        contacts = rows("member_id", "channel", "kind", "day", of=[
            ("a", "email", kind, DAY - timedelta(days=ago))
        ])  # fmt: skip
        return refused(["a"], offer(), history=History(contacts=contacts))[0]

    assert found("win_back", 27) == "cooling_down"
    assert found("win_back", 28) is None
    assert found("cross_sell", 27) is None
    redeemed = rows("member_id", "day", of=[("a", DAY - timedelta(days=13))])
    assert refused(["a"], offer(), history=History(redemptions=redeemed)) == ["cooling_down"]


def test_an_offer_is_made_within_its_days_to_those_it_fits() -> None:
    assert refused(["a"], offer(), fits=False) == ["not_eligible"]
    assert refused(["a"], offer(last_day=DAY - timedelta(days=1))) == ["not_on_this_day"]
    assert refused(["a"], offer(first_day=DAY, last_day=DAY)) == [None]


@given(
    consent=st.booleans(), alone=st.booleans(), held=st.booleans(), capped=st.booleans(),
    cooling=st.booleans(), fits=st.booleans(), on_day=st.booleans(),
)  # fmt: skip
def test_the_first_gate_that_is_closed_is_the_one_that_is_named(
    *, consent: bool, alone: bool, held: bool, capped: bool, cooling: bool, fits: bool,
    on_day: bool,
) -> None:  # fmt: skip
    guards = Guards(
        without_consent="allow" if consent else "refuse", global_control=float(held),
        cap=(Cap(most=1, days=7),), cool_down_days=28,
    )  # fmt: skip
    contacts: list[tuple[Any, ...]] = [("a", "email", None, DAY - timedelta(days=1))] * capped
    contacts += [("a", "email", "win_back", DAY - timedelta(days=20))] * cooling
    history = History(
        contacts=rows("member_id", "channel", "kind", "day", of=contacts),
        suppressed={"a": "staff"} if alone else {},
    )
    its = offer() if on_day else offer(first_day=DAY + timedelta(days=1))
    closed = [not consent, alone, held, capped, cooling, not fits, not on_day]

    first = GATES[closed.index(True)] if any(closed) else None
    assert refused(["a"], its, guards, history, fits) == [first]


def test_the_gates_say_nothing_new_about_members_in_another_order() -> None:
    members = [f"m{n}" for n in range(50)]
    guards = Guards(without_consent="allow", global_control=0.3)

    there, back = refused(members, offer(), guards), refused(members[::-1], offer(), guards)
    assert there == back[::-1]
    assert FREE == 0


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        (datetime(2026, 11, 2, 19, 59, tzinfo=UTC), None),
        (datetime(2026, 11, 2, 20, 0, tzinfo=UTC), datetime(2026, 11, 3, 8, 0, tzinfo=UTC)),
        (datetime(2026, 11, 3, 7, 59, tzinfo=UTC), datetime(2026, 11, 3, 8, 0, tzinfo=UTC)),
        (datetime(2026, 11, 3, 8, 0, tzinfo=UTC), None),
        # The night in which clocks go back is an hour longer.
        (datetime(2026, 10, 24, 20, 0, tzinfo=UTC), datetime(2026, 10, 25, 8, 0, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_quiet_hours_are_those_of_the_programmes_day(
    moment: datetime, until: datetime | None
) -> None:
    guards = Guards(quiet_from=21, quiet_until=9)

    found = guardrails.quiet_until(guards, moment, "Europe/Berlin")
    assert (None if found is None else found.astimezone(UTC)) == until
    assert guardrails.quiet_until(Guards(quiet_from=0, quiet_until=0), moment, "UTC") is None
