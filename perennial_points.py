"""The command line of points and tiers: `perennial points --help` lists its verbs."""

import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perennial_options import HomeOption, JsonOption, print_json, settings_of
from programme.calendar import parse_instant
from programme.errors import InputRefused
from serving.reports.console import console, ends_on_request, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loyalty.account import Kind
    from loyalty.postings import Posting
    from serving.points import PointsDesk

app = typer.Typer(
    name="points",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Points and tiers: what members earn, spend and lose, each point counted once.",
)
MemberArgument = Annotated[str, typer.Argument(help="The member_id.")]
PointsArgument = Annotated[str, typer.Argument(help="How many points, such as 12.5.")]
IdOption = Annotated[
    str,
    typer.Option("--id", help="posting_id you make up: asked again, it is carried out once."),
]
ReasonOption = Annotated[str | None, typer.Option(help="Why, in words.")]
FileKind = Literal["purchases", "events", "balances", "birthdays"]


@app.command(
    epilog="Example: perennial points rules --example > my.toml; perennial points rules my.toml"
)
def rules(
    file: Annotated[Path | None, typer.Argument(help="TOML file to check and adopt.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a file to begin with.")] = False,
    home: HomeOption = None,
) -> None:
    """Adopt a version of the earning rules, or list those that hold."""
    from loyalty import rules as written
    from loyalty.rulebook import adopt
    from serving.reports.points import show_rules

    if example:
        sys.stdout.write(Path(written.__file__).with_name("example.toml").read_text("utf-8"))
        return
    with _desk(home) as desk:
        if file is not None:
            read = written.read_file(file, desk.programme)
            new = adopt(desk.database, desk.programme, read, now=datetime.now(UTC))
            said = "adopted" if new else "was adopted before; nothing changed"
            console.print(
                f"rules {read.version} {said}: they hold from {read.file.valid_from}",
                markup=False,
            )
        show_rules(console, desk.rules)


@app.command(epilog="Example, for a cron: perennial points earn --home var/shop")
def earn(
    again: Annotated[
        bool, typer.Option("--again", help="Also what was refused before, whenever it came.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Let purchases and events earn that came into the lake since the last time; each once."""
    from serving.earning import earn as job
    from serving.reports.points import show_earnings

    settings = settings_of(home)
    with _desk(home) as desk, ends_on_request(), progress("earn") as tell:
        done = job(
            settings, desk.database, desk.rules, now=datetime.now(UTC), again=again, tell=tell
        )
    show_earnings(console, done)
    if done.refusals:
        raise typer.Exit(1)


@app.command(
    epilog="Example: perennial points take purchases sales.csv; `perennial points columns` lists "
    "what each kind of file holds"
)
def take(
    kind: Annotated[FileKind, typer.Argument(help="What its rows are.")],
    file: Annotated[Path, typer.Argument(help="CSV file with a row of headings.")],
    home: HomeOption = None,
) -> None:
    """Take rows of a file: each earns, opens or is kept once, however often it is taken."""
    from serving.points_files import take as take_file
    from serving.reports.points import show_taken

    with _desk(home) as desk, ends_on_request(), progress(f"take {kind}") as tell:
        done = take_file(desk, kind, file, now=datetime.now(UTC), tell=tell)
    show_taken(console, done)
    if done.refusals:
        raise typer.Exit(1)


@app.command(epilog="Example: perennial points columns")
def columns() -> None:
    """List the columns of the files that `take` takes."""
    from serving.points_files import COLUMNS
    from serving.reports.points import show_columns

    show_columns(console, COLUMNS)


@app.command(epilog="Example, for a cron: perennial points expire --home var/shop")
def expire(home: HomeOption = None) -> None:
    """Post what the clock did: points that became spendable, points that expired.

    Answers kept for idempotency keys are dropped after thirty days.
    """
    from loyalty.expiry import settle_due
    from loyalty.idempotency import forget

    now = datetime.now(UTC)
    with _desk(home) as desk, ends_on_request(), progress("expire") as tell:
        done = settle_due(desk.database, desk.rules.terms(now), now=now, tell=tell)
        forget(desk.database, now=now)
    console.print(f"{done.postings:,} postings for {done.members:,} members")


@app.command(epilog="Example: perennial points expiring --within 14 --out remind.csv")
def expiring(
    within: Annotated[int, typer.Option(min=1, max=366, help="Days from now.")] = 28,
    out: Annotated[Path | None, typer.Option(help="Write a .csv file.")] = None,
    home: HomeOption = None,
) -> None:
    """List whose points are about to expire, when, and how many: whom to remind."""
    from loyalty.expiry import expiring as about_to
    from serving.reports.points import show_expiring, write_expiring

    with _desk(home) as desk:
        found = about_to(desk.database, now=datetime.now(UTC), within_days=within)
        if out is not None:
            count = write_expiring(out, found, desk.programme.points_scale)
            console.print(f"{count:,} rows written to {out}", markup=False)
        else:
            show_expiring(console, found, desk.programme)


@app.command(epilog="Example: perennial points redeem 1145 500 --id till-7/2018-03-01/12")
def redeem(
    member: MemberArgument, points: PointsArgument, posting_id: IdOption,
    reason: ReasonOption = None, home: HomeOption = None,
) -> None:  # fmt: skip
    """Spend points, of the lot that expires first."""
    _post(home, "REDEEM", member, points, posting_id, reason=reason)


@app.command(epilog="Example: perennial points reverse 1145 till-7/2018-03-01/12 --id undo-12")
def reverse(
    member: MemberArgument,
    reverses: Annotated[str, typer.Argument(help="posting_id of what is undone.")],
    posting_id: IdOption,
    points: Annotated[
        str | None, typer.Option(help="How many; left out: all that is left of it.")
    ] = None,
    reason: ReasonOption = None,
    home: HomeOption = None,
) -> None:
    """Undo a posting, in whole or in part; points that return keep their first expiry."""
    _post(home, "REVERSE", member, points, posting_id, reverses=reverses, reason=reason)


@app.command(epilog="Example: perennial points transfer 1145 2001 50 --id gift-1")
def transfer(
    member: MemberArgument,
    to: Annotated[str, typer.Argument(help="member_id of who receives them.")],
    points: PointsArgument,
    posting_id: IdOption,
    reason: ReasonOption = None,
    home: HomeOption = None,
) -> None:
    """Give points to another member; they keep their expiry."""
    _post(home, "TRANSFER", member, points, posting_id, to_member_id=to, reason=reason)


@app.command(
    epilog='Example: perennial points adjust 1145 " -20" --id fix-1 --reason "counted twice"'
)
def adjust(
    member: MemberArgument, points: PointsArgument, posting_id: IdOption,
    reason: Annotated[str, typer.Option(help="Why, in words.")],
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Give points by hand, or take them (below nought, in quotes after a space)."""
    _post(home, "ADJUST", member, points, posting_id, reason=reason)


@app.command(epilog="Example: perennial points balance 1145 --at 2018-03-01T00:00:00Z")
def balance(
    member: MemberArgument,
    at: Annotated[
        str | None, typer.Option(help="An instant before now; the answer of that time.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Say what a member has, now or at an instant before."""
    from loyalty.points import balance as balance_of
    from serving.reports.points import show_balance

    now = datetime.now(UTC)
    with _desk(home) as desk:
        found = balance_of(
            desk.database,
            desk.rules.terms(now),
            member,
            now=now,
            at=parse_instant(at) if at else None,
        )
        if as_json:
            print_json({**asdict(found), "points_scale": desk.programme.points_scale})
        else:
            show_balance(console, found, desk.programme)


@app.command(epilog="Example: perennial points ledger 1145 --limit 20")
def ledger(
    member: MemberArgument,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, the newest first.")] = 20,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List a member's postings, the newest first."""
    from loyalty.points import ledger as ledger_of
    from serving.reports.points import show_postings

    with _desk(home) as desk:
        found = ledger_of(desk.database, member, limit=limit)
        if as_json:
            print_json([_plain(posting) for posting in found])
        else:
            show_postings(console, found, desk.programme)


@app.command(epilog="Example: perennial points tier 1145")
def tier(member: MemberArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Say where a member stands, what is missing, and until when."""
    from loyalty.status import tier_status
    from serving.reports.points import show_tier

    now = datetime.now(UTC)
    with _desk(home) as desk:
        found = tier_status(desk.database, desk.rules.terms(now), member, now=now)
        if as_json:
            print_json(asdict(found))
        else:
            show_tier(console, found, desk.programme)


@app.command(epilog="Example: perennial points simulate order.json")
def simulate(
    order: Annotated[Path, typer.Argument(help="JSON file: occurred_at and lines.")],
    member_tier: Annotated[
        str | None, typer.Option("--tier", help="Tier of the member; left out: none.")
    ] = None,
    birthday: Annotated[
        str | None, typer.Option(help="Birthday of the member, as 02-29; left out: not known.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Say what an order would earn and which rules fire; nothing is posted."""
    from loyalty.birthdays import month_and_day
    from loyalty.orders import simulate as try_out
    from serving.reports.points import read_order, show_earned

    with _desk(home) as desk:
        occurred_at, lines = read_order(order)
        born = None if birthday is None else month_and_day(birthday)
        earned = try_out(desk.rules, lines, occurred_at, tier=member_tier, birthday=born)
        if as_json:
            print_json({
                "points": earned.points, "points_scale": desk.programme.points_scale,
                "rules": {fired.rule: float(fired.factor) for fired in earned.fired},
                "rule_version": desk.rules.at(occurred_at).version,
            })  # fmt: skip
        else:
            show_earned(console, earned, desk.programme)


@app.command(epilog="Example: perennial points verify")
def verify(home: HomeOption = None) -> None:
    """Add the whole ledger up again and check every law of it."""
    from loyalty.verify import verify as add_up

    with _desk(home) as desk, progress("verify") as tell:
        found = add_up(desk.database, tell=tell)
    console.print(
        f"{found.members:,} members, {found.postings:,} postings: "
        f"{len(found.violations)} violations"
    )
    for violation in found.violations[:20]:
        console.print(f"{violation.member_id or 'the books'}: {violation.law}", markup=False)
    if found.violations:
        raise typer.Exit(1)


@app.command(epilog="Example, for a cron before `perennial features`: perennial points feed")
def feed(home: HomeOption = None) -> None:
    """Bring new postings into the lake, where features read them."""
    from serving.database_feed import bring
    from serving.points_feed import LedgerFeed
    from serving.reports.terminal import show_ingested

    settings, now = settings_of(home), datetime.now(UTC)
    with _desk(home) as desk, ends_on_request(), progress("feed") as tell:
        done = bring(LedgerFeed, desk.database, settings, now=now, tell=tell)
    if done is None:
        console.print("nothing was posted since the last time", markup=False)
        return
    show_ingested(console, done)


@app.command(epilog="Example: perennial --home var/completejourney points demo")
def demo(home: HomeOption = None) -> None:
    """Replay a home's purchases as a year of points, and reconcile it in SQL to the last one."""
    from serving.points_demo import run
    from serving.reports.points import show_demo

    settings = settings_of(home)
    with ends_on_request(), progress("demo") as tell:
        done = run(settings, tell)
    show_demo(console, done)
    if done.violations or any(row.differ for row in done.compared):
        raise typer.Exit(1)


@contextmanager
def _desk(home: Path | None) -> "Iterator[PointsDesk]":
    from serving.points import PointsDesk

    desk = PointsDesk(settings_of(home))
    try:
        yield desk
    finally:
        desk.close()


def _post(
    home: Path | None, kind: "Kind", member: str, points: str | None, posting_id: str, **more: Any
) -> None:
    from loyalty.points import post
    from loyalty.postings import Request
    from serving.reports.points import show_postings

    now = datetime.now(UTC)
    with _desk(home) as desk:
        whole = None if points is None else _whole(points, desk.programme.points_scale)
        request = Request(kind, posting_id, member, whole, **more)
        posting = post(desk.database, desk.rules.terms(now), request, now=now)
        show_postings(console, [posting], desk.programme)


def _whole(points: str, scale: int) -> int:
    """Return written points in the smallest unit.

    Raises
    ------
    InputRefused : if they are no number, or finer than the programme counts.
    """
    from serving.points_files import whole

    found = whole(points, scale)
    if found is None:
        raise InputRefused(
            f"{points!r} are no points: write a number with at most {scale} decimal places. "
            "Nothing was posted."
        )
    return found


def _plain(posting: "Posting") -> dict[str, Any]:
    content = asdict(posting)
    for name in ("fingerprint", "chain"):
        del content[name]
    return content
