"""Words shown to people: a code, the facts that belong to it and a language make a sentence."""

import math
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from programme.errors import InputRefused

LANGUAGES = ("en", "zh")

DAYS_PER_MONTH = 30.4375
DAYS_PER_YEAR = 365.25
# ISO 4217 currencies whose smallest unit is not a hundredth.
MINOR_DIGITS = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}

_FORMATTER = string.Formatter()

Fact = float | int | str | None
Units = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Sentence:
    """One wording, and the facts without which it cannot be said.

    `pieces` are the text taken apart once: what is written, then the fact that follows it and the
    unit of its number; after the last fact there is none.
    """

    text: str
    needs: frozenset[str]
    pieces: tuple[tuple[str, str | None, str], ...] = ()


def label(code: str, language: str, **facts: Fact) -> str:
    """Say `code` in `language` with the first wording whose facts are all known.

    Parameters
    ----------
    code : dotted, such as "driver.recency"
    language : one of `LANGUAGES`
    facts : numbers in the unit their name says (`*_days`, `*_cents`, shares in [0, 1]) or text;
        None and NaN mean unknown; `currency` is needed wherever money is

    Raises
    ------
    InputRefused : if we do not speak the language.
    KeyError : if the code is not in the word book.
    """
    book = _word_book(language)
    known = {name: fact for name, fact in facts.items() if _is_known(fact)}
    for sentence in book.sentences[code]:
        if sentence.needs <= known.keys():
            return _said(sentence, book.units, known)
    raise KeyError(f"{code!r} has no wording in {language!r} without facts; gave {sorted(known)}")


def codes(language: str) -> dict[str, tuple[Sentence, ...]]:
    """Return every code with its wordings, the most telling first."""
    return dict(_word_book(language).sentences)


def money(minor_units: float, currency: str) -> str:
    """Say an amount, everywhere and in every language alike: the currency, then the number."""
    digits = MINOR_DIGITS.get(currency, 2)
    return f"{currency} {minor_units / 10**digits:,.{digits}f}"


def rounded(value: float) -> float:
    """Round for reading: whole numbers, except small ones that a decimal distinguishes."""
    return round(value, 1) if abs(value) < 3 else float(round(value))


@dataclass(frozen=True)
class _WordBook:
    units: Units
    sentences: Mapping[str, tuple[Sentence, ...]]


def _said(sentence: Sentence, units: Units, known: Mapping[str, Fact]) -> str:
    """Fill a wording; in `{name:unit}`, unit is how a number is written."""
    said = []
    for text, name, unit in sentence.pieces:
        said.append(text)
        if name is None:
            continue
        value = known[name]
        if not unit:
            said.append(str(value))
        elif isinstance(value, int | float):
            said.append(_in_unit(float(value), unit, units, known))
        else:
            raise TypeError(f"{unit!r} wants a number, not {type(value).__name__}")
    return "".join(said)


def _in_unit(value: float, unit: str, units: Units, known: Mapping[str, Fact]) -> str:
    if unit == "span":
        return _span(value, units, known)
    if unit == "money":
        return money(value, str(known.get("currency", "")))
    number = rounded(value * 100 if unit == "share" else value)
    shown = f"{number:g}" if abs(number) < 1_000 else f"{number:,.0f}"
    form = "one" if number == 1 else "other"
    return units[unit][form].replace("{n}", shown)


def _span(days: float, units: Units, known: Mapping[str, Fact]) -> str:
    if days < 2 * DAYS_PER_MONTH:
        return _in_unit(days, "days", units, known)
    if days < 2 * DAYS_PER_YEAR:
        return _in_unit(round(days / DAYS_PER_MONTH), "months", units, known)
    return _in_unit(round(days / DAYS_PER_YEAR), "years", units, known)


def _is_known(fact: Fact) -> bool:
    return fact is not None and not (isinstance(fact, float) and not math.isfinite(fact))


@cache
def _word_book(language: str) -> _WordBook:
    if language not in LANGUAGES:
        raise InputRefused(
            f"There are no words in language {language!r}. Nothing was said. "
            f"Ask for one of: {', '.join(LANGUAGES)}."
        )
    path = Path(__file__).with_name("words") / f"{language}.toml"
    tables = tomllib.loads(path.read_text("utf-8"))
    units = tables.pop("unit")
    return _WordBook(units, dict(_sentences("", tables)))


def _sentences(prefix: str, tables: Mapping[str, object]) -> list[tuple[str, tuple[Sentence, ...]]]:
    found: list[tuple[str, tuple[Sentence, ...]]] = []
    for key, content in tables.items():
        if isinstance(content, Mapping):
            found += _sentences(f"{prefix}{key}.", content)
        else:
            texts: list[object] = content if isinstance(content, list) else [content]
            found.append((f"{prefix}{key}", tuple(_sentence(str(text)) for text in texts)))
    return found


def _sentence(text: str) -> Sentence:
    pieces = tuple((said, name, unit or "") for said, name, unit, _ in _FORMATTER.parse(text))
    money = {"currency"} if any(unit == "money" for _, _, unit in pieces) else set()
    return Sentence(text, frozenset({name for _, name, _ in pieces if name} | money), pieces)
