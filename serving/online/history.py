"""Every member's rows where they are found at once: a cache of the lake.

The lake lies by batch; a worker that computes a hundred members again cannot read all of it. Here
the rows of one member lie together. What is known of one member may depend on another's rows only
where an identity joins them, so rows lie by `component`: the names, of members and of source keys,
that identities join directly or by way of others; nearly always one name.

Names, keys and stored rows are tables of a DuckDB file. The rollups of purchases, of which a member
has hundreds of rows and which every step reads, are packed files beside it, and so is whose rows
have the key of an order or an event; the tables say which of the files count.

It is never a source of truth: it says which version of the lake it holds, takes up later batches
one after the other, and is made anew where it cannot.
"""

import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
from scipy import sparse

from features import engine, rollups
from features.clock import clock_of
from features.lake import Lake, Manifest
from serving.online import held, packed
from serving.online.held import Held
from serving.online.packed import Segment

FORMAT = 4
# Who is named in each table, and how.
NAMED = {
    "purchases": "source_key", "events": "source_key", "contacts": "member_id",
    "points": "member_id", "identities": "source_key",
}  # fmt: skip
# Rows stand in groups that are read whole: the smallest there are, for few members at a time.
_ROW_GROUP = 2_048
# Rollups of purchases, whose rows bear the number of a key: those that are packed.
_NUMBERED = (rollups.ORDER_DAYS, rollups.CATEGORY_DAYS, rollups.BRAND_DAYS)
# Rows that are packed at a time.
_PACKED_AT_ONCE = 100_000
# A segment is merged with the one before it unless that is so many times as large: few segments to
# look into, and each row is written again a few times at most.
_GROWTH = 4
_NAMES_KEPT = 200_000
# Batches after which rows of one member lie in too many places.
BATCHES_MAX = 400


class _File(Protocol):
    """A file beside the cache, with what belongs to it."""

    @property
    def path(self) -> Path: ...

    def __len__(self) -> int: ...


File = TypeVar("File", bound=_File)


@dataclass
class History:
    """The cache, attached to an engine as `history`.

    Parameters
    ----------
    path : of the file, which one process has open
    timezone : of the programme
    """

    connection: duckdb.DuckDBPyConnection
    lake: Lake
    path: Path
    timezone: str
    version: int = -1
    _last_key: int | None = None
    _segments: dict[str, list[Segment]] = field(default_factory=dict)
    _held: dict[str, list[Held]] = field(default_factory=dict)
    # Names that were asked for, of this version: whoever comes often is looked up once.
    _component_of: dict[str, int | None] = field(default_factory=dict)
    _names_of: dict[int, list[str]] = field(default_factory=dict)

    def follow(self, manifest: Manifest, tell: Callable[[str], None] = lambda _: None) -> bool:
        """Hold what a version of the lake holds; return whether anything changed."""
        opened = self.version < 0
        if opened:
            self._open()
        if self.version == manifest.lake_version:
            if opened:
                self._spans(manifest)
            return opened
        newer = manifest.after(self.version)
        apart = self.lake.paths("identities", newer) or self.version > manifest.lake_version
        if self.version <= 0 or apart or len(newer.batches) + self._batches() > BATCHES_MAX:
            tell(f"laying out the history of members, version {manifest.lake_version} of the lake")
            self._drop()
            self._in_one(lambda: self._build(manifest))
        else:
            self._in_one(lambda: self._append(newer, manifest))
        self._spans(manifest)
        return True

    def components_of(self, names: Collection[str]) -> dict[str, int]:
        """Return the component of each name that was seen before."""
        if len(self._component_of) > _NAMES_KEPT:
            self._component_of.clear()
        new = [name for name in names if name not in self._component_of]
        rows = self._rows(
            "select name, component from history.names where name in (select unnest(?))", new
        )
        self._component_of |= dict.fromkeys(new)
        self._component_of |= {str(name): int(component) for name, component in rows}
        found = ((name, self._component_of[name]) for name in names)
        return {name: component for name, component in found if component is not None}

    def names_of(self, components: Iterable[int]) -> list[str]:
        """Return every name of some components."""
        if len(self._names_of) > _NAMES_KEPT:
            self._names_of.clear()
        asked = [*components]
        new = [one for one in asked if one not in self._names_of]
        rows = self._rows(
            """select component, list(name order by name) from history.names
            where component in (select unnest(?)) group by component""",
            new,
        )
        self._names_of |= {int(component): names for component, names in rows}
        return [name for one in asked for name in self._names_of.get(one, ())]

    def holders_of(self, table: str, keys: Collection[str]) -> dict[str, set[str]]:
        """Return whose stored rows have these keys: key -> names.

        Parameters
        ----------
        table : purchases, by what `order_key_sql` makes of source and order_id, or events, by id
        """
        return {
            key: set(self.names_of(components))
            for key, components in self._holding(table, keys).items()
        }

    def components_holding(self, table: str, keys: Collection[str]) -> set[int]:
        """Return the components whose stored rows have some of these keys; see `holders_of`."""
        return set().union(*self._holding(table, keys).values())

    def _holding(self, table: str, keys: Collection[str]) -> dict[str, set[int]]:
        """Return the components that hold each of some keys, of keys that are held at all."""
        hashed = self._rows("select key, hash(key) from (select unnest(?) as key)", [*keys])
        digests = np.array([digest for _, digest in hashed], dtype=np.uint64)
        found = held.holders(self._held.get(table, ()), digests)
        return {str(key): some for (key, _), some in zip(hashed, found, strict=True) if some}

    def rows_sql(self, table: str, components: Collection[int]) -> str:
        """Return a SELECT of the stored rows of some components."""
        listed = ", ".join(map(str, sorted(components))) or "-1"
        return (
            f"select * exclude (component) from history.rows_{table} where component in ({listed})"
        )

    def rollup_sql(self, rollup: str, components: Collection[int]) -> str:
        """Return a SELECT of the rows that some components have in a rollup, or of their keys.

        It can be run until the next one of the same rollup is asked for.

        Raises
        ------
        OSError : if the cache is damaged; that is no fault of a member's rows.
        """
        if rollup in _NUMBERED:
            try:
                rows = packed.read(self._segments[rollup], components)
            except (pa.ArrowInvalid, OSError) as error:
                raise OSError(
                    f"The history of members in {self._folder} is damaged: {error}. Nothing was "
                    f"refreshed. Remove {self.path} and start the worker again: it is laid out "
                    "anew from the lake."
                ) from error
            self.connection.register(f"packed_{rollup}", rows)
            return f"select * from packed_{rollup}"
        listed = ", ".join(map(str, sorted(components))) or "-1"
        return f"select * exclude (component) from history.{rollup} where component in ({listed})"

    def last_key(self) -> int:
        """Return the highest number of a key."""
        if self._last_key is None:
            highest = "select coalesce(max(key_no), 0) from history.keys"
            self._last_key = int(self.connection.execute(highest).fetchall()[0][0])
        return self._last_key

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._attach()
            self.version = self._read_version()
            self._open_segments()
        except (duckdb.Error, pa.ArrowInvalid, OSError, ValueError):
            self._drop()  # files of other code, or that were not written to their end

    def _attach(self) -> None:
        self.connection.execute(
            f"attach {engine.text(self.path)} as history (row_group_size {_ROW_GROUP})"
        )

    def _read_version(self) -> int:
        there = self.connection.execute(
            "select count(*) from duckdb_tables() where database_name = 'history' "
            "and table_name = 'meta'"
        ).fetchall()[0][0]
        if not there:
            return 0
        format_, timezone, version = self.connection.execute(
            "select format, timezone, lake_version from history.meta"
        ).fetchall()[0]
        return int(version) if (format_, timezone) == (FORMAT, self.timezone) else 0

    def _drop(self) -> None:
        """Begin with an empty file."""
        attached = self.connection.execute(
            "select count(*) from duckdb_databases() where database_name = 'history'"
        ).fetchall()[0][0]
        if attached:
            self.connection.execute("detach history")
        for path in (self.path, self.path.with_name(self.path.name + ".wal")):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._segments, self._held = {}, {}
        self._attach()
        self.version = 0

    def _in_one(self, work: Callable[[], None]) -> None:
        """Do it in one transaction: a file that was being changed is as it was before."""
        self.connection.execute("begin")
        try:
            work()
            self.connection.execute("commit")
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.version = self._read_version()
        self._last_key = None
        self._component_of.clear()
        self._names_of.clear()
        self._open_segments()

    @property
    def _folder(self) -> Path:
        return self.path.with_suffix("")

    def _open_segments(self) -> None:
        """Map the packed files that count, and remove all others."""
        self._segments, self._held = {}, {}
        if self.version <= 0:
            return
        listed = "select rollup, file from history.segments order by place"
        counting = set()
        for name, file in self.connection.execute(listed).fetchall():
            path = self._folder / file
            one = Segment(path) if name in _NUMBERED else Held(path)
            len(one)  # read now: what is wrong with it should be known now
            counting.add(_stem(path))
            if isinstance(one, Segment):
                self._segments.setdefault(name, []).append(one)
            else:
                self._held.setdefault(name, []).append(one)
        for path in self._folder.iterdir():
            if _stem(path) not in counting:
                path.unlink()

    def _pack(self, rollup: str, rows: str, version: int) -> None:
        """Pack rows, beside those that are packed already."""
        path = self._folder / f"{rollup}-{version}.arrow"
        ordered = self.connection.sql(f"{rows} order by component")
        made = packed.write(ordered.to_arrow_reader(_PACKED_AT_ONCE), path)
        self._count(rollup, self._segments.get(rollup, []), made, packed.merge)

    def _hold(self, table: str, rows: str, version: int) -> None:
        """Keep whose rows have which key, beside those that are kept already."""
        path = self._folder / f"held_{table}-{version}.npy"
        self.connection.execute(f"create or replace temp table holding as {rows}")
        n_rows = self.connection.execute("select count(*) from holding").fetchall()[0][0]
        ordered = self.connection.sql("select digest, component from holding order by digest")
        made = held.write(ordered.to_arrow_reader(_PACKED_AT_ONCE), int(n_rows), path)
        self.connection.execute("drop table holding")
        self._count(table, self._held.get(table, []), made, held.merge)

    def _count(
        self, name: str, before: list[File], made: File, merge: Callable[[File, File, Path], File]
    ) -> None:
        """Say that a file counts, merged with those before it that are not much larger."""
        kept, first = [*before], made.path
        while kept and len(kept[-1]) < _GROWTH * len(made):
            merged = first.with_name(f"{first.stem}-{len(kept)}{first.suffix}")
            made = merge(kept.pop(), made, merged)
        files = [one.path.name for one in (*kept, made)]
        self.connection.execute("delete from history.segments where rollup = ?", [name])
        for place, file in enumerate(files):
            self.connection.execute(
                "insert into history.segments values (?, ?, ?)", [name, place, file]
            )

    def _build(self, manifest: Manifest) -> None:
        run = self.connection.execute
        named = " union ".join(
            f"select {name} as name from ({self.lake.rows_sql(table, manifest)})"
            for table, name in NAMED.items()
        )
        members = self.lake.rows_sql("identities", manifest)
        run(f"""create table history.names as
            select name, row_number() over (order by name) as component from (
                {named} union select member_id from ({members})
            ) where name is not null""")
        self._join_by_identities(members)
        for table, name in NAMED.items():
            rows = self._placed_sql(self.lake.rows_sql(table, manifest), name)
            run(f"create table history.rows_{table} as {rows} order by component")
        run("create table history.segments (rollup varchar, place integer, file varchar)")
        for table, rows in self._held_sql(manifest).items():
            self._hold(table, rows, manifest.lake_version)
        for rollup, rows in self._rollups_sql(manifest).items():
            if rollup in _NUMBERED:
                self._pack(rollup, rows, manifest.lake_version)
            else:
                run(f"create table history.{rollup} as {rows} order by component")
        run(
            "create table history.meta as select ? as format, ? as timezone, "
            "? as lake_version, 0 as batches",
            [FORMAT, self.timezone, manifest.lake_version],
        )

    def _join_by_identities(self, identities: str) -> None:
        """Give names that identities join the lowest of their components."""
        pairs = np.array(
            self.connection.execute(
                f"""select distinct a.component, b.component from ({identities}) i
                join history.names a on a.name = i.source_key
                join history.names b on b.name = i.member_id where a.component <> b.component"""
            ).fetchall(),
            dtype=np.int64,
        ).reshape(-1, 2)
        if not len(pairs):
            return
        n = int(pairs.max()) + 1
        edges = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (n, n))
        _, label = sparse.csgraph.connected_components(edges, directed=False)
        touched = np.unique(pairs)
        lowest = np.full(n, n)
        np.minimum.at(lowest, label[touched], touched)
        self.connection.execute(
            """update history.names set component = moved.lowest
            from (select unnest(?) as component, unnest(?) as lowest) moved
            where names.component = moved.component""",
            [touched.tolist(), lowest[label[touched]].tolist()],
        )

    def _append(self, newer: Manifest, manifest: Manifest) -> None:
        run = self.connection.execute
        named = " union ".join(
            f"select {name} as name from ({self.lake.rows_sql(table, newer)})"
            for table, name in NAMED.items()
        )
        run(f"""insert into history.names
            select name, (select coalesce(max(component), 0) from history.names)
                + row_number() over (order by name)
            from (({named}) except select name from history.names) where name is not null""")
        for table, name in NAMED.items():
            if self.lake.paths(table, newer):
                rows = self._placed_sql(self.lake.rows_sql(table, newer), name)
                run(f"insert into history.rows_{table} {rows} order by component")
        for table, rows in self._held_sql(newer).items():
            if self.lake.paths(table, newer):
                self._hold(table, rows, manifest.lake_version)
        for rollup, rows in self._rollups_sql(newer).items():
            if not self.lake.paths(rollup, newer):
                continue
            if rollup in _NUMBERED:
                self._pack(rollup, rows, manifest.lake_version)
            else:
                run(f"insert into history.{rollup} {rows} order by component")
        run(
            "update history.meta set lake_version = ?, batches = batches + ?",
            [manifest.lake_version, len(newer.batches)],
        )

    def _placed_sql(self, rows: str, name: str) -> str:
        return f"""select n.component, r.* exclude (ingested_at, batch_no)
            from ({rows}) r join history.names n on n.name = r.{name}"""

    def _held_sql(self, manifest: Manifest) -> dict[str, str]:
        """Return SELECTs of the hash of each key and the component that holds it."""
        keys = {"purchases": order_key_sql("source", "order_id"), "events": "event_id"}
        return {
            table: f"""select distinct hash({key}) as digest, component
            from ({self.lake.rows_sql(table, manifest)}) r
            join history.names n on n.name = r.source_key"""
            for table, key in keys.items()
        }

    def _rollups_sql(self, manifest: Manifest) -> dict[str, str]:
        """Return SELECTs of rollups and the component of each row; the keys come first."""

        def rows(rollup: str, joined: str) -> str:
            return f"""select o.component, r.*
                from ({rollups.rows_sql(self.lake, rollup, manifest)}) r join {joined}"""

        named = "history.names o on o.name = r.source_key"
        return {
            rollups.KEYS: rows(rollups.KEYS, named),
            **{
                rollup: rows(rollup, "history.keys o on o.key_no = r.key_no")
                for rollup in _NUMBERED
            },
            rollups.EVENT_DAYS: rows(rollups.EVENT_DAYS, named),
        }

    def _spans(self, manifest: Manifest) -> None:
        """Make `product_spans`, and `hot_names`, as a rollup writer has them."""
        names = rollups.rows_sql(self.lake, rollups.NAMES, manifest)
        self.connection.execute(f"create or replace temp table all_names as {names}")
        products = self.lake.rows_sql("products", manifest)
        dated = f"select known_at as occurred_at, known_at from ({products})"
        clock = clock_of(self.connection, self.timezone, dated)
        self.connection.execute(
            f"create or replace temp table product_spans as {rollups.spans_sql(products, clock)}"
        )

    def _batches(self) -> int:
        if self.version <= 0:
            return 0
        return int(self.connection.execute("select batches from history.meta").fetchall()[0][0])

    def _rows(self, sql: str, parameter: Sequence[object]) -> list[tuple[Any, ...]]:
        if not parameter:
            return []
        return self.connection.execute(sql, [[*parameter]]).fetchall()


def _stem(path: Path) -> str:
    """Return what the name of a file and of what lies beside it have in common."""
    return path.name.partition(".")[0]


def order_key_sql(source: str, order_id: str) -> str:
    """Return SQL of one text that names an order."""
    return f"concat_ws(chr(31), {source}, {order_id})"
