"""What one protocol of the benchmark prints: a line a model, and the aims it is held against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rich.table import Table

from training.intervals import Interval

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Aim:
    """A figure to reach.

    Parameters
    ----------
    figure : its name among the figures of the line it is asked of
    bound : what it has to reach
    direction : "at least" or "at most"; "within": its size, whatever its sign, is at most that
    """

    figure: str
    bound: float
    direction: Literal["at least", "at most", "within"] = "at least"

    def reached(self, value: float) -> bool:
        """Tell whether a measured figure is good enough; an undefined one never is."""
        if self.direction == "at least":
            return value >= self.bound
        return (abs(value) if self.direction == "within" else value) <= self.bound

    def __str__(self) -> str:
        sign = {"at least": ">=", "at most": "<=", "within": "within +-"}[self.direction]
        return f"{self.figure} {sign} {self.bound:g}"


@dataclass(frozen=True)
class Line:
    """One model on one protocol.

    Parameters
    ----------
    model : as the table names it
    role : "rule", "rival" (somebody else's way) or "ours"
    figures : metric -> figure, on the test members
    intervals : metric -> its 95 % bootstrap interval over members
    differences : metric -> this model minus the protocol's best rule, paired over members
    aims : asked of this line
    """

    model: str
    role: Literal["rule", "rival", "ours"]
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    differences: Mapping[str, Interval] = field(default_factory=dict)
    aims: tuple[Aim, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """One row of the issue's table, measured.

    Parameters
    ----------
    name : data, target and days in one sentence
    lines : rules, rivals and ours, in the order they are shown
    seconds : it took
    note : what a reader must know to judge it, such as what was given up
    """

    name: str
    lines: tuple[Line, ...]
    seconds: float
    note: str = ""

    def missed(self) -> tuple[str, ...]:
        """Return the aims that were not reached, as sentences."""
        return tuple(
            f"{line.model}: {aim} (measured {line.figures.get(aim.figure, float('nan')):.4f})"
            for line in self.lines
            for aim in line.aims
            if not aim.reached(line.figures.get(aim.figure, float("nan")))
        )

    def table(self) -> Table:
        """Return it for the terminal."""
        names = list(dict.fromkeys(name for line in self.lines for name in line.figures))
        shown = Table(title=f"{self.name} ({self.seconds:.0f} s)", title_justify="left")
        for heading in ("model", "role"):
            shown.add_column(heading, overflow="fold")
        for name in names:
            shown.add_column(name, justify="right", overflow="fold")
        shown.add_column("minus the best rule (95 %)", overflow="fold")
        for line in self.lines:
            shown.add_row(
                line.model,
                line.role,
                *(_figure(line, name) for name in names),
                "; ".join(f"{name} {_signed(gain)}" for name, gain in line.differences.items()),
            )
        return shown


def _figure(line: Line, name: str) -> str:
    if name not in line.figures:
        return ""
    text = f"{line.figures[name]:.4f}"
    interval = line.intervals.get(name)
    return f"{text}\n[{interval.low:.3f}, {interval.high:.3f}]" if interval else text


def _signed(gain: Interval) -> str:
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
