"""What every section of a mapping has: ours = "theirs", the headers of somebody's columns."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Keys whose value says something about cells; every other value is a header.
_DECLARATIONS = {
    "occurred_format", "time_format", "timezone", "known_from_beginning", "returns", "anonymous",
    "exact_duplicates", "always", "kinds", "subtracted", "number_prefix", "yes", "no", "systems",
    "separator", "path_separator",
}  # fmt: skip
# Words for yes and no, where the mapping names no others.
YES, NO = ("1", "true", "t", "yes", "y"), ("0", "false", "f", "no", "n")
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]


class Section(BaseModel):
    """Part of a mapping; an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Columns(Section):
    """What the columns of a file mean to one table."""

    timezone: str | None = None
    known_at: str | None = None

    def headers(self) -> list[str]:
        """Return the headers that must be present in every file."""
        read: list[str] = []
        for key, value in self:
            if key not in _DECLARATIONS and value is not None:
                read += [value] if isinstance(value, str) else value
        return read

    @property
    def time_key(self) -> str:
        """Return the key that says how instants are written."""
        return "occurred_format" if "occurred_format" in type(self).model_fields else "time_format"

    @property
    def written_as(self) -> str | None:
        """Return the strptime format of its instants; None: one of the usual."""
        written: str | None = getattr(self, self.time_key)
        return written


class Happenings(Columns):
    """Rows of what happened: known when it did, where no column says otherwise."""

    occurred_at: str
    occurred_format: str | None = None


class Facts(Columns):
    """Rows of what is so; without a date, known from the beginning."""

    time_format: str | None = None


class DeclaredFacts(Facts):
    """Facts about members: that they were always known is said, never assumed.

    A merge or a region learned today would otherwise be seen by last year's features.
    """

    known_from_beginning: bool = False

    @model_validator(mode="after")
    def _says_when_it_was_known(self) -> Self:
        if (self.known_at is None) != self.known_from_beginning:
            raise ValueError(
                "say either known_at, the column with the day you knew, or "
                "known_from_beginning = true"
            )
        return self


def refuse_two_meanings(yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    """Refuse a word that is to mean both yes and no."""
    both = sorted({word.strip().lower() for word in yes} & {word.strip().lower() for word in no})
    if both:
        raise ValueError(f"{both[0]!r} means both yes and no")


def refuse_unclear_constants(
    columns: Any, settable: tuple[str, ...], needed: tuple[str, ...]
) -> None:
    """Refuse a key that is said twice, not at all, or cannot be the same on every row."""
    always: Mapping[str, str] = columns.always
    for key, value in always.items():
        if key not in settable:
            raise ValueError(f"always cannot hold {key!r}; it can hold {', '.join(settable)}")
        if getattr(columns, key) is not None:
            raise ValueError(f"say either the column {key} or always.{key}, not both")
        if not value.strip():
            raise ValueError(f"always.{key} is blank")
    for key in needed:
        if getattr(columns, key) is None and key not in always:
            raise ValueError(f"name the column {key}, or say always.{key} for every row")


def refuse_unknown_kinds(
    kinds: Mapping[str, str], always: Mapping[str, str], known: tuple[str, ...]
) -> None:
    """Refuse a translation into a word that the contract does not have."""
    meant = dict(kinds)
    if "kind" in always:
        meant["always"] = always["kind"]
    for theirs, ours in meant.items():
        if ours not in known:
            raise ValueError(f"{theirs!r} = {ours!r} is no kind; kinds are {', '.join(known)}")
    folded = [word.strip().lower() for word in kinds]
    twice = sorted({word for word in folded if folded.count(word) > 1})
    if twice:
        raise ValueError(f"{twice[0]!r} stands twice in kinds; capitals make no difference")
