"""The command line of campaigns: `perennial act --help` lists its verbs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perennial_options import AsOfOption, HomeOption, JsonOption, print_json, settings_of
from programme.calendar import parse_instant
from programme.errors import InputRefused
from serving.reports.console import console, ends_on_request, progress

if TYPE_CHECKING:
    from serving.action_desk import ActionDesk

app = typer.Typer(
    name="act",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Campaigns: offers chosen by expected profit, approved, sent once, and measured.",
)
CampaignArgument = Annotated[str, typer.Argument(help="The campaign's id.")]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", help="Act as if it were this moment: to rehearse on past data. Left out: now."
    ),
]


@app.command(
    epilog="Example: perennial act offers --example > offers.toml; perennial act offers offers.toml"
)
def offers(
    file: Annotated[Path | None, typer.Argument(help="TOML file to check and adopt.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a file to begin with.")] = False,
    home: HomeOption = None,
) -> None:
    """Adopt a version of the offers, or list those that hold."""
    from actions import offers as written
    from serving.reports.actions import show_offers

    if example:
        folder = Path(written.__file__).with_name("catalogues")
        sys.stdout.write((folder / "retail.toml").read_text("utf-8"))
        return
    with _desk(home) as desk:
        if file is not None:
            read = written.read_file(file, desk.points.programme)
            new = desk.adopt(read, now=datetime.now(UTC))
            said = "adopted" if new else "was adopted before; nothing changed"
            console.print(f"offers {read.version} {said}", markup=False)
        show_offers(console, desk.catalogue, desk.points.programme.currency)


@app.command(epilog="Example: perennial act propose autumn.toml")
def propose(
    file: Annotated[
        Path | None, typer.Argument(help="TOML file that asks for the campaign.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a file to begin with.")] = False,
    as_of: AsOfOption = None,
    at: AtOption = None,
    home: HomeOption = None,
) -> None:
    """Work out what a campaign would do to every member; nothing is sent."""
    from actions import brief
    from programme.calendar import parse_day
    from serving.reports.actions import show_proposal

    if example:
        folder = Path(brief.__file__).with_name("catalogues")
        sys.stdout.write((folder / "campaign.toml").read_text("utf-8"))
        return
    if file is None:
        raise InputRefused(
            "No campaign is named. Nothing was proposed. Give the file that asks for it; "
            "perennial act propose --example prints one to begin with."
        )
    asked = brief.read_file(file)
    with _desk(home) as desk, ends_on_request(), progress("propose") as tell:
        campaign, _ = desk.propose(
            asked, as_of=parse_day(as_of) if as_of else None, now=_moment(at), tell=tell
        )
        currency = desk.points.programme.currency
    show_proposal(console, campaign, currency)


@app.command(epilog="Example: perennial act preview autumn-2026")
def preview(
    campaign: CampaignArgument, as_json: JsonOption = False, home: HomeOption = None
) -> None:
    """Show what a campaign would do, or did: arms, offers, prices of what is scarce, refusals."""
    from actions import campaigns
    from serving.reports.actions import show_proposal

    with _desk(home) as desk:
        found = campaigns.get(desk.points.database, campaign)
        if as_json:
            print_json(found.facts)
            return
        show_proposal(console, found, desk.points.programme.currency)


@app.command(epilog="Example: perennial act approve autumn-2026 --by Ada")
def approve(
    campaign: CampaignArgument,
    by: Annotated[str, typer.Option(help="Who says yes.")],
    at: AtOption = None,
    home: HomeOption = None,
) -> None:
    """Say yes to exactly what was proposed."""
    from actions import campaigns

    with _desk(home) as desk:
        found = campaigns.approve(desk.points.database, campaign, by=by, now=_moment(at))
    console.print(f"campaign {campaign} is {found.state}, by {found.approved_by}", markup=False)


@app.command(epilog="Example: perennial act launch autumn-2026")
def launch(campaign: CampaignArgument, at: AtOption = None, home: HomeOption = None) -> None:
    """Write the decision log and the outbox of an approved campaign, once."""
    from serving.reports.actions import show_state

    with _desk(home) as desk:
        found = desk.launch(campaign, now=_moment(at))
        show_state(console, desk.points.database, found)


@app.command(epilog="Example, for a cron: perennial act deliver --home var/shop")
def deliver(at: AtOption = None, home: HomeOption = None) -> None:
    """Send what is due: to files in the home's outbox/, to webhooks, to the points ledger."""
    from serving.reports.actions import show_delivered

    with _desk(home) as desk, ends_on_request(), progress("deliver") as tell:
        done = desk.deliver(now=lambda: _moment(at), tell=tell)
    show_delivered(console, done)


@app.command(epilog="Example, for a cron after deliver: perennial act feed")
def feed(
    everything: Annotated[
        bool, typer.Option("--all", help="From the beginning; what is known changes nothing.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Bring what was sent into the lake, where features read it as contacts."""
    from serving.contacts_feed import ContactsFeed
    from serving.database_feed import bring
    from serving.reports.terminal import show_ingested

    now = datetime.now(UTC)
    with _desk(home) as desk, ends_on_request(), progress("feed") as tell:
        done = bring(
            ContactsFeed, desk.points.database, desk.settings, now=now, tell=tell,
            everything=everything,
        )  # fmt: skip
    if done is None:
        console.print("nothing was sent since the last time", markup=False)
        return
    show_ingested(console, done)


@app.command(epilog="Example, for a nightly cron: perennial act trigger; perennial act deliver")
def trigger(
    as_of: AsOfOption = None,
    at: AtOption = None,
    home: HomeOption = None,
) -> None:
    """Launch today's campaigns of the triggers in the home's triggers.toml, each once a day."""
    from programme.calendar import parse_day
    from serving.reports.actions import show_fired
    from serving.trigger_run import run

    with _desk(home) as desk, ends_on_request(), progress("trigger") as tell:
        done = run(desk, as_of=parse_day(as_of) if as_of else None, now=_moment(at), tell=tell)
    show_fired(console, done)


@app.command("read", epilog="Example: perennial act read autumn-2026 --json")
def read_out(
    campaign: CampaignArgument, at: AtOption = None, as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Say what a campaign changed so far, against the members it held back."""
    from serving.reports.actions import show_read_out

    with _desk(home) as desk, ends_on_request(), progress("read") as tell:
        tell("adding up what members did")
        found = desk.read_out(campaign, now=_moment(at))
        currency = desk.points.programme.currency
    if as_json:
        print_json(found.as_json())
        return
    show_read_out(console, found, currency)


@app.command(epilog="Example: perennial act close autumn-2026")
def close(campaign: CampaignArgument, at: AtOption = None, home: HomeOption = None) -> None:
    """Read a campaign out for the last time and end it; what still waits is not sent."""
    from serving.reports.actions import show_read_out, show_state

    with _desk(home) as desk, ends_on_request():
        with progress("close") as tell:
            tell("adding up what members did")
            found, told = desk.close(campaign, now=_moment(at))
        show_read_out(console, told, desk.points.programme.currency)
        show_state(console, desk.points.database, found)


@app.command("list", epilog="Example: perennial act list")
def listed(home: HomeOption = None) -> None:
    """List all campaigns and how far each has come."""
    from actions import campaigns
    from serving.reports.actions import show_campaigns

    with _desk(home) as desk:
        show_campaigns(console, campaigns.every(desk.points.database),
                       desk.points.programme.currency)  # fmt: skip


@app.command(epilog="Example: perennial --home var/completejourney act demo")
def demo(
    seed: Annotated[
        int, typer.Option(help="Of what the simulator draws; the same seed, the same result.")
    ] = 1,
    home: HomeOption = None,
) -> None:
    """Run one whole campaign in a home of its own: real members, MADE-UP responses."""
    from programme.settings import open_programme
    from serving import act_demo
    from serving.reports.act_demo import show_demo
    from serving.reports.actions import show_proposal
    from serving.reports.campaign_page import write

    settings = settings_of(home)
    currency = open_programme(settings).currency
    with ends_on_request(), progress("act demo") as tell:
        made = act_demo.run(
            settings, seed=seed, tell=tell,
            show=lambda proposed: show_proposal(console, proposed, currency),
        )  # fmt: skip
        tell("writing the page")
        page = write(made.settings, made.campaign.campaign_id, "en", None, now=made.ended)
    show_demo(console, made, page, currency)


@app.command(epilog='Example: perennial act suppress 1145 --reason "open complaint"')
def suppress(
    member: Annotated[str, typer.Argument(help="The member_id.")],
    reason: Annotated[str, typer.Option(help="Why she is left alone, in words.")] = "",
    until: Annotated[
        str | None, typer.Option(help="Last day of it (YYYY-MM-DD). Left out: for good.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Leave her alone no longer.")] = False,
    home: HomeOption = None,
) -> None:
    """Leave a member alone: no campaign contacts her, and what waits for her is not sent."""
    from actions import history
    from programme.calendar import parse_day
    from serving.reports.asked import refuse_together

    with _desk(home) as desk:
        if lift:
            refuse_together("--lift", {"--reason": reason, "--until": until}, "it ends all of it.")
            was = history.unsuppress(desk.points.database, member)
            said = "may be contacted again" if was else "was not left alone; nothing changed"
        else:
            last = parse_day(until) if until else None
            history.suppress(
                desk.points.database, member, reason, until=last, now=datetime.now(UTC)
            )
            said = "is left alone from now on" if last is None else f"is left alone until {last}"
    console.print(f"{member} {said}", markup=False)


def why(member: str, home: Path | None, *, as_json: bool, language: str) -> None:
    """Say why a member got what she got, and why not something else."""
    from actions import decisions
    from serving.reports.actions import show_why, why_json

    with _desk(home) as desk:
        told = decisions.of_member(desk.points.database, member)
        if as_json:
            print_json(why_json(told))
            return
        show_why(console, told, desk.points.programme.currency, language)


def _moment(at: str | None) -> datetime:
    """Return the moment a command acts at: the one that was written, else now."""
    return datetime.now(UTC) if at is None else parse_instant(at)


@contextmanager
def _desk(home: Path | None) -> "Iterator[ActionDesk]":
    from serving.action_desk import ActionDesk
    from serving.points import PointsDesk

    settings = settings_of(home)
    points = PointsDesk(settings)
    try:
        yield ActionDesk(settings, points)
    finally:
        points.close()
