"""Triggers: what happens to a member starts a small campaign for her, declared as data.

A run asks who fired, leaves out whom the same trigger reached lately, and launches what passed the
gates as a campaign of that day, in one transaction with the note that it fired.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import Connection, insert, select

from actions import campaigns, decisions, launching, proposals
from actions.arms import bucket
from actions.brief import Asked
from actions.decisions import Decision
from actions.offers import Catalogue
from actions.tables import CAMPAIGNS, FIRINGS
from features import engine
from features.contracts import EVENT_KINDS
from features.identities import resolve, with_member
from features.lake import Lake
from features.segments.lifecycle import STAGES
from loyalty.expiry import expiring
from loyalty.intake import note, position
from programme import declared
from programme.calendar import coming_midnight, local_date
from programme.database import Database
from programme.errors import InputRefused
from programme.settings import Programme, Settings

TRIGGERS_FILE = "triggers.toml"
_UNDONE = "Nothing was sent."
ROWS_AT_ONCE = 1_000
# What a trigger may watch: nothing a tier had a hand in.
SCORES = ("churn_probability", "value_cents")


class Trigger(BaseModel):
    """One trigger.

    Attributes
    ----------
    on : what fires it
    offers : ids of the catalogue; which of them she gets is worked out as in any campaign
    debounce_days : between two firings for one member
    most_a_day : members in one day's campaign
    to, came_from : stages of the lifecycle; came_from empty: any
    score, above, below : a score that crossed a threshold since the day scored before
    within_days, least : days until points expire, and how many points it takes
    event : kind of the lake's events
    since_days : how long ago an event may have happened that becomes known now
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # With "trigger-" and the day it is a campaign's id.
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,20}$")]
    on: Literal["stage", "score", "points_expiring", "event"]
    offers: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
    debounce_days: Annotated[int, Field(ge=1, le=366)] = 28
    most_a_day: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    control_share: Annotated[float, Field(ge=0.01, le=0.5, allow_inf_nan=False)] = 0.1
    to: tuple[Literal[STAGES], ...] | None = None  # type: ignore[valid-type]
    came_from: tuple[Literal[STAGES], ...] = ()  # type: ignore[valid-type]
    score: Literal[SCORES] | None = None  # type: ignore[valid-type]
    above: Annotated[float, Field(allow_inf_nan=False)] | None = None
    below: Annotated[float, Field(allow_inf_nan=False)] | None = None
    within_days: Annotated[int, Field(ge=1, le=366)] | None = None
    least: Annotated[int, Field(ge=1, le=10**12)] = 1
    event: Literal[EVENT_KINDS] | None = None  # type: ignore[valid-type]
    since_days: Annotated[int, Field(ge=1, le=28)] = 7

    @model_validator(mode="after")
    def _is_whole(self) -> "Trigger":
        mine = {
            "stage": {"to", "came_from"}, "score": {"score", "above", "below"},
            "points_expiring": {"within_days", "least"}, "event": {"event", "since_days"},
        }  # fmt: skip
        others = set().union(*mine.values()) - mine[self.on]
        if strange := sorted(others & self.model_fields_set):
            raise ValueError(f"a trigger on {self.on} has no {strange[0]}")
        needed = {"stage": "to", "score": "score", "points_expiring": "within_days",
                  "event": "event"}[self.on]  # fmt: skip
        if not getattr(self, needed):
            raise ValueError(f"a trigger on {self.on} says {needed}")
        if self.on == "score" and (self.above is None) == (self.below is None):
            raise ValueError("a trigger on score says either above or below")
        return self

    def campaign_id(self, day: date) -> str:
        """Return the id of a day's campaign."""
        return f"trigger-{self.id}-{day}"

    @property
    def feed(self) -> str:
        """Return under which name it is remembered how far it has looked."""
        return f"trigger {self.id}"


class TriggersFile(BaseModel):
    """Everything one file declares."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    trigger: Annotated[tuple[Trigger, ...], Field(max_length=100)] = ()

    @field_validator("trigger")
    @classmethod
    def _each_once(cls, triggers: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
        ids = [one.id for one in triggers]
        if repeated := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"two triggers are called {repeated[0]}")
        return triggers


def read(home: Path) -> tuple[Trigger, ...]:
    """Read the triggers of a home.

    Raises
    ------
    InputRefused : if there is no file, or naming the key that cannot be used.
    """
    path = home / TRIGGERS_FILE
    if not path.exists():
        raise InputRefused(
            f"{path} cannot be read: there is none. {_UNDONE} Declare triggers in it: "
            "docs/how-to/run-a-campaign.md shows how."
        )
    tables = declared.tables_of(declared.text_of(path, _UNDONE), str(path), _UNDONE)
    return declared.checked(TriggersFile, tables, str(path), _UNDONE).trigger


# --- who fired


def by_stage(trigger: Trigger, transitions: Path) -> list[str]:
    """Return members whose stage became one of those, as a segmentation's file tells."""
    assert trigger.to is not None
    sought = f"to_stage in ({_listed(trigger.to)})"
    if trigger.came_from:
        sought += f" and from_stage in ({_listed(trigger.came_from)})"
    return _asked(f"select member_id from read_parquet({engine.text(transitions)}) where {sought}")


def by_score(trigger: Trigger, before: Path, now: Path) -> list[str]:
    """Return members whose score crossed the threshold between two days' files.

    Whom the earlier file does not know, or has no score of, crossed nothing.
    """
    assert trigger.score is not None
    column = engine.name(trigger.score)
    old, new = f"old.{column}", f"new.{column}"
    crossed = (
        f"{old} < {trigger.above!r} and {new} >= {trigger.above!r}"
        if trigger.above is not None
        else f"{old} >= {trigger.below!r} and {new} < {trigger.below!r}"
    )
    return _asked(
        f"""select member_id from read_parquet({engine.text(now)}) new
        join read_parquet({engine.text(before)}) old using (member_id) where {crossed}"""
    )


def by_points(trigger: Trigger, database: Database, *, now: datetime) -> list[str]:
    """Return members of whom enough points expire soon."""
    assert trigger.within_days is not None
    points = dict[str, int]()
    for one in expiring(database, now=now, within_days=trigger.within_days):
        points[one.member_id] = points.get(one.member_id, 0) + one.points
    return sorted(member for member, sum_ in points.items() if sum_ >= trigger.least)


def by_event(
    trigger: Trigger, settings: Settings, programme: Programme, since: int, *, now: datetime
) -> tuple[list[str], int]:
    """Return members of whom an event became known since a batch, and the last batch there is.

    Parameters
    ----------
    since : number of the batch up to where it looked before; 0: it never did
    """
    lake = Lake(settings)
    manifest = lake.ready()
    moment = engine.instant(now)
    with engine.connect(settings) as connection:
        resolve(connection, lake, manifest, coming_midnight(now, programme.timezone),
                programme.timezone)  # fmt: skip
        known = with_member(
            f"select * from ({lake.rows_sql('events', manifest)}) where kind = "
            f"{engine.text(str(trigger.event))} and batch_no > {since} and known_at <= {moment} "
            f"and occurred_at <= {moment} "
            f"and occurred_at > {moment} - interval {trigger.since_days} day"
        )
        found = connection.execute(
            f"""select distinct member_id from (
                select member_id, event_id from ({known}) group by all having sum(sign) > 0
            ) where member_id is not null order by member_id"""
        ).fetchall()
    last = max((batch.batch_no for batch in manifest.batches), default=0)
    return [str(row[0]) for row in found], last


def debounced(database: Database, trigger: Trigger, members: Iterable[str], day: date) -> list[str]:
    """Return the members for whom a trigger did not fire in its days before `day`, in order."""
    first = day - timedelta(days=trigger.debounce_days)
    lately = select(FIRINGS.c.member_id).where(
        (FIRINGS.c.trigger_id == trigger.id) & (FIRINGS.c.fired_on > first)
    )
    with database.read() as connection:
        resting = set(connection.execute(lately).scalars())
    return sorted(set(members) - resting)


def first_come(trigger: Trigger, members: Sequence[str], day: date) -> list[str]:
    """Return as many members as one day may have: by their hash, so that no name comes first."""
    salt = trigger.campaign_id(day)
    order = sorted(members, key=lambda member: (bucket(f"{salt}/turn", member), member))
    return sorted(order[: trigger.most_a_day])


def looked_at(database: Database, trigger: Trigger) -> str | None:
    """Return up to where a trigger has looked; None: it never did."""
    return position(database, trigger.feed)


# --- what is done about it


def launch(
    database: Database,
    programme: Programme,
    home: Path,
    trigger: Trigger,
    asked: Asked,
    catalogue: Catalogue,
    decided: Sequence[Decision],
    facts: dict[str, Any],
    *,
    as_of: date,
    watermark: str,
    now: datetime,
) -> bool:
    """Launch a day's campaign, note who fired and how far was looked: all of it, or nothing.

    Returns
    -------
    Whether it was launched; False: that was done today already.
    """
    campaign_id, day = asked.brief.campaign, local_date(now, programme.timezone)
    _, digest = proposals.write(decided, home, campaign_id)
    row = {
        "campaign_id": campaign_id, "state": "launched", "text": asked.text,
        "catalogue": catalogue.version, "as_of": as_of, "proposal": digest,
        "facts": json.dumps(facts, allow_nan=False), "proposed_at": now, "approved_at": now,
        "approved_by": TRIGGERS_FILE, "launched_at": now,
    }  # fmt: skip

    def work(connection: Connection) -> bool:
        campaigns.lock(connection)
        if campaigns.state_of(connection, campaign_id) is not None:
            return False
        connection.execute(insert(CAMPAIGNS).values(row))
        decisions.log(connection, decided, decided_at=now)
        launching.post(connection, decided, catalogue, day=day, now=now)
        firings = [
            {"trigger_id": trigger.id, "member_id": one.member_id, "fired_on": day}
            for one in decided
        ]
        for first in range(0, len(firings), ROWS_AT_ONCE):
            connection.execute(insert(FIRINGS), firings[first : first + ROWS_AT_ONCE])
        note(connection, (trigger.feed, watermark))
        return True

    return database.write(work)


def _asked(sql: str) -> list[str]:
    with duckdb.connect() as connection:
        return [str(row[0]) for row in connection.execute(f"{sql} order by member_id").fetchall()]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(engine.text(name) for name in names)
