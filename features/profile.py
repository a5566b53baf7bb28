"""One member on one page: what is known of her, where she stands, what it is about her."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from features import table
from features.group import Column
from features.segments.described import cluster_label
from features.segments.segmentation import Segmentation
from features.snapshot import Snapshot
from features.tags.declared import Tag
from features.tags.store import Tagged
from programme.errors import InputRefused
from programme.words import label


@dataclass(frozen=True)
class Held:
    """A tag she holds: its declaration, and since when."""

    tag: Tag
    since: date


@dataclass(frozen=True)
class Profile:
    """What we know of one member at one `as_of`."""

    member_id: str
    as_of: date
    population: str
    segments: dict[str, Any]
    tags: tuple[Held, ...]
    features: dict[str, float | str | None]

    def as_json(self) -> dict[str, Any]:
        """Return plain values; what is not known is null."""
        return {
            "member_id": self.member_id, "as_of": str(self.as_of),
            "population": self.population, "segments": self.segments,
            "tags": [{"tag": one.tag.id, "since": str(one.since)} for one in self.tags],
            "features": self.features,
        }  # fmt: skip


def check(member_id: str, taken: Snapshot) -> None:
    """Refuse a member of whom nothing is known, before anything long is done for her.

    Raises
    ------
    InputRefused : when nobody of that name bought before the snapshot's day
    """
    if member_id not in taken.features().index:
        shown = member_id if len(member_id) <= 80 else f"{member_id[:77]}..."
        raise InputRefused(
            f"No member {shown!r} is known to have bought before {taken.as_of}. Nothing is shown. "
            "Give a member_id as the purchases carry it, or a later day with --as-of."
        )


def of(member_id: str, taken: Snapshot, made: Segmentation, tagged: Tagged) -> Profile:
    """Return the profile of one member.

    Raises
    ------
    InputRefused : see `check`
    """
    check(member_id, taken)
    features = taken.features()
    row = features.loc[member_id]
    segment = made.members().loc[member_id]
    return Profile(
        member_id,
        taken.as_of,
        str(row["population"]),
        {name: _plain(segment[name]) for name in segment.index},
        _held(member_id, tagged),
        {name: _plain(row[name]) for name in table.ALL_COLUMNS},
    )


def standing(profile: Profile, language: str) -> list[tuple[str, str]]:
    """Say where the member stands: pairs of a heading and a sentence."""

    def said(heading: str) -> str:
        return label(f"profile.{heading}", language)

    segments = profile.segments
    group = label(f"rfm_group.{segments['rfm_group']}", language)
    told = [
        (said("population"), label(f"population.{profile.population}", language)),
        (said("rfm"), f"{segments['rfm']} {group}"),
    ]
    if segments["stage"]:
        stage = segments["stage"]
        meaning = label(f"stage_meaning.{stage}", language)
        told.append((said("stage"), f"{label(f'stage.{stage}', language)}: {meaning}"))
        told.append((label("segments.returns", language), f"{segments['return_probability']:.1%}"))
    if segments["cluster"]:
        told.append((said("cluster"), _cluster(segments, language)))
    if segments["outlier"]:
        told.append((said("outlier"), _meaning(segments["outlier_measure"])))
    return told


def _cluster(segments: dict[str, Any], language: str) -> str:
    return cluster_label(segments["cluster"], segments["cluster_name"], language)


def known(profile: Profile) -> list[tuple[str, Column, float | str]]:
    """Return group, column and value of every feature that is known of the member."""
    found = []
    for group in table.GROUPS:
        for column in group.columns:
            value = profile.features[column.name]
            if value is not None:
                found.append((group.name, column, value))
    return found


def _held(member_id: str, tagged: Tagged) -> tuple[Held, ...]:
    since = tagged.wide().loc[member_id]
    return tuple(
        Held(tag, pd.Timestamp(str(since[tag.id])).date())
        for tag in tagged.rules.tags
        if pd.notna(since[tag.id])
    )


def _meaning(name: str) -> str:
    return next(column.meaning for column in table.COLUMNS if column.name == name)


def _plain(value: Any) -> Any:
    if value is None or value is pd.NaT or (not isinstance(value, str) and pd.isna(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    return value.item() if hasattr(value, "item") else value
