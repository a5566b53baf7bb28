"""Segments in words: what each group is called, what is typical of it, how many there are."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from features.segments import rfm
from features.segments.lifecycle import STAGES
from features.segments.segmentation import NOT_THERE, Segmentation, migration
from programme.words import Fact, label


@dataclass(frozen=True)
class Row:
    """One group of members and what is said of it; a share or rate is absent where unknown."""

    name: str
    label: str
    meaning: str
    members: int
    member_share: float
    value_share: float | None
    return_probability: float | None


def cluster_labels(facts: dict[str, Any], language: str) -> dict[str, str]:
    """Return what people call each cluster, most valuable first."""
    return {
        profile["name"]: cluster_label(profile["name"], language) for profile in facts["clusters"]
    }


def cluster_label(name: str, language: str) -> str:
    """Say the name of a cluster, such as "often_high_recent" or "often_high_recent_2"."""
    frequency, value, recency, *number = name.split("_")
    said: dict[str, Fact] = {
        fact: label(f"cluster.{word}", language)
        for fact, word in (("frequency", frequency), ("value", value), ("recency", recency))
    }
    if number:
        said["place"] = number[0]
    sentence = label("cluster.name", language, **said)
    return sentence[0].upper() + sentence[1:]


def profile_in_words(profile: dict[str, Any], language: str, currency: str) -> str:
    """Say what is typical of a cluster, how large it is, what it is worth and how many leave."""
    facts: dict[str, Fact] = {key: value for key, value in profile.items() if key != "name"}
    return label("cluster.profile", language, currency=currency, **facts)


def rows(segmentation: Segmentation, kind: str, language: str) -> list[Row]:
    """Count the members by stage, RFM group or cluster.

    Parameters
    ----------
    kind : one of `KINDS`

    Returns
    -------
    one row per group that has members, in the order a marketer reads them
    """
    members, facts = segmentation.members(), segmentation.facts
    spend = members["spend_cents_364d"].clip(lower=0)
    found = []
    for name, text, meaning in groups(kind, facts, language, segmentation.programme.currency):
        own = members[kind] == name
        if not own.any():
            continue
        chance = members.loc[own, "return_probability"].mean()
        found.append(
            Row(
                name, text, meaning, int(own.sum()), float(own.mean()),
                float(spend[own].sum() / spend.sum()) if spend.sum() else None,
                float(chance) if pd.notna(chance) else None,
            )
        )  # fmt: skip
    return found


def groups(
    kind: str, facts: dict[str, Any], language: str, currency: str
) -> list[tuple[str, str, str]]:
    """Return name, label and meaning of every group of a kind."""
    if kind == "cluster":
        labels = cluster_labels(facts, language)
        return [
            (
                profile["name"],
                labels[profile["name"]],
                profile_in_words(profile, language, currency),
            )
            for profile in facts["clusters"]
        ]
    if kind == "stage":
        return [
            (name, label(f"stage.{name}", language), label(f"stage_meaning.{name}", language))
            for name in STAGES
        ]
    return [(name, label(f"rfm_group.{name}", language), "") for name in rfm.GROUPS]


def moves(before: Segmentation, after: Segmentation, kind: str, language: str) -> pd.DataFrame:
    """Return the migration matrix of one kind, named in words, in the order people read it."""
    matrix = migration(before.members()[kind], after.members()[kind])
    names: dict[str, str] = {}
    for facts in (before.facts, after.facts):
        told = groups(kind, facts, language, after.programme.currency)
        names |= {name: text for name, text, _ in told}
    names |= {NOT_THERE: label("segments.not_there", language)}
    return matrix.reindex(
        index=[name for name in names if name in matrix.index],
        columns=[name for name in names if name in matrix.columns],
    ).rename(index=names, columns=names)
