"""What a rules file may say: families, kinds of goods, tags and templates, checked as read."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from features.tags.comparison import ColumnName, Part
from features.tags.conditions import Condition
from programme.errors import InputRefused
from programme.faults import in_words

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Sensitivity = Literal["none", "sensitive"]
Count = Annotated[int, Field(ge=0, le=100_000)]
# A purchase log of a hundred years is not a purchase log.
Days = Annotated[int, Field(ge=0, le=36_400)]
WholeWeeks = Annotated[int, Field(gt=0, le=3_640, multiple_of=7)]
# A rules file is written by hand; what is larger was not.
FILE_BYTES_MAX = 2_000_000
Model = TypeVar("Model", bound=Part)


class Words(Part):
    """The same short text in every language we speak."""

    en: Annotated[str, Field(min_length=1, max_length=200)]
    zh: Annotated[str, Field(min_length=1, max_length=200)]

    def of(self, language: str) -> str:
        """Return the text in a language."""
        return self.zh if language == "zh" else self.en


class Family(Part):
    """A kind of tags, as a marketer would sort them."""

    id: Identifier
    name: Words


class Goods(Part):
    """A kind of goods, whatever a catalogue calls its categories.

    A category belongs to it when its name holds one of `words` (whole words in Latin script,
    any part in others) and none of `except`, or when most of its products lie in a department
    whose name holds one of `departments`.
    """

    id: Identifier
    name: Words
    words: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    except_: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(alias="except")
    ] = ()
    departments: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    category: str = ""


class Defaults(Part):
    """What tags of a file have in common unless they say otherwise."""

    window_days: WholeWeeks | None = None
    min_support: Count | None = None
    support: ColumnName | None = None
    freshness_days: Days | None = None
    evidence: ColumnName | None = None
    outcome: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    sensitivity: Sensitivity | None = None
    absence: bool | None = None


class Declaration(Defaults):
    """A tag as it stands in a file."""

    id: Identifier
    family: Identifier | None = None
    name: Words
    says: Words
    rule: Annotated[tuple[Condition, ...], Field(min_length=1)]


class Tag(Part):
    """One tag, complete.

    Parameters
    ----------
    says : the sentence a marketer would use of a member who holds it
    rule : all of it must be true
    window_days, min_support, support : a member needs `min_support` of the column `support`
        within the window; who holds the tag keeps it with half of that
    freshness_days, evidence : the tag is void when the column `evidence`, days since the last
        sign of it, is larger; 0: it does not age
    outcome : what its lift is stated on
    absence : it says what somebody does not do, which is easy to be true of
    template, of_goods : the template it came from, and whether one for each kind of goods
    """

    id: Identifier
    family: Identifier
    name: Words
    says: Words
    rule: tuple[Condition, ...]
    window_days: WholeWeeks
    min_support: Count
    support: str
    freshness_days: Days
    evidence: str
    outcome: str
    sensitivity: Sensitivity = "none"
    absence: bool = False
    template: str = ""
    of_goods: bool = False


class OwnCategories(Part):
    """The programme's own categories, by lines, where the declared goods do not fit it."""

    most: Annotated[int, Field(ge=1, le=100)]
    where_goods_fit_less_than: Annotated[float, Field(ge=0, le=1)]


class Template(Part):
    """A tag for each combination of the items of some lists; `{item}` and `{item.key}` vary.

    In `each`, the list called `goods` names declared kinds of goods. `own_categories` makes one
    for each of the programme's most bought categories instead, where the declared goods fit less
    than a share of its lines.
    """

    id: Identifier
    each: dict[str, list[str | dict[str, Any]]] = Field(default_factory=dict)
    own_categories: OwnCategories | None = None
    tag: dict[str, Any]


class Switches(Part):
    """What a programme turns on."""

    sensitive: bool = False


class RulesFile(Part):
    """Everything one file declares."""

    settings: Switches | None = None
    family: Family | None = None
    defaults: Defaults = Defaults()
    goods: tuple[Goods, ...] = ()
    tag: tuple[Declaration, ...] = ()
    template: tuple[Template, ...] = ()


def read_file(path: Path) -> RulesFile:
    """Read and check one file.

    Raises
    ------
    InputRefused : if it is not TOML, too large, or has an unknown or impossible key
    """
    if path.stat().st_size > FILE_BYTES_MAX:
        raise InputRefused(
            f"{path} has {path.stat().st_size:,} bytes; a rules file has at most "
            f"{FILE_BYTES_MAX:,}. No tag was read. Split it, or look for a stray paste."
        )
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputRefused(f"{path} is not TOML: {error}. No tag was read.") from error
    return checked(RulesFile, raw, path.name)


def checked(model: type[Model], raw: Any, where: str) -> Model:
    """Return `raw` as the model, or refuse it naming file, tag and key."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise InputRefused(f"{fault(error, raw, where)} No tag was read.") from error


def fault(error: ValidationError, raw: Any, where: str) -> str:
    """Say the first fault: the file, the tag, the key, and what to do."""
    first = error.errors(include_input=False, include_url=False)[0]
    named, place = _named(raw, first["loc"])
    key = ".".join(str(part) for part in place) or "it"
    start = f"{where}: {named}" if named else f"{where}:"
    if first["type"] == "extra_forbidden":
        return f"{start} there is no key {key!r}; correct or remove it."
    return f"{start} {key}: {in_words(first)}."


def _named(raw: Any, location: tuple[str | int, ...]) -> tuple[str, list[str | int]]:
    """Return 'tag NAME:' of what a fault lies in, and the rest of its place."""
    if isinstance(raw, dict) and "id" in raw:
        return f"tag {str(raw['id'])[:64]!r}:", list(location)
    match location:
        case (str(kind), int(number), *rest) if isinstance(raw, dict):
            entry = raw[kind][number]
            name = entry.get("id", number + 1) if isinstance(entry, dict) else number + 1
            return f"{kind} {str(name)[:64]!r}:", rest
    return "", list(location)
