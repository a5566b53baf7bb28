"""Why a member holds each of her tags: the facts of the rule, their thresholds, since when."""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from features import engine
from features.tags import columns
from features.tags.columns import Known
from features.tags.comparison import Compare
from features.tags.compiled import staying_support
from features.tags.conditions import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    Holds,
    Not,
    unjudged,
)
from features.tags.declared import Tag
from features.tags.rules import Rules
from features.tags.store import FACTS, HELD, Tagged
from features.tags.thresholds import Measured, Quantile
from programme.errors import InputRefused
from programme.words import LANGUAGES, money

_WINDOW = re.compile(r"_(\d+)d$")


@dataclass(frozen=True)
class Why:
    """One tag a member holds, in words."""

    tag: Tag
    name: str
    says: str
    since: date
    facts: tuple[str, ...]


def explain(tagged: Tagged, member_id: str, language: str, currency: str) -> tuple[Why, ...]:
    """Return every tag a member holds with the facts of its rule, in the order of declaration.

    Parameters
    ----------
    language : one of `programme.words.LANGUAGES`
    currency : of the programme, for amounts

    Raises
    ------
    InputRefused : if we do not speak the language, or the member never bought anything by then
    """
    if language not in LANGUAGES:
        raise InputRefused(
            f"There are no words in language {language[:16]!r}. Nothing was said. "
            f"Ask for one of: {', '.join(LANGUAGES)}."
        )
    with duckdb.connect() as connection:
        facts = _row(connection, tagged.path / FACTS, member_id)
        held = _row(connection, tagged.path / HELD, member_id)
    if facts is None or held is None:
        raise InputRefused(
            f"Member {member_id[:64]!r} had bought nothing before {tagged.as_of}, so there are no "
            "tags to explain. Check the number, or choose a later day."
        )
    speaker = _Speaker(language, currency, tagged, facts, held)
    return tuple(
        Why(
            tag, tag.name.of(language), tag.says.of(language), held[tag.id],
            tuple(speaker.facts_of(tag)),
        )
        for tag in tagged.rules.tags
        if held.get(tag.id) is not None
    )  # fmt: skip


def label(known: Known, language: str, rules: Rules) -> str:
    """Return what a column is called, with its window."""
    stem = known.name
    if known.source == "goods":
        kind, _, measure = known.local.rpartition(".")
        stem = f"goods.{measure}"
    window = _WINDOW.search(stem)
    bare = _WINDOW.sub("", stem)
    words = _words()["stem"].get(bare) or _words()["stem"].get(stem)
    text = words[language] if words is not None else columns.meaning(known)
    if words is not None and window is not None and window.group(1) in _words()["window"]:
        text = _frame("windowed", language).format(
            label=text, window=_words()["window"][window.group(1)][language]
        )
    if known.source == "goods":
        (name,) = (one.name.of(language) for one in rules.goods if one.id == kind)
        text = _frame("goods", language).format(goods=name, label=text)
    return text


@dataclass(frozen=True)
class _Speaker:
    language: str
    currency: str
    tagged: Tagged
    facts: Mapping[str, Any]
    held: Mapping[str, Any]

    def facts_of(self, tag: Tag) -> Iterator[str]:
        """Yield a sentence for each comparison that holds, then support and freshness."""
        quantiles = _quantiles(self.tagged)
        stays = self.held[tag.id] < self.tagged.as_of
        for condition in tag.rule:
            yield from self._said(condition, tag, quantiles, stays=stays)
        if tag.min_support:
            yield self._frame("support").format(
                label=self._label(tag.support), value=self._value(tag.support),
                enter=self._number(tag.support, tag.min_support),
                exit=self._number(tag.support, staying_support(tag)),
            )  # fmt: skip
        if tag.freshness_days:
            yield self._frame("fresh").format(
                label=self._label(tag.evidence), value=self._value(tag.evidence),
                enter=self._number(tag.evidence, tag.freshness_days),
            )  # fmt: skip

    def _said(
        self,
        condition: Condition,
        tag: Tag,
        quantiles: dict[Quantile, float | None],
        *,
        stays: bool,
    ) -> Iterator[str]:
        if isinstance(condition, Compare):
            yield self._compared(condition, tag, quantiles)
        elif isinstance(condition, Among):
            names = ", ".join((*condition.among, *(condition.exit if stays else ())))
            yield self._frame("fact").format(
                label=self._label(condition.column), value=self.facts.get(condition.column),
                bound=self._frame("among").format(names=names),
            )  # fmt: skip
        elif isinstance(condition, Holds):
            name = self.tagged.rules.named(condition.tag).name.of(self.language)
            yield self._frame("tag").format(name=name)
        elif isinstance(condition, AllOf | AnyOf):
            for part in condition.parts():
                if self._is_true(part, tag, quantiles, stays=stays):
                    yield from self._said(part, tag, quantiles, stays=stays)

    def _compared(self, one: Compare, tag: Tag, quantiles: dict[Quantile, float | None]) -> str:
        bounds = one.bounds(Measured(tag.support, float(tag.min_support), quantiles))
        enter, stay = (None, None) if bounds is None else bounds[:2]
        said = self._label(one.column)
        unit = one.column
        if one.over is not None:
            said = self._frame("over").format(label=said, other=self._label(one.over))
            unit = ""
        side = "at_least" if one.sense == ">=" else "at_most"
        bound = self._frame(side if stay == enter else f"stays_{side}").format(
            enter=self._number(unit, enter), exit=self._number(unit, stay)
        )
        return self._frame("fact").format(
            label=said, value=self._number(unit, self._compared_value(one)), bound=bound
        )

    def _is_true(
        self, part: Condition, tag: Tag, quantiles: dict[Quantile, float | None], *, stays: bool
    ) -> bool:
        """Return whether a part of an "any" is one of those that hold."""
        if isinstance(part, Compare):
            value = self._compared_value(part)
            bounds = part.bounds(Measured(tag.support, float(tag.min_support), quantiles))
            if value is None or bounds is None or value == bounds[2]:
                return False
            bound = bounds[1] if stays else bounds[0]
            return value >= bound if part.sense == ">=" else value <= bound
        if isinstance(part, Among):
            return self.facts.get(part.column) in (
                *part.among, *(part.exit if stays else ()),
            )  # fmt: skip
        if isinstance(part, Holds):
            return self.held.get(part.tag) is not None
        if isinstance(part, Not):
            scope = Measured(tag.support, float(tag.min_support), quantiles)
            return unjudged(part.not_, scope) is None and not self._is_true(
                part.not_, tag, quantiles, stays=stays
            )
        inside = (self._is_true(one, tag, quantiles, stays=stays) for one in part.parts())
        return all(inside) if isinstance(part, AllOf) else any(inside)

    def _compared_value(self, one: Compare) -> float | None:
        value = self.facts.get(one.column)
        if one.over is None or value is None:
            return value
        other = self.facts.get(one.over)
        return None if not other else value / other

    def _label(self, column: str) -> str:
        return label(self._known(column), self.language, self.tagged.rules)

    def _known(self, column: str) -> Known:
        goods = frozenset(one.id for one in self.tagged.rules.goods)
        return columns.find(column, goods, "An explanation")

    def _value(self, column: str) -> str:
        return self._number(column, self.facts.get(column))

    def _number(self, column: str, value: float | None) -> str:
        if value is None:
            return self._frame("unknown")
        unit = self._known(column).unit if column else "ratio"
        if unit == "0 or 1":
            return self._frame("yes" if value >= 0.5 else "no")
        return in_unit(value, unit, self.currency)

    def _frame(self, name: str) -> str:
        return _frame(name, self.language)


def in_unit(value: float, unit: str, currency: str) -> str:
    """Return a number as people read it in the unit of its column."""
    if unit == "cents":
        return money(value, currency)
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "log ratio":
        return f"{100 * math.expm1(min(value, 20.0)):+.0f} %"
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def _frame(name: str, language: str) -> str:
    return str(_words()["frame"][name][language])


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))


def _quantiles(tagged: Tagged) -> dict[Quantile, float | None]:
    found: dict[Quantile, float | None] = {}
    for row in tagged.meta["quantiles"]:
        value = row.pop("value")
        found[Quantile(**row)] = value
    return found


def _row(
    connection: duckdb.DuckDBPyConnection, path: Path, member_id: str
) -> dict[str, Any] | None:
    found = connection.execute(
        f"select * from read_parquet({engine.text(path)}) where member_id = ?", [member_id]
    )
    names = [column[0] for column in found.description or ()]
    row = found.fetchone()
    return None if row is None else dict(zip(names, row, strict=True))
