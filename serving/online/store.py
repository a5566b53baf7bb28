"""The online store: one row per member, read by a request in one look-up.

A row holds everything an answer is made of: the member's features in the order of the feature
table, from which churn is scored when it is asked for, and what was worked out beforehand, which
is value, next products and next order. Whoever refreshes a member writes her row whole.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from features import table
from programme.database import Database
from serving.online.tables import ONLINE_MEMBERS, PARTS, PUBLICATIONS

# The columns of `StoredMember.features`, in the order of the feature table.
NUMBERS: tuple[str, ...] = tuple(one.name for one in table.COLUMNS if not one.is_text)
TEXTS: tuple[str, ...] = tuple(one.name for one in table.COLUMNS if one.is_text)
_DOUBLES = np.dtype("<f8")
# SQLite takes so many values in one statement that 500 members fit many times over.
MEMBERS_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class StoredMember:
    """One member as the store has her.

    Parameters
    ----------
    as_of : the midnight her features are seen from
    data_as_of : UTC; the last instant at which we came to know of something in them
    features : array of shape (len(NUMBERS),), doubles in that order; NaN: absent
    texts : by name, those of `TEXTS` that are not absent
    scores : `value`, `next_products`, `next_order`: the fields of `training.scores`, dates as text
    traits : `risk_band`, `churn_probability`, `churn_version`, `stage`, `segments` (name -> value)
        and `tags`, as they were when she was last refreshed
    seq : the last row of the inbox that is in it; 0: only the snapshot
    snapshot : the folder of the snapshot whose reference tables her features were judged by
    scores_seq : the last row of the inbox that is in `scores`; below `seq`, they will follow
    publication_no : the publication whose champions and ranks are in it; 0: none
    """

    member_id: str
    as_of: date
    data_as_of: datetime
    population: Literal["active", "dormant"]
    features: NDArray[np.float64]
    texts: Mapping[str, str]
    scores: Mapping[str, Any]
    traits: Mapping[str, Any]
    snapshot: str
    updated_at: datetime
    seq: int = 0
    scores_seq: int = 0
    publication_no: int = 0


@dataclass(frozen=True)
class Publication:
    """The last time everybody was written.

    Parameters
    ----------
    champions : registered name -> version, of those whose scores were written
    percentiles : of "churn" and "value", 100 rising scores: at percentile p the p-th is reached
    """

    publication_no: int
    snapshot: str
    as_of: date
    champions: Mapping[str, int]
    percentiles: Mapping[str, Sequence[float]]
    members: int
    published_at: datetime


@dataclass(frozen=True)
class Kept:
    """What a row of the store holds before it is written again."""

    readable: bool
    seq: int
    as_of: date
    data_as_of: datetime
    traits: Mapping[str, Any]
    scores_text: str
    scores_seq: int
    publication_no: int

    def knows_more(self, member: StoredMember) -> bool:
        """Return whether the row stays as it is: see `OnlineStore.write`."""
        return self.readable and (self.seq > member.seq or self.as_of > member.as_of)


def part_of(member_id: str) -> int:
    """Return the part a member is dealt to, from 0 to `PARTS` - 1."""
    return crc32(member_id.encode()) % PARTS


@dataclass(frozen=True)
class OnlineStore:
    """The store of one database."""

    database: Database
    feature_set: str = field(default_factory=table.feature_set)

    def read(self, member_ids: Sequence[str]) -> dict[str, StoredMember]:
        """Return those of the asked members who are in the store of this code's features."""
        found: dict[str, StoredMember] = {}
        with self.database.read() as connection:
            for first in range(0, len(member_ids), MEMBERS_AT_ONCE):
                part = member_ids[first : first + MEMBERS_AT_ONCE]
                wanted = select(ONLINE_MEMBERS).where(
                    ONLINE_MEMBERS.c.member_id.in_(part),
                    ONLINE_MEMBERS.c.feature_set == self.feature_set,
                )
                for row in connection.execute(wanted):
                    found[row.member_id] = _stored(row)
        return found

    def write(
        self,
        connection: Connection,
        members: Iterable[StoredMember],
        scores: Mapping[str, str] | None = None,
    ) -> None:
        """Write members whole, within the transaction that is open.

        A row that knows more, of the inbox or of the day, is left as it is: whoever comes late
        with an older state changes nothing.

        Parameters
        ----------
        scores : by member_id, text that stands for a member's `scores`, as `kept` returned it
        """
        texts = scores or {}
        rows = [self._row(member, texts.get(member.member_id)) for member in members]
        if not rows:
            return
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        new = dialect.insert(ONLINE_MEMBERS)
        changed = {c.name: c for c in new.excluded if c.name != "member_id"}
        there, coming = ONLINE_MEMBERS.c, new.excluded
        # Of features that this code cannot read nothing is worth keeping.
        not_older = or_(
            there.feature_set != coming.feature_set,
            and_(there.seq <= coming.seq, there.as_of <= coming.as_of),
        )
        connection.execute(
            new.on_conflict_do_update(index_elements=["member_id"], set_=changed, where=not_older),
            rows,
        )

    def kept(self, connection: Connection, member_ids: Sequence[str]) -> dict[str, "Kept"]:
        """Return what stands in the rows of some members, which stay as they are meanwhile."""
        columns = ONLINE_MEMBERS.c
        found = {}
        for first in range(0, len(member_ids), MEMBERS_AT_ONCE):
            wanted = select(
                columns.member_id, columns.feature_set, columns.seq, columns.as_of,
                columns.data_as_of, columns.traits, columns.scores, columns.scores_seq,
                columns.publication_no,
            ).where(columns.member_id.in_(member_ids[first : first + MEMBERS_AT_ONCE]))  # fmt: skip
            # In one order, so that two writers never wait for each other.
            ordered = wanted.order_by(columns.member_id).with_for_update()
            for row in connection.execute(ordered):
                readable = row.feature_set == self.feature_set
                found[row.member_id] = Kept(
                    readable, row.seq, row.as_of, row.data_as_of, json.loads(row.traits),
                    row.scores, row.scores_seq, row.publication_no,
                )  # fmt: skip
        return found

    def publication(self) -> Publication | None:
        """Return the last time everybody was written; None: never."""
        last = select(PUBLICATIONS).order_by(PUBLICATIONS.c.publication_no.desc()).limit(1)
        with self.database.read() as connection:
            row = connection.execute(last).one_or_none()
        if row is None:
            return None
        return Publication(
            row.publication_no, row.snapshot, row.as_of, json.loads(row.champions),
            json.loads(row.percentiles), row.members, row.published_at,
        )  # fmt: skip

    def _row(self, member: StoredMember, scores: str | None) -> dict[str, Any]:
        return {
            "member_id": member.member_id,
            "as_of": member.as_of,
            "data_as_of": member.data_as_of,
            "population": member.population,
            "feature_set": self.feature_set,
            "features": member.features.astype(_DOUBLES).tobytes(),
            "texts": _json(member.texts),
            "scores": _json(member.scores) if scores is None else scores,
            "traits": _json(member.traits),
            "seq": member.seq,
            "snapshot": member.snapshot,
            "updated_at": member.updated_at,
            "scores_seq": member.scores_seq,
            "publication_no": member.publication_no,
        }


def doubles_of(features: bytes) -> NDArray[np.float64]:
    """Return `StoredMember.features` of what the column holds."""
    return np.frombuffer(features, _DOUBLES)


def _stored(row: Any) -> StoredMember:
    return StoredMember(
        member_id=row.member_id,
        as_of=row.as_of,
        data_as_of=row.data_as_of,
        population=row.population,
        features=doubles_of(row.features),
        texts=json.loads(row.texts),
        scores=json.loads(row.scores),
        traits=json.loads(row.traits),
        snapshot=row.snapshot,
        updated_at=row.updated_at,
        seq=row.seq,
        scores_seq=row.scores_seq,
        publication_no=row.publication_no,
    )


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
