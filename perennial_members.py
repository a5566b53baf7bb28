"""The command line of what is known of members: their segments, tags and profiles."""

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perennial_options import (
    AsOfOption,
    HomeOption,
    JsonOption,
    LanguageOption,
    check_language,
    print_json,
    settings_of,
)
from programme.errors import InputRefused
from programme.settings import Settings
from serving.reports.asked import check_tags
from serving.reports.console import console, progress

if TYPE_CHECKING:
    from features.segments.rfm import Cuts
    from features.segments.segmentation import Segmentation


def segments(
    as_of: AsOfOption = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Earlier day (YYYY-MM-DD) to compare with; made too where it is not there. Left "
            "out: the latest earlier day with segments, if there is one."
        ),
    ] = None,
    cuts: Annotated[
        Path | None,
        typer.Option(help="TOML file with four rising shares for r, f and m, where scores end."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every member's segments: .parquet or .csv.")
    ] = None,
    moved: Annotated[
        Path | None, typer.Option(help="Write who changed stage, one event each: .parquet or .csv.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the map; left out: in the home.")
    ] = None,
    language: LanguageOption = "en",
    home: HomeOption = None,
) -> None:
    """Group members: RFM, lifecycle stage, clusters and their map, and who moved."""
    from features import exports, snapshot
    from features.segments import report, segmentation
    from features.segments.rfm import QUINTILES, Cuts
    from programme.calendar import parse_day
    from serving.reports import segments as shown

    settings = settings_of(home)
    for path, formats in ((out, exports.FORMATS), (moved, exports.FORMATS), (html, shown.PAGES)):
        if path is not None:
            exports.check(path, formats)
    check_language(language)
    chosen = Cuts.read(cuts) if cuts is not None else QUINTILES
    with progress("segments") as tell:
        day = parse_day(as_of) if as_of else snapshot.default_as_of(settings)
        earlier = _earlier_segments(settings, day, against, chosen, tell)
        made = segmentation.build(settings, day, tell, cuts=chosen)
        tell("drawing the map")
        page = html or shown.page_of(settings.home, day, language)
        report.write(made, earlier, language, page)
        for path, rows in ((out, made.members_sql), (moved, made.transitions_sql)):
            if path is not None:
                exports.write(rows, path)
    shown.show_segments(console, made, earlier, language)
    shown.show_places(console, {"members": out, "moved": moved, "page": page}, language)


def profile(
    member: Annotated[str, typer.Argument(help="The member_id.")],
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
    language: LanguageOption = "en",
    home: HomeOption = None,
) -> None:
    """Show what is known of one member: segments, tags and every feature."""
    from features import profile as profiles
    from features import snapshot
    from features.segments import segmentation
    from features.tags import store
    from programme.calendar import parse_day
    from serving.reports.segments import show_profile

    settings = settings_of(home)
    check_language(language)
    with progress("profile") as tell:
        day = parse_day(as_of) if as_of else snapshot.default_as_of(settings)
        taken = snapshot.build(settings, day, tell)
        profiles.check(member, taken)
        made = segmentation.build(settings, day, tell)
        tagged = store.build(settings, day, tell, segments=made.members_file)
        found = profiles.of(member, taken, made, tagged)
    if as_json:
        print_json(found.as_json())
        return
    show_profile(console, found, language)


def tags(
    as_of: AsOfOption = None,
    member: Annotated[
        str | None, typer.Option(help="Say which tags this member holds, and why.")
    ] = None,
    language: LanguageOption = "en",
    out: Annotated[
        Path | None, typer.Option(help="Write member, tag and since to a .parquet or .csv file.")
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Judge every tag: coverage, flips, lift; the files land in reports/ of the home. "
            "Left out --as-of: the last day whose next four weeks are known.",
        ),
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Print every tag as Markdown, in both languages.")
    ] = False,
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Turn sensitive tags on for this run.")
    ] = False,
    segments: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file of the members' segments. Left out: made for the day, as "
            "`perennial segments` makes them."
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Decide which scenario tags every member holds; explain, judge, list or export them."""
    from features import exports
    from features.segments import segmentation
    from features.tags import rules, store
    from serving.reports import tags as shown

    settings = settings_of(home)
    check_language(language)
    given = {
        "--member": member, "--out": out, "--segments": segments, "--as-of": as_of,
        "--sensitive": sensitive,
    }  # fmt: skip
    check_tags(given, report=report, listed=listed, language=language)
    if out is not None:
        exports.check(out)
    if listed:
        from features.tags.listing import as_markdown

        sys.stdout.write(as_markdown(rules.read(settings.home).expand(None)))
        return
    asked = True if sensitive else None
    with progress("tags") as tell:
        day = shown.day_of(settings, as_of, judged=report)
        if report:
            judged = shown.judge(settings, day, tell, asked)
        else:
            known = segments or segmentation.build(settings, day, tell).members_file
            built = store.build(settings, day, tell, segments=known, sensitive=asked)
    if report:
        shown.show_report(console, *judged, language)
        return
    if member is not None:
        shown.show_member(console, settings, built, member, language)
    else:
        shown.show_tags(console, built, language)
    if out is not None:
        shown.show_written(console, exports.write(built.held_sql(), out), out, language)


def _earlier_segments(
    settings: Settings,
    day: date,
    against: str | None,
    cuts: "Cuts",
    tell: Callable[[str], None],
) -> "Segmentation | None":
    """Return the segments of an earlier day: the one asked for, or the latest there is."""
    from features.segments import segmentation
    from programme.calendar import parse_day

    if against is None:
        return segmentation.before(settings, day, cuts=cuts)
    then = parse_day(against)
    if then >= day:
        raise InputRefused(
            f"--against {then} is not before {day}. No segments were made. Name an earlier day."
        )
    return segmentation.build(settings, then, tell, cuts=cuts)
