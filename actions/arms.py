"""Who is in which arm: a pure function of a salt and a member, the same on every machine.

Nobody is drawn: nothing has to be stored to know an arm again, new members move nobody, and two
salts are independent. The arithmetic is that of PlanOut (Bakshy, Eckles, Bernstein, 2014: the first
fifteen hexadecimal digits of a hash, taken as a number) over SHA-256, in ten thousand buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from programme.errors import InputRefused

BUCKETS = 10_000
_DIGITS = 15
_SPAN: int = 16**_DIGITS
# A share of an arm is a whole number of buckets; a float that means one may miss it by a hair.
_HAIR = 1e-6


@dataclass(frozen=True)
class Arm:
    """One arm of a campaign and its share of the members in it, within 0 and 1."""

    name: str
    share: float


def bucket(salt: str, member_id: str) -> int:
    """Return a member's bucket under a salt, from 0 to 9,999, each as likely as any other."""
    digits = sha256(f"{salt}\n{member_id}".encode()).hexdigest()[:_DIGITS]
    return int(digits, 16) * BUCKETS // _SPAN


def buckets_of(share: float) -> int:
    """Return how many buckets make a share of all members.

    Raises
    ------
    InputRefused : if it is outside 0 and 1, or finer than a bucket.
    """
    exact = share * BUCKETS
    # NaN fails every comparison.
    if not 0 <= share <= 1 or abs(exact - round(exact)) > _HAIR:
        raise InputRefused(
            f"A share of members is {share}. Nothing was assigned. Give one between 0 and 1, in "
            f"steps of {1 / BUCKETS}."
        )
    return round(exact)


def arm_of(salt: str, member_id: str, arms: Sequence[Arm], *, coverage: float = 1.0) -> str | None:
    """Return the arm of a member; None where the campaign does not cover her.

    Coverage can grow while a campaign runs: whoever was in it stays in it and in her arm, because
    the two are told by different buckets.

    Parameters
    ----------
    salt : of the campaign; never that of another
    arms : their shares make one
    coverage : share of members the campaign is open to so far

    Raises
    ------
    InputRefused : if the shares do not make one, or two arms have one name.
    """
    ends = _ends(arms)
    if bucket(f"{salt}/coverage", member_id) >= buckets_of(coverage):
        return None
    place = bucket(f"{salt}/arm", member_id)
    return next(arm.name for arm, end in zip(arms, ends, strict=True) if place < end)


def is_held_out(salt: str, member_id: str, share: float) -> bool:
    """Say whether a member belongs to the global control: who gets nothing from any campaign.

    Parameters
    ----------
    salt : of the control's period: a new one draws other members
    """
    return bucket(f"{salt}/global", member_id) < buckets_of(share)


def is_in_range(namespace: str, member_id: str, first: int, end: int) -> bool:
    """Say whether a member's bucket in a namespace lies in [first, end).

    Campaigns that must not meet share a namespace and hold ranges that do not overlap.
    """
    return first <= bucket(f"{namespace}/namespace", member_id) < end


def _ends(arms: Sequence[Arm]) -> list[int]:
    ends, total = [], 0
    for arm in arms:
        total += buckets_of(arm.share)
        ends.append(total)
    if total != BUCKETS or len({arm.name for arm in arms}) < len(arms):
        said = ", ".join(f"{arm.name} {arm.share}" for arm in arms) or "none"
        raise InputRefused(
            f"The arms are {said}. Nothing was assigned. Give each a name of its own, and shares "
            "that make one."
        )
    return ends
