"""The members of one day, and which offers each of them fits.

Conditions of offers are SQL over one row a member: features of the snapshot, segments, scores, and
the tags she holds. A column that says nothing of her fulfils no condition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actions.offers import Offer
from features import engine
from features.tags import columns, compiled
from features.tags.columns import Known
from features.tags.comparison import Compare
from features.tags.conditions import Among, Holds
from features.tags.declared import Tag, Words
from features.tags.thresholds import Scope
from programme.settings import Settings

# What expected profit is worked out from, beside what offers ask for.
FACTS = (
    "scores.churn_probability", "scores.value_cents", "segments.return_probability",
    "segments.stage", "recency_days", "spend_cents_28d", "spend_cents_84d",
)  # fmt: skip
# What is known of a member when it is decided, and what offers' effects are learned by: few, and
# each of them something that could tell whom a contact moves. A tier had a hand in none.
KNOWN = (
    "recency_days", "tenure_days", "purchase_days_28d", "purchase_days_84d", "purchase_days_364d",
    "spend_cents_28d", "spend_cents_84d", "spend_cents_364d", "spend_cents_mean", "gap_days_mean",
    "discount_share_364d", "coupon_orders_share_364d", "category_count_364d",
    "return_share_364d", "contacts_28d", "contacts_84d", "days_since_contact",
    "redemptions_364d", "opens_last_5", "event_days_84d", "scores.churn_probability",
    "scores.value_cents", "segments.return_probability",
)  # fmt: skip
# Shares of members are taken over everybody.
_SUPPORT, _LEAST = "recency_days", 0.0


@dataclass(frozen=True)
class Files:
    """Where one day's members are described, one row a member in each.

    Attributes
    ----------
    features, segments, scores : Parquet files
    tags : Parquet files with a column a tag: the day since which she holds it, or null
    """

    features: Path
    segments: Path
    scores: Path
    tags: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Audience:
    """Everybody of one day.

    Attributes
    ----------
    members : their ids, in order, of shape (members,)
    fits : whether she fulfils an offer's conditions, (members, offers)
    facts : one row a member, in the same order: `FACTS`, by those names
    known : `KNOWN` of each, (members, columns); NaN where something was not
    margin_cents : of `scores.value_cents`, what the shop keeps; NaN where goods do not say it
    """

    as_of: date
    members: NDArray[np.str_]
    fits: NDArray[np.bool_]
    facts: pd.DataFrame
    known: NDArray[np.float64]
    margin_cents: NDArray[np.float64]


def read(settings: Settings, as_of: date, files: Files, offers: Sequence[Offer]) -> Audience:
    """Ask of every member whether she fits each offer."""
    with engine.connect(settings) as connection:
        tags = _join(connection, files, offers)
        asked = [_as_tag(offer) for offer in offers]
        measured = compiled.quantiles(connection, asked, "audience")
        scope = Scope(
            _SUPPORT, _LEAST, measured, "false",
            lambda tag: f"({engine.name('tag.' + tag)} is not null)" if tag in tags else "false",
        )  # fmt: skip
        fits = ", ".join(
            f"({' and '.join(part.sql(scope) for part in offer.when) or 'true'}) as fits_{place}"
            for place, offer in enumerate(offers)
        )
        facts = ", ".join(engine.name(name) for name in dict.fromkeys((*FACTS, *KNOWN)))
        found = connection.execute(
            f"select member_id, margin_cents, {facts}, {fits} from audience order by member_id"
        ).df()
    shape = [f"fits_{place}" for place in range(len(offers))]
    return Audience(
        as_of,
        found["member_id"].to_numpy(str),
        found[shape].to_numpy(bool),
        found[list(FACTS)],
        found[list(KNOWN)].to_numpy(float, na_value=np.nan),
        found["margin_cents"].to_numpy(float, na_value=np.nan),
    )


def _join(
    connection: duckdb.DuckDBPyConnection, files: Files, offers: Sequence[Offer]
) -> frozenset[str]:
    """Make the relation `audience`; return the tags it has."""
    names = {
        name
        for offer in offers
        for part in offer.conditions()
        if isinstance(part, Compare | Among)
        for name in part.columns()
    }
    known = [
        columns.find(name, frozenset(), "An offer") for name in sorted({*names, *FACTS, *KNOWN})
    ]
    wanted = {
        part.tag for offer in offers for part in offer.conditions() if isinstance(part, Holds)
    }
    joins, listed, held = list[str](), [_column(one) for one in known], set[str]()
    for number, path in enumerate(files.tags):
        source = f"read_parquet({engine.text(path)})"
        there = {
            str(row[0]) for row in connection.execute(f"describe select * from {source}").fetchall()
        }
        for tag in sorted((wanted & there) - held):
            listed.append(f"tags{number}.{engine.name(tag)} as {engine.name('tag.' + tag)}")
            held.add(tag)
        joins.append(f"left join {source} tags{number} using (member_id)")
    connection.execute(
        f"""create or replace temp table audience as
        select member_id, cast(scores.value_margin_cents as double) as margin_cents,
               {", ".join(listed)}
        from read_parquet({engine.text(files.features)}) features
        left join read_parquet({engine.text(files.segments)}) segments using (member_id)
        left join read_parquet({engine.text(files.scores)}) scores using (member_id)
        {" ".join(joins)}"""
    )
    return frozenset(held)


def _column(known: Known) -> str:
    value = f"{known.source}.{engine.name(known.local)}"
    if known.kind == "name":
        return f"cast({value} as varchar) as {engine.name(known.name)}"
    value = f"cast({value} as double)"
    return f"case when isfinite({value}) then {value} end as {engine.name(known.name)}"


def _as_tag(offer: Offer) -> Tag:
    """Return an offer's conditions as a tag, whose shares of members are measured alike."""
    says = Words(en=offer.name.en, zh=offer.name.zh)
    return Tag(
        id=offer.id, family="offers", name=says, says=says, rule=offer.when, window_days=364,
        min_support=0, support=_SUPPORT, freshness_days=0, evidence=_SUPPORT, outcome="spend",
    )  # fmt: skip
