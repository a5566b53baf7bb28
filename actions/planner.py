"""From a brief to a proposal: gates, expected profit, the plan, the draw, and what it says.

The order never changes: whom the gates refuse is not scored, chance comes after the plan, and the
control comes last, so that whoever is held back would have been contacted.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actions.arms import is_in_range
from actions.audience import KNOWN, Audience
from actions.brief import Brief
from actions.decisions import ArmName, Decision, Scored
from actions.drawing import Drawing, decide, draw, is_covered
from actions.effects import detectable
from actions.guardrails import FREE, GATES, Codes, Gate
from actions.offers import Catalogue, Offer, OfferKind
from actions.plan import NOBODY, Numbers, Resource
from actions.policy import Guess, plannable
from programme.errors import InputRefused

BUDGET = "budget"
Goods = Mapping[OfferKind, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Expected:
    """What each offer is expected to bring with each member, in minor units of currency.

    Attributes
    ----------
    profits, errors : mean and standard error, (members, offers)
    worth : whether she may get it: the threshold of expected profit, or what was learned, says so
    costs : expected cost of one contact: the message, and redemptions as often as they come
    learned : of each offer, whether its effect was learned; else it is the published prior
    reasons : of each offer, why it is or is not
    harmed : members whom every offer is expected to harm, for sure: they are left alone
    value : what the shop keeps of each if she is active, of shape (members,)
    """

    profits: Numbers
    errors: Numbers
    worth: NDArray[np.bool_]
    costs: Numbers
    learned: tuple[bool, ...]
    reasons: tuple[str, ...]
    harmed: NDArray[np.bool_]
    value: Numbers


@dataclass(frozen=True)
class Proposal:
    """What a campaign would do, and why.

    Attributes
    ----------
    codes : which gate refuses each member each offer, those of the plan too
    rows : of the audience, whom the campaign is open to
    taken : of each offer, how many other campaigns have given away
    goods : the products an offer names to a member, by kind of offer and member_id
    """

    brief: Brief
    catalogue: Catalogue
    offers: tuple[Offer, ...]
    audience: Audience
    rows: NDArray[np.intp]
    codes: Codes
    expected: Expected
    drawing: Drawing
    taken: Mapping[str, int]
    goods: Goods

    def decisions(self) -> Iterator[Decision]:
        """Yield what is decided about each member the campaign is open to."""
        members = self.audience.members[self.rows].tolist()
        arms, propensity = self.arm_names(), self.drawing.propensity.tolist()
        planned, drawn = self.drawing.planned.tolist(), self.drawing.drawn.tolist()
        ids = [offer.id for offer in self.offers]
        known = self.audience.known[self.rows]
        for row, member in enumerate(members):
            yield Decision(
                self.brief.campaign,
                member,
                arms[row],
                None if planned[row] == NOBODY else ids[planned[row]],
                None if drawn[row] == NOBODY else ids[drawn[row]],
                propensity[row],
                tuple(self._scored(row, place, ids[place]) for place in range(len(ids))),
                tuple(known[row].tolist()),
                float(self.expected.value[row]),
                self._products(drawn[row], member),
            )

    def _products(self, drawn: int, member: str) -> tuple[str, ...]:
        if drawn == NOBODY:
            return ()
        return self.goods.get(self.offers[drawn].kind, {}).get(member, ())

    def arm_names(self) -> list[ArmName]:
        """Return each member's arm; whom every offer is refused is told from the left alone."""
        refused = (self.codes != FREE).all(axis=1)
        return [
            "refused" if arm == "left_alone" and closed else arm
            for arm, closed in zip(self.drawing.arm_names(), refused.tolist(), strict=True)
        ]

    def _scored(self, row: int, place: int, offer: str) -> Scored:
        code = int(self.codes[row, place])
        gate = None if code == FREE else GATES[code - 1]
        if gate not in (None, "not_worth_it"):
            return Scored(offer, refused=gate)
        return Scored(
            offer,
            float(self.expected.profits[row, place]),
            float(self.expected.errors[row, place]),
            float(self.drawing.chances[row, place]),
            gate,
        )

    def facts(
        self, *, models: dict[str, str], spread_cents: float, before: float
    ) -> dict[str, Any]:
        """Return what people look at before they approve.

        Parameters
        ----------
        models : versions of the scores behind it
        spread_cents : standard deviation of what members bring in the horizon, in minor units
        before : share of that spread's square which spend before the launch explains
        """
        names = np.array(self.arm_names())
        contacted = self.drawing.done
        counts = {arm: int((names == arm).sum()) for arm in sorted(set(names.tolist()))}
        plan = self.drawing.plan
        refusals = {gate: int((self.codes == 1 + place).sum()) for place, gate in enumerate(GATES)}
        treated = int((contacted != NOBODY).sum())
        controls = counts.get("control", 0)
        power = None
        if treated > 1 and controls > 1:
            plain = detectable(spread_cents, treated, controls)
            power = {
                "treated": treated, "controls": controls, "detectable_cents": plain,
                "with_before_cents": plain * math.sqrt(1 - before),
            }  # fmt: skip
        return {
            "members": len(self.audience.members), "open_to": len(self.rows), "arms": counts,
            "offers": [self._offer_facts(place) for place in range(len(self.offers))],
            "refusals": {gate: count for gate, count in refusals.items() if count},
            "harmed": int(self.expected.harmed.sum()),
            "explore_rate": self.drawing.explore_rate, "explore_bound_by": self.drawing.bound_by,
            "used": self.drawing.used,
            "capacity": {each.name: each.capacity for each in self.resources()},
            "prices": {} if plan is None else plan.prices,
            "expected_profit_cents": self._expected_profit(),
            "gap": None if plan is None else plan.gap, "is_fallback": self.drawing.is_fallback,
            "power": power, "models": models, "catalogue": self.catalogue.digest,
            "known": list(KNOWN),
        }  # fmt: skip

    def resources(self) -> list[Resource]:
        """Return everything of which there is only so much."""
        return resources_of(
            self.brief, self.catalogue, self.offers, self.expected.costs, self.taken
        )

    def _expected_profit(self) -> float:
        served = np.flatnonzero(self.drawing.done != NOBODY)
        return float(self.expected.profits[served, self.drawing.done[served]].sum())

    def _offer_facts(self, place: int) -> dict[str, Any]:
        arms = np.array(self.drawing.arm_names())
        drawn = self.drawing.drawn == place
        free = self.codes[:, place] == FREE
        profits = self.expected.profits[:, place]
        offer = self.offers[place]
        return {
            "offer": offer.id, "kind": offer.kind, "channel": offer.channel,
            "eligible": int(free.sum()),
            "contacted": int((self.drawing.done == place).sum()),
            "explored": int((drawn & (arms == "explored")).sum()),
            "control": int((drawn & (arms == "control")).sum()),
            "profit_cents": float(profits[drawn].mean()) if drawn.any() else None,
            "learned": self.expected.learned[place], "why": self.expected.reasons[place],
        }  # fmt: skip


def propose(
    brief: Brief,
    catalogue: Catalogue,
    audience: Audience,
    rows: NDArray[np.intp],
    codes: Codes,
    expected: Expected,
    *,
    seed: int,
    taken: Mapping[str, int] | None = None,
    goods: Goods | None = None,
) -> Proposal:
    """Plan a campaign and draw who gets what.

    Parameters
    ----------
    rows : of the audience, whom the campaign is open to; see `open_to`
    codes : of `guardrails.refusals`, of those rows
    expected : of those rows
    taken : of each offer, by id, how many other campaigns have given away of its stock
    goods : what offers name, by kind of offer and member_id

    Raises
    ------
    InputRefused : if a profit is no finite number, or resources make no sense.
    """
    offers = brief.chosen(catalogue)
    if not np.isfinite(expected.profits).all() or not np.isfinite(expected.errors).all():
        raise InputRefused(
            f"{int((~np.isfinite(expected.profits)).sum())} expected profits of campaign "
            f"{brief.campaign} are no finite numbers. Nothing was proposed. Look at the scores it "
            "was worked out from."
        )
    gone, codes = taken or {}, codes.copy()
    for place, offer in enumerate(offers):
        if offer.stock is not None and offer.stock <= gone.get(offer.id, 0):
            column = codes[:, place]
            column[column == FREE] = _code("resources_used_up")
    if any(offer.entitlement for offer in offers):
        return _granted(brief, catalogue, offers, audience, rows, codes, expected, gone)
    codes[(codes == FREE) & ~(expected.worth & ~expected.harmed[:, None])] = _code("not_worth_it")
    # A prior says whom offers may be tried on. It never decides: what was never measured is drawn,
    # and not planned; nor is what does not surely bring a profit.
    planned = plannable(Guess(expected.profits, expected.errors), expected.learned)
    profits = np.where(codes == FREE, planned, -np.inf)
    explore_share = brief.explore_share if any(expected.learned) else 1.0
    drawing = decide(
        profits, resources_of(brief, catalogue, offers, expected.costs, gone),
        audience.members[rows].tolist(), salt=brief.salt, explore_share=explore_share,
        control_share=brief.control_share, rng=np.random.default_rng(seed),
    )  # fmt: skip
    return Proposal(
        brief, catalogue, offers, audience, rows, codes, expected, drawing, gone, goods or {}
    )


def _granted(
    brief: Brief,
    catalogue: Catalogue,
    offers: tuple[Offer, ...],
    audience: Audience,
    rows: NDArray[np.intp],
    codes: Codes,
    expected: Expected,
    gone: Mapping[str, int],
) -> Proposal:
    """Give everybody the first offer she has a right to: no plan, no chance and no control."""
    if not all(offer.entitlement for offer in offers):
        plain = next(offer.id for offer in offers if not offer.entitlement)
        raise InputRefused(
            f"Campaign {brief.campaign} mixes offers that members have a right to with {plain}, "
            "which is planned. Nothing was proposed. Make two campaigns of it."
        )
    free = codes == FREE
    planned = np.where(free.any(axis=1), free.argmax(axis=1), NOBODY)
    resources = resources_of(brief, catalogue, offers, expected.costs, gone)
    drawing = draw(
        planned, free, resources, audience.members[rows].tolist(),
        salt=brief.salt, explore_share=0.0, control_share=0.0,
    )  # fmt: skip
    return Proposal(brief, catalogue, offers, audience, rows, codes, expected, drawing, gone, {})


def open_to(brief: Brief, members: NDArray[np.str_]) -> NDArray[np.intp]:
    """Return the places of members a campaign is open to: its coverage, and its namespace."""
    listed, space = members.tolist(), brief.namespace
    open_ = is_covered(brief.salt, listed, brief.coverage)
    if space is not None:
        open_ &= np.array(
            [is_in_range(space.name, one, space.first, space.end) for one in listed], dtype=bool
        )
    return np.flatnonzero(open_)


def resources_of(
    brief: Brief,
    catalogue: Catalogue,
    offers: Sequence[Offer],
    costs: Numbers,
    taken: Mapping[str, int],
) -> list[Resource]:
    """Return the budget, the messages of each channel, and what is left of each offer's stock."""
    found = list[Resource]()
    if brief.budget is not None:
        found.append(Resource(BUDGET, catalogue.minor_units(brief.budget), costs))
    for channel, messages in sorted(brief.capacity.items()):
        uses = np.array([[float(offer.channel == channel) for offer in offers]])
        if uses.any():
            found.append(Resource(f"channel {channel}", float(messages), uses))
    for place, offer in enumerate(offers):
        left = math.inf if offer.stock is None else offer.stock - taken.get(offer.id, 0)
        if 0 < left < math.inf:
            uses = np.zeros((1, len(offers)))
            uses[0, place] = 1.0
            found.append(Resource(f"offer {offer.id}", float(left), uses))
    return found


def _code(gate: Gate) -> int:
    return 1 + GATES.index(gate)
