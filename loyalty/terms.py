"""What every posting of a programme goes by: its day, its points, their life, their tiers."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from loyalty.lasting import Lasting
from loyalty.tiers import TierPolicy

# What happens where points are taken back that a member has spent.
SpentPoints = Literal["negative", "later_earnings", "forgiven"]
POINTS_MAX = 10**12


@dataclass(frozen=True)
class Limits:
    """What is refused as a mistake.

    Attributes
    ----------
    points_max : of one posting, in the smallest unit
    backdated_days : how long ago a posting may have happened
    future_minutes : how far ahead of our clock another's may be
    closed_through : last day of the books that are closed: nothing is posted into them any more
    """

    points_max: int = POINTS_MAX
    backdated_days: int = 400
    future_minutes: int = 5
    closed_through: date | None = None


@dataclass(frozen=True)
class Terms:
    """The rules of the ledger itself; what an order earns is `loyalty.rules`."""

    timezone: str
    points_scale: int = 0
    lasting: Lasting = field(default_factory=Lasting)
    spent_points: SpentPoints = "negative"
    tiers: TierPolicy | None = None
    limits: Limits = field(default_factory=Limits)

    def written(self, points: int) -> str:
        """Write points as people do; see `written`."""
        return written(points, self.points_scale)


def written(points: int, scale: int) -> str:
    """Write points as people do: 1250 hundredths are 12.50."""
    return f"{Decimal(points).scaleb(-scale):,.{scale}f}"
