"""What a tag asks of a member: columns against thresholds, other tags, and, or, not.

What is not known fulfils no comparison, so every condition is either true or false. A threshold
has an enter side and an exit side: who holds the tag already is asked the looser one, so a value
that trembles about the threshold does not move her in and out.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from features import engine
from features.tags.comparison import ColumnName, Compare, Part
from features.tags.thresholds import Measured, Scope


class Among(Part):
    """A column of names is one of these; who holds the tag may also be one of `exit`."""

    column: ColumnName
    among: Annotated[tuple[str, ...], Field(min_length=1)]
    exit: tuple[str, ...] = ()

    def columns(self) -> Iterator[str]:
        """Yield the columns it reads."""
        yield self.column

    def sql(self, scope: Scope) -> str:
        """Return SQL that is true or false, never null."""
        enter = _is_in(self.column, self.among)
        if not self.exit:
            return enter
        return f"({enter} or ({scope.held} and {_is_in(self.column, self.exit)}))"


class Holds(Part):
    """She holds another tag."""

    tag: Annotated[str, Field(min_length=1, max_length=64)]

    def columns(self) -> Iterator[str]:
        """Yield nothing: another tag is no column."""
        yield from ()

    def sql(self, scope: Scope) -> str:
        """Return SQL that is true or false, never null."""
        return scope.holds(self.tag)


class _Group(Part, ABC):
    @abstractmethod
    def parts(self) -> "tuple[Condition, ...]":
        """Return the conditions inside."""

    def columns(self) -> Iterator[str]:
        """Yield the columns its parts read."""
        for part in self.parts():
            yield from part.columns()


class AllOf(_Group):
    """Every part is true."""

    all: Annotated[tuple["Condition", ...], Field(min_length=1)]

    def parts(self) -> "tuple[Condition, ...]":
        """Return the conditions inside."""
        return self.all

    def sql(self, scope: Scope) -> str:
        """Return SQL that is true or false, never null."""
        return "(" + " and ".join(part.sql(scope) for part in self.all) + ")"


class AnyOf(_Group):
    """At least one part is true."""

    any: Annotated[tuple["Condition", ...], Field(min_length=1)]

    def parts(self) -> "tuple[Condition, ...]":
        """Return the conditions inside."""
        return self.any

    def sql(self, scope: Scope) -> str:
        """Return SQL that is true or false, never null."""
        return "(" + " or ".join(part.sql(scope) for part in self.any) + ")"


class Not(_Group):
    """The part is not true; its thresholds must be the same on both sides."""

    not_: Annotated["Condition", Field(alias="not")]

    @model_validator(mode="after")
    def _no_band_inside(self) -> Self:
        # Inside a "not" the looser side would be the stricter one.
        if any(getattr(part, "exit", None) for part in walk(self)):
            raise ValueError("a condition inside 'not' has an exit; write it the other way round")
        return self

    def parts(self) -> "tuple[Condition, ...]":
        """Return the condition inside."""
        return (self.not_,)

    def sql(self, scope: Scope) -> str:
        """Return SQL that is true or false, never null."""
        # What cannot be judged is not true, and neither is its contrary.
        if unjudged(self.not_, scope) is not None:
            return "false"
        return f"(not {self.not_.sql(scope)})"


_KINDS = {
    "among": "names", "column": "comparison", "tag": "tag", "all": "all", "any": "any",
    "not": "not",
}  # fmt: skip


def _kind(raw: Any) -> str:
    if isinstance(raw, dict):
        return next((kind for key, kind in _KINDS.items() if key in raw), "comparison")
    # A default or a test may hand over a condition that is made already.
    made = ((Among, "names"), (Holds, "tag"), (AllOf, "all"), (AnyOf, "any"), (Not, "not"))
    return next((kind for model, kind in made if isinstance(raw, model)), "comparison")


Condition = Annotated[
    Annotated[Compare, Tag("comparison")]
    | Annotated[Among, Tag("names")]
    | Annotated[Holds, Tag("tag")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(_kind),
]
for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()


def walk(condition: Condition) -> Iterator[Condition]:
    """Yield a condition and everything inside it."""
    yield condition
    if isinstance(condition, _Group):
        for part in condition.parts():
            yield from walk(part)


def unjudged(condition: Condition, scope: Measured) -> str | None:
    """Return why a condition is fulfilled by nobody in this programme, whoever they are."""
    if isinstance(condition, Compare):
        return condition.unjudged(scope)
    if not isinstance(condition, _Group):
        return None
    reasons = [unjudged(part, scope) for part in condition.parts()]
    if isinstance(condition, AnyOf) and None in reasons:
        return None
    return next((reason for reason in reasons if reason is not None), None)


def _is_in(column: str, names: tuple[str, ...]) -> str:
    listed = ", ".join(engine.text(one) for one in names)
    return f"coalesce({engine.name(column)} in ({listed}), false)"
