"""Can this data carry the predictions? A report per ingest: what was found and how to fix it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb
from jinja2 import Environment, PackageLoader, select_autoescape

from features import contracts, engine, feed_findings, purchase_findings
from features.finding import Finding, Severity, TableCount
from features.lake import Lake, Manifest
from features.sources.staging import Source
from programme.files import write_durably, write_json
from programme.settings import Programme

__all__ = ["Finding", "Report", "Severity", "TableCount", "judge", "save"]


@dataclass(frozen=True)
class Report:
    """Everything found about one ingest."""

    source: str
    programme: str
    ingested_at: str
    batch_no: int
    counts: tuple[TableCount, ...]
    findings: tuple[Finding, ...]
    assumptions: tuple[str, ...]

    def worst(self) -> Severity:
        """Return the gravest severity found."""
        present = {finding.severity for finding in self.findings}
        for severity in ("error", "warning"):
            if severity in present:
                return severity
        return "information"


def judge(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    batch_no: int,
    source: Source,
    counts: list[TableCount],
    programme: Programme,
    ingested_at: datetime,
    *,
    whole: bool = True,
) -> Report:
    """Judge the lake as it will be once this batch is committed.

    Parameters
    ----------
    whole : False says what became of the batch's rows and leaves the lake unread, of which a few
        rows more change little and which takes long to read: 19 s at 57 million lines
    """
    findings = [_stored(count) for count in counts]
    for count in counts:
        findings += _refused(count)
    if whole:
        findings += _of_the_lake(connection, lake, manifest, batch_no, counts, programme)
    return Report(
        source.name,
        programme.name,
        ingested_at.isoformat(),
        batch_no,
        tuple(counts),
        tuple(findings),
        source.notes.assumptions,
    )


def _of_the_lake(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    batch_no: int,
    counts: list[TableCount],
    programme: Programme,
) -> list[Finding]:
    findings: list[Finding] = []
    tables = {name: _as_it_will_be(lake, name, manifest, batch_no) for name in contracts.TABLES}
    if lake.path_of("purchases", batch_no).exists() or lake.paths("purchases", manifest):
        findings += purchase_findings.judge(
            connection, tables["purchases"], tables["products"], programme
        )
    for count in counts:
        findings += feed_findings.judge(connection, count.table, tables)
    return findings


def _as_it_will_be(lake: Lake, table: str, manifest: Manifest, batch_no: int) -> str:
    """Return a SELECT of a table's stored rows and those of the batch in the making."""
    rows, own = lake.rows_sql(table, manifest), lake.path_of(table, batch_no)
    if own.exists():
        rows += f" union all by name select * from read_parquet({engine.text(own)})"
    return rows


def save(report: Report, folder: Path, batch_no: int) -> Path:
    """Write the report as JSON and as one HTML page; return the page's path."""
    stem = folder / f"usability-{batch_no:06d}-{report.source}"
    write_json(stem.with_suffix(".json"), {**asdict(report), "worst": report.worst()})
    pages = Environment(loader=PackageLoader("features"), autoescape=select_autoescape(["html"]))
    page = pages.get_template("usability.html").render(report=report)
    path = stem.with_suffix(".html")
    write_durably(path, page.encode())
    return path


def _stored(count: TableCount) -> Finding:
    words = (
        f"{count.stored:,} new, {count.corrected:,} corrected, {count.unchanged:,} known already"
    )
    return Finding("rows", "information", count.table, "", count.read, words)


def _refused(count: TableCount) -> list[Finding]:
    found = []
    for problem, rows in count.quarantined.items():
        reason, _, column = problem.partition(":")
        share = rows / max(count.read, 1)
        found.append(
            Finding(
                "quarantine",
                "error" if share > 0.01 else "warning",
                count.table,
                column,
                rows,
                f"{reason.replace('_', ' ')} ({share:.2%} of the rows)",
                contracts.HOW_TO_FIX[reason],
            )
        )
    return found
