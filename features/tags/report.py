"""The quality report on disk: JSON for machines, CSV for a spreadsheet, one page for people."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from features.tags import outcomes
from features.tags.figures import JACCARD_MOST
from features.tags.quality import (
    COVERAGE_LEAST,
    COVERAGE_MOST,
    FLIP_RATE_MOST,
    OF_GOODS_MOST,
    STEP_DAYS,
    Report,
    TagQuality,
)
from features.tags.rules import Rules
from programme.files import write_durably, write_json

_COLUMNS = (
    "id", "family", "name_en", "name_zh", "members", "coverage", "flip_rate", "lift", "lift_low",
    "lift_high", "outcome", "outcome_mean", "age_days", "jaccard", "duplicate_of", "counted",
    "failures",
)  # fmt: skip
CRITERIA = {
    "coverage_least": COVERAGE_LEAST, "coverage_most": COVERAGE_MOST,
    "flip_rate_below": FLIP_RATE_MOST, "jaccard_below": JACCARD_MOST,
    "of_category_templates_most": OF_GOODS_MOST,
}  # fmt: skip


def write(folder: Path, report: Report, rules: Rules) -> Path:
    """Write `tags-DAY.json`, `.csv` and `.html`; return the path of the page."""
    stem = f"tags-{report.as_of}"
    write_json(folder / f"{stem}.json", report.as_json() | {"criteria": CRITERIA})
    write_durably(folder / f"{stem}.csv", as_csv(report).encode())
    page = folder / f"{stem}.html"
    write_durably(page, as_html(report, rules).encode())
    return page


def as_csv(report: Report) -> str:
    """Return one line a tag."""
    written = io.StringIO()
    lines = csv.DictWriter(written, _COLUMNS, lineterminator="\n")
    lines.writeheader()
    for one in report.tags:
        lines.writerow(_row(one))
    return written.getvalue()


def as_html(report: Report, rules: Rules) -> str:
    """Return the page: what was judged and when, the families, then every tag."""
    environment = Environment(
        loader=PackageLoader("features"), autoescape=True, undefined=StrictUndefined
    )
    names = {one.id: one.name.en for one in rules.goods}
    families = {one.id: one.name.en for one in rules.families}
    return environment.get_template("tags.html").render(
        report=report, criteria=CRITERIA, step_days=STEP_DAYS, families=families,
        declared={name: sum(one.family == name for one in report.tags) for name in families},
        says={tag.id: tag.says.en for tag in rules.tags},
        outcome=lambda name: outcomes.words(name, "en", names),
    )  # fmt: skip


def _row(one: TagQuality) -> Mapping[str, Any]:
    row = {name: getattr(one, name, None) for name in _COLUMNS}
    return row | {
        "lift": one.lift.value, "lift_low": one.lift.low, "lift_high": one.lift.high,
        "failures": "; ".join(one.failures),
    }  # fmt: skip
