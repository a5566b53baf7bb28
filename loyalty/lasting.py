"""How long points last: when a grant becomes spendable and when it is worth nothing."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from programme.calendar import local_date, local_midnight

Until = Literal["never", "days", "month", "quarter", "year", "idle"]
MONTHS = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True)
class Lasting:
    """One rule of expiry, as a programme declares it.

    Attributes
    ----------
    until : "days" after the grant; the end of a "month", "quarter" or "year"; "idle", when the
        member neither earned nor spent for that long; "never"
    count : days for "days" and "idle"; for a period, how many follow the one of the grant
    grace_days : for how much longer points can be spent after the day the member is told
    pending_days : before points can be spent, for example while goods can be returned
    last_day : for "date", the last day on which the points can be spent: what another system
        promised; no rule says so
    """

    until: Until | Literal["date"] = "never"
    count: int = 0
    grace_days: int = 0
    pending_days: int = 0
    last_day: date | None = None


@dataclass(frozen=True)
class Life:
    """When one lot can be spent. The ends are the first moment it cannot.

    `expires_at` is what the member is told, `ends_at` adds the days of grace; both are empty for
    points that last for ever and for those that last as long as she is active (`idle`).
    """

    available_at: datetime
    expires_at: datetime | None
    ends_at: datetime | None
    idle: bool = False


def life(lasting: Lasting, granted_at: datetime, timezone: str) -> Life:
    """Return when points granted at `granted_at` can be spent.

    Days end at the programme's midnight, whatever the clock did that day. A life is counted from
    the day on which the points become spendable: none can expire before that.
    """
    available_at, first = granted_at, local_date(granted_at, timezone)
    if lasting.pending_days:
        first += timedelta(days=lasting.pending_days)
        available_at = local_midnight(first, timezone)
    if lasting.until in ("never", "idle"):
        return Life(available_at, None, None, idle=lasting.until == "idle")
    last = _last_day(lasting, first)
    return Life(
        available_at,
        local_midnight(last + timedelta(days=1), timezone),
        local_midnight(last + timedelta(days=1 + lasting.grace_days), timezone),
    )


def idle_end(lasting: Lasting, active_at: datetime, timezone: str) -> datetime:
    """Return when points that last as long as a member is active expire, if she does no more."""
    last = local_date(active_at, timezone) + timedelta(days=lasting.count + lasting.grace_days)
    return local_midnight(last + timedelta(days=1), timezone)


def period_start(day: date, months: int) -> date:
    """Return the first day of the period of `months` (1, 3, 6 or 12) that holds `day`."""
    return date(day.year, (day.month - 1) // months * months + 1, 1)


def later(first: date, months: int) -> date:
    """Return the first day of the month that lies `months` after that of `first`."""
    total = first.year * 12 + first.month - 1 + months
    return date(total // 12, total % 12 + 1, 1)


def _last_day(lasting: Lasting, first: date) -> date:
    if lasting.last_day is not None:
        return lasting.last_day
    if lasting.until == "days":
        return first + timedelta(days=lasting.count)
    months = MONTHS[lasting.until]
    return later(period_start(first, months), months * (1 + lasting.count)) - timedelta(days=1)
