"""What earlier campaigns teach of an offer: each judges what was learned from those before it.

Only campaigns whose horizon has passed teach. What was known of each member when it was decided
lies in the proposal's file, and so nothing that came later can slip in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from actions import campaigns, proposals
from actions.audience import KNOWN
from actions.campaigns import Campaign
from actions.decisions import CONTACTED, Decision
from actions.learned import ActionModel, Logged, learn
from actions.offers import Catalogue, Offer
from actions.outcomes import outcomes
from actions.plan import NOBODY
from actions.policy import Costs, Numbers
from actions.promotion import case, verdict
from features import engine
from programme.database import Database
from programme.files import sha256_of
from programme.settings import Programme, Settings

# An arm with fewer members teaches nothing that its noise does not drown.
ARM_LEAST = 200
NOT_YET = "not measured yet: tried on those the published prior allows"


@dataclass(frozen=True)
class Lesson:
    """What is known of one offer.

    Attributes
    ----------
    model : what was learned; None: nothing that may decide
    reason : why it may decide, or why not, in one sentence
    """

    model: ActionModel | None
    reason: str


def lessons(
    settings: Settings,
    programme: Programme,
    database: Database,
    catalogue: Catalogue,
    offers: Sequence[Offer],
    *,
    now: datetime,
    seed: int,
) -> Mapping[str, Lesson]:
    """Return what is known of each offer, by its id."""
    past = [
        one
        for one in reversed(campaigns.every(database))
        if one.launched_at is not None
        and one.launched_at + timedelta(days=one.brief.horizon_days) <= now
        and {offer.id for offer in offers} & set(one.brief.offers)
    ]
    read = {one.campaign_id: _read(settings, programme, one, now) for one in past}
    return {
        offer.id: _lesson(catalogue, offer, [
            _logged(found, offer.id) for one in past
            if offer.id in one.brief.offers and (found := read[one.campaign_id]) is not None
        ], seed)
        for offer in offers
    }  # fmt: skip


@dataclass(frozen=True)
class _Past:
    """One campaign's decisions with what came of them."""

    decisions: list[Decision]
    known: Numbers
    active: Numbers
    redeemed: Numbers


def _lesson(catalogue: Catalogue, offer: Offer, past: Sequence[Logged], seed: int) -> Lesson:
    cohorts = [cohort for cohort in past if _arms(cohort) >= ARM_LEAST]
    if offer.entitlement:
        return Lesson(None, "a right of hers")
    if not cohorts:
        return Lesson(None, NOT_YET)
    if len(cohorts) == 1:
        return Lesson(
            None, "measured in one campaign; the next one will judge what was learned from it"
        )
    costs = Costs(
        np.array([catalogue.minor_units(offer.contact_cost)]),
        np.array([catalogue.minor_units(offer.redeem_cost)]),
    )
    # Each campaign judges what was learned from those before it.
    judged = verdict(
        [
            case(
                cohort, 0,
                learn(Logged.of(cohorts[:place]), 0, redeem_rate=offer.redeem_rate, seed=seed),
                costs, seed=seed,
            )
            for place, cohort in enumerate(cohorts) if place
        ],
        name=f"what was learned of {offer.id}",
    )  # fmt: skip
    if not judged.promoted:
        return Lesson(None, judged.reason)
    whole = learn(Logged.of(list(cohorts)), 0, redeem_rate=offer.redeem_rate, seed=seed)
    return Lesson(whole, judged.reason)


def _arms(cohort: Logged) -> int:
    rows, _ = cohort.among(0)
    got = cohort.done[rows] == 0
    return int(min(got.sum(), (~got).sum()))


def _read(
    settings: Settings, programme: Programme, campaign: Campaign, now: datetime
) -> _Past | None:
    """Return a campaign and what came of it; None where the file of its proposal is gone."""
    path = proposals.path_of(Path(settings.home), campaign.campaign_id, campaign.proposal)
    if not path.exists() or sha256_of(path) != campaign.proposal:
        return None
    assert campaign.launched_at is not None
    until = campaign.launched_at + timedelta(days=campaign.brief.horizon_days)
    with engine.connect(settings) as connection:
        facts = outcomes(connection, settings, programme, campaign, until, now)
    facts = facts.set_index("member_id")
    decided = list(proposals.read(path, campaign.campaign_id))
    members = [one.member_id for one in decided]
    of_them = facts.reindex(members).fillna({"orders": 0, "redemptions": 0})
    return _Past(
        decided, _aligned(decided, campaign.facts.get("known", [])),
        (of_them["orders"].to_numpy(float) > 0).astype(np.float64),
        (of_them["redemptions"].to_numpy(float) > 0).astype(np.float64),
    )  # fmt: skip


def _aligned(decided: Sequence[Decision], names: Sequence[str]) -> Numbers:
    """Return what was known in today's columns; NaN for those that were not kept then."""
    kept = np.array([one.known for one in decided], dtype=np.float64).reshape(len(decided), -1)
    found = np.full((len(decided), len(KNOWN)), np.nan)
    for place, name in enumerate(KNOWN):
        if name in names:
            found[:, place] = kept[:, list(names).index(name)]
    return found


def _logged(past: _Past, offer: str) -> Logged:
    """Return a campaign's decisions with one offer as action 0 and all others as action 1."""
    mine, others, done = list[float](), list[float](), list[int]()
    for one in past.decisions:
        chances = {scored.offer: scored.chance for scored in one.considered}
        mine.append(chances.get(offer, 0.0))
        others.append(sum(chances.values()) - chances.get(offer, 0.0))
        contacted = one.arm in CONTACTED
        done.append(NOBODY if not contacted else 0 if one.offer == offer else 1)
    actions = np.column_stack([mine, others])
    return Logged(
        past.known, np.array(done), actions, 1 - actions.sum(axis=1), past.active, past.redeemed,
        np.array([one.value for one in past.decisions], dtype=np.float64),
    )  # fmt: skip
