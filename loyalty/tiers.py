"""Tiers: a pure function of what a member's days counted, never a counter that drifts.

A tier is reached at once, on the day the window's sum meets its threshold. It is lost only at the
end of a period, by the declared policy. A refund takes away what its order counted, on the day of
that order, so the tier is what it would have been without it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from typing import Literal

from loyalty.lasting import later, period_start

Measure = Literal["points", "cents", "orders", "engagements"]
Downgrade = Literal["one_down", "balance_based", "none"]
Days = Sequence[tuple[date, int]]
BEGINNING = date.min
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Tier:
    """One level: from what sum it is reached and kept, and what it unlocks."""

    name: str
    threshold: int
    retain: int
    benefits: tuple[str, ...] = ()


@dataclass(frozen=True)
class TierPolicy:
    """The levels, lowest first, and how they are reached, kept and lost.

    Attributes
    ----------
    levels : the lowest has threshold 0
    measure : what a day counts: points, minor units of currency, orders or engagements
    window_months : of a calendar window (1, 3, 6 or 12); None where the window rolls
    window_days : of a rolling window, and how long a tier that was reached is held
    downgrade : at the end of a period that did not retain the tier: one level down, the level that
        the period's own sum reaches, or never
    grace_days : for how long the tier outlives the end of its period
    """

    levels: tuple[Tier, ...]
    measure: Measure
    window_months: int | None
    window_days: int | None
    downgrade: Downgrade
    grace_days: int = 0

    def reached(self, amount: int) -> int:
        """Return the highest level whose threshold `amount` meets."""
        return max(n for n, tier in enumerate(self.levels) if n == 0 or amount >= tier.threshold)

    def after(self, level: int, amount: int) -> int:
        """Return the level with which a period begins whose predecessor ended with these."""
        if amount >= self.levels[level].retain or self.downgrade == "none":
            return level
        reached = self.reached(amount)
        return max(level - 1, reached) if self.downgrade == "one_down" else min(level, reached)


@dataclass(frozen=True)
class Standing:
    """Where a member stands on one day.

    Attributes
    ----------
    level : index into the policy's levels
    since : first day of an unbroken run at this level; `BEGINNING` for the lowest, never left
    window_start, window_end : the days that are judged next; the end is the first that is not
    amount : what counts towards the next level
    held_amount : what counts towards keeping this one, so far in the window
    secured : the level after the window's end if nothing more is counted
    grace_until : first day without a level that is held by grace only; None where it is not
    """

    level: int
    since: date
    window_start: date
    window_end: date
    amount: int
    held_amount: int
    secured: int
    grace_until: date | None = None


def standing(policy: TierPolicy, days: Days, today: date) -> Standing:
    """Return where a member stands on `today`, days before and today's counted.

    Parameters
    ----------
    days : (day, what it counted), each day once, in order
    """
    return history(policy, days, today)[-1]


def level_on(policy: TierPolicy, days: Days, today: date) -> int:
    """Return the level of `standing` alone; on calendar windows without walking each day.

    What an order earns and what a posting notes is the level, so it is asked for all the time.
    """
    if policy.window_months is None or not days or days[0][0] > today:
        return standing(policy, days, today).level
    known = _Counted([pair for pair in days if pair[0] <= today])
    start = period_start(known.days[0], policy.window_months)
    base = own = before = 0
    while start <= today:
        end = later(start, policy.window_months)
        before, amount = own, known.between(start, end)
        own = max(base, policy.reached(amount))
        started, start = start, end
        lost, base = before > base, policy.after(own, amount)
    in_grace = lost and today < started + timedelta(days=policy.grace_days)
    return max(own, before) if in_grace else own


def history(policy: TierPolicy, days: Days, today: date) -> list[Standing]:
    """Return her standing at each change of level; the last is as of `today`."""
    known = _Counted([pair for pair in days if pair[0] <= today])
    steps = _calendar if policy.window_months is not None else _rolling
    found: list[Standing] = []
    own, lost, lost_until = 0, 0, BEGINNING
    for step in steps(policy, known, today):
        if found and found[-1].level > own and lost_until < step.since:
            # Grace ran out between two steps.
            found.append(replace(found[-1], level=own, since=lost_until, grace_until=None))
        if step.level < own:
            lost, lost_until = own, step.since + timedelta(days=policy.grace_days)
        own = step.level
        shown = max(own, lost) if step.since < lost_until else own
        grace_until = lost_until if shown > own else None
        if found and found[-1].level == shown:
            found[-1] = replace(step, level=shown, since=found[-1].since, grace_until=grace_until)
        else:
            since = step.since if found or shown else BEGINNING
            found.append(replace(step, level=shown, since=since, grace_until=grace_until))
    return found


class _Counted:
    """What days counted, with sums over any stretch of them."""

    def __init__(self, pairs: Days) -> None:
        self.days = [day for day, _ in pairs]
        self._sums = [0, *accumulate(amount for _, amount in pairs)]

    def between(self, start: date, end: date) -> int:
        """Return the sum over `[start, end)`."""
        return self._sums[bisect_left(self.days, end)] - self._sums[bisect_left(self.days, start)]

    def within(self, start: date, end: date) -> list[date]:
        """Return the counted days of `[start, end)`."""
        return self.days[bisect_left(self.days, start) : bisect_left(self.days, end)]


def _calendar(policy: TierPolicy, known: _Counted, today: date) -> Iterator[Standing]:
    """Yield the level without grace at each day on which it may change, and today."""
    assert policy.window_months is not None
    start = period_start(known.days[0] if known.days else today, policy.window_months)
    base = 0
    while start <= today:
        end = later(start, policy.window_months)
        level = base
        for day in sorted({start, min(today, end - _DAY), *known.within(start, end)}):
            amount = known.between(start, day + _DAY)
            level = max(base, policy.reached(amount))
            secured = policy.after(level, amount)
            yield Standing(level, day, start, end, amount, amount, secured)
        base = policy.after(level, known.between(start, end))
        start = end


def _rolling(policy: TierPolicy, known: _Counted, today: date) -> Iterator[Standing]:
    """Yield the level without grace at each day on which it may change, and today.

    A level that was reached is held for the length of a window from the next day; what that window
    counted then decides whether it is held for another.
    """
    assert policy.window_days is not None
    window = timedelta(days=policy.window_days)
    level, ends = 0, None
    waiting = sorted({*known.days, today}, reverse=True)
    while waiting:
        day = waiting[-1]
        if ends is not None and ends <= day:
            day = ends
            level = policy.after(level, known.between(ends - window, ends))
            ends = ends + window if level else None
        else:
            waiting.pop()
            reached = policy.reached(known.between(day + _DAY - window, day + _DAY))
            if reached > level:
                # What it was reached with does not also keep it.
                level, ends = reached, day + _DAY + window
        amount = known.between(day + _DAY - window, day + _DAY)
        end = day + _DAY if ends is None else ends
        held = known.between(end - window, day + _DAY)
        yield Standing(level, day, end - window, end, amount, held, policy.after(level, held))
