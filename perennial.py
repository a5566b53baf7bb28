"""The command line: thin, one verb per package. `perennial --help` lists them."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import perennial_act
import perennial_hooks
import perennial_inbox
import perennial_keys
import perennial_members
import perennial_models
import perennial_points
import perennial_uplift
import perennial_worker
from perennial_options import (
    AsOfOption,
    HomeOption,
    JsonOption,
    LanguageOption,
    check_language,
    remember_home,
    settings_of,
)
from programme.settings import open_programme
from serving.reports.asked import refuse_together
from serving.reports.console import answer, console, progress

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


app.command(epilog="Example: perennial segments --against 2017-11-06 --html segments.html")(
    perennial_members.segments
)
app.command(epilog="Example: perennial profile 1145 --home var/completejourney")(
    perennial_members.profile
)
app.command(epilog="Example: perennial tags --member 1145 --language zh")(perennial_members.tags)
app.command(epilog="Example: perennial train churn --config experiments/churn_28d/config.toml")(
    perennial_models.train
)
app.command(epilog="Example, for a cron: perennial retrain --home var/completejourney")(
    perennial_models.retrain
)
app.command(epilog="Example: perennial card churn_28d --out churn_28d.md")(perennial_models.card)
app.command(epilog="Example: perennial leaderboard churn --json")(perennial_models.leaderboard)
app.command(epilog="Example: perennial promote churn_28d 3")(perennial_models.promote)


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

    check_language(language)
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

    check_language(language)
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
    check_language(language)
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


def main() -> None:
    """Run a command; see `answer` for how it may end."""
    answer(lambda: app(prog_name="perennial"))


if __name__ == "__main__":
    main()
