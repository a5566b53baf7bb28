"""What is said about a member: the contract of a score. No model, no frame, no heavy import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

Direction = Literal["up", "down"]
Importance = Literal["low", "medium", "high"]
RiskBand = Literal["low", "medium", "high"]
PopulationName = Literal["active", "dormant"]

MEMBER_ID_LENGTH_MAX = 64
# A driver's share of all that moved this member's score, regardless of sign.
IMPORTANCE_HIGH = 0.25
IMPORTANCE_MEDIUM = 0.10
# Decimals of `base`, `raw_score` and contributions: the sum is exact in what is written.
CONTRIBUTION_DECIMALS = 6


@dataclass(frozen=True)
class RiskBands:
    """Where a churn probability becomes a medium, then a high risk; each bound is inclusive."""

    medium: float = 0.30
    high: float = 0.60

    def __post_init__(self) -> None:
        """Refuse bounds that leave a band empty."""
        if not 0.0 < self.medium < self.high < 1.0:
            raise ValueError(f"risk bands need 0 < medium < high < 1, got {self}")

    def of(self, probability: float) -> RiskBand:
        """Return the band a probability falls in."""
        if probability >= self.high:
            return "high"
        return "medium" if probability >= self.medium else "low"


RISK_BANDS = RiskBands()


@dataclass(frozen=True)
class Driver:
    """One business reason and what it moved.

    Parameters
    ----------
    code : names the reason; its sentence is `driver.<code>` in the word books
    value : the main raw fact, in the unit its parameter's name says; None if there is none
    parameters : every raw fact of the sentence
    contribution : to the raw score; log-odds for churn, log of cents for value
    direction : "up" raises the raw score
    importance : its share of all that moved the score
    """

    code: str
    value: float | str | None
    parameters: Mapping[str, float | str]
    contribution: float
    direction: Direction
    importance: Importance


def no_single_driver(drivers: Sequence[Driver]) -> bool:
    """Tell whether nothing stands out: then no one reason should be named as the reason."""
    return not any(driver.importance == "high" for driver in drivers)


@dataclass(frozen=True)
class ChurnScore:
    """P(no purchase in `[as_of, as_of + horizon_days)`) and why.

    `base` and the contributions add up to `raw_score` exactly, as written with six decimals; the
    probability is a monotone calibration of it. `percentile` is among all members of the
    snapshot, 100 the most likely to leave. `eligible` tells an active member, who can still be
    kept, from a dormant one, who has to be won back.
    """

    churn_probability: float
    horizon_days: int
    percentile: int
    risk_band: RiskBand
    population: PopulationName
    eligible: bool
    base: float
    raw_score: float
    drivers: tuple[Driver, ...]
    model_name: str
    model_version: int


@dataclass(frozen=True)
class ValueScore:
    """Expected spend in `[as_of, as_of + horizon_days)`, in cents, and roughly why.

    Spend is net of returns. `historic_cents` is all of it before `as_of`; with what is expected
    it makes `total_cents`. `margin_cents` is what the shop keeps of `value_cents` if she buys as
    she did in the last year; None where no margin of her goods is known. `low_cents` and
    `high_cents` hold what `interval_level` of the members of whom as much was expected spent;
    where most spend nothing, the average that is expected may lie above both. All three are None
    for a model without measured errors.

    The drivers explain a surrogate of the model, so `exact` is False: `base` and contributions
    add up to `raw_score`, the surrogate's log(1 + cents), and `error_cents` is how far it lies
    from `value_cents`. `percentile` is among all members, 100 the most valuable.
    """

    value_cents: float
    low_cents: float | None
    high_cents: float | None
    interval_level: float | None
    historic_cents: float
    total_cents: float
    margin_cents: float | None
    horizon_days: int
    percentile: int
    base: float
    raw_score: float
    drivers: tuple[Driver, ...]
    exact: bool
    error_cents: float
    model_name: str
    model_version: int


@dataclass(frozen=True)
class ProductScore:
    """One product worth showing to a member, and the reason's code and facts."""

    product_id: str
    rank: int
    score: float
    reason: str
    parameters: Mapping[str, float | str]


@dataclass(frozen=True)
class NextProducts:
    """What to offer next: products bought before, and products never bought."""

    repeat: tuple[ProductScore, ...] = ()
    explore: tuple[ProductScore, ...] = ()


@dataclass(frozen=True)
class DueCategory:
    """A category a member will need soon, by her own rhythm in it.

    Parameters
    ----------
    due_days : from `as_of`, rounded; below 0: she is overdue by so many days
    parameters : `gap_days` she usually takes, `last_days` since the last, `purchase_days` so far
    """

    category: str
    due_days: int
    overdue: bool
    parameters: Mapping[str, float | str]


@dataclass(frozen=True)
class NextOrderScore:
    """When the next purchase day is expected; a day that is None lies beyond the horizon.

    Parameters
    ----------
    expected_on : by then half of such members have bought
    earliest_on, latest_on : four in five of such members buy from the one to the other
    horizon_days : days from `as_of` that are looked ahead
    p_by : (days, probability of a purchase in `[as_of, as_of + days)`), week by week
    due : categories she will need soon, the most bought first
    exact : False: no reasons are given that would add up to a date
    """

    expected_on: date | None
    earliest_on: date | None
    latest_on: date | None
    horizon_days: int
    p_by: tuple[tuple[int, float], ...]
    due: tuple[DueCategory, ...]
    exact: bool
    model_name: str
    model_version: int


@dataclass(frozen=True)
class MemberScores:
    """Everything said of one member as of one day; a member without a purchase is not known.

    `data_as_of` is the last instant (UTC) at which we knew something that went into it.
    """

    member_id: str
    known: bool
    as_of: date | None = None
    data_as_of: datetime | None = None
    churn: ChurnScore | None = None
    value: ValueScore | None = None
    next_products: NextProducts | None = None
    next_order: NextOrderScore | None = None
