"""Files people write: TOML read as decimals, checked whole, and refused in a sentence."""

import tomllib
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from programme.errors import InputRefused
from programme.faults import in_words

# What is larger was not written by hand.
FILE_BYTES_MAX = 1_000_000
# A number with more places before or after the point than this cannot be worked with.
EXPONENT_MAX = 40
Model = TypeVar("Model", bound=BaseModel)
Place = Sequence[int | str]


def text_of(path: Path, undone: str) -> str:
    """Return what a file says.

    Parameters
    ----------
    undone : what did not happen, for the refusal

    Raises
    ------
    InputRefused : if it cannot be read, or is larger than a person writes.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputRefused(
                f"{path} is larger than {FILE_BYTES_MAX:,} bytes. {undone} Such a file is written "
                "by hand: look for a stray paste."
            )
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefused(f"{path} cannot be read: {error}. {undone}") from error


def tables_of(text: str, where: str, undone: str) -> dict[str, Any]:
    """Return the tables of TOML; numbers with a point are decimals, as they were written.

    Parameters
    ----------
    where : what the text is called, such as its file

    Raises
    ------
    InputRefused : if it is not TOML, or holds what Python cannot read.
    """
    try:
        return tomllib.loads(text, parse_float=_number)
    except (ValueError, ArithmeticError, RecursionError) as error:
        # Not only what TOML forbids: also numbers and nestings longer than Python reads.
        said = " ".join(str(error).split()).rstrip(".") or "a number is none"
        raise InputRefused(f"{where} is not TOML: {said}. {undone}") from error


def checked(
    model: type[Model],
    tables: dict[str, Any],
    where: str,
    undone: str,
    named: Callable[[Place], str] | None = None,
) -> Model:
    """Return tables as a model.

    Parameters
    ----------
    named : says where in the file a fault lies; None: the keys on the way to it

    Raises
    ------
    InputRefused : naming the first key that cannot be used.
    """
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        key = named(fault["loc"]) if named else ".".join(str(part) for part in fault["loc"])
        raise InputRefused(f"{where}: {key or 'the file'}: {in_words(fault)}. {undone}") from error


def _number(written: str) -> Decimal:
    number = Decimal(written)
    if number.is_finite() and abs(number.adjusted()) > EXPONENT_MAX:
        raise ValueError(f"{written:.40} is no number that can be worked with")
    return number
