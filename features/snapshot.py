"""Snapshots: the feature table of one `as_of`, immutable Parquet that training and serving read."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from threading import get_ident

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from features import engine, identities, reference, rollups, sequences, table
from features.clock import clock_of
from features.lake import Lake, Manifest
from features.reference import Reference
from programme.calendar import coming_midnight
from programme.errors import InputRefused, NotReady
from programme.files import sync_file, sync_folder, write_durably, write_json
from programme.settings import Programme, Settings, open_programme

FEATURES, META = "features.parquet", "meta.json"
# Named anew when its columns change: a snapshot may lie there from earlier code.
PRODUCTS = "bought.parquet"
REFERENCE = "reference.json"
# When newer rows touch a larger share of the members, everything is computed anew, with reference
# tables of its own: a backfilled year must not be judged by the season of the sample before it.
REBUILD_ABOVE = 0.1

# The first and the last member_id of some members, both of them among them.
Between = tuple[str, str]


@dataclass(frozen=True)
class Snapshot:
    """What was known of every member at one `as_of`; its files never change.

    The key is (`as_of`, `feature_set`, `lake_version`, `reference_digest`). Parts beside the
    feature table are made from the same lake version when they are first asked for.
    """

    settings: Settings
    programme: Programme
    as_of: date
    feature_set: str
    lake_version: int
    reference_digest: str

    @property
    def path(self) -> Path:
        """Return the folder of this snapshot."""
        name = f"{self.as_of}_{self.feature_set}_{self.lake_version:06d}_{self.reference_digest}"
        return self.settings.home / "snapshots" / name

    @classmethod
    def named(cls, settings: Settings, programme: Programme, name: str) -> "Snapshot":
        """Return the snapshot whose folder has a name, whether or not it is there."""
        day, feature_set, version, digest = name.split("_")
        return cls(settings, programme, date.fromisoformat(day), feature_set, int(version), digest)

    @property
    def reference(self) -> Reference:
        """Return the reference tables its features were measured against."""
        return Reference.from_json((self.path / REFERENCE).read_text("utf-8"))

    @property
    def data_as_of(self) -> datetime:
        """Return the UTC instant at which we last came to know of a purchase that is in it."""
        meta = json.loads((self.path / META).read_text("utf-8"))
        return datetime.fromisoformat(meta["data_as_of"])

    def features(self, between: Between | None = None) -> pd.DataFrame:
        """Return one row per member, indexed and ordered by `member_id`.

        Parameters
        ----------
        between : first and last member_id; None: everybody

        Returns
        -------
        DataFrame with `population`, then the columns of `features.table`; NaN: absent
        """
        return _read(self.path / FEATURES, between).set_index("member_id")

    def ranges(self, size: int) -> list[Between]:
        """Return the first and last member_id of every `size` members, in order."""
        with engine.connect(self.settings) as connection:
            return connection.execute(
                f"""select min(member_id), max(member_id) from (
                    select member_id, (row_number() over (order by member_id) - 1) // {size} as part
                    from read_parquet({engine.text(self.path / FEATURES)})
                ) group by part order by part"""
            ).fetchall()

    def weekly(
        self, n_weeks: int, between: Between | None = None
    ) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Return the members and their last weeks before `as_of`, oldest week first.

        Parameters
        ----------
        between : first and last member_id; None: everybody

        Returns
        -------
        member_ids in the order of `features`, and an array of shape
        (n_members, n_weeks, 4): orders, net spend, discount and returned value, in cents
        """
        with self.prepared(between) as connection:
            members = [str(row[0]) for row in connection.execute(
                f"{self._members_sql(between)} order by member_id"
            ).fetchall()]  # fmt: skip
            return members, sequences.weekly(connection, members, n_weeks)

    def products(self, between: Between | None = None) -> pd.DataFrame:
        """Return what every member bought before `as_of`.

        Parameters
        ----------
        between : first and last member_id; None: everybody

        Returns
        -------
        DataFrame with member_id, product_id, purchase_days (distinct days), last_days and
        first_days (days since the last and the first of them), purchase_days_28d, _84d and
        _182d (those of the last 4, 12 and 26 weeks), ordered by member_id and product_id
        """
        path = self.path / PRODUCTS
        if not path.exists():
            with self.prepared() as connection:
                unfinished = path.with_suffix(f".{_writer()}.unfinished")
                lake, manifest = self._lake()
                zone = self.programme.timezone
                clock = clock_of(connection, zone, lake.rows_sql("purchases", manifest))
                sql = sequences.products_sql(lake, manifest, self.as_of, zone, clock)
                engine.copy_to_parquet(connection, sql, unfinished)
                sync_file(unfinished)
                unfinished.replace(path)
        return _read(path, between)

    def is_stale(self) -> bool:
        """Return whether rows that came later change what was known at `as_of`."""
        lake = Lake(self.settings)
        newer = lake.manifest().after(self.lake_version)
        with engine.connect(self.settings) as connection:
            return _is_touched(connection, lake, newer, self.as_of, self.programme.timezone)

    def _lake(self) -> tuple[Lake, Manifest]:
        lake = Lake(self.settings)
        return lake, lake.manifest().up_to(self.lake_version)

    def _members_sql(self, between: Between | None) -> str:
        within = ""
        if between is not None:
            first, last = map(engine.text, between)
            within = f" where member_id between {first} and {last}"
        return f"select member_id from read_parquet({engine.text(self.path / FEATURES)}){within}"

    @contextmanager
    def prepared(self, between: Between | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open an engine with the relations this snapshot was computed from.

        Parameters
        ----------
        between : only of the members from the first to the last member_id; None: of everybody
        """
        lake, manifest = self._lake()
        only = None if between is None else self._members_sql(between)
        with engine.connect(self.settings) as connection:
            table.prepare(
                connection, lake, manifest, self.as_of, self.programme.timezone, only,
                frozen=self.reference,
            )  # fmt: skip
            yield connection


def build(
    settings: Settings,
    as_of: date,
    progress: Callable[[str], None] = lambda _: None,
    frozen: Reference | None = None,
) -> Snapshot:
    """Return the snapshot of `as_of` over the present lake, built if it is not there.

    A snapshot of the same `as_of` over an earlier lake is the starting point: only the members
    that newer rows touch are computed again, against the same reference tables.

    Parameters
    ----------
    progress : told what is being done
    frozen : reference tables to compute every member against; None measures them, or takes
        those of the starting point

    Raises
    ------
    NotReady : nothing was ingested
    InputRefused : nothing was known before `as_of`, or it reaches beyond the data
    """
    programme = open_programme(settings)
    lake = Lake(settings)
    manifest = lake.ready()
    present = _present(settings, programme, as_of)
    if frozen is not None:
        present = [one for one in present if one.reference_digest == frozen.digest]
    for snapshot in present:
        if snapshot.lake_version == manifest.lake_version:
            return snapshot
    with engine.connect(settings) as connection:
        making = _Making(connection, lake, manifest, programme, as_of, progress)
        making.refuse_outside_data()
        base = max(present, key=lambda one: one.lake_version, default=None)
        if base is None or frozen is not None:
            return making.whole(settings, frozen)
        return making.grow(settings, base)


def default_as_of(settings: Settings) -> date:
    """Return the midnight after the last purchase: everything known, nothing missing."""
    programme = open_programme(settings)
    lake = Lake(settings)
    with engine.connect(settings) as connection:
        last = connection.execute(
            f"select max(occurred_at) from ({lake.rows_sql('purchases', lake.ready())})"
        ).fetchall()[0][0]
    return coming_midnight(last.replace(tzinfo=UTC), programme.timezone)


def first_day(settings: Settings) -> date:
    """Return the day of the first purchase: the first day with an `as_of` is the one after."""
    programme = open_programme(settings)
    lake = Lake(settings)
    day = rollups.local_sql("occurred_at", programme.timezone)
    with engine.connect(settings) as connection:
        first: date = connection.execute(
            f"select cast(min({day}) as date) from ({lake.rows_sql('purchases', lake.ready())})"
        ).fetchall()[0][0]
    return first


def latest(settings: Settings) -> Snapshot:
    """Return the newest snapshot that this code built: the latest `as_of`, then lake version.

    Raises
    ------
    NotReady : if there is none.
    """
    programme = open_programme(settings)
    found = _present(settings, programme, None)
    if not found:
        raise NotReady(
            f"{settings.home / 'snapshots'} holds no snapshot of feature set "
            f"{table.feature_set()}. Nothing was scored. "
            f"Build one: perennial features --home {settings.home}"
        )
    return max(found, key=lambda snapshot: (snapshot.as_of, snapshot.lake_version))


def before(settings: Settings, as_of: date) -> list[Snapshot]:
    """Return the snapshots of earlier days that this code built, the newest first."""
    found = _present(settings, open_programme(settings), None)
    earlier = [snapshot for snapshot in found if snapshot.as_of < as_of]
    return sorted(earlier, key=lambda one: (one.as_of, one.lake_version), reverse=True)


def of_name(settings: Settings, name: str) -> list[Snapshot]:
    """Return the snapshot whose folder has a name, if this code built it and it is there."""
    found = _present(settings, open_programme(settings), None)
    return [snapshot for snapshot in found if snapshot.path.name == name]


def _present(settings: Settings, programme: Programme, as_of: date | None) -> list[Snapshot]:
    """Return the finished snapshots of this code's feature set, of one day or of all."""
    wanted = table.feature_set()
    day = "*" if as_of is None else str(as_of)
    found = []
    for meta in sorted((settings.home / "snapshots").glob(f"{day}_{wanted}_*_*/{META}")):
        found.append(Snapshot.named(settings, programme, meta.parent.name))
    return found


@dataclass
class _Making:
    """One snapshot in the making."""

    connection: duckdb.DuckDBPyConnection
    lake: Lake
    manifest: Manifest
    programme: Programme
    as_of: date
    progress: Callable[[str], None]

    @property
    def midnight(self) -> str:
        return identities.midnight_sql(self.as_of, self.programme.timezone)

    def whole(self, settings: Settings, frozen: Reference | None = None) -> Snapshot:
        """Compute every member, against reference tables measured now unless they are given."""
        self.progress("reading what was known")
        measured = self._prepare(frozen=frozen)
        table.compute(self.connection, self.progress)
        sql = table.select_sql(self.programme.active_days, measured.tables)
        return self._write(settings, sql, measured, None, None)

    def grow(self, settings: Settings, base: Snapshot) -> Snapshot:
        """Compute the members that newer rows touch; take the others as they are."""
        newer = self.manifest.after(base.lake_version)
        frozen = base.reference
        known = reference.known_tables(self.connection, self.lake, self.manifest, self.midnight)
        # A moved identity can empty one member and fill another, and the first row of a feed
        # says something of everybody: rare, so everything is rebuilt.
        if self.lake.paths("identities", newer) or known != frozen.tables:
            return self.whole(settings)
        touched = self._touched(base, newer)
        members = int(json.loads((base.path / META).read_text("utf-8"))["members"])
        if touched > REBUILD_ABOVE * members:
            return self.whole(settings)
        self.progress(f"computing {touched} members again")
        self._prepare("select member_id from touched", frozen)
        table.compute(self.connection, self.progress)
        fresh = table.select_sql(self.programme.active_days, frozen.tables)
        kept = f"""select * from read_parquet({engine.text(base.path / FEATURES)})
            where member_id not in (select member_id from touched)"""
        sql = f"select * from (({fresh}) union all by name ({kept})) order by member_id"
        return self._write(settings, sql, frozen, base, touched)

    def _prepare(self, only: str | None = None, frozen: Reference | None = None) -> Reference:
        return table.prepare(
            self.connection, self.lake, self.manifest, self.as_of, self.programme.timezone,
            only, frozen,
        )  # fmt: skip

    def _touched(self, base: Snapshot, newer: Manifest) -> int:
        """Make the temp table `touched`; return how many members are in it."""
        when = (self.as_of, self.programme.timezone)
        identities.resolve(self.connection, self.lake, self.manifest, *when)
        identities.make_successors(
            self.connection, self.lake, self.manifest.up_to(base.lake_version), *when, "succeeded"
        )
        self.connection.execute(
            f"""create or replace temp table touched as
            select member_id from ({table.touched_sql(self.lake, newer, *when)})
            union select member_id from ({identities.changed_sql("succeeded")})"""
        )
        return int(self.connection.execute("select count(*) from touched").fetchall()[0][0])

    def _write(
        self,
        settings: Settings,
        sql: str,
        used: Reference,
        base: Snapshot | None,
        touched: int | None,
    ) -> Snapshot:
        """Write the snapshot beside the others: a folder that appears whole or not at all."""
        snapshot = Snapshot(
            settings, self.programme, self.as_of, table.feature_set(),
            self.manifest.lake_version, used.digest,
        )  # fmt: skip
        unfinished = snapshot.path.with_name(f".{snapshot.path.name}.{_writer()}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        members = engine.copy_to_parquet(self.connection, sql, unfinished / FEATURES)
        sync_file(unfinished / FEATURES)
        write_durably(unfinished / REFERENCE, used.as_json().encode())
        last = self.connection.execute(
            f"select max(known_at) from ({self.lake.rows_sql('purchases', self.manifest)}) "
            f"where known_at < {self.midnight} and occurred_at < {self.midnight}"
        ).fetchall()[0][0]
        write_json(
            unfinished / META,
            {
                "as_of": snapshot.as_of,
                "feature_set": snapshot.feature_set,
                "lake_version": snapshot.lake_version,
                "reference": snapshot.reference_digest,
                "data_as_of": last.replace(tzinfo=UTC).isoformat(),
                "members": members,
                "computed_members": members if touched is None else touched,
                "built_on": base.lake_version if base is not None else None,
            },
        )
        try:
            unfinished.rename(snapshot.path)
        except OSError:
            # Another process finished the same snapshot first; theirs is equal, ours goes.
            shutil.rmtree(unfinished)
            if not (snapshot.path / META).exists():
                raise
        sync_folder(snapshot.path.parent)
        return snapshot

    def refuse_outside_data(self) -> None:
        """Refuse a day of which nothing is known."""
        # A row counts from when it was known, which is never before it happened.
        day = rollups.local_sql("known_at", self.programme.timezone)
        first, last = self.connection.execute(
            f"select cast(min({day}) as date), cast(max({day}) as date) "
            f"from ({self.lake.rows_sql('purchases', self.manifest)})"
        ).fetchall()[0]
        if self.as_of <= first or (self.as_of - last).days > 1:
            raise InputRefused(
                f"as_of {self.as_of} lies outside the data: purchases became known from {first} "
                f"to {last}. No features were built. Choose a day after {first} and at most one "
                f"after {last}."
            )


def _read(path: Path, between: Between | None) -> pd.DataFrame:
    """Read a table that lies by member_id, of everybody or from one member to another."""
    wanted = None
    if between is not None:
        wanted = [("member_id", ">=", between[0]), ("member_id", "<=", between[1])]
    return pd.read_parquet(path, filters=wanted)


def _writer() -> str:
    """Name who is writing: threads of one service may want the same snapshot at once."""
    return f"{os.getpid()}-{get_ident()}"


def _is_touched(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    newer: Manifest,
    as_of: date,
    timezone: str,
) -> bool:
    identities.resolve(connection, lake, newer, as_of, timezone)
    rows = table.touched_sql(lake, newer, as_of, timezone)
    who = lake.rows_sql("identities", newer)
    return bool(
        connection.execute(
            f"select exists (select 1 from ({rows})) or exists (select 1 from ({who}) "
            f"where known_at < {identities.midnight_sql(as_of, timezone)})"
        ).fetchall()[0][0]
    )
