"""What a member is told of her tier: where she stands, what is missing, until when."""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select

from loyalty.errors import UnknownMember
from loyalty.postings import check_member
from loyalty.rows import qualifying_of
from loyalty.tables import ACCOUNTS, MEMBER_DAYS
from loyalty.terms import Terms
from loyalty.tiers import BEGINNING, Measure, history
from programme.calendar import local_date
from programme.database import Database
from programme.errors import NotReady


@dataclass(frozen=True)
class Step:
    """A tier and the day from which she had it; None: from the beginning."""

    tier: str
    since: date | None


@dataclass(frozen=True)
class TierStatus:
    """Where a member stands. Amounts are in the measure: points, minor units, orders, engagements.

    Attributes
    ----------
    to_next : what is missing to the next tier in the window; None at the highest
    to_retain : what is missing, by `window_end`, to keep this one; nought once it is safe
    after_window : the tier after `window_end` if nothing more is counted
    window_start, window_end : the days that are judged next; the end is the first that is not
    grace_until : first day without a tier that is held by grace only
    """

    member_id: str
    tier: str
    since: date | None
    measure: Measure
    amount: int
    next_tier: str | None
    to_next: int | None
    to_retain: int
    after_window: str
    window_start: date
    window_end: date
    grace_until: date | None
    benefits: tuple[str, ...]
    history: tuple[Step, ...]


def tier_status(database: Database, terms: Terms, member_id: str, *, now: datetime) -> TierStatus:
    """Return where a member stands now.

    Raises
    ------
    UnknownMember : if she has no account.
    NotReady : if the programme's rules have no tiers.
    """
    check_member(member_id)
    policy = terms.tiers
    if policy is None:
        raise NotReady(
            "The rules of this programme have no tiers. Nothing was read. Add a [tiers] section "
            "to the next version."
        )
    with database.read() as connection:
        known = select(ACCOUNTS.c.member_id).where(ACCOUNTS.c.member_id == member_id)
        if connection.execute(known).one_or_none() is None:
            raise UnknownMember(
                f"{member_id!r} has no points account. Nothing was read. An account opens with "
                "the first points a member earns."
            )
        days = [
            (row.day, getattr(qualifying_of(row), policy.measure))
            for row in connection.execute(
                select(MEMBER_DAYS)
                .where(MEMBER_DAYS.c.member_id == member_id)
                .order_by(MEMBER_DAYS.c.day)
            )
        ]
    steps = history(policy, days, local_date(now, terms.timezone))
    stands = steps[-1]
    level = policy.levels[stands.level]
    above = policy.levels[stands.level + 1 : stands.level + 2]
    return TierStatus(
        member_id, level.name, _since(stands.since), policy.measure, stands.amount,
        above[0].name if above else None,
        max(0, above[0].threshold - stands.amount) if above else None,
        max(0, level.retain - stands.held_amount) if policy.downgrade != "none" else 0,
        policy.levels[stands.secured].name, stands.window_start, stands.window_end,
        stands.grace_until, level.benefits,
        tuple(Step(policy.levels[step.level].name, _since(step.since)) for step in steps),
    )  # fmt: skip


def _since(day: date) -> date | None:
    return None if day == BEGINNING else day
