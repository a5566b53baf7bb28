"""The command line of models: trained, judged, described, promoted."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from perennial_options import HomeOption, JsonOption, print_json, settings_of
from programme.errors import InputRefused
from programme.settings import open_programme
from serving.reports.console import console, ends_on_request, progress

# What a model card may be called.
CARDS = (".md", ".json", ".txt")


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
        Path | None,
        typer.Option(help="TOML file over the defaults; its \\[retrain] has the limits."),
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
