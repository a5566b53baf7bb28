"""A second reading of the rules, one member at a time in plain Python, to hold the SQL to."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from features.tags.comparison import Compare
from features.tags.conditions import AllOf, Among, AnyOf, Condition, Holds, Not
from features.tags.declared import Tag

Row = Mapping[str, Any]


def holders(tags: Sequence[Tag], rows: Sequence[Row], before: Sequence[set[str]]) -> list[set[str]]:
    """Return the ids of the tags each row holds; `before` is what each held earlier.

    `tags` are in an order in which each comes after those it asks for.
    """
    held: list[set[str]] = [set() for _ in rows]
    for tag in tags:
        for row, now, was in zip(rows, held, before, strict=True):
            if _holds(tag, row, rows, now, tag.id in was):
                now.add(tag.id)
    return held


def _holds(tag: Tag, row: Row, rows: Sequence[Row], held: set[str], was: bool) -> bool:
    support = _finite(row.get(tag.support))
    least = tag.min_support / 2 if was else tag.min_support
    if tag.min_support and (support is None or support < least):
        return False
    age = _finite(row.get(tag.evidence))
    if tag.freshness_days and (age is None or age > tag.freshness_days):
        return False
    return all(_is_true(one, tag, row, rows, held, was) for one in tag.rule)


def _is_true(
    one: Condition, tag: Tag, row: Row, rows: Sequence[Row], held: set[str], was: bool
) -> bool:
    if isinstance(one, Holds):
        return one.tag in held
    if isinstance(one, Among):
        return row.get(one.column) in (one.among + (one.exit if was else ()))
    if isinstance(one, AllOf):
        return all(_is_true(part, tag, row, rows, held, was) for part in one.all)
    if isinstance(one, AnyOf):
        return any(_is_true(part, tag, row, rows, held, was) for part in one.any)
    if isinstance(one, Not):
        return _judged(one.not_, tag, rows) and not _is_true(one.not_, tag, row, rows, held, was)
    return _compares(one, tag, row, rows, was)


def _compares(one: Compare, tag: Tag, row: Row, rows: Sequence[Row], was: bool) -> bool:
    value = _value(one, row)
    bounds = _bounds(one, tag, rows)
    if value is None or bounds is None:
        return False
    upwards = one.at_least is not None or one.top is not None
    if (one.top or one.bottom) and value == _quantile(one, tag, rows, 0 if upwards else 1):
        return False
    enter, stay = bounds
    looser = min(enter, stay) if upwards else max(enter, stay)
    bound = looser if was else enter
    return value >= bound if upwards else value <= bound


def _bounds(one: Compare, tag: Tag, rows: Sequence[Row]) -> tuple[float, float] | None:
    """Return where to enter and where to stay; None where that tells nobody apart."""
    given = next(n for n in (one.at_least, one.at_most, one.top, one.bottom) if n is not None)
    bounds = [given, given if one.exit is None else one.exit]
    if one.top is not None or one.bottom is not None:
        shares = [1 - b if one.top is not None else b for b in bounds]
        bounds = [_quantile(one, tag, rows, share) for share in shares]  # type: ignore[misc]
    elif one.of_quantile is not None:
        unit = _quantile(one, tag, rows, one.of_quantile)
        bounds = [None if unit is None or (unit == 0 and b != 1) else b * unit for b in bounds]  # type: ignore[misc]
        lowest, highest = (_quantile(one, tag, rows, share) for share in (0, 1))
        if one.at_least is not None and not _is_above(bounds[0], lowest):
            return None
        if one.at_most is not None and not _is_above(highest, bounds[0]):
            return None
    return None if any(b is None for b in bounds) else (bounds[0], bounds[1])


def _is_above(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one > other


def _judged(one: Condition, tag: Tag, rows: Sequence[Row]) -> bool:
    if isinstance(one, Compare):
        return _bounds(one, tag, rows) is not None
    if isinstance(one, AnyOf):
        return any(_judged(part, tag, rows) for part in one.any)
    if isinstance(one, AllOf):
        return all(_judged(part, tag, rows) for part in one.all)
    return _judged(one.not_, tag, rows) if isinstance(one, Not) else True


def _quantile(one: Compare, tag: Tag, rows: Sequence[Row], share: float) -> float | None:
    values = sorted(
        value
        for row in rows
        if (_finite(row.get(tag.support)) or 0) >= tag.min_support
        and _finite(row.get(tag.support)) is not None
        and (value := _value(one, row)) is not None
    )
    if not values:
        return None
    return values[max(0, math.ceil(round(share, 12) * len(values)) - 1)]


def _value(one: Compare, row: Row) -> float | None:
    value = _finite(row.get(one.column))
    if one.over is None or value is None:
        return value
    other = _finite(row.get(one.over))
    return None if not other else value / other


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
