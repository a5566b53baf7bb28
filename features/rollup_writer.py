"""The rollups of one batch, written while its tables are on disk but not yet committed."""

from dataclasses import dataclass, field
from typing import Any

import duckdb

from features import engine, rollups
from features.clock import Clock, clock_of
from features.lake import Lake, Manifest
from features.rollups import BRAND_DAYS, CATEGORY_DAYS, EVENT_DAYS, KEYS, NAMES, ORDER_DAYS

# Lines that are rolled up by product at a time: more would spill to disk and crawl.
LINES_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class _Moved:
    """Lines that are added to the rollups, or taken back with a negative sign."""

    lines: str
    spans: str


@dataclass
class RollupWriter:
    """Writes the rollups of one batch.

    Parameters
    ----------
    manifest : the batches before this one
    rows, files : what was written; a rollup with nothing to say has no file
    """

    connection: duckdb.DuckDBPyConnection
    lake: Lake
    manifest: Manifest
    batch_no: int
    timezone: str
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)

    def write(self) -> None:
        """Write every rollup of what the batch brings."""
        lines, events = self._own("purchases"), self._own("events")
        self._number(lines)
        moved = self._moved(lines)
        if moved:
            self._purchases(moved, lines)
        if events is not None:
            self._copy(EVENT_DAYS, rollups.event_days_sql(events, self._clock(events)))

    def _number(self, lines: str | None) -> None:
        """Number new keys and names; make `all_keys`, `all_names` and `key_lines`."""
        counted = f"""select source, source_key, count(*) as lines from ({lines or self._no_lines})
            where source_key is not null group by source, source_key"""
        self._table("key_lines", counted)
        self._numbers(KEYS, "source, source_key", "key_no", "key_lines")
        products = self._own("products") or self.lake.rows_sql("products", Manifest())
        self._table("found_names", " union ".join(
            f"select {column} as name from ({products}) where {column} is not null"
            for column in ("category", "brand")
        ))  # fmt: skip
        self._numbers(NAMES, "name", "name_no", "found_names")

    def _numbers(self, rollup: str, what: str, number: str, found: str) -> None:
        known = f"all_{rollup}"
        self._table(known, rollups.rows_sql(self.lake, rollup, self.manifest))
        new = f"""select {what}, cast(row_number() over (order by {what})
                + (select coalesce(max({number}), 0) from {known}) as integer) as {number}
            from (select {what} from {found} except select {what} from {known})"""
        if self._copy(rollup, new):
            path = self.lake.path_of(rollup, self.batch_no)
            self.connection.execute(
                f"insert into {known} select * from read_parquet({engine.text(path)})"
            )

    def _moved(self, lines: str | None) -> list[_Moved]:
        """Return the lines to place; make the tables `product_spans` and `earlier_spans`."""
        earlier = self.lake.rows_sql("products", self.manifest)
        new = self._own("products")
        self._spans("earlier_spans", earlier)
        self._spans("product_spans", f"{earlier} union all by name {new}" if new else earlier)
        moved = [_Moved(lines, "product_spans")] if lines is not None else []
        if new is not None and self.lake.paths("purchases", self.manifest):
            # Lines of earlier batches whose product is described, or described anew, only now.
            touched = f"""select l.* from ({self.lake.rows_sql("purchases", self.manifest)}) l
                semi join ({new}) p on p.product_id = l.product_id where source_key is not null"""
            back = f"select * replace (-sign as sign) from ({touched})"
            moved += [_Moved(back, "earlier_spans"), _Moved(touched, "product_spans")]
            self.connection.execute(f"""insert into key_lines
                select source, source_key, 2 * count(*) from ({touched}) group by all""")
        return moved

    def _purchases(self, moved: list[_Moved], lines: str | None) -> None:
        """Write the rollups of lines: a file each for some keys at a time."""
        move = bool(
            self._ask("""select exists (select 1 from product_spans where until_on is not null)
            or exists (select 1 from earlier_spans where until_on is not null)""")[0][0]
        )
        earlier = rollups.rows_sql(self.lake, CATEGORY_DAYS, self.manifest)
        nothing = rollups.placed_sql(self._no_lines, "product_spans", str)
        self._keys_at_hand("false")
        sources = [row[0] for row in self._ask("select distinct source from key_lines order by 1")]
        for first, last in self._parts():
            self._table("placed", f"{nothing} limit 0")
            for source in sources:
                of_source = f"source = {engine.text(source)}"
                self._keys_at_hand(f"{of_source} and key_no between {first} and {last}")
                if lines is not None:
                    own = f"select * from ({lines}) where {of_source}"
                    self._by_key(ORDER_DAYS, rollups.order_days_sql(own, self._clock(lines)))
                for one in moved:
                    rows = f"select * from ({one.lines}) where {of_source}"
                    placed = rollups.placed_sql(rows, one.spans, self._clock(one.lines))
                    self.connection.execute(f"insert into placed {placed}")
            self._table("fresh", rollups.by_product_sql(CATEGORY_DAYS, products_move=move))
            self._by_key(CATEGORY_DAYS, rollups.days_sql("fresh", earlier))
            self._by_key(BRAND_DAYS, rollups.by_product_sql(BRAND_DAYS, products_move=move))
        self.connection.execute("drop table if exists placed; drop table if exists fresh")

    def _keys_at_hand(self, which: str) -> None:
        self._table("keys_at_hand", f"select source_key, key_no from all_keys where {which}")

    def _parts(self) -> list[tuple[int, int]]:
        """Return the first and the last number of keys with about `LINES_AT_ONCE` lines."""
        return [
            (int(first), int(last))
            for first, last in self._ask(f"""
            with lines as (
                select key_no, sum(lines) as lines from key_lines
                join all_keys using (source, source_key) group by key_no
            ), parts as (
                select key_no, (sum(lines) over (order by key_no) - 1) // {LINES_AT_ONCE} as part
                from lines
            ) select min(key_no), max(key_no) from parts group by part order by part""")
        ]

    def _spans(self, table: str, products: str) -> None:
        dated = f"select known_at as occurred_at, known_at from ({products})"
        self._table(table, rollups.spans_sql(products, self._clock(dated)))

    def _by_key(self, rollup: str, sql: str) -> None:
        # What is added up for one member later on then stays in the processor's cache.
        self._copy(rollup, f"select * from ({sql}) order by key_no")

    def _copy(self, rollup: str, sql: str) -> int:
        """Write one more file of a rollup, if it has rows; return how many."""
        path = self.lake.path_of(rollup, self.batch_no, self.files.get(rollup, 0))
        written = engine.copy_to_parquet(self.connection, sql, path)
        if written:
            self.rows[rollup] = self.rows.get(rollup, 0) + written
            self.files[rollup] = self.files.get(rollup, 0) + 1
        else:
            path.unlink()
        return written

    def _own(self, table: str) -> str | None:
        """Return a SELECT of the batch's own rows of a table, if it has any."""
        path = self.lake.path_of(table, self.batch_no)
        return f"select * from read_parquet({engine.text(path)})" if path.exists() else None

    @property
    def _no_lines(self) -> str:
        return self.lake.rows_sql("purchases", Manifest())

    def _clock(self, rows: str) -> Clock:
        return clock_of(self.connection, self.timezone, rows)

    def _table(self, name: str, sql: str) -> None:
        self.connection.execute(f"create or replace temp table {name} as {sql}")

    def _ask(self, sql: str) -> list[Any]:
        return self.connection.execute(sql).fetchall()
