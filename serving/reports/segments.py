"""Segments and one member's profile on the terminal: who stands where, and who moved."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.profile import Profile, known, standing
from features.segments.described import follows, moves, notes, rows
from features.segments.segmentation import KINDS, Segmentation
from programme.words import label
from serving.reports.terminal import PLAIN

# What a page of segments may be called; its map lands beside it, ending in .svg.
PAGES = (".html", ".htm")
_TITLES = {
    "stage": "segments.stages",
    "rfm_group": "segments.groups",
    "cluster": "segments.clusters",
}
_SHARES = ("members", "member_share", "value_share", "returns")


def page_of(home: Path, day: date, language: str) -> Path:
    """Return where the page of a day lands, if nobody says: one for each language."""
    return home / "reports" / f"segments-{day}-{language}.html"


def show_segments(
    console: Console, made: Segmentation, earlier: Segmentation | None, language: str
) -> None:
    """Print how many members stand where, and how stages moved since an earlier day."""
    stop = label("segments.stop", language)
    console.print(f"{follows(made, language)}{stop}", **PLAIN)
    for kind in KINDS:
        _show_kind(console, made, kind, language)
        for note in notes(made, kind, language):
            console.print(f"{note}{stop}", **PLAIN)
    if earlier is not None:
        _show_moves(console, earlier, made, language)


def show_places(console: Console, written: Mapping[str, Path | None], language: str) -> None:
    """Print where each file is that was written: a code of `written` and its path."""
    for code, path in written.items():
        if path is not None:
            console.print(label(f"written.{code}", language, path=str(path)), **PLAIN)


def show_profile(console: Console, found: Profile, language: str) -> None:
    """Print where a member stands, then everything that is known of her."""
    said = label("profile.title", language, member=found.member_id, as_of=str(found.as_of))
    console.print(said, **PLAIN)
    tags = ", ".join(one.tag.name.of(language) for one in found.tags)
    told = [
        *standing(found, language),
        *([(label("profile.tags", language), tags)] if tags else []),
    ]
    for heading, sentence in told:
        line = label("profile.line", language, heading=heading, sentence=sentence)
        console.print(f"  {line}", **PLAIN)
    table = Table(title=label("profile.features", language), title_justify="left")
    for heading in ("group", "feature", "value", "unit", "meaning"):
        table.add_column(
            label(f"profile.{heading}", language), overflow="fold",
            justify="right" if heading == "value" else "left",
        )  # fmt: skip
    for group, column, value in known(found):
        shown = escape(value) if isinstance(value, str) else f"{value:,.10g}"
        if isinstance(value, float) and not value.is_integer():
            shown = f"{value:,.4g}"
        table.add_row(group, column.name, shown, column.unit, column.meaning)
    console.print(table)


def _show_kind(console: Console, made: Segmentation, kind: str, language: str) -> None:
    told = rows(made, kind, language)
    if not told:
        return
    table = Table(title=f"{label(_TITLES[kind], language)}, {made.as_of}", title_justify="left")
    # Chinese has no spaces to break a line at: what does not fit would be cut.
    table.add_column("", overflow="fold")
    for heading in _SHARES:
        table.add_column(label(f"segments.{heading}", language), justify="right")
    if any(row.meaning for row in told):
        table.add_column(label("segments.meaning", language), overflow="fold")
    for row in told:
        table.add_row(
            row.label, f"{row.members:,}", f"{row.member_share:.1%}",
            "" if row.value_share is None else f"{row.value_share:.1%}",
            "" if row.return_probability is None else f"{row.return_probability:.1%}",
            *([row.meaning] if row.meaning else []),
        )  # fmt: skip
    console.print(table)


def _show_moves(console: Console, earlier: Segmentation, made: Segmentation, language: str) -> None:
    moved = moves(earlier, made, "stage", language)
    if moved is None:
        return
    days = {"before": str(earlier.as_of), "after": str(made.as_of)}
    table = Table(title=label("segments.moves", language, **days), title_justify="left")
    table.add_column("", overflow="fold")
    for name in moved.counts.columns:
        table.add_column(moved.after[str(name)], justify="right", overflow="fold")
    for name, line in zip(moved.counts.index, moved.counts.to_numpy(), strict=True):
        table.add_row(moved.before[str(name)], *(f"{count:,}" for count in line))
    console.print(table)
