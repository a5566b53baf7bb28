"""Segments in words: what each group is called, what is typical of it, how many there are."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd

from features.segments import clusters, rfm
from features.segments.lifecycle import STAGES
from features.segments.return_table import HISTORY_DAYS
from features.segments.segmentation import NOT_THERE, Segmentation, migration
from programme.words import Fact, label

# RFM and clusters look at a year.
_YEAR_DAYS = 364


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


def cluster_labels(facts: dict[str, Any], language: str, currency: str) -> dict[str, str]:
    """Return what people call each cluster by its id, most valuable first."""
    return {
        profile["cluster"]: cluster_label(
            profile["cluster"], profile["name"], language, _typical(profile, language, currency)
        )
        for profile in facts["clusters"]
    }


def cluster_label(cluster: str, name: str, language: str, typical: str | None = None) -> str:
    """Say a cluster's id and its name, such as "often_high_week".

    Parameters
    ----------
    typical : what tells it from another cluster of that name
    """
    frequency, value, recency = name.split("_")
    # Who did not shop spent nothing: that need not be said twice.
    told = {"frequency": frequency, "recency": recency}
    told |= {} if frequency == "none" else {"value": value}
    said: dict[str, Fact] = {
        fact: label(f"cluster.{word}", language) for fact, word in told.items()
    }
    return label("cluster.name", language, cluster=cluster, typical=typical, **said)


def profile_in_words(profile: dict[str, Any], language: str, currency: str) -> str:
    """Say what is typical of a cluster, how large it is, what it is worth and who came back."""
    facts: dict[str, Fact] = {key: value for key, value in profile.items() if key != "name"}
    left = profile["churn_rate"]
    # With the decimal that the tables have: 99.8% is not everybody.
    facts["came_back"] = None if left is None else f"{1 - left:.1%}"
    return label("cluster.profile", language, currency=currency, **facts)


def _typical(profile: dict[str, Any], language: str, currency: str) -> str | None:
    measure = profile["apart"]
    if measure is None:
        return None
    return label(
        f"cluster_typical.{measure}", language, currency=currency, **{measure: profile[measure]}
    )


def notes(segmentation: Segmentation, kind: str, language: str) -> list[str]:
    """Say how a kind of group is to be read, or why it is not there and from when it will be.

    Parameters
    ----------
    kind : one of `KINDS`
    """
    facts = segmentation.facts
    history = facts["history_days"]
    first = segmentation.as_of - timedelta(days=history)
    told: dict[str, Fact] = {"history_days": history, "first": str(first)}
    if kind != "rfm_group" and history < HISTORY_DAYS:
        told |= {"needed_days": HISTORY_DAYS, "ready": str(first + timedelta(days=HISTORY_DAYS))}
        return [label(f"segments.{kind}_young", language, **told)]
    if kind == "cluster" and not facts["clusters"]:
        return [label("segments.cluster_few", language, least=clusters.MEMBERS_LEAST)]
    said = [label(f"segments.{kind}_help", language)]
    if kind != "stage" and history < _YEAR_DAYS:
        told["ready"] = str(first + timedelta(days=_YEAR_DAYS))
        said.append(label("segments.short_year", language, **told))
    return said


def follows(segmentation: Segmentation, language: str) -> str:
    """Say which earlier day these segments carry on."""
    day = segmentation.follows
    return label("segments.follows", language, day=str(day) if day else None)


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
        labels = cluster_labels(facts, language, currency)
        return [
            (one["cluster"], labels[one["cluster"]], profile_in_words(one, language, currency))
            for one in facts["clusters"]
        ]
    if kind == "stage":
        return [
            (name, label(f"stage.{name}", language), label(f"stage_meaning.{name}", language))
            for name in STAGES
        ]
    return [(name, label(f"rfm_group.{name}", language), "") for name in rfm.GROUPS]


@dataclass(frozen=True)
class Moves:
    """Who moved between two days, in words.

    Parameters
    ----------
    counts : the migration matrix by name, in the order people read it
    before, after : what each name is called on the earlier day, and on the later
    """

    counts: pd.DataFrame
    before: dict[str, str]
    after: dict[str, str]


def moves(before: Segmentation, after: Segmentation, kind: str, language: str) -> Moves | None:
    """Return who moved between groups of one kind; None where a day has no such groups."""
    then, now = before.members()[kind], after.members()[kind]
    if then.isna().all() or now.isna().all():
        return None
    counts = migration(then, now)
    called = []
    for facts in (before.facts, after.facts):
        told = groups(kind, facts, language, after.programme.currency)
        called.append({name: text for name, text, _ in told})
        called[-1][NOT_THERE] = label("segments.not_there", language)
    # A cluster keeps its id but not its words: rows say what it was, columns what it is.
    return Moves(
        counts.reindex(
            index=[name for name in called[0] if name in counts.index],
            columns=[name for name in called[1] if name in counts.columns],
        ),
        *called,
    )
