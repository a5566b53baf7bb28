"""What the offers of a catalogue are expected to bring with the members of a day.

Where an offer was measured and what was learned of it may decide, that says what it brings. Where
not, the published prior says whom it may be tried on, and chance decides within those.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from actions.audience import Audience
from actions.experience import NOT_YET, Lesson
from actions.offers import Catalogue, Offer
from actions.plan import Numbers
from actions.planner import Expected
from actions.policy import (
    REACH,
    Costs,
    Guess,
    Mask,
    cross_sell_profit,
    eligible_at_first,
    prior_uplift,
    value_given_active,
)

# What the prior of redemption is worth: as much as having seen twenty of those contacted.
REDEEM_SEEN = 20
# By what share naming goods raises the chance that they are bought, before anything is measured:
# a guess, and as unsure as it is large.
RAISED, RAISED_ERROR = 0.2, 0.2
# Offers that keep somebody from leaving are tried where leaving is likely enough; others where
# they may bring something.
KEEPING = ("win_back", "nurture")


def work_out(
    catalogue: Catalogue,
    offers: Sequence[Offer],
    audience: Audience,
    rows: NDArray[np.intp],
    gained: Guess | None = None,
    learned: Mapping[str, Lesson] | None = None,
) -> Expected:
    """Return what offers are expected to bring with some members.

    Parameters
    ----------
    rows : of the audience
    learned : what is known of offers, by id
    gained : margin of the goods that an offer sells beside, (rows, offers); None: of none
    """
    churn, kept = churn_of(audience, rows), margin_if_active(catalogue, audience, rows)
    costs = Costs(
        np.array([catalogue.minor_units(offer.contact_cost) for offer in offers]),
        np.array([catalogue.minor_units(offer.redeem_cost) for offer in offers]),
    )
    save = [offer.uplift for offer in offers]
    redeemed = redemption(offers)
    nothing = Guess.of(np.zeros((len(rows), len(offers))))
    keeps = np.array([offer.kind in KEEPING for offer in offers])
    believed = prior_uplift(churn, save)
    uplift = Guess(np.where(keeps, believed.mean, 0.0), np.where(keeps, believed.error, 0.0))
    profit = cross_sell_profit(gained or nothing, uplift, Guess.of(kept[:, None]), redeemed, costs)
    mean, error, spend = profit.mean.copy(), profit.error.copy(), costs.spend(redeemed).mean
    upper = profit.upper
    worth: Mask = np.where(keeps, eligible_at_first(churn, kept, costs, save), upper > 0)
    spend = np.broadcast_to(spend, mean.shape).copy()
    known = [(learned or {}).get(offer.id, Lesson(None, NOT_YET)) for offer in offers]
    for place, lesson in enumerate(known):
        if lesson.model is None:
            continue
        its = Costs(costs.contact[[place]], costs.redeem[[place]])
        found, used = lesson.model.profit(audience.known[rows], kept, its)
        more = (gained or nothing).mean[:, [place]]
        mean[:, [place]], error[:, [place]] = found.mean + more, found.error
        spend[:, [place]] = used.mean
        worth[:, place] = True
    is_right = np.array([offer.entitlement for offer in offers])
    surely_bad = worth & (mean + REACH * error < 0)
    harmed = worth.any(axis=1) & (surely_bad | ~worth).all(axis=1) & (not is_right.any())
    return Expected(
        mean, error, worth | is_right, spend,
        learned=tuple(lesson.model is not None for lesson in known),
        reasons=tuple(
            "a right of hers" if right else lesson.reason
            for right, lesson in zip(is_right, known, strict=True)
        ),
        harmed=np.asarray(harmed), value=kept,
    )  # fmt: skip


def gained_by_naming(worth: Numbers) -> Guess:
    """Return the margin that naming goods is believed to add, before it was measured.

    Parameters
    ----------
    worth : margin of what each member buys of the goods an offer names, offer or no offer, in
        minor units, (members, offers); 0 where it names none
    """
    return Guess.of(worth) * Guess.of(RAISED, RAISED_ERROR)


def redemption(offers: Sequence[Offer]) -> Guess:
    """Return how likely a member who is contacted redeems each offer, (1, offers)."""
    rates = np.array([[offer.redeem_rate for offer in offers]])
    return Guess.of(rates, np.sqrt(rates * (1 - rates) / (REDEEM_SEEN + 1)))


def churn_of(audience: Audience, rows: NDArray[np.intp]) -> Numbers:
    """Return the churn probability of some members; nought where nothing is known of it."""
    found = audience.facts["scores.churn_probability"].to_numpy(float, na_value=np.nan)
    return np.nan_to_num(np.asarray(found, np.float64)[rows])


def margin_if_active(catalogue: Catalogue, audience: Audience, rows: NDArray[np.intp]) -> Numbers:
    """Return what the shop keeps of some members if they stay, in minor units, for the horizon.

    The expected value holds the chance that she comes; divided by it, it is of those who do.
    """
    facts = audience.facts.iloc[rows]
    value = facts["scores.value_cents"].to_numpy(float, na_value=np.nan)
    comes = facts["segments.return_probability"].to_numpy(float, na_value=np.nan)
    margin = audience.margin_cents[rows]
    expected = np.where(np.isfinite(margin), margin, value * catalogue.file.margin_rate)
    active = np.where(np.isfinite(comes), comes, 1.0)
    given = value_given_active(np.nan_to_num(np.asarray(expected, np.float64)), active)
    return np.maximum(0.0, given)
