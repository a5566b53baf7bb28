"""What a value is compared with: a number, or a multiple of a quantile of the programme."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantile:
    """A quantile of the programme: of a value, over the members with the tag's support."""

    column: str
    over: str | None
    share: float
    support: str
    least: float


@dataclass(frozen=True)
class Level:
    """A threshold: a number, or a multiple of a quantile."""

    number: float
    quantile: Quantile | None = None

    def measured(self, quantiles: Mapping[Quantile, float | None]) -> float | None:
        """Return the number to compare with; None where there is no such quantile."""
        if self.quantile is None:
            return self.number
        found = quantiles[self.quantile]
        # A multiple of nothing tells nobody apart.
        if found is None or (found == 0 and self.number != 1):
            return None
        return self.number * found


@dataclass(frozen=True)
class Measured:
    """What thresholds are measured to be.

    Parameters
    ----------
    support, least : the support the programme's quantiles are taken over
    quantiles : what they were measured to be
    """

    support: str
    least: float
    quantiles: Mapping[Quantile, float | None]


@dataclass(frozen=True)
class Scope(Measured):
    """What the SQL of a condition is written against.

    Parameters
    ----------
    held : SQL of whether the member holds the tag already
    holds : SQL of whether she holds another tag
    """

    held: str
    holds: Callable[[str], str]
