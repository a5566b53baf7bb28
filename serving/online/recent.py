"""What is known of a few members now: their history and the inbox, as if the lake held both.

The rows of the inbox become stored rows and rollups by the very SQL of an ingest, so that what a
worker computes is what a night's batch would.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features import contracts, engine, rollups, versions
from features.clock import Clock, clock_of
from features.lake import Lake, Manifest
from features.rollups import BRAND_DAYS, CATEGORY_DAYS, EVENT_DAYS, KEYS, ORDER_DAYS
from features.sources.staging import contract_columns
from programme.calendar import coming_midnight, local_midnight
from serving.online.history import NAMED, History
from serving.online.rows import TABLE_OF, Kind

# Tables whose rows the inbox takes.
_ACCEPTED = tuple(table.name for table in TABLE_OF.values())
# Of rows whose keys are all new there are no versions to judge.
_NEW = f"""select * exclude (file, line, raw, problem), cast({versions.NEW} as tinyint) as sign
    from fresh_rows where problem is null"""


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """One row of the inbox."""

    seq: int
    kind: Kind
    key: str
    source_key: str
    accepted_at: datetime
    content: str

    @property
    def table(self) -> str:
        """Return the contract it fulfils."""
        return TABLE_OF[self.kind].name

    @property
    def held_by(self) -> str:
        """Return by what its earlier versions are found in the history."""
        content = json.loads(self.content)
        if self.kind == "event":
            return str(content["event_id"])
        return chr(31).join((content["source"], content["order_id"]))


class HotLake(Lake):
    """A lake of the members at hand, in tables of an engine."""

    def __init__(self, folder: Path, *, identities: bool) -> None:
        self.folder = folder
        self._identities = identities

    def manifest(self) -> Manifest:
        """Return nothing: there are no batches in it."""
        return Manifest()

    def paths(self, table: str, manifest: Manifest) -> list[Path]:  # noqa: ARG002 - as a lake
        """Return whether there are rows, as a lake's files would tell."""
        return [self.folder] if table != "identities" or self._identities else []

    def rows_sql(self, table: str, manifest: Manifest) -> str:  # noqa: ARG002 - as a lake
        """Return a SELECT of the rows at hand."""
        return f"select * from hot_{table}"

    def rollup_sql(self, rollup: str, shape: str, manifest: Manifest) -> str:  # noqa: ARG002
        """Return a SELECT of the rollup of the rows at hand."""
        return f"select * from {'all_names' if rollup == rollups.NAMES else f'hot_{rollup}'}"


@dataclass
class Recent:
    """Puts the members at hand into tables, once for each few of them."""

    connection: duckdb.DuckDBPyConnection
    history: History
    timezone: str

    def gather(
        self,
        components: Collection[int],
        rows: Sequence[WaitingRow],
        now: datetime,
        *,
        lines: bool = True,
    ) -> HotLake:
        """Make the tables of a lake that holds some components and these rows of the inbox.

        Parameters
        ----------
        components : of the history
        rows : every row of the inbox above the history's position, of their names
        lines : whether stored lines are wanted too, and not their rollups alone, which cost a
            fraction of them
        """
        for table in set(NAMED) - set(_ACCEPTED):
            self._table(f"hot_{table}", self.history.rows_sql(table, components))
        for table in _ACCEPTED:
            self._fresh(table, components, rows, now)
        self._roll_up(components)
        stored = self.history.rows_sql("purchases", components)
        self._table(
            "hot_purchases",
            f"{stored} union all by name from fresh_purchases" if lines else "from fresh_purchases",
        )
        return self._lake()

    def gather_events(
        self, components: Collection[int], rows: Sequence[WaitingRow], now: datetime
    ) -> HotLake:
        """Make the tables of a lake that `table.prepare_events` can read; see `gather`."""
        self._table("hot_identities", self.history.rows_sql("identities", components))
        self._table(f"hot_{EVENT_DAYS}", self.history.rollup_sql(EVENT_DAYS, components))
        self._fresh("events", components, rows, now)
        self._roll_up_events()
        return self._lake()

    def clock(self, table: str) -> Clock:
        """Return the wall clock for the rows at hand of a table."""
        return self._clock(f"hot_{table}")

    def _lake(self) -> HotLake:
        joined = self._ask("select exists (select 1 from hot_identities)")
        return HotLake(self.history.path.parent, identities=bool(joined))

    def _clock(self, name: str) -> Clock:
        return clock_of(self.connection, self.timezone, f"select * from {name}")

    def _fresh(
        self, table: str, components: Collection[int], rows: Sequence[WaitingRow], now: datetime
    ) -> None:
        """Make the table of a contract's rows that the inbox adds."""
        stored = self.history.rows_sql(table, components)
        self._table("fresh_" + table, f"{stored} limit 0")
        fresh = [row for row in rows if row.table == table]
        if fresh:
            self._accept(contracts.TABLES[table], fresh, now)

    def _accept(self, table: contracts.Table, rows: Sequence[WaitingRow], now: datetime) -> None:
        """Add rows of the inbox to the stored ones, as an ingest would."""
        self.connection.register("inbox_rows", _as_table(table, rows))
        until = local_midnight(coming_midnight(now, self.timezone), self.timezone)
        limit = f"timestamp {engine.text(until.replace(tzinfo=None))}"
        given = {name: f"c_{name}" for name in table.column_names}
        checked = f"""select {", ".join(table.column_names)}, file, line, raw,
                {contracts.problem_sql(table, limit)} as problem
            from (select {contract_columns(table, given)}, 'inbox' as file, line,
                cast(null as varchar) as raw from inbox_rows)"""
        self._table("fresh_rows", checked)
        self.connection.unregister("inbox_rows")
        fresh, accepted = "select * from fresh_rows", _NEW
        holders = self.history.components_holding(table.name, {row.held_by for row in rows})
        if holders or len({row.key for row in rows}) < len(rows):
            stored = self.history.rows_sql(table.name, holders)
            versions.judge_repeated(self.connection, table, fresh, stored)
            accepted = versions.accepted_sql(table, fresh)
        self.connection.execute(f"insert into fresh_{table.name} by name {accepted}")

    def _roll_up(self, components: Collection[int]) -> None:
        """Make the rollups: those that are stored, and what the rows of the inbox add to them.

        It is what `RollupWriter` would write if the rows were a batch of their own.
        """
        for rollup in (KEYS, *rollups.ROLLUPS):
            self._table(f"hot_{rollup}", self.history.rollup_sql(rollup, components))
        if self._ask("select exists (from fresh_purchases)"):
            self._roll_up_lines()
        self._roll_up_events()

    def _roll_up_events(self) -> None:
        if self._ask("select exists (from fresh_events)"):
            events = "select * from fresh_events"
            days = rollups.event_days_sql(events, self._clock("fresh_events"))
            self._insert(f"hot_{EVENT_DAYS}", days)

    def _roll_up_lines(self) -> None:
        last = self.history.last_key()
        self._insert(f"hot_{KEYS}", f"""select source, source_key,
            cast({last} + row_number() over (order by source, source_key) as integer) as key_no
            from (select source, source_key from fresh_purchases where source_key is not null
                except select source, source_key from hot_{KEYS})""")  # fmt: skip
        clock = self._clock("fresh_purchases")
        self._table("keys_at_hand", f"select source_key, key_no from hot_{KEYS} limit 0")
        placed = rollups.placed_sql("select * from fresh_purchases", "product_spans", clock)
        self._table("placed", f"{placed} limit 0")
        for (source,) in self.connection.execute(
            f"select distinct source from hot_{KEYS} order by source"
        ).fetchall():
            of_source = f"source = {engine.text(source)}"
            self._table(
                "keys_at_hand", f"select source_key, key_no from hot_{KEYS} where {of_source}"
            )
            own = f"select * from fresh_purchases where {of_source}"
            self._insert(f"hot_{ORDER_DAYS}", rollups.order_days_sql(own, clock))
            self._insert("placed", rollups.placed_sql(own, "product_spans", clock))
        moved = bool(self._ask("select exists (from placed where until_on is not null)"))
        self._table("fresh_days", rollups.by_product_sql(CATEGORY_DAYS, products_move=moved))
        self._table(
            "added_days", rollups.days_sql("fresh_days", f"select * from hot_{CATEGORY_DAYS}")
        )
        self._insert(f"hot_{CATEGORY_DAYS}", "select * from added_days")
        self._insert(f"hot_{BRAND_DAYS}", rollups.by_product_sql(BRAND_DAYS, products_move=moved))

    def _table(self, name: str, sql: str) -> None:
        self.connection.execute(f"create or replace temp table {name} as {sql}")

    def _insert(self, name: str, sql: str) -> None:
        self.connection.execute(f"insert into {name} by name {sql}")

    def _ask(self, sql: str) -> Any:
        return self.connection.execute(sql).fetchall()[0][0]


def linked(history: History, rows: Sequence[WaitingRow]) -> dict[str, set[str]]:
    """Return for the name of each row whose stored rows it may be a version of."""
    found: dict[str, set[str]] = {}
    for table in _ACCEPTED:
        by_key: dict[str, set[str]] = {}
        for row in rows:
            if row.table == table:
                by_key.setdefault(row.held_by, set()).add(row.source_key)
        for key, holders in history.holders_of(table, by_key).items():
            for name in by_key[key]:
                found.setdefault(name, set()).update(holders)
    return found


def _as_table(table: contracts.Table, rows: Sequence[WaitingRow]) -> pa.Table:
    """Lay the content of rows out as text, one column each, in the order of their numbers."""
    ordered = sorted(rows, key=lambda row: row.seq)
    contents = [json.loads(row.content) for row in ordered]
    known = [row.accepted_at.astimezone(UTC).replace(tzinfo=None).isoformat(" ") for row in ordered]
    columns: dict[str, Any] = {"line": pa.array([row.seq for row in ordered], pa.int64())}
    for field in table.fields:
        values = known if field.name == "known_at" else [
            _text(content.get(field.name)) for content in contents
        ]  # fmt: skip
        columns[f"c_{field.name}"] = pa.array(values, pa.string())
    return pa.table(columns)


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else repr(value)
