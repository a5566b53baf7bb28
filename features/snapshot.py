"""Snapshots: the feature table of one `as_of`, immutable Parquet that training and serving read."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from threading import get_ident

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from features import engine, rollups, sequences, table
from features.clock import clock_of
from features.lake import Lake, Manifest
from programme.calendar import coming_midnight
from programme.errors import InputRefused, NotReady
from programme.files import sync_file, sync_folder, write_json
from programme.settings import Programme, Settings, open_programme

FEATURES, PRODUCTS, META = "features.parquet", "products.parquet", "meta.json"


@dataclass(frozen=True)
class Snapshot:
    """What was known of every member at one `as_of`; its files never change.

    The key is (`as_of`, `feature_set`, `lake_version`). Parts beside the feature table are made
    from the same lake version when they are first asked for.
    """

    settings: Settings
    programme: Programme
    as_of: date
    feature_set: str
    lake_version: int

    @property
    def path(self) -> Path:
        """Return the folder of this snapshot."""
        name = f"{self.as_of}_{self.feature_set}_{self.lake_version:06d}"
        return self.settings.home / "snapshots" / name

    @property
    def data_as_of(self) -> datetime:
        """Return the UTC instant at which we last came to know of a purchase that is in it."""
        meta = json.loads((self.path / META).read_text("utf-8"))
        return datetime.fromisoformat(meta["data_as_of"])

    def features(self) -> pd.DataFrame:
        """Return one row per member, indexed and ordered by `member_id`.

        Returns
        -------
        DataFrame with `population`, then the columns of `features.table`; NaN: absent
        """
        return pd.read_parquet(self.path / FEATURES).set_index("member_id")

    def weekly(self, n_weeks: int) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Return the members and their last weeks before `as_of`, oldest week first.

        Returns
        -------
        member_ids in the order of `features`, and an array of shape
        (n_members, n_weeks, 4): orders, net spend, discount and returned value, in cents
        """
        with self._prepared() as connection:
            members = [str(row[0]) for row in connection.execute(
                f"select member_id from read_parquet({engine.text(self.path / FEATURES)}) "
                "order by member_id"
            ).fetchall()]  # fmt: skip
            return members, sequences.weekly(connection, members, n_weeks)

    def products(self) -> pd.DataFrame:
        """Return what every member bought before `as_of`.

        Returns
        -------
        DataFrame with member_id, product_id, purchase_days (distinct days) and last_days (days
        since the last of them), ordered by member_id and product_id
        """
        path = self.path / PRODUCTS
        if not path.exists():
            with self._prepared() as connection:
                unfinished = path.with_suffix(f".{_writer()}.unfinished")
                lake, manifest = self._lake()
                zone = self.programme.timezone
                clock = clock_of(connection, zone, lake.rows_sql("purchases", manifest))
                sql = sequences.products_sql(lake, manifest, self.as_of, zone, clock)
                engine.copy_to_parquet(connection, sql, unfinished)
                sync_file(unfinished)
                unfinished.replace(path)
        return pd.read_parquet(path)

    def is_stale(self) -> bool:
        """Return whether rows that came later change what was known at `as_of`."""
        lake = Lake(self.settings)
        newer = lake.manifest().after(self.lake_version)
        with engine.connect(self.settings) as connection:
            return _is_touched(connection, lake, newer, self.as_of, self.programme.timezone)

    def _lake(self) -> tuple[Lake, Manifest]:
        lake = Lake(self.settings)
        return lake, lake.manifest().up_to(self.lake_version)

    @contextmanager
    def _prepared(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open an engine with the inputs of this snapshot made."""
        lake, manifest = self._lake()
        with engine.connect(self.settings) as connection:
            table.prepare(connection, lake, manifest, self.as_of, self.programme.timezone)
            yield connection


def build(settings: Settings, as_of: date) -> Snapshot:
    """Return the snapshot of `as_of` over the present lake, built if it is not there.

    A snapshot of the same `as_of` over an earlier lake is the starting point: only the members
    that newer rows touch are computed again.

    Raises
    ------
    NotReady : nothing was ingested
    InputRefused : nothing was known before `as_of`, or it reaches beyond the data
    """
    programme = open_programme(settings)
    lake = Lake(settings)
    manifest = lake.ready()
    snapshot = Snapshot(settings, programme, as_of, table.feature_set(), manifest.lake_version)
    if (snapshot.path / META).exists():
        return snapshot
    with engine.connect(settings) as connection:
        _refuse_outside_data(connection, lake, manifest, as_of, programme.timezone)
        base = _base_of(snapshot)
        sql, touched = _table_sql(connection, snapshot, lake, manifest, base)
        _write(connection, snapshot, sql, base, touched)
    return snapshot


def default_as_of(settings: Settings) -> date:
    """Return the midnight after the last purchase: everything known, nothing missing."""
    programme = open_programme(settings)
    lake = Lake(settings)
    with engine.connect(settings) as connection:
        last = connection.execute(
            f"select max(occurred_at) from ({lake.rows_sql('purchases', lake.ready())})"
        ).fetchall()[0][0]
    return coming_midnight(last.replace(tzinfo=UTC), programme.timezone)


def latest(settings: Settings) -> Snapshot:
    """Return the newest snapshot that this code built: the latest `as_of`, then lake version.

    Raises
    ------
    NotReady : if there is none.
    """
    programme = open_programme(settings)
    wanted = table.feature_set()
    found = []
    for meta in sorted((settings.home / "snapshots").glob(f"*_{wanted}_*/{META}")):
        day, feature_set, version = meta.parent.name.split("_")
        found.append(
            Snapshot(settings, programme, date.fromisoformat(day), feature_set, int(version))
        )
    if not found:
        raise NotReady(
            f"{settings.home} holds no snapshot of feature set {wanted}. Nothing was scored. "
            f"Build one: perennial features --home {settings.home}"
        )
    return max(found, key=lambda snapshot: (snapshot.as_of, snapshot.lake_version))


def _base_of(snapshot: Snapshot) -> Snapshot | None:
    """Return the newest snapshot of the same `as_of` and features over an earlier lake."""
    folder = snapshot.settings.home / "snapshots"
    versions = [
        int(meta.parent.name.rsplit("_", 1)[1])
        for meta in folder.glob(f"{snapshot.as_of}_{snapshot.feature_set}_*/{META}")
    ]
    earlier = [version for version in versions if version < snapshot.lake_version]
    if not earlier:
        return None
    return Snapshot(
        snapshot.settings, snapshot.programme, snapshot.as_of, snapshot.feature_set, max(earlier)
    )


def _table_sql(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    lake: Lake,
    manifest: Manifest,
    base: Snapshot | None,
) -> tuple[str, int | None]:
    """Return the SELECT that makes the table, and how many members it computes (None: all)."""
    zone, active = snapshot.programme.timezone, snapshot.programme.active_days
    newer = manifest.after(base.lake_version) if base is not None else manifest
    # A moved identity can empty one member and fill another: rare, so everything is rebuilt.
    if base is None or lake.paths("identities", newer):
        table.prepare(connection, lake, manifest, snapshot.as_of, zone)
        return table.select_sql(active), None
    table.resolve(connection, lake, manifest, snapshot.as_of, zone)
    day = f"date {engine.text(snapshot.as_of)}"
    members = table.with_member(rollups.touched_members_sql(lake, newer, day))
    connection.execute(
        f"create or replace temp table touched as select distinct member_id from ({members})"
    )
    touched = int(connection.execute("select count(*) from touched").fetchall()[0][0])
    table.prepare(connection, lake, manifest, snapshot.as_of, zone, "select member_id from touched")
    kept = f"""select * from read_parquet({engine.text(base.path / FEATURES)})
        where member_id not in (select member_id from touched)"""
    fresh = table.select_sql(active)
    return f"select * from (({fresh}) union all by name ({kept})) order by member_id", touched


def _write(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    sql: str,
    base: Snapshot | None,
    touched: int | None,
) -> None:
    """Write the snapshot beside the others: a folder that appears whole or not at all."""
    unfinished = snapshot.path.with_name(f".{snapshot.path.name}.{_writer()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    members = engine.copy_to_parquet(connection, sql, unfinished / FEATURES)
    sync_file(unfinished / FEATURES)
    lake, manifest = snapshot._lake()
    midnight = table.midnight_sql(snapshot.as_of, snapshot.programme.timezone)
    last = connection.execute(
        f"select max(known_at) from ({lake.rows_sql('purchases', manifest)}) "
        f"where known_at < {midnight} and occurred_at < {midnight}"
    ).fetchall()[0][0]
    write_json(
        unfinished / META,
        {
            "as_of": snapshot.as_of,
            "feature_set": snapshot.feature_set,
            "lake_version": snapshot.lake_version,
            "data_as_of": last.replace(tzinfo=UTC).isoformat(),
            "members": members,
            "computed_members": members if touched is None else touched,
            "built_on": base.lake_version if base is not None and touched is not None else None,
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


def _writer() -> str:
    """Name who is writing: threads of one service may want the same snapshot at once."""
    return f"{os.getpid()}-{get_ident()}"


def _refuse_outside_data(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    timezone: str,
) -> None:
    # A row counts from when it was known, which is never before it happened.
    day = rollups.local_sql("known_at", timezone)
    first, last = connection.execute(
        f"select cast(min({day}) as date), cast(max({day}) as date) "
        f"from ({lake.rows_sql('purchases', manifest)})"
    ).fetchall()[0]
    if as_of <= first or (as_of - last).days > 1:
        raise InputRefused(
            f"as_of {as_of} lies outside the data: purchases became known from {first} to {last}. "
            f"No features were built. Choose a day after {first} and at most one after {last}."
        )


def _is_touched(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    newer: Manifest,
    as_of: date,
    timezone: str,
) -> bool:
    day = f"date {engine.text(as_of)}"
    rows = rollups.touched_members_sql(lake, newer, day)
    identities = lake.rows_sql("identities", newer)
    return bool(
        connection.execute(
            f"select exists (select 1 from ({rows})) or exists (select 1 from ({identities}) "
            f"where known_at < {table.midnight_sql(as_of, timezone)})"
        ).fetchall()[0][0]
    )
