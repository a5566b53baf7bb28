"""What is asked of the ledger, and what it answers."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from loyalty.account import Allocation, Entry, Kind, Qualifying
from loyalty.errors import Malformed, OutsideLimits
from loyalty.lasting import Lasting
from loyalty.tables import MEMBER_ID_LENGTH_MAX, POSTING_ID_LENGTH_MAX
from loyalty.terms import Terms
from programme.calendar import local_date

# Ids we make ourselves hold a "#", so that no caller's id can be one of them.
_POSTING_ID = re.compile(rf'[!-"$-~]{{1,{POSTING_ID_LENGTH_MAX}}}')
REASON_LENGTH_MAX = 500
ASKED_FOR: tuple[Kind, ...] = ("EARN", "REDEEM", "ADJUST", "REVERSE", "TRANSFER", "OPENING")


@dataclass(frozen=True)
class Request:
    """One change a caller asks for. The caller makes `posting_id`: asking again changes nothing.

    Attributes
    ----------
    points : in the smallest unit, above nought; ADJUST may be below; None for a REVERSE of all
        that is left
    occurred_at : when it happened; None means when it is posted
    to_member_id : who receives a TRANSFER
    reverses : posting_id that a REVERSE undoes
    lasting : how long a grant lasts; None means as the programme's points do
    qualifying : what it counts for tiers; for a REVERSE what it takes away, None for its share
    came_as : fingerprint of what came in, where that says more than what is asked for it
    """

    kind: Kind
    posting_id: str
    member_id: str
    points: int | None
    occurred_at: datetime | None = None
    to_member_id: str | None = None
    reverses: str | None = None
    reason: str | None = None
    lasting: Lasting | None = None
    qualifying: Qualifying | None = None
    order_key: str | None = None
    rule_version: str | None = None
    came_as: str | None = None

    @property
    def members(self) -> list[str]:
        """Return the members whose points it changes."""
        receiver = [] if self.to_member_id is None else [self.to_member_id]
        return [self.member_id, *receiver]

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of everything that was asked."""
        if self.came_as is not None:
            return self.came_as
        asked = dict(vars(self))
        del asked["came_as"]
        return digest(asked)


@dataclass(frozen=True)
class Posting:
    """One change of one member's points, as it was recorded; it never changes.

    Attributes
    ----------
    posting_no : its place in her history, from 1
    active, pending : change of what she can spend, and will be able to spend
    balance : what she could spend after it; below nought she owes
    expires_at : first moment at which what it granted is worth nothing; None: never, or nothing
    idle_at : when, after it, points expire that last as long as she is active
    day : the programme's day of `occurred_at`; for a REVERSE that of what it reverses
    """

    posting_id: str
    member_id: str
    posting_no: int
    kind: Kind
    active: int
    pending: int
    balance: int
    occurred_at: datetime
    recorded_at: datetime
    expires_at: datetime | None
    idle_at: datetime | None
    tier: str | None
    rule_version: str | None
    order_key: str | None
    reverses: str | None
    reason: str | None
    day: date
    qualifying: Qualifying
    fingerprint: str
    chain: str = field(default="", repr=False)

    def chained(
        self, before: str, entries: Sequence[Entry], allocations: Sequence[Allocation]
    ) -> str:
        """Return the SHA-256 over the member's posting before and all of this one."""
        content = {name: value for name, value in vars(self).items() if name != "chain"}
        return digest([before, content, entries, allocations])


def digest(content: object) -> str:
    """Return the SHA-256 of plain content, the same on every machine."""
    return hashlib.sha256(_JSON.encode(content).encode()).hexdigest()


def check(request: Request) -> None:
    """Refuse what cannot be meant, before anything is looked up.

    Raises
    ------
    Malformed : naming what was sent, as far as it can be repeated safely.
    """
    if not isinstance(request.posting_id, str) or not _POSTING_ID.fullmatch(request.posting_id):
        raise Malformed(
            f"A posting_id is 1 to {POSTING_ID_LENGTH_MAX} printable ASCII characters without "
            f"spaces and without '#', not {request.posting_id!r:.120}. Nothing was posted."
        )
    for member_id in request.members:
        check_member(member_id)
    _check_points(request)
    _check_kind(request)
    if request.occurred_at is not None and request.occurred_at.tzinfo is None:
        raise Malformed(
            f"occurred_at of {request.posting_id} is {request.occurred_at}, without a timezone. "
            "Nothing was posted. Send an instant such as 2018-01-31T09:30:00Z."
        )


def check_limits(request: Request, terms: Terms, now: datetime) -> None:
    """Refuse what is surely a mistake; a posting that was made once is not judged again.

    Raises
    ------
    OutsideLimits : naming the bounds.
    """
    limits = terms.limits
    what = f"{request.kind} {request.order_key or request.posting_id}"
    if request.points is not None and abs(request.points) > limits.points_max:
        raise OutsideLimits(
            f"{what} asks for {terms.written(request.points)} points, more than "
            f"{terms.written(limits.points_max)} at once. Nothing was posted. Raise "
            "limits.points_max of the rules if that is meant."
        )
    moment = request.occurred_at
    earliest = now - timedelta(days=limits.backdated_days)
    latest = now + timedelta(minutes=limits.future_minutes)
    if moment is not None and not earliest <= moment <= latest:
        raise OutsideLimits(
            f"{what} is dated {moment}; between {earliest} and "
            f"{latest} is accepted. Nothing was posted. Correct the date, or the limits of the "
            "rules."
        )
    closed = limits.closed_through
    if closed is not None and moment is not None:
        day = local_date(moment, terms.timezone)
        if day <= closed:
            raise OutsideLimits(
                f"{what} is of {day}, and the books are closed through {closed}. Nothing was "
                "posted. Post it with a day that is open, and say in its reason what it is for."
            )


def check_member(member_id: str) -> None:
    """Refuse what cannot be a member_id.

    Raises
    ------
    Malformed : if it is empty, too long, padded, or holds what cannot be written down.
    """
    if (
        not isinstance(member_id, str)
        or not 0 < len(member_id) <= MEMBER_ID_LENGTH_MAX
        or member_id != member_id.strip()
        or any(unicodedata.category(character) in ("Cc", "Cs") for character in member_id)
    ):
        raise Malformed(
            f"A member_id is 1 to {MEMBER_ID_LENGTH_MAX} characters without control characters "
            f"and without spaces around it, not {member_id!r:.120}. Nothing was done."
        )


def is_writable(text: str) -> bool:
    """Say whether every database can keep a text: no NUL, no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _check_points(request: Request) -> None:
    points = request.points
    if points is None and request.kind == "REVERSE":
        return
    if isinstance(points, bool) or not isinstance(points, int):
        raise Malformed(
            f"Points are a whole number of the smallest unit, not {points!r:.40}. Nothing was "
            "posted."
        )
    if points == 0 or (points < 0 and request.kind != "ADJUST"):
        raise Malformed(
            f"{request.kind} {request.posting_id} asks for nought points or less. Nothing was "
            "posted. Ask for more; only an ADJUST may be below nought."
        )


def _check_kind(request: Request) -> None:
    needs = {"TRANSFER": ("to_member_id",), "REVERSE": ("reverses",), "ADJUST": ("reason",)}
    if request.kind not in ASKED_FOR:
        raise Malformed(
            f"{request.kind!r:.40} is not a kind a caller posts. Nothing was posted. Post one of "
            f"{', '.join(ASKED_FOR)}; points expire and become active by the clock."
        )
    for name in needs.get(request.kind, ()):
        if not getattr(request, name):
            raise Malformed(
                f"{request.kind} {request.posting_id} needs {name}. Nothing was posted."
            )
    reason = request.reason or ""
    if len(reason) > REASON_LENGTH_MAX or not is_writable(reason):
        raise Malformed(
            f"The reason of {request.posting_id} is {reason!r:.80}, {len(reason)} characters. "
            f"Nothing was posted. Use at most {REASON_LENGTH_MAX}, and no NUL."
        )
    if request.to_member_id == request.member_id:
        raise Malformed(
            f"TRANSFER {request.posting_id} goes from a member to herself. Nothing was posted."
        )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Qualifying | Lasting):
        return vars(value)
    raise TypeError(f"{type(value).__name__} is not plain content")


_JSON = json.JSONEncoder(sort_keys=True, default=_plain, separators=(",", ":"))
