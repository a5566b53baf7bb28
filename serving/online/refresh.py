"""Members whom a row of the inbox touches are computed again, as of the coming midnight.

Features come first, with churn, stage and RFM group, which follow from them in milliseconds; value,
next products and next order, whose models take a hundred times as long, follow as soon as nobody
waits for features. What is written is a function of the history and of the member's rows in the
inbox, so whoever does it again, after a kill or beside another worker, writes the same.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import duckdb
import pandas as pd
from sqlalchemy import Connection, Select, select, update
from sqlalchemy.exc import SQLAlchemyError

from features import few, table
from features.lake import Lake, Manifest
from features.reference import Reference
from programme.calendar import coming_midnight
from programme.database import Database, StorageFailed
from programme.errors import NotReady
from programme.settings import Settings, open_programme
from serving.online.ahead import Ahead
from serving.online.history import History
from serving.online.hot_view import HotView, Wares
from serving.online.inbox import last_row
from serving.online.made import Made
from serving.online.publish import scores_of
from serving.online.recent import Recent, WaitingRow, linked
from serving.online.relations import Relations
from serving.online.setting import Setting
from serving.online.standing import Basis, Stands, Whole, frame_of
from serving.online.store import OnlineStore, StoredMember, part_of
from serving.online.tables import INBOX, ONLINE_MEMBERS

# Rows that are refreshed at a time. A step costs tenths of a second before its first member and
# a millisecond or two for each, so that those who wait are taken together.
ROWS_AT_ONCE = 500
SCORED_AT_ONCE = 25
# Few, for whoever comes meanwhile waits for them.
AHEAD_AT_ONCE = 100
# A night's batch is of this midnight or, until the next is done, of the one before the coming.
AHEAD_DAYS_MAX = 2
# How often a member is tried before her rows are set aside with the reason.
ATTEMPTS = 3
_COLUMNS = (
    INBOX.c.seq, INBOX.c.kind, INBOX.c.key, INBOX.c.source_key, INBOX.c.accepted_at,
    INBOX.c.content,
)  # fmt: skip
_NAMES_AT_ONCE = 500
# What a database may suffer says nothing about a member.
_NOT_HERS = (NotReady, StorageFailed, SQLAlchemyError, OSError)


@dataclass
class Done:
    """What a step did.

    Parameters
    ----------
    rows, members : rows of the inbox that the store shows now, and whose they were
    scored : members whose value, next products and next order were made
    oldest : when the oldest of the rows was accepted; None: there was none
    failed : members who failed and will be tried again
    set_aside : why rows of a member will not be shown, by the name of her key
    """

    rows: int = 0
    members: int = 0
    scored: int = 0
    oldest: datetime | None = None
    failed: int = 0
    set_aside: dict[str, str] = field(default_factory=dict)


class _Prepared(Reference):
    """Reference tables that stand in the engine already."""

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing: they are there."""


class Refresher:
    """Computes members again, for one worker.

    Parameters
    ----------
    name : of the worker; its cache and its leases bear it
    """

    def __init__(
        self, settings: Settings, database: Database, connection: duckdb.DuckDBPyConnection,
        name: str,
    ) -> None:  # fmt: skip
        self.settings, self.database, self.connection, self.name = (
            settings, database, connection, name,
        )  # fmt: skip
        self.programme = open_programme(settings)
        self.lake = Lake(settings)
        path = settings.home / "online" / f"history-{name}.duckdb"
        self.history = History(connection, self.lake, path, self.programme.timezone)
        self.recent = Recent(connection, self.history, self.programme.timezone)
        self.wares = Wares(settings, connection, self.history)
        self.store = OnlineStore(database)
        self.position = 0
        self.relations = Relations(self.history)
        self._seen = 0
        self._failed: dict[str, int] = {}
        self._whole = Whole(database, self.store)
        self._lake_version = 0
        self._ahead: Ahead | None = None
        self.setting: Setting | None = None

    def use(self, setting: Setting) -> None:
        """Judge members by another publication from now on."""
        setting.reference.prepare(self.connection)
        self.setting = setting

    @property
    def _ruling(self) -> Setting:
        assert self.setting is not None  # `use` comes first
        return self.setting

    def follow(self, tell: Any = lambda _: None) -> None:
        """Take up what came into the lake since."""
        manifest = self.lake.manifest()
        if self.history.follow(manifest, tell):
            self.position = self.lake.inbox_position(manifest)
            self.relations = Relations(self.history)
            self._seen = self.position
            apart = (one.batch_no for one in manifest.batches if not one.inbox_seq)
            self._lake_version = max(apart, default=0)

    def refresh(self, parts: Collection[int], now: datetime, limit: int = ROWS_AT_ONCE) -> Done:
        """Refresh the members of the oldest rows that wait in some parts.

        Raises
        ------
        LeaseLost : if another worker has a part by now; nothing was written.
        """
        last = self._relate()
        waiting = select(*_COLUMNS).where(
            INBOX.c.refreshed_at.is_(None), INBOX.c.part.in_(sorted(parts)), INBOX.c.seq <= last
        )
        rows = self._rows(waiting.order_by(INBOX.c.seq).limit(limit))
        if not rows:
            return Done()
        done = Done(oldest=min(row.accepted_at for row in rows))
        names = list(dict.fromkeys(row.source_key for row in rows))
        self._carefully(names, rows, last, now, done, scored=False)
        return done

    def score_due(self, parts: Collection[int], now: datetime, limit: int = SCORED_AT_ONCE) -> Done:
        """Make the scores of members whose features are newer than they, the oldest first."""
        columns = ONLINE_MEMBERS.c
        behind = select(columns.member_id).where(columns.scores_seq < columns.seq)
        other = select(columns.member_id).where(
            columns.publication_no < self._ruling.publication.publication_no
        )
        due: list[str] = []
        with self.database.read() as connection:
            for wanted in (behind.order_by(columns.seq), other):
                found = connection.execute(wanted.limit(limit * 64)).scalars()
                due += [one for one in found if part_of(one) in parts and one not in due]
        done = Done()
        if due:
            last = self._relate()
            self._carefully(due[:limit], [], last, now, done, scored=True)
        return done

    def look_ahead(self, parts: Collection[int], now: datetime, limit: int = AHEAD_AT_ONCE) -> Done:
        """Compute some members as of the coming midnight to whom nothing came yet today.

        Once they are, what comes is shown sooner, for an event then changes a few columns only.
        Nobody is computed where the night's batches are not kept up: with data that ended long
        ago, every member would be seen from today.
        """
        as_of, done = self.as_of(now), Done()
        if (as_of - self._ruling.publication.as_of).days > AHEAD_DAYS_MAX:
            return done
        wanted = (self._rest_on(as_of), frozenset(parts))
        if self._ahead is None or self._ahead.wanted != wanted:
            self._ahead = Ahead(wanted)
        names = self._ahead.following(self.database, self._whole, limit)
        if names:
            self._carefully(names, [], self._relate(), now, done, scored=False)
        return done

    def as_of(self, now: datetime) -> date:
        """Return the midnight members are seen from."""
        return max(coming_midnight(now, self.programme.timezone), self._ruling.publication.as_of)

    def _relate(self) -> int:
        """Note which members new rows of the inbox join; return the number of the last row."""
        last = last_row(self.database)
        while self._seen < last:
            wanted = select(*_COLUMNS).where(INBOX.c.seq > self._seen, INBOX.c.seq <= last)
            rows = self._rows(wanted.order_by(INBOX.c.seq).limit(5_000))
            self.relations.note(rows, linked(self.history, rows))
            self._seen = rows[-1].seq if len(rows) == 5_000 else last
        return last

    def _rows(self, wanted: Select[Any]) -> list[WaitingRow]:
        with self.database.read() as connection:
            return [WaitingRow(*row) for row in connection.execute(wanted)]

    def _rows_of(self, names: Sequence[str], last: int) -> list[WaitingRow]:
        """Return every row of some names that the history does not hold."""
        found = []
        for first in range(0, len(names), _NAMES_AT_ONCE):
            found += self._rows(
                select(*_COLUMNS).where(
                    INBOX.c.source_key.in_(names[first : first + _NAMES_AT_ONCE]),
                    INBOX.c.seq > self.position, INBOX.c.seq <= last,
                )
            )  # fmt: skip
        return sorted(found, key=lambda row: row.seq)

    def _carefully(
        self, names: list[str], rows: list[WaitingRow], last: int, now: datetime, done: Done,
        *, scored: bool,
    ) -> None:  # fmt: skip
        """Refresh some names; where that fails, half of them each, down to the one at fault."""
        begun = time.monotonic()
        try:
            made = self._compute(names, last, now, scored=scored)
        except _NOT_HERS:
            raise
        except Exception as error:
            if len(names) > 1:
                half = len(names) // 2
                for part in (names[:half], names[half:]):
                    own = [row for row in rows if row.source_key in set(part)]
                    self._carefully(part, own, last, now, done, scored=scored)
                return
            self._fault(names[0], rows, error, now, done, scored=scored)
            return
        wanted = [row for row in rows if row.source_key in set(names)]
        # What is written says when it was, not when we began with it.
        moment = now + timedelta(seconds=time.monotonic() - begun)
        shown, written = self.database.write(
            partial(made.write, self.store, wanted, self.name, moment)
        )
        self._whole.note(written)
        for name in names:
            self._failed.pop(name, None)
        done.rows += shown
        done.members += len(made.members)
        done.scored += len(made.members) if scored else 0

    def _fault(
        self, name: str, rows: list[WaitingRow], error: Exception, now: datetime, done: Done,
        *, scored: bool,
    ) -> None:  # fmt: skip
        """Count a member's failures; set her rows aside when there were enough of them."""
        self._failed[name] = self._failed.get(name, 0) + 1
        self._whole.forget(name)
        if self._failed[name] < ATTEMPTS:
            done.failed += 1
            return
        del self._failed[name]
        why = f"{type(error).__name__}: {error}"[:500]
        done.set_aside[name] = why
        seqs = [row.seq for row in rows if row.source_key == name]

        def aside(connection: Connection) -> None:
            if seqs:
                connection.execute(
                    update(INBOX).where(INBOX.c.seq.in_(seqs)).values(refreshed_at=now, why=why)
                )
            if scored:  # as they are, until something else is known of her
                connection.execute(
                    update(ONLINE_MEMBERS)
                    .where(ONLINE_MEMBERS.c.member_id == name)
                    .values(
                        scores_seq=ONLINE_MEMBERS.c.seq,
                        publication_no=self._ruling.publication.publication_no,
                    )
                )

        self.database.write(aside)

    def _compute(self, names: Iterable[str], last: int, now: datetime, *, scored: bool) -> Made:
        """Compute everybody who has to do with some names."""
        as_of, setting = self.as_of(now), self._ruling
        self._rest_on(as_of)
        groups = self.relations.groups(names)
        rows = self._rows_of(sorted(groups.names), last)
        standing = {} if scored else self._whole.of(groups.alone())
        seqs = groups.last_of([(row.source_key, row.seq) for row in rows], self.position)
        known = groups.latest_of([(row.source_key, row.accepted_at) for row in rows])
        members = list[StoredMember]()
        if standing:
            events = [row for row in rows if row.source_key in standing]
            frame = self._with_events(standing, groups.components(standing), events, as_of, now)
            members += setting.members(frame, [None] * len(frame), as_of, seqs, known, now)
        rest = set(groups.names) - set(standing)
        if rest:
            own = [row for row in rows if row.source_key in rest]
            frame, scores = self._anew(groups.components(rest), own, as_of, now, scored=scored)
            if len(frame):
                members += setting.members(frame, scores, as_of, seqs, known, now)
        return Made(
            members,
            gone=sorted(set(groups.names) - {one.member_id for one in members}),
            scored=scored,
            seqs={name: seqs(name) for name in groups.names},
            position=self.position,
        )

    def _rest_on(self, as_of: date) -> Basis:
        basis = Basis(as_of, self._ruling.snapshot.path.name, self._lake_version)
        self._whole.rest_on(basis)
        return basis

    def _anew(
        self, components: Collection[int], rows: list[WaitingRow], as_of: date, now: datetime,
        *, scored: bool,
    ) -> tuple[pd.DataFrame, list[dict[str, Any] | None]]:  # fmt: skip
        """Return every column of the members whose rows these are, and their scores if wanted."""
        setting, zone = self._ruling, self.programme.timezone
        hot = self.recent.gather(components, rows, now, lines=scored)
        frozen = _Prepared(**vars(setting.reference))
        table.prepare(self.connection, hot, Manifest(), as_of, zone, frozen=frozen)
        frame = few.read(self.connection, self.programme.active_days, frozen.tables)
        ids = [str(one) for one in frame.index]
        if not scored or not ids:
            return frame, [None] * len(ids)
        view = HotView(frame, self.connection, hot, setting, as_of, zone, self.recent, self.wares)
        population = setting.champions.expect(view, setting.publication.percentiles)
        told = setting.champions.score(population, ids, churn=False)
        return frame, [scores_of(one) for one in told]

    def _with_events(
        self, standing: Mapping[str, Stands], components: Collection[int],
        rows: list[WaitingRow], as_of: date, now: datetime,
    ) -> pd.DataFrame:  # fmt: skip
        """Return the columns of members as they stand, those of events computed again."""
        frame = frame_of(standing)
        hot = self.recent.gather_events(components, rows, now)
        table.prepare_events(self.connection, hot, Manifest(), as_of, self.programme.timezone)
        found = few.of_events(self.connection, list(standing), self._ruling.reference.tables)
        return frame.assign(**found)
