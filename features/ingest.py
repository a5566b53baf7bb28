"""Rows come in: checked, versioned, quarantined or stored, rolled up, committed as one batch."""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from features import contracts, engine, usability, versions
from features.lake import QUARANTINE, QUARANTINE_SHAPE, Lake, Manifest
from features.rollup_writer import RollupWriter
from features.sources.staging import Progress, Source, Staged, file_names, refuse_damaged
from features.usability import TableCount
from programme import settings as programme_settings
from programme.calendar import coming_midnight, local_midnight
from programme.errors import InputRefused
from programme.files import sha256_of
from programme.settings import Programme, Settings


@dataclass(frozen=True)
class Ingested:
    """What an ingest did; `batch_no` is None when there was nothing new."""

    source: str
    batch_no: int | None
    counts: tuple[TableCount, ...]
    report: usability.Report
    report_path: Path


def ingest(
    source: Source,
    settings: Settings,
    ingested_at: datetime,
    progress: Progress = lambda _: None,
    *,
    inbox_seq: int = 0,
) -> Ingested:
    """Read a source into the lake as one batch, or not at all.

    Parameters
    ----------
    source : adapter of where the rows are
    ingested_at : now, zoned; rows from after the coming local midnight are quarantined
    progress : told what is being done
    inbox_seq : of a source that is the inbox, the last row it yields. The batch remembers it,
        even one with nothing new in it, and no row stops those after it: what cannot be used
        is quarantined

    Raises
    ------
    InputRefused : the source breaks the contract as a whole, or is another programme's
    NotReady : another process is writing
    """
    digests = {name: sha256_of(path) for path, name in file_names(source.files()).items()}
    programme = _programme_for(source, settings)
    lake = Lake(settings)
    with lake.writing() as batch_no:
        scratch = settings.home / "tmp" / f"ingest-{batch_no}"
        # One writer at a time: whatever stands there was left by one that was killed.
        for left in scratch.parent.glob("ingest-*"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            with engine.connect(settings) as connection:
                batch = _Batch(
                    connection, lake, lake.manifest(), batch_no, programme, scratch,
                    ingested_at.astimezone(UTC), progress, inbox_seq,
                )  # fmt: skip
                return batch.take(source, settings, digests)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _programme_for(source: Source, settings: Settings) -> Programme:
    """Return the programme the rows belong to; it is fixed only when something is stored."""
    wanted = source.programme
    founded = (settings.home / programme_settings.PROGRAMME_FILE).exists()
    if wanted is None and not founded:
        raise InputRefused(
            f"{source.name} is the first source of {settings.home} and does not say which "
            "programme it belongs to. Nothing was ingested. Add a [programme] section with name, "
            "timezone and currency to its mapping."
        )
    if wanted is None:
        return programme_settings.open_programme(settings)
    if not founded:
        return wanted
    return programme_settings.found_programme(settings, wanted)


@dataclass
class _Batch:
    """One batch in the making; nothing it writes exists until `Lake.commit`."""

    connection: duckdb.DuckDBPyConnection
    lake: Lake
    manifest: Manifest
    batch_no: int
    programme: Programme
    scratch: Path
    ingested_at: datetime
    progress: Progress
    inbox_seq: int = 0
    counts: list[TableCount] = field(default_factory=list)
    on_lines: set[str] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)

    def take(self, source: Source, settings: Settings, digests: dict[str, str]) -> Ingested:
        """Read every table of the source, report, and commit what is new."""
        for staged in source.stage(self.connection, self.scratch, self.programme):
            self.progress(f"checking {staged.table.name}")
            self.counts.append(self._table(staged, source))
            self.on_lines |= {staged.table.name} if staged.on_lines else set()
        self.progress("judging the data's usability")
        report = usability.judge(
            self.connection, self.lake, self.manifest, self.batch_no, source, self.counts,
            self.programme, self.ingested_at, whole=not self.inbox_seq,
        )  # fmt: skip
        path = usability.save(report, settings.home / "reports", self.batch_no)
        if not self.inbox_seq:
            self._refuse_if_nothing_is_usable(source, path)
        committed = None
        if self.rows or self.inbox_seq > self.lake.inbox_position(self.manifest):
            self.progress("rolling up purchases")
            rolled_up = RollupWriter(
                self.connection, self.lake, self.manifest, self.batch_no, self.programme.timezone
            )
            rolled_up.write()
            self.rows |= rolled_up.rows
            programme_settings.found_programme(settings, self.programme)
            self.lake.commit(
                self.batch_no, source.name, self.ingested_at, self.rows, digests,
                rolled_up.files, self.inbox_seq,
            )  # fmt: skip
            committed = self.batch_no
        return Ingested(source.name, committed, tuple(self.counts), report, path)

    def _table(self, staged: Staged, source: Source) -> TableCount:
        """Check one table's rows and write what is new of them."""
        table = staged.table
        path = self.scratch / f"{table.name}.parquet"
        try:
            read = engine.copy_to_parquet(self.connection, self._checked_sql(staged), path)
        except duckdb.Error:
            refuse_damaged(self.connection, source.files())
            raise
        rows = f"select * from read_parquet({engine.text(path)})"
        versions.judge_repeated(
            self.connection, table, rows, self.lake.rows_sql(table.name, self.manifest)
        )
        stored = self._store(table, rows)
        refused = self._quarantine(table, rows, source.name)
        unchanged, corrected = versions.count_known(self.connection, table, rows)
        return TableCount(table.name, read, stored - corrected, corrected, unchanged, refused)

    def _checked_sql(self, staged: Staged) -> str:
        """Return the staged rows with their identity and the first thing wrong with each."""
        zone = self.programme.timezone
        until = local_midnight(coming_midnight(self.ingested_at, zone), zone)
        limit = f"timestamp {engine.text(until.replace(tzinfo=None))}"
        rows = staged.sql
        if staged.hash_identity:
            rows = versions.with_identity(staged.table, rows, staged.drop_equal_rows)
        return f"""select {", ".join(staged.table.column_names)}, file, line, raw,
            coalesce(problem, {contracts.problem_sql(staged.table, limit)}) as problem
            from ({rows})"""

    def _stamped(self, sql: str) -> str:
        stamp = engine.text(self.ingested_at.replace(tzinfo=None))
        return f"""select *, timestamp {stamp} as ingested_at,
            cast({self.batch_no} as integer) as batch_no from ({sql})"""

    def _store(self, table: contracts.Table, rows: str) -> int:
        """Write the new rows; return how many new versions that is, retractions not counted."""
        path = self.lake.path_of(table.name, self.batch_no)
        sql = self._stamped(versions.accepted_sql(table, rows))
        written = engine.copy_to_parquet(self.connection, sql, path)
        if not written:
            path.unlink()
            return 0
        self.rows[table.name] = written
        return int(
            self.connection.execute(
                f"select count(*) from read_parquet({engine.text(path)}) where sign = 1"
            ).fetchall()[0][0]
        )

    def _quarantine(self, table: contracts.Table, rows: str, source: str) -> dict[str, int]:
        """Keep the bad rows that are not kept already; return the count of each reason."""
        refused = versions.refused_sql(table, rows)
        kept = engine.parquet(self.lake.paths(QUARANTINE, self.manifest), QUARANTINE_SHAPE)
        place = self.scratch / f"quarantine-{table.name}.parquet"
        new = engine.copy_to_parquet(
            self.connection,
            self._stamped(
                f"""select {engine.text(source)} as source, {engine.text(table.name)} as table_name,
                    r.* from ({refused}) r
                anti join ({kept}) k on k.source = {engine.text(source)}
                    and k.file = r.file and k.line = r.line and k.reason = r.reason
                    and k.row_json is not distinct from r.row_json"""
            ),
            place,
        )
        if new:
            path = self.lake.path_of(QUARANTINE, self.batch_no)
            before = [path] if path.exists() else []
            both = " union all by name ".join(
                f"select * from read_parquet({engine.text(one)})" for one in (*before, place)
            )
            joined = self.scratch / "quarantine.parquet"
            self.rows[QUARANTINE] = engine.copy_to_parquet(self.connection, both, joined)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(joined, path)
        counted = self.connection.execute(
            f"select reason || ':' || coalesce(column_name, ''), count(*) from ({refused}) "
            "group by 1 order by 1"
        ).fetchall()
        return {str(reason): int(count) for reason, count in counted}

    def _refuse_if_nothing_is_usable(self, source: Source, report: Path) -> None:
        """Refuse a source none of whose rows, or of whose purchases, can be read.

        The mapping is wrong, or the export. What is only found on another table's rows decides
        nothing: a till line may name no product.
        """
        own = [count for count in self.counts if count.table not in self.on_lines]
        unusable = [count for count in own if count.refused == count.read]
        if len(unusable) < len(own):
            unusable = [count for count in unusable if count.table == "purchases"]
        for count in sorted(unusable, key=lambda count: count.table != "purchases"):
            rows = "purchase rows" if count.table == "purchases" else f"rows of {count.table}"
            if not count.read:
                raise InputRefused(
                    f"{source.name} holds no {rows}, only headers. Nothing was ingested. "
                    "Check that the export is complete."
                )
            worst = max(count.quarantined, key=lambda reason: count.quarantined[reason])
            reason, _, column = worst.partition(":")
            raise InputRefused(
                f"None of the {count.read:,} {rows} of {source.name} can be used; the "
                f"commonest reason is {reason} in {column or 'the line'} "
                f"({count.quarantined[worst]:,} rows). Nothing was ingested. "
                f"{contracts.HOW_TO_FIX[reason].capitalize()}. The report is {report}."
            )
