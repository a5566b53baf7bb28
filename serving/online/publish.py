"""Everybody of a snapshot is scored by the champions and written to the online store.

It is done some members at a time, and may be killed at any moment: the members already written
stand there, each with a whole row, and the next run writes everybody again. The publication, one
row that says so, comes last. Members whose rows know more than the snapshot keep them; the worker
computes them again under the new publication.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, and_, delete, func, insert, or_, select

from features.lake import Lake
from features.snapshot import Snapshot
from programme.database import Database
from programme.errors import NotReady
from programme.settings import Settings
from serving.online import changes, leases
from serving.online.store import NUMBERS, TEXTS, OnlineStore, Publication, StoredMember
from serving.online.tables import ONLINE_MEMBERS, PUBLICATIONS
from serving.online.traits import Nightly, nothing
from training.champions import Champions
from training.population import Look, Population
from training.scores import MemberScores
from training.views import parts

MEMBERS_AT_ONCE = 500
Tell = Callable[[str], None]


class BeingPublished(NotReady):
    """Another process is writing everybody; nothing was written."""


@dataclass(frozen=True, eq=False)
class Published:
    """What a publication did.

    Parameters
    ----------
    written, kept, removed : members written; left with a row that knows more; gone
    """

    publication: Publication
    written: int
    kept: int
    removed: int


def is_due(database: Database, champions: dict[str, int], snapshot: Snapshot) -> bool:
    """Return whether the store shows other champions, or an earlier snapshot, than these."""
    last = OnlineStore(database).publication()
    if last is None:
        return True
    if snapshot.as_of < last.as_of:
        return False
    return (last.snapshot, dict(last.champions)) != (snapshot.path.name, champions)


def lacking(settings: Settings, snapshot: Snapshot, shown: Snapshot) -> list[str]:
    """Return what a snapshot has not yet, in words, of what was made of the one that is shown.

    Members written without it would lose their tags or segments, and have them back soon after:
    two changes each, of which neither was.
    """
    before = Nightly.of(settings, shown).missing()
    return [one for one in Nightly.of(settings, snapshot).missing() if one not in before]


def publish(
    settings: Settings,
    database: Database,
    champions: Champions,
    snapshot: Snapshot,
    now: datetime,
    tell: Tell = lambda _: None,
    *,
    owner: str | None = None,
) -> Published:
    """Write everybody of a snapshot to the store, then the publication.

    Parameters
    ----------
    now : zoned
    tell : told how far it is
    owner : who writes, for others to know; one at a time may. None: this process

    Raises
    ------
    BeingPublished : if another process is writing everybody.
    """
    owner = owner or f"{socket.gethostname()[:60]}-{os.getpid()}"
    work = _Publishing(settings, database, champions, snapshot, now, tell, owner)
    work.hold()
    try:
        return work.done()
    finally:
        leases.release(database, owner, [leases.PUBLISHING])


def scores_of(member: MemberScores) -> dict[str, Any]:
    """Return what `StoredMember.scores` keeps: value, next products, next order."""
    said = {
        "value": member.value, "next_products": member.next_products,
        "next_order": member.next_order,
    }  # fmt: skip
    return {name: _plain(one) for name, one in said.items()}


def texts_of(frame: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Yield of each row the columns that hold names, those that are not absent."""
    columns = [frame[name].to_numpy(dtype=object) for name in TEXTS]
    for row in range(len(frame)):
        yield {
            name: values[row]
            for name, values in zip(TEXTS, columns, strict=True)
            if isinstance(values[row], str)
        }


class _Publishing:
    """One publication in the making."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        champions: Champions,
        snapshot: Snapshot,
        now: datetime,
        tell: Tell,
        owner: str,
    ) -> None:
        self.database, self.champions, self.snapshot = database, champions, snapshot
        self.now, self.tell, self.owner = now, tell, owner
        self.begun = time.monotonic()
        self.store = OnlineStore(database)
        self.nightly = Nightly.of(settings, snapshot)
        lake = Lake(settings)
        self.seq = lake.inbox_position(lake.manifest().up_to(snapshot.lake_version))
        self.written = 0

    def hold(self) -> None:
        """Be the one who writes, or refuse."""
        present = self.now + timedelta(seconds=time.monotonic() - self.begun)
        if not leases.take(
            self.database, [leases.PUBLISHING], self.owner, present, leases.PUBLISHING_LASTS
        ):
            raise BeingPublished(
                "Another process is writing everybody's scores to the online store. Nothing was "
                "published. Wait until it is done, or, if it was killed, "
                f"{leases.PUBLISHING_LASTS.seconds // 60} minutes; then try again."
            )

    def done(self) -> Published:
        last = self.store.publication()
        self.number = 1 + (last.publication_no if last else 0)
        self.first = last is None
        if missing := self.nightly.missing():
            self.tell(
                f"no {', no '.join(missing)} of {self.snapshot.as_of}: members are published "
                "without them; perennial segments and perennial tags make them"
            )
        views = list(parts(self.snapshot))
        self.tell("asking the champions about everybody")
        looks = []
        for view in views:
            looks.append(self.champions.look(view))
            self.hold()
        among = Look.of(looks).thresholds()
        total = sum(len(look.value_cents) for look in looks)
        for view, look in zip(views, looks, strict=True):
            frame = view.features()
            population = self.champions.expect(view, among, look)
            told = self.nightly.read((str(frame.index[0]), str(frame.index[-1])))
            for first in range(0, len(frame), MEMBERS_AT_ONCE):
                chunk = slice(first, first + MEMBERS_AT_ONCE)
                members = self._members(frame.iloc[chunk], population, chunk, told)
                self.hold()
                self.database.write(partial(self._write, members))
                self.written += len(members)
            self.tell(f"published {self.written:,} of {total:,} members")
        return self.database.write(lambda connection: self._finish(connection, among, total))

    def _members(
        self,
        frame: pd.DataFrame,
        population: Population,
        chunk: slice,
        told: dict[str, dict[str, Any]],
    ) -> list[StoredMember]:
        """Return some members as they are stored."""
        ids = [str(member) for member in frame.index]
        scores = self.champions.score(population, ids, churn=False)
        numbers = frame[list(NUMBERS)].to_numpy(dtype=np.float64)
        probability = population.churn_probability[chunk]
        kinds = population.population[chunk]
        return [
            StoredMember(
                member_id=member_id,
                as_of=self.snapshot.as_of,
                data_as_of=population.data_as_of,
                population=kinds[row],
                features=numbers[row],
                texts=texts,
                scores=scores_of(scores[row]),
                traits=churn_traits(self.champions, float(probability[row]))
                | told.get(member_id, nothing()),
                snapshot=self.snapshot.path.name,
                updated_at=self.now,
                seq=self.seq,
                scores_seq=self.seq,
                publication_no=self.number,
            )
            for row, (member_id, texts) in enumerate(zip(ids, texts_of(frame), strict=True))
        ]

    def _write(self, members: list[StoredMember], connection: Connection) -> None:
        """Write members, and what changed about those whose row gave way."""
        before = self.store.kept(connection, [member.member_id for member in members])
        self.store.write(connection, members)
        moved: list[changes.Moved] = [
            (member.member_id, before[member.member_id].traits, member.traits)
            for member in members
            if member.member_id in before and not before[member.member_id].knows_more(member)
        ]
        if not self.first:
            moved += [(m.member_id, None, m.traits) for m in members if m.member_id not in before]
        changes.record_many(connection, moved, self.now)

    def _finish(
        self, connection: Connection, among: dict[str, list[float]], total: int
    ) -> Published:
        """Remove who is gone, and say that everybody was written."""
        rows = ONLINE_MEMBERS.c
        other = rows.publication_no < self.number
        gone = or_(
            rows.feature_set != self.store.feature_set,
            and_(rows.seq <= self.seq, rows.as_of <= self.snapshot.as_of),
        )
        leaving = delete(ONLINE_MEMBERS).where(other, gone)
        left = connection.execute(leaving.returning(rows.member_id, rows.traits)).all()
        moved = [(row.member_id, json.loads(row.traits), None) for row in left]
        kept = connection.execute(select(func.count()).where(other)).scalar_one()
        publication = Publication(
            self.number, self.snapshot.path.name, self.snapshot.as_of,
            self.champions.versions, among, total, self.now,
        )  # fmt: skip
        facts = asdict(publication) | {
            "champions": json.dumps(publication.champions),
            "percentiles": json.dumps(publication.percentiles),
        }
        connection.execute(insert(PUBLICATIONS), [facts])
        changes.record_many(connection, moved, self.now)
        return Published(publication, self.written, kept, len(left))


def churn_traits(champions: Champions, probability: float) -> dict[str, Any]:
    """Return the traits that follow from a churn probability."""
    return {
        "risk_band": champions.risk_bands.of(probability),
        "churn_probability": probability,
        "churn_version": champions.churn.version,
    }


def _plain(value: Any) -> Any:
    """Return what JSON can hold: days as text, tuples as lists; a number that is none is absent."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value
