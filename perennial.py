"""The command line: thin, one verb per package. `perennial --help` lists them."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import perennial_act
import perennial_hooks
import perennial_inbox
import perennial_keys
import perennial_points
import perennial_uplift
import perennial_worker
from perennial_options import (
    AsOfOption,
    HomeOption,
    JsonOption,
    LanguageOption,
    print_json,
    remember_home,
    settings_of,
)
from programme.errors import InputRefused
from programme.settings import Settings, open_programme
from serving.reports.asked import check_tags, refuse_together
from serving.reports.console import answer, console, ends_on_request, progress

if TYPE_CHECKING:
    from features.segments.rfm import Cuts
    from features.segments.segmentation import Segmentation

# No stored model may run code, and libraries do not report home.
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

app = typer.Typer(
    name="perennial",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Member intelligence for retail loyalty programmes.\n\n"
    "A home holds one programme: its rows, features, models and scores. Name it with --home or "
    "PERENNIAL_HOME.\n\n"
    "Example: perennial --home var/cdnow ingest cdnow",
)
# What a model card may be called.
CARDS = (".md", ".json", ".txt")


@app.callback()
def general(home: HomeOption = None) -> None:
    """Remember the home for whichever verb follows."""
    remember_home(home)


app.add_typer(perennial_points.app)
app.add_typer(perennial_act.app)
app.add_typer(perennial_uplift.app)
app.add_typer(perennial_keys.app)
app.add_typer(perennial_inbox.app)
app.add_typer(perennial_hooks.app)
app.command(epilog="Example: perennial worker --home var/shop")(perennial_worker.worker)


@app.command(epilog="Example: perennial ingest exports/*.csv --mapping my.toml --home var/shop")
def ingest(
    what: Annotated[
        list[str],
        typer.Argument(help="completejourney, cdnow, or CSV/Parquet files read with --mapping."),
    ],
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file that says what the columns mean.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Read rows into the lake: checked, versioned, never silently dropped."""
    from features.ingest import ingest as take
    from features.sources import open_source
    from serving.reports.terminal import show_ingested

    settings = settings_of(home)
    with progress("ingest") as tell:
        done = take(open_source(what, mapping), settings, datetime.now(UTC), tell)
    show_ingested(console, done)


@app.command(epilog="Example: perennial features --as-of 2017-12-04 --home var/completejourney")
def features(
    as_of: AsOfOption = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Print every column as Markdown; nothing is built.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Build the feature snapshot of one day, or show the one that is there."""
    if listed:
        refuse_together("--list", {"--as-of": as_of}, "every day has the same columns.")
        from features.listing import as_markdown

        sys.stdout.write(as_markdown())
        return
    from features import snapshot
    from programme.calendar import parse_day
    from serving.reports.terminal import show_snapshot

    settings = settings_of(home)
    with progress("features") as tell:
        day = parse_day(as_of) if as_of else snapshot.default_as_of(settings)
        tell(f"building {day}")
        built = snapshot.build(settings, day, tell)
        tell("listing the products members bought")
        built.products()
    show_snapshot(console, built)


@app.command(epilog="Example: perennial segments --against 2017-11-06 --html segments.html")
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
    _check_language(language)
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


@app.command(epilog="Example: perennial profile 1145 --home var/completejourney")
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
    _check_language(language)
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


@app.command(epilog="Example: perennial tags --member 1145 --language zh")
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
    _check_language(language)
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


@app.command(epilog="Example: perennial train churn --config experiments/churn_28d/config.toml")
def train(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="churn, value, repeat, explore, next_order; all where none is named."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file over the defaults.")] = None,
    home: HomeOption = None,
) -> None:
    """Learn, judge forward in time beside naive rivals, register the winner, promote it."""
    from serving.reports.terminal import show_leaderboard
    from training.config import read_config
    from training.train import train as run

    settings = settings_of(home)
    with ends_on_request(), progress("train") as tell:
        boards = run(settings, read_config(config), targets or None, datetime.now(UTC), tell)
    for board in boards:
        show_leaderboard(console, board)


@app.command(epilog="Example, for a cron: perennial retrain --home var/completejourney")
def retrain(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="churn, value, repeat, explore, next_order; all that were trained by default."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is due and why; train nothing.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="TOML file over the defaults; its [retrain] has the limits.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Train what is due: too old, its members drifted, or it lost on days that came since."""
    from serving.reports.reviews import show_reviews
    from serving.reports.terminal import show_leaderboard
    from training import retrain as trigger
    from training.config import read_config

    settings, limits = settings_of(home), read_config(config)
    boards: list[dict[str, Any]] = []
    with ends_on_request(), progress("retrain") as tell:
        if dry_run:
            reviews = trigger.review(settings, limits, targets or None, tell)
        else:
            reviews, boards = trigger.retrain(
                settings, limits, targets or None, datetime.now(UTC), tell
            )
    show_reviews(console, reviews)
    for board in boards:
        show_leaderboard(console, board)


@app.command(epilog="Example: perennial card churn_28d --out churn_28d.md")
def card(
    name: Annotated[str, typer.Argument(help="Registered model, such as churn_28d.")],
    version: Annotated[int | None, typer.Argument(help="Version; left out: the champion.")] = None,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
    home: HomeOption = None,
) -> None:
    """Print a version's model card: what it answers, what it learned from, how good it is."""
    import json

    from features import exports
    from programme.files import write_durably
    from training.card import as_markdown
    from training.records import card_of

    settings = settings_of(home)
    open_programme(settings)
    if out is not None:
        exports.check(out, CARDS)
    found = card_of(settings, name, version)
    text = json.dumps(found, indent=1, allow_nan=False) + "\n" if as_json else as_markdown(found)
    if out is None:
        sys.stdout.write(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_durably(out, text.encode())
        console.print(f"model card of {name} written to {out}", markup=False)


@app.command(epilog="Example: perennial leaderboard churn --json")
def leaderboard(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="churn, value, repeat, explore, next_order; all where none is named."),
    ] = None,
    as_json: JsonOption = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="What challengers said beside champions, as JSON.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Show how every model and every naive rule did in the last training."""
    from serving.reports.terminal import show_leaderboard
    from serving.shadow import read
    from training.train import stored_leaderboards

    if shadow:
        print_json(read(settings_of(home)))
        return
    boards = stored_leaderboards(settings_of(home), targets or None)
    if as_json:
        print_json(boards)
        return
    for board in boards:
        show_leaderboard(console, board)


@app.command(epilog="Example: perennial promote churn_28d 3")
def promote(
    name: Annotated[str, typer.Argument(help="Registered model, such as churn_28d.")],
    version: Annotated[
        int | None, typer.Argument(help="Version to make champion; left out: with --roll-back.")
    ] = None,
    back: Annotated[
        bool, typer.Option("--roll-back", help="Return to the champion before this one.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Make a version the champion; the old champion stays as 'previous'."""
    from training import registry

    settings = settings_of(home)
    open_programme(settings)
    if back == (version is not None):
        raise InputRefused(
            "Say either a version or --roll-back. Nothing was promoted. "
            "Example: perennial promote churn_28d 3"
        )
    if back:
        version = registry.roll_back(settings, name)
    else:
        assert version is not None
        expected = registry.champion_version(settings, name)
        registry.promote(settings, name, version, expected=expected)
    console.print(f"{name}: version {version} is the champion.")


@app.command(epilog="Example: perennial score --out scores.parquet")
def score(
    as_of: AsOfOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file to write; left out: in the home.")
    ] = None,
    publish: Annotated[
        bool | None,
        typer.Option(
            "--publish/--no-publish",
            help="Write everybody to the online store, from which the service answers. Left out: "
            "yes, unless a day or a file was named.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Score every member with the champions and write one row each."""
    from programme.calendar import parse_day
    from serving.batch import score_all
    from serving.publishing import publish_latest
    from serving.reports.terminal import show_published, show_scores

    settings = settings_of(home)
    wanted = publish if publish is not None else as_of is None and out is None
    with progress("score") as tell:
        scored = score_all(settings, parse_day(as_of) if as_of else None, out, tell)
        published = publish_latest(settings, datetime.now(UTC), tell) if wanted else None
    show_scores(console, scored)
    if wanted:
        show_published(console, published)


@app.command(
    epilog="Example: perennial report churn --language zh --out churn.html; "
    "perennial report campaign --campaign autumn-2026 --out autumn.html"
)
def report(
    page: Annotated[str, typer.Argument(help="churn, value, recommend or campaign.")],
    as_of: AsOfOption = None,
    language: LanguageOption = "en",
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write; left out: in the home's reports/.")
    ] = None,
    campaign: Annotated[
        str | None,
        typer.Option(help="Campaign of the page campaign. Left out: the one launched last."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Write what a champion found, or a campaign changed, as one page: no network, no login."""
    from programme.calendar import parse_day
    from serving.reports import model_page

    _check_language(language)
    settings = settings_of(home)
    if page == "campaign":
        from serving.reports import campaign_page

        refuse_together("campaign", {"--as-of": as_of}, "it is read as of now.")
        with progress("report") as tell:
            written = campaign_page.write(
                settings, campaign, language, out, now=datetime.now(UTC), tell=tell
            )
        console.print(f"{page}: {written}", markup=False, soft_wrap=True)
        return
    refuse_together(f"report {page}", {"--campaign": campaign}, "only the page campaign has one.")
    with progress("report") as tell:
        day = parse_day(as_of) if as_of else None
        written = model_page.write(settings, page, language, out, day, tell)
    console.print(f"{page}: {written}", markup=False, soft_wrap=True)


@app.command(epilog="Example: perennial explain 1145 --language zh --home var/completejourney")
def explain(
    member: Annotated[str, typer.Argument(help="The member_id, as the purchases carry it.")],
    as_of: AsOfOption = None,
    language: LanguageOption = "en",
    home: HomeOption = None,
) -> None:
    """Say why a member's churn score is what it is, and what could lower it, in three boxes."""
    from features import snapshot
    from programme.calendar import parse_day
    from serving.reports.reasons import show_remedies
    from training import registry
    from training.remedies import remedies

    _check_language(language)
    settings = settings_of(home)
    programme = open_programme(settings)
    churn = registry.load(settings, registry.name_of("churn", programme)).bundle
    with progress("explain") as tell:
        day = parse_day(as_of) if as_of else snapshot.default_as_of(settings)
        found = remedies(snapshot.build(settings, day, tell), churn, member, tell)
    show_remedies(console, found, language, programme.currency)


@app.command(epilog="Example: perennial why 1145 --language zh")
def why(
    member: Annotated[str, typer.Argument(help="The member_id.")],
    as_json: JsonOption = False,
    language: LanguageOption = "en",
    home: HomeOption = None,
) -> None:
    """Say why a member got what she got from campaigns, and why not something else."""
    _check_language(language)
    perennial_act.why(member, home, as_json=as_json, language=language)


@app.command(epilog="Example: perennial serve --port 3000 --home var/completejourney")
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs keys.")
    ] = "127.0.0.1",
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Leave the refresh worker to somebody else.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Answer over HTTP, and keep a refresh worker running beside it; GET /v1/docs says what."""
    from serving.start import run

    run(settings_of(home), host, port, no_worker=no_worker)


def _check_language(language: str) -> None:
    from programme.words import codes

    codes(language)


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


def main() -> None:
    """Run a command; see `answer` for how it may end."""
    answer(lambda: app(prog_name="perennial"))


if __name__ == "__main__":
    main()
