"""What is found about the rows of an ingest: how many of each table, and what to mend."""

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "information"]


@dataclass(frozen=True)
class TableCount:
    """What became of the rows of one table."""

    table: str
    read: int = 0
    stored: int = 0
    corrected: int = 0
    unchanged: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """Return how many rows are in quarantine, for whatever reason."""
        return sum(self.quarantined.values())


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    step: str
    severity: Severity
    table: str
    column: str
    count: int
    finding: str
    how_to_fix: str = ""
