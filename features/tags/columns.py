"""Every column a tag may read, where it comes from, and whether it holds numbers or names."""

import difflib
from dataclasses import dataclass
from typing import Literal

from features import table
from features.tags import habits
from features.tags.goods import MEASURES
from programme.errors import InputRefused

Kind = Literal["number", "name"]
Source = Literal["features", "habits", "goods", "segments", "scores"]

# What a tier decided must not decide what a member is called, or offers would follow tiers.
TIER_DERIVED = frozenset({"tier", "tier_days"})

SEGMENTS: dict[str, Kind] = {
    "r": "number", "f": "number", "m": "number", "rfm": "name", "rfm_group": "name",
    "gap_ratio": "number", "return_probability": "number", "stage": "name",
    "cluster": "name", "outlier": "number",
}  # fmt: skip
# As serving writes them beside each other: one row a member.
SCORES: dict[str, Kind] = {
    "churn_probability": "number", "churn_percentile": "number", "churn_risk_band": "name",
    "churn_population": "name", "value_cents": "number", "value_percentile": "number",
}  # fmt: skip
SOURCES: tuple[Source, ...] = ("features", "habits", "goods", "segments", "scores")


@dataclass(frozen=True)
class Known:
    """A column there is: `local` is its name where it comes from.

    `needs` are the tables and facts that the programme's data must carry for it to say anything.
    """

    name: str
    source: Source
    local: str
    kind: Kind
    unit: str
    needs: tuple[str, ...] = ()


def find(
    name: str, goods: frozenset[str], where: str, *, undone: str = "No tag was read."
) -> Known:
    """Return the column of that name.

    Parameters
    ----------
    goods : ids of the kinds of goods that are declared
    where : who asks, for the refusal
    undone : what did not happen, for the refusal

    Raises
    ------
    InputRefused : if there is none, or it derives from a tier
    """
    source, _, local = name.partition(".")
    if not local:
        return _feature(name, where, undone)
    if source == "habits" and local in habits.COLUMNS:
        group, column = habits.COLUMNS[local]
        return Known(name, "habits", local, "number", column.unit, group.needed(column))
    if source == "goods":
        kind, _, measure = local.rpartition(".")
        if kind in goods and measure in MEASURES:
            found = MEASURES[measure]
            needs = ("products", "category", *found.needs)
            return Known(name, "goods", local, "number", found.unit, needs)
        raise _unknown(name, where, undone, [
            f"goods.{one}.{each}" for one in sorted(goods) for each in MEASURES
        ])  # fmt: skip
    if source == "segments" and local in SEGMENTS:
        return Known(name, "segments", local, SEGMENTS[local], _unit(local))
    if source == "scores" and local in SCORES:
        return Known(name, "scores", local, SCORES[local], _unit(local))
    raise _unknown(name, where, undone, [
        *(f"habits.{one}" for one in habits.COLUMNS), *(f"segments.{one}" for one in SEGMENTS),
        *(f"scores.{one}" for one in SCORES),
    ])  # fmt: skip


def _feature(name: str, where: str, undone: str) -> Known:
    if name in TIER_DERIVED:
        raise InputRefused(
            f"{where} reads {name}, which derives from a tier. Tags lead to offers, and a tier "
            f"never decides an offer. {undone} Use what the member did instead."
        )
    for group in table.GROUPS:
        for column in group.columns:
            if column.name == name:
                kind: Kind = "name" if column.is_text else "number"
                return Known(name, "features", name, kind, column.unit, group.needed(column))
    raise _unknown(name, where, undone, [column.name for column in table.COLUMNS])


def _unit(local: str) -> str:
    if local.endswith("_cents"):
        return "cents"
    if local.endswith("_days"):
        return "days"
    return "share" if local.endswith("_probability") else "index"


def _unknown(name: str, where: str, undone: str, there_are: list[str]) -> InputRefused:
    close = difflib.get_close_matches(name[:160], there_are, n=3, cutoff=0.6)
    hint = f"Did you mean {', '.join(close)}? " if close else ""
    return InputRefused(
        f"{where} reads {name[:160]!r}, and there is no such column. {undone} {hint}"
        "docs/features.md and docs/tags.md list what tags may read."
    )


def meaning(known: Known) -> str:
    """Return what a column means where no translation says it."""
    if known.source == "features":
        return next(column.meaning for column in table.COLUMNS if column.name == known.name)
    if known.source == "habits":
        return habits.COLUMNS[known.local][1].meaning
    return known.local
