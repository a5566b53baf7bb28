"""A column against a threshold: a number, a share of the members, a multiple of a quantile."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from features import engine
from features.tags.thresholds import Level, Measured, Quantile, Scope

# Of a share of the members or a quantile; the ends would hold everybody or nobody.
Share = Annotated[float, Field(gt=0, lt=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
ColumnName = Annotated[str, Field(min_length=1, max_length=160)]
Sense = Literal[">=", "<="]


class Part(BaseModel):
    """A piece of a declaration: never changed, unknown keys fail."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Compare(Part):
    """A column, or its ratio to another one, against a threshold.

    Exactly one of `at_least`, `at_most`, `top`, `bottom` says on which side to enter; `exit` is
    the looser value at which one stays. `top = 0.2` is the highest fifth of the members with
    support; `of_quantile = 0.5` makes `at_least` and `at_most` multiples of the median.
    """

    column: ColumnName
    over: ColumnName | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    top: Share | None = None
    bottom: Share | None = None
    of_quantile: Share | None = None
    exit: Number | None = None

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        given = [
            n for n in ("at_least", "at_most", "top", "bottom") if getattr(self, n) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"{self.column} needs exactly one of at_least, at_most, top and bottom, "
                f"got {given or 'none'}"
            )
        if self.of_quantile is not None and given[0] in ("top", "bottom"):
            raise ValueError(f"{self.column}: {given[0]} is a quantile already; drop of_quantile")
        enter, stay = float(getattr(self, given[0])), self.exit
        if stay is None:
            return self
        if given[0] in ("top", "bottom") and not enter <= stay < 1:
            raise ValueError(
                f"{self.column}: exit {stay} must lie in [{enter}, 1): staying is easier"
            )
        if (given[0] == "at_least" and stay > enter) or (given[0] == "at_most" and stay < enter):
            raise ValueError(
                f"{self.column}: exit {stay} is stricter than {given[0]} {enter}; a member would "
                "leave on the day she enters"
            )
        return self

    @property
    def sense(self) -> Sense:
        """Return on which side of the threshold the condition is true."""
        return ">=" if self.at_least is not None or self.top is not None else "<="

    def levels(self, support: str, least: float) -> tuple[Level, Level]:
        """Return the threshold to enter and the one to stay."""

        def level(number: float) -> Level:
            if self.top is not None or self.bottom is not None:
                share = 1 - number if self.top is not None else number
                return Level(
                    1.0, Quantile(self.column, self.over, round(share, 12), support, least)
                )
            if self.of_quantile is not None:
                return Level(
                    number, Quantile(self.column, self.over, self.of_quantile, support, least)
                )
            return Level(number)

        (enter,) = (
            n for n in (self.at_least, self.at_most, self.top, self.bottom) if n is not None
        )
        return level(enter), level(enter if self.exit is None else self.exit)

    def other_end(self, support: str, least: float) -> Level | None:
        """Return the value that everybody reaches: the lowest for `>=`, the highest for `<=`.

        Only of thresholds that are measured. Where most members have one value, a share of them
        or a quantile ends within the tie.
        """
        if self.top is None and self.bottom is None and self.of_quantile is None:
            return None
        share = 0.0 if self.sense == ">=" else 1.0
        return Level(1.0, Quantile(self.column, self.over, share, support, least))

    def bounds(self, scope: Measured) -> tuple[float, float, float | None] | None:
        """Return the value to enter, the one to stay, and one that is neither, if any.

        None where it cannot be judged: there is nothing to measure, or the threshold is one that
        everybody reaches.
        """
        enter, stay = (
            level.measured(scope.quantiles) for level in self.levels(scope.support, scope.least)
        )
        if enter is None or stay is None:
            return None
        # A multiple of a quantile below zero turns the band round: staying is never stricter.
        stay = min(enter, stay) if self.sense == ">=" else max(enter, stay)
        if (level := self.other_end(scope.support, scope.least)) is None:
            return enter, stay, None
        end = level.measured(scope.quantiles)
        if end is None:
            return None
        if self.of_quantile is None:
            return enter, stay, end
        vacuous = enter <= end if self.sense == ">=" else enter >= end
        return None if vacuous else (enter, stay, None)

    def unjudged(self, scope: Measured) -> str | None:
        """Return why it cannot be judged in this programme; None where it can."""
        if self.bounds(scope) is not None:
            return None
        read = self.column if self.over is None else f"{self.column} over {self.over}"
        enter = self.levels(scope.support, scope.least)[0].measured(scope.quantiles)
        if enter is None:
            return f"{read} is not known of the members, or is 0 of most: nothing to compare with"
        return f"everybody's {read} reaches {enter:g}: it tells nobody apart"

    def columns(self) -> Iterator[str]:
        """Yield the columns it reads."""
        yield self.column
        if self.over is not None:
            yield self.over

    def value(self) -> str:
        """Return SQL of what is compared."""
        return value_sql(self.column, self.over)

    def sql(self, scope: Scope) -> str:
        """Return SQL that is true or false, never null."""
        bounds = self.bounds(scope)
        if bounds is None:
            return "false"
        enter, stay, neither = bounds
        threshold = number(enter)
        if stay != enter:
            threshold = f"case when {scope.held} then {number(stay)} else {number(enter)} end"
        asked = f"{self.value()} {self.sense} {threshold}"
        if neither is not None:
            asked += f" and {self.value()} <> {number(neither)}"
        return f"coalesce({asked}, false)"


def value_sql(column: str, over: str | None = None) -> str:
    """Return SQL of a column of the joined sources, or of its ratio to another one."""
    if over is None:
        return engine.name(column)
    return f"({engine.name(column)} / nullif({engine.name(over)}, 0))"


def number(value: float) -> str:
    """Return an SQL literal that is a double, exactly this one."""
    shown = repr(float(value))
    return shown if "e" in shown else f"{shown}e0"
