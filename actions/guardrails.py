"""The gates before any score: who may be offered what at all, each refusal by its name.

The gates stand in a fixed order, and a member is refused an offer by the first that she does not
pass. None of them knows a tier.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actions.arms import is_held_out
from actions.offers import CONSENTED, Guards, Offer
from programme.calendar import local_date, zone

Gate = Literal[
    "no_consent", "suppressed", "global_control", "capped", "cooling_down", "not_eligible",
    "not_on_this_day", "not_worth_it", "resources_used_up",
]  # fmt: skip
# In the order in which a member meets them; the last two are the plan's.
GATES: tuple[Gate, ...] = (
    "no_consent", "suppressed", "global_control", "capped", "cooling_down", "not_eligible",
    "not_on_this_day", "not_worth_it", "resources_used_up",
)  # fmt: skip
FREE = 0
Codes = NDArray[np.int8]


def _empty(*columns: str) -> pd.DataFrame:
    return pd.DataFrame({column: [] for column in columns})


@dataclass(frozen=True)
class History:
    """What was said and done before, one row each; no row: nothing was.

    Attributes
    ----------
    consents : member_id, channel, purpose, granted: the latest word of each
    contacts : member_id, channel, kind, day: offers that were sent; kind may be missing
    redemptions : member_id, day
    complaints : member_id, day
    suppressed : why a member is left alone, by member_id
    """

    consents: pd.DataFrame = field(
        default_factory=lambda: _empty("member_id", "channel", "purpose", "granted")
    )
    contacts: pd.DataFrame = field(
        default_factory=lambda: _empty("member_id", "channel", "kind", "day")
    )
    redemptions: pd.DataFrame = field(default_factory=lambda: _empty("member_id", "day"))
    complaints: pd.DataFrame = field(default_factory=lambda: _empty("member_id", "day"))
    suppressed: dict[str, str] = field(default_factory=dict)


def refusals(
    members: NDArray[np.str_],
    fits: NDArray[np.bool_],
    offers: Sequence[Offer],
    guards: Guards,
    history: History,
    day: date,
) -> Codes:
    """Return which gate refuses each member each offer.

    Parameters
    ----------
    members : ids, of shape (members,)
    fits : whether she fulfils an offer's conditions, (members, offers)
    day : of the programme; what happened before it counts

    Returns
    -------
    (members, offers): `FREE`, or one more than the gate's place in `GATES`
    """
    codes = np.zeros(fits.shape, np.int8)

    def close(gate: Gate, place: int, refused: NDArray[np.bool_]) -> None:
        column = codes[:, place]
        column[refused & (column == FREE)] = 1 + GATES.index(gate)

    people = pd.Index(members)
    left_alone = _left_alone(people, guards, history, day)
    held_out = np.array(
        [is_held_out(guards.control_period, member, guards.global_control) for member in members],
        dtype=bool,
    )
    resting = _among(people, _since(history.redemptions, day, guards.after_redemption_days))
    for place, offer in enumerate(offers):
        close("no_consent", place, ~_consented(people, offer, guards, history.consents))
        close("suppressed", place, left_alone)
        if offer.is_withheld:
            close("global_control", place, held_out)
        if not offer.entitlement and offer.purpose == "marketing":
            close("capped", place, _capped(people, offer, guards, history.contacts, day))
            close("cooling_down", place, resting | _same_kind(people, offer, guards, history, day))
        close("not_eligible", place, ~fits[:, place])
        if not offer.holds_on(day):
            close("not_on_this_day", place, np.ones(len(people), dtype=bool))
    return codes


def on_sending(
    members: NDArray[np.str_], offer: Offer, guards: Guards, history: History, day: date
) -> list[Gate | None]:
    """Return of each member the gate that refuses her at the moment of sending; None: she gets it.

    Consent, suppression and complaints are asked again: she may have spoken since it was decided.
    """
    people = pd.Index(members)
    consented = _consented(people, offer, guards, history.consents)
    alone = _left_alone(people, guards, history, day)
    late: Gate | None = None if offer.holds_on(day) else "not_on_this_day"
    return [
        "no_consent" if not says_yes else "suppressed" if is_alone else late
        for says_yes, is_alone in zip(consented, alone, strict=True)
    ]


def quiet_until(guards: Guards, now: datetime, timezone: str) -> datetime | None:
    """Return when the quiet hours end that a moment lies in; None: it lies in none.

    The hours are the programme's; a night may span midnight, and the change of clocks.
    """
    first, end = guards.quiet_from, guards.quiet_until
    here = now.astimezone(zone(timezone))
    within = first <= here.hour < end if first <= end else here.hour >= first or here.hour < end
    if not within:
        return None
    wakes = datetime.combine(
        local_date(now, timezone), datetime.min.time().replace(hour=end), tzinfo=zone(timezone)
    )
    return wakes if wakes > here else wakes + timedelta(days=1)


def said(codes: Codes) -> list[str | None]:
    """Return the names of gates for codes of `refusals`."""
    return [None if code == FREE else GATES[code - 1] for code in codes.tolist()]


def _consented(
    people: pd.Index, offer: Offer, guards: Guards, consents: pd.DataFrame
) -> NDArray[np.bool_]:
    if offer.channel not in CONSENTED:
        return np.ones(len(people), dtype=bool)
    of_it = consents[
        (consents["channel"] == offer.channel) & (consents["purpose"] == offer.purpose)
    ]
    word = of_it.set_index("member_id")["granted"].reindex(people)
    unknown = guards.without_consent == "allow"
    return word.map({True: True, False: False}).fillna(unknown).to_numpy(bool)


def _left_alone(people: pd.Index, guards: Guards, history: History, day: date) -> NDArray[np.bool_]:
    complained = _among(people, _since(history.complaints, day, guards.complaint_days))
    return complained | people.isin(list(history.suppressed))


def _capped(
    people: pd.Index, offer: Offer, guards: Guards, contacts: pd.DataFrame, day: date
) -> NDArray[np.bool_]:
    full = np.zeros(len(people), dtype=bool)
    for cap in guards.cap:
        if cap.channel not in (None, offer.channel):
            continue
        lately = _since(contacts, day, cap.days)
        if cap.channel is not None:
            lately = lately[lately["channel"] == cap.channel]
        counts = lately["member_id"].value_counts().reindex(people).fillna(0).to_numpy()
        full |= counts >= cap.most
    return full


def _same_kind(
    people: pd.Index, offer: Offer, guards: Guards, history: History, day: date
) -> NDArray[np.bool_]:
    contacts = history.contacts
    return _among(people, _since(contacts[contacts["kind"] == offer.kind], day,
                                 guards.cool_down_days))  # fmt: skip


def _since(rows: pd.DataFrame, day: date, days: int) -> pd.DataFrame:
    """Return the rows of the days before `day`, as many as are said; of the day itself too."""
    first = day - timedelta(days=days)
    return rows[[first < one for one in rows["day"]]] if len(rows) else rows


def _among(people: pd.Index, rows: pd.DataFrame) -> NDArray[np.bool_]:
    return people.isin(rows["member_id"])
