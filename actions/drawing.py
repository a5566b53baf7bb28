"""From a plan to what is done: chance comes last, and every chance is exact and logged.

The plan takes the best actions at posterior means, out of a part of every resource. Then, with
probability `explore_rate`, a member's action is drawn anew, uniformly from those she is eligible
for, whatever the plan had for her. Last, the campaign's control withholds what some were to get.
Both come from hashes of a salt and the member, so that a draw repeats exactly on any machine.

What explorers use is kept free: the plan gets `1 - explore_share` of each resource, and the rate is
the highest at which explorers are expected to use, with six standard deviations, no more than the
rest. So no plan has to be cut after the draw, which would make its chances unknown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from actions.arms import bucket, buckets_of
from actions.plan import NOBODY, Numbers, Places, Plan, Resource, choose, greedy, priced
from programme.errors import InputRefused

DrawnArm = Literal["treated", "explored", "control", "left_alone"]
DRAWN_ARMS: tuple[DrawnArm, ...] = get_args(DrawnArm)
TREATED, EXPLORED, CONTROL, LEFT_ALONE = range(4)
STANDARD_DEVIATIONS = 6.0
# Fifteen hexadecimal digits, as buckets are made of: finer than any chance that is asked for.
_DIGITS = 15
_SPAN = float(16**_DIGITS)
# Sums of many uses differ in their last digits by the order of their members.
_ROUNDING = 1e-9
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Drawing:
    """What is done about each member, and how likely everything else was.

    Attributes
    ----------
    planned : place of the action the plan had for her, or `NOBODY`, of shape (members,)
    drawn : place of the action after the redraw, before the control withheld it
    done : place of the action she is contacted with, or `NOBODY`
    arms : place of her arm in `DRAWN_ARMS`: contacted as planned, contacted with what was drawn
        anew, withheld by the control, or nobody's turn
    chances : exact probability, given the plan, that she is contacted with each action,
        (members, actions)
    nobody : exact probability that she is not contacted; with `chances` of her it makes one
    explore_rate : probability with which an eligible member's action is drawn anew
    bound_by : the resource that kept the rate below what was wished; None: none did
    used : by resource, what those contacted use
    plan : what was planned with, where this module planned
    is_fallback : the program failed, and the plan is the greedy one; its gap is in the plan
    """

    planned: Places
    drawn: Places
    done: Places
    arms: NDArray[np.int8]
    chances: Numbers
    nobody: Numbers
    explore_rate: float
    bound_by: str | None
    used: dict[str, float]
    plan: Plan | None = None
    is_fallback: bool = False

    @property
    def propensity(self) -> Numbers:
        """Return the exact probability of what was done about each member, of shape (members,)."""
        rows = np.arange(len(self.done))
        contacted: Numbers = self.chances[rows, np.maximum(self.done, 0)]
        return np.where(self.done == NOBODY, self.nobody, contacted)

    def arm_names(self) -> list[DrawnArm]:
        """Return the name of each member's arm."""
        return [DRAWN_ARMS[arm] for arm in self.arms.tolist()]


def decide(
    profits: Numbers,
    resources: Sequence[Resource],
    members: Sequence[str],
    *,
    salt: str,
    explore_share: float,
    control_share: float,
    rng: np.random.Generator,
    solved: int | None = None,
) -> Drawing:
    """Plan, and draw what is done.

    Parameters
    ----------
    profits : expected incremental profit, (members, actions); -inf where she is not eligible.
        An action that is a loss is never planned, but may be drawn.
    resources : whole; what the plan gets of them is worked out here
    members : their ids, each once
    salt : of the campaign; never that of another
    explore_share : of every resource, kept for explorers, and the highest rate of exploring; 1
        plans nothing and draws everybody's action
    control_share : of those who were to be contacted, who are not; in steps of a bucket
    rng : draws the plan's sample, where there are too many members to solve for at once
    solved : with more members than this, prices are found on so many and hold for all of them:
        quicker, and a little further from the bound

    Raises
    ------
    InputRefused : as `actions.plan.choose` and `draw`.
    """
    _check_shares(explore_share, control_share)
    plan, fell_back = None, False
    planned = np.full(len(profits), NOBODY)
    if explore_share < 1:
        left = kept_for_plan(resources, explore_share)
        try:
            plan = _planned(profits, left, rng, len(profits) if solved is None else solved)
        except RuntimeError:
            plan, fell_back = greedy(profits, left), True
        planned = plan.choices
    drawing = draw(
        planned, np.isfinite(profits), resources, members,
        salt=salt, explore_share=explore_share, control_share=control_share,
    )  # fmt: skip
    return replace(drawing, plan=plan, is_fallback=fell_back)


def draw(
    planned: Places,
    eligible: Mask,
    resources: Sequence[Resource],
    members: Sequence[str],
    *,
    salt: str,
    explore_share: float,
    control_share: float,
) -> Drawing:
    """Draw what is done about each member, and say how likely each outcome was.

    Parameters
    ----------
    planned : place of each member's action or `NOBODY`, out of what `kept_for_plan` says
    eligible : which actions she may get, (members, actions)

    Raises
    ------
    InputRefused : if shapes, shares or ids make no sense, somebody is planned what she is not
        eligible for, or what is to be sent would use more of a resource than there is.
    """
    _check_shares(explore_share, control_share)
    _check(planned, eligible, members)
    rate, bound_by = explore_rate(eligible, resources, explore_share)
    choices = eligible.sum(axis=1)
    explores = (choices > 0) & (_fractions(f"{salt}/explore", members) < rate)
    drawn = planned.copy()
    who = np.flatnonzero(explores)
    nth = _fractions(f"{salt}/action", [members[row] for row in who.tolist()]) * choices[who]
    drawn[who] = _nth_eligible(eligible[who], nth.astype(np.int64))
    held = buckets_of(control_share)
    withheld = np.array([bucket(f"{salt}/arm", member) < held for member in members], dtype=bool)
    done = np.where(withheld, NOBODY, drawn)
    arms = np.select(
        [drawn == NOBODY, withheld, explores], [LEFT_ALONE, CONTROL, EXPLORED], TREATED
    ).astype(np.int8)
    chances = _chances(planned, eligible, rate) * (1 - control_share)
    return Drawing(
        planned, drawn, done, arms, chances, 1 - chances.sum(axis=1), rate, bound_by,
        _within(done, resources),
    )  # fmt: skip


def kept_for_plan(resources: Sequence[Resource], explore_share: float) -> list[Resource]:
    """Return what a plan may use of each resource, beside explorers."""
    return [replace(each, capacity=(1 - explore_share) * each.capacity) for each in resources]


def explore_rate(
    eligible: Mask, resources: Sequence[Resource], explore_share: float
) -> tuple[float, str | None]:
    """Return the highest rate of exploring that the share of every resource allows.

    At that rate explorers are expected to use, with `STANDARD_DEVIATIONS` standard deviations, no
    more than their share. Where the share of a resource is less than one action uses, nobody
    explores: chance has no smaller steps.

    Returns
    -------
    rate : at most `explore_share`
    bound_by : the resource that keeps it lower; None: none does
    """
    rate, bound_by = explore_share, None
    choices = np.maximum(eligible.sum(axis=1, keepdims=True), 1)
    for each in resources:
        use = np.where(eligible, each.use, 0.0)
        mean = use.sum(axis=1, keepdims=True) / choices
        square = (use**2).sum(axis=1, keepdims=True) / choices
        kept = explore_share * each.capacity
        if kept < use.max(initial=0.0):
            return 0.0, each.name
        found = _highest_rate(
            float(mean.sum()), float(square.sum()), float((mean**2).sum()), kept, explore_share
        )
        if found < rate:
            rate, bound_by = found, each.name
    return rate, bound_by


def is_covered(salt: str, members: Sequence[str], coverage: float) -> Mask:
    """Return who a campaign is open to; raising the coverage only ever adds members.

    The same members as `actions.arms.arm_of` covers.
    """
    limit = buckets_of(coverage)
    return np.array([bucket(f"{salt}/coverage", member) < limit for member in members], dtype=bool)


def _planned(
    profits: Numbers, resources: Sequence[Resource], rng: np.random.Generator, solved: int
) -> Plan:
    if len(profits) <= solved:
        return choose(profits, resources, rng=rng)
    some = np.sort(rng.choice(len(profits), solved, replace=False))
    part = solved / len(profits)
    theirs = [
        replace(
            each, capacity=part * each.capacity,
            use=each.use[some] if len(each.use) > 1 else each.use,
        )
        for each in resources
    ]  # fmt: skip
    prices = choose(profits[some], theirs, rng=rng).prices
    return priced(profits, resources, prices)


def _highest_rate(
    mean: float, square: float, squared_mean: float, kept: float, wished: float
) -> float:
    """Return the highest rate e up to `wished` with e m + k sqrt(e s - e^2 q) <= kept.

    The left side is concave in e and 0 at 0: where it is too much at `wished`, it passes `kept`
    once below, at the smaller root of (kept - e m)^2 = k^2 (e s - e^2 q).
    """
    k2 = STANDARD_DEVIATIONS**2
    spread = math.sqrt(max(0.0, wished * square - wished**2 * squared_mean))
    if wished * mean + STANDARD_DEVIATIONS * spread <= kept:
        return wished
    a, b = mean**2 + k2 * squared_mean, 2 * kept * mean + k2 * square
    root = 2 * kept**2 / (b + math.sqrt(max(0.0, b**2 - 4 * a * kept**2)))
    return min(wished, root * (1 - _ROUNDING))


def _chances(planned: Places, eligible: Mask, rate: float) -> Numbers:
    """Return the probability of each action after the redraw, before the control."""
    choices = eligible.sum(axis=1, keepdims=True)
    chances: Numbers = np.where(eligible, rate / np.maximum(choices, 1), 0.0)
    served = np.flatnonzero(planned != NOBODY)
    chances[served, planned[served]] += 1 - rate
    return chances


def _nth_eligible(eligible: Mask, nth: Places) -> Places:
    """Return the place of the nth true column of each row, counted from 0."""
    passed = np.cumsum(eligible, axis=1)
    found: Places = (passed > nth[:, None]).argmax(axis=1)
    return found


def _fractions(salt: str, members: Sequence[str]) -> Numbers:
    """Return a number within [0, 1) for each member, each as likely as any other."""
    return np.array(
        [int(sha256(f"{salt}\n{member}".encode()).hexdigest()[:_DIGITS], 16) for member in members],
        dtype=np.float64,
    ) / _SPAN  # fmt: skip


def _within(done: Places, resources: Sequence[Resource]) -> dict[str, float]:
    """Return what is used of each resource; refuse to use more than there is."""
    served = np.flatnonzero(done != NOBODY)
    used = {each.name: float(each.of(served, done[served]).sum()) for each in resources}
    for each in resources:
        if used[each.name] > each.capacity * (1 + _ROUNDING):
            raise InputRefused(
                f"What was drawn would use {used[each.name]} of {each.name}, and there is "
                f"{each.capacity}. Nothing is sent. Plan with what `kept_for_plan` leaves; where "
                "that was done, chance was against it: draw with another salt."
            )
    return used


def _check_shares(explore_share: float, control_share: float) -> None:
    # NaN fails every comparison.
    if not 0 <= explore_share <= 1 or not 0 <= control_share < 1:
        raise InputRefused(
            f"A share of {explore_share} explores and {control_share} is the control. Nothing was "
            "drawn. Give shares from 0 to 1; a control of everybody changes nothing."
        )


def _check(planned: Places, eligible: Mask, members: Sequence[str]) -> None:
    if (
        eligible.ndim != 2
        or not eligible.shape[1]
        or {len(planned), len(members)} != {len(eligible)}
    ):
        raise InputRefused(
            f"{len(members)} members, plans for {len(planned)} and eligibility of shape "
            f"{eligible.shape} are not of the same members and actions. Nothing was drawn."
        )
    if len(set(members)) != len(members):
        raise InputRefused(
            f"{len(members) - len(set(members))} members are there twice. Nothing was drawn: each "
            "has one action at most."
        )
    served = np.flatnonzero(planned != NOBODY)
    actions = planned[served]
    known = (actions >= 0) & (actions < eligible.shape[1])
    if not known.all() or not eligible[served, actions].all():
        raise InputRefused(
            "Some members are planned an action that they are not eligible for. Nothing was "
            "drawn. Give those a profit of -inf before planning."
        )
