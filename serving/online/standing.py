"""What of a member stands when only events came: every column that reads something else.

A step that computes a member whole costs milliseconds, most of them for what she bought. Where a
worker has computed her whole today, and nothing but events came since, only the groups that read
events are run again; the other columns are taken from her row in the store.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import func, select

from programme.database import Database
from serving.online.store import MEMBERS_AT_ONCE, NUMBERS, TEXTS, OnlineStore, doubles_of
from serving.online.tables import INBOX, ONLINE_MEMBERS


@dataclass(frozen=True)
class Basis:
    """What the columns of a whole day rest on, beside a member's own rows.

    Parameters
    ----------
    snapshot : the folder whose reference tables members are judged by
    lake_version : of the last batch that did not come from the inbox
    """

    as_of: date
    snapshot: str
    lake_version: int


@dataclass(frozen=True, eq=False)
class Stands:
    """What a member's row in the store holds of her features; see `StoredMember`."""

    population: str
    features: NDArray[np.float64]
    texts: Mapping[str, str]


@dataclass
class Whole:
    """Whom one worker has computed whole on one basis, and with which last row of the inbox.

    It is kept in memory alone: a worker that begins anew computes members whole again, and what
    another one writes meanwhile has another last row.
    """

    database: Database
    store: OnlineStore
    basis: Basis | None = None
    _seqs: dict[str, int] = field(default_factory=dict)

    def rest_on(self, basis: Basis) -> None:
        """Forget everybody, unless it is the basis they were computed on."""
        if basis != self.basis:
            self._seqs.clear()
            self.basis = basis

    def __contains__(self, name: object) -> bool:
        """Tell whether a member was computed whole."""
        return name in self._seqs

    def note(self, seqs: Mapping[str, int]) -> None:
        """Note the last row of the inbox that is in the row of each member just written."""
        self._seqs |= seqs

    def forget(self, name: str) -> None:
        """Compute a member whole the next time."""
        self._seqs.pop(name, None)

    def of(self, names: Collection[str]) -> dict[str, Stands]:
        """Return what stands of those of some members to whom nothing but events came since."""
        asked = sorted(name for name in names if name in self._seqs)
        if not asked or self.basis is None:
            return {}
        bought = self._last_purchases(asked)
        columns = ONLINE_MEMBERS.c
        found: dict[str, Stands] = {}
        for some in _in_parts(asked):
            wanted = select(
                columns.member_id, columns.seq, columns.population, columns.features, columns.texts
            ).where(
                columns.member_id.in_(some),
                columns.feature_set == self.store.feature_set,
                columns.as_of == self.basis.as_of,
                columns.snapshot == self.basis.snapshot,
            )
            with self.database.read() as connection:
                rows = connection.execute(wanted).all()
            for name, seq, population, features, texts in rows:
                if seq == self._seqs[name] and bought.get(name, 0) <= seq:
                    found[name] = Stands(population, doubles_of(features), json.loads(texts))
        return found

    def _last_purchases(self, names: list[str]) -> dict[str, int]:
        """Return the last line in the inbox of each who has one, whether or not it was flushed."""
        found: dict[str, int] = {}
        columns = INBOX.c
        for some in _in_parts(names):
            last = (
                select(columns.source_key, func.max(columns.seq))
                .where(columns.source_key.in_(some), columns.kind == "purchase")
                .group_by(columns.source_key)
            )
            with self.database.read() as connection:
                found |= {name: int(seq) for name, seq in connection.execute(last)}
        return found


def _in_parts(names: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(names), MEMBERS_AT_ONCE):
        yield names[first : first + MEMBERS_AT_ONCE]


def frame_of(rows: Mapping[str, Stands]) -> pd.DataFrame:
    """Lay stored rows out as `few.read` returns members, in their order."""
    members = list(rows.values())
    numbers = np.stack([row.features for row in members])
    columns = {name: numbers[:, place] for place, name in enumerate(NUMBERS)}
    columns |= {
        name: np.array([row.texts.get(name) for row in members], dtype=object) for name in TEXTS
    }
    population = np.array([row.population for row in members], dtype=object)
    return pd.DataFrame(
        {"population": population, **columns}, index=pd.Index(list(rows), name="member_id")
    )
