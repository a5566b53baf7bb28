"""Points on the terminal: balances, postings, tiers, rules, and what a job did."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from features import exports
from loyalty.earning import Earned, Line
from loyalty.expiry import Expiring
from loyalty.points import Balance
from loyalty.postings import Posting
from loyalty.rulebook import Rulebook
from loyalty.status import TierStatus
from loyalty.terms import written
from programme.calendar import local_date
from programme.errors import InputRefused
from programme.faults import in_words
from programme.settings import Programme
from programme.words import money
from serving.api.loyalty_schemas import SimulationRequest
from serving.earning import Earnings
from serving.points_demo import SCALE, Demo
from serving.points_files import Column, FileTaken


def _last_day(expires_at: datetime, timezone: str) -> date:
    """Return the last day on which points can be spent; at `expires_at` they cannot any more."""
    return local_date(expires_at - timedelta(microseconds=1), timezone)


def _as_is(text: str) -> Text:
    """Return text as it stands: rich reads brackets as its own, a terminal control characters."""
    return Text("".join(each if each.isprintable() else repr(each)[1:-1] for each in text))


def show_balance(console: Console, found: Balance, programme: Programme) -> None:
    """Print what a member has."""
    scale, zone = programme.points_scale, programme.timezone
    title = f"Points of {found.member_id} at {found.at:%Y-%m-%d %H:%M} UTC"
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for what, points in (
        ("to spend", found.active), ("waiting", found.pending), ("owed", found.owed),
        ("spent", found.spent), ("expired", found.expired),
    ):  # fmt: skip
        table.add_row(what, written(points, scale))
    if found.expires_at is not None:
        table.add_row(
            f"last day {_last_day(found.expires_at, zone)}", written(found.expiring, scale)
        )
    console.print(table)


def show_postings(console: Console, found: Sequence[Posting], programme: Programme) -> None:
    """Print postings, the newest first."""
    scale = programme.points_scale
    table = Table(title_justify="left")
    for heading in ("no", "recorded (UTC)", "kind", "posting_id"):
        table.add_column(heading, overflow="fold")  # an id that is cut cannot be reversed
    for heading in ("points", "waiting", "balance"):
        table.add_column(heading, justify="right")
    for heading in ("last day", "tier", "why"):
        table.add_column(heading)
    for posting in found:
        why = posting.order_key or posting.reverses or posting.reason or ""
        ends = posting.expires_at
        table.add_row(
            str(posting.posting_no), f"{posting.recorded_at:%Y-%m-%d %H:%M}", posting.kind,
            _as_is(posting.posting_id), written(posting.active, scale),
            written(posting.pending, scale), written(posting.balance, scale),
            "" if ends is None else str(_last_day(ends, programme.timezone)),
            _as_is(posting.tier or ""), _as_is(why),
        )  # fmt: skip
    console.print(table)


def show_tier(console: Console, found: TierStatus, programme: Programme) -> None:
    """Print where a member stands."""

    def amount(number: int) -> str:
        if found.measure == "cents":
            return money(number, programme.currency)
        if found.measure == "points":
            return f"{written(number, programme.points_scale)} points"
        return f"{number:,} {found.measure}"

    said = [f"{found.member_id} is {found.tier}" + (f" since {found.since}" if found.since else "")]
    said.append(f"counted from {found.window_start} to before {found.window_end}: "
                f"{amount(found.amount)}")  # fmt: skip
    if found.to_next is not None:
        said.append(f"{amount(found.to_next)} more for {found.next_tier}")
    if found.to_retain:
        said.append(
            f"{amount(found.to_retain)} more by then to keep {found.tier}, else "
            f"{found.after_window}"
        )
    if found.grace_until is not None:
        said.append(f"held by grace until {found.grace_until}")
    said.append(f"benefits: {', '.join(found.benefits) or 'none'}")
    said += [f"  {step.since or 'from the beginning'}: {step.tier}" for step in found.history]
    for line in said:
        console.print(line, markup=False, soft_wrap=True)


def show_rules(console: Console, rulebook: Rulebook) -> None:
    """Print the versions of the rules."""
    if not rulebook.versions:
        console.print("no rules were adopted yet: perennial points rules --example prints a file")
    for rules in rulebook.versions:
        file = rules.file
        tiers = "no tiers" if file.tiers is None else f"{len(file.tiers.level)} tiers"
        console.print(
            f"{file.version}: from {file.valid_from}; {file.earn.points} points for each "
            f"{file.earn.unit} of {file.earn.by}, {len(file.factor)} factors, "
            f"{len(file.multiplier)} multipliers, {len(file.behaviour)} behaviours, {tiers}",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def show_earnings(console: Console, done: Earnings) -> None:
    """Print what the earning job did."""
    console.print(
        f"{done.lines:,} lines and {done.events:,} events earned {done.postings:,} postings, "
        f"{done.refusals:,} were refused"
    )
    if done.changed:
        console.print(f"{done.changed:,} events were changed since they earned, which is ignored")
    _show_unnamed(console, done.unnamed)
    for said in done.refused:
        console.print(said, markup=False, soft_wrap=True)
    if done.refusals:
        console.print("mend what they say, then: perennial points earn --again")


def show_taken(console: Console, done: FileTaken) -> None:
    """Print what became of a file's rows."""
    console.print(
        f"{done.rows:,} rows: {done.postings:,} postings, {done.known:,} known before, "
        f"{done.refusals:,} refused"
    )
    _show_unnamed(console, done.unnamed)
    for said in done.refused:
        console.print(said, markup=False, soft_wrap=True)
    if done.refusals > len(done.refused):
        console.print(f"and {done.refusals - len(done.refused):,} more")


def _show_unnamed(console: Console, events: int) -> None:
    if events:
        console.print(f"{events:,} events earned nothing: no rule names their kind")


def show_columns(console: Console, columns: Mapping[str, Sequence[Column]]) -> None:
    """Print what each kind of file holds."""
    for kind, described in columns.items():
        table = Table(title=kind, title_justify="left")
        for heading in ("column", "needed", "what it holds"):
            table.add_column(heading)
        for column in described:
            table.add_row(column.name, "yes" if column.needed else "", _as_is(column.holds))
        console.print(table)


def show_earned(console: Console, earned: Earned, programme: Programme) -> None:
    """Print what an order would earn."""
    scale = programme.points_scale
    console.print(f"{written(earned.points, scale)} points; nothing was posted")
    for fired in earned.fired:
        console.print(f"  {fired.rule}: x {float(fired.factor):g}", markup=False)


def show_expiring(console: Console, found: Iterable[Expiring], programme: Programme) -> None:
    """Print whose points are about to expire, the first hundred."""
    table = Table(title="About to expire", title_justify="left")
    table.add_column("member")
    table.add_column("last day")
    table.add_column("points", justify="right")
    more = 0
    for row in found:
        if table.row_count == 100:
            more += 1
            continue
        day = _last_day(row.expires_at, programme.timezone)
        table.add_row(_as_is(row.member_id), str(day), written(row.points, programme.points_scale))
    console.print(table)
    if more:
        console.print(f"and {more:,} more: --out remind.csv writes them all")


def write_expiring(path: Path, found: Iterable[Expiring], scale: int) -> int:
    """Write whose points are about to expire as CSV; return how many rows.

    Raises
    ------
    InputRefused : if the place cannot be written to or is not a .csv file.
    """
    exports.check(path, (".csv",))
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["member_id", "expires_at", "points", "points_scale"])
        for row in found:
            count += 1
            # A spreadsheet must not run an id.
            shown = "'" * row.member_id.startswith(tuple(exports.FORMULA_STARTS)) + row.member_id
            writer.writerow([shown, row.expires_at.isoformat(), row.points, scale])
    return count


def read_order(path: Path) -> tuple[datetime, list[Line]]:
    """Read an order written as JSON, as `POST /v1/loyalty/simulate` takes it.

    Raises
    ------
    InputRefused : naming the key that cannot be used.
    """
    try:
        asked = TypeAdapter(SimulationRequest).validate_json(path.read_bytes())
    except OSError as error:
        raise InputRefused(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise InputRefused(
            f"{path}: {key}: {in_words(fault)}. Nothing was posted. Write for example "
            + json.dumps(_EXAMPLE)
        ) from error
    return asked.occurred_at, [line.as_line() for line in asked.lines]


_EXAMPLE: dict[str, Any] = {
    "occurred_at": "2018-03-08T17:30:00Z",
    "lines": [{"line_no": "1", "net_cents": 1250, "category": "PRODUCE"}],
}


def show_demo(console: Console, done: Demo) -> None:
    """Print a year of points, and whether SQL says the same."""
    console.print(
        f"{done.first} to {done.last}: {done.orders:,} orders of {done.members:,} members"
    )
    kinds = Table(title="Postings", title_justify="left")
    kinds.add_column("kind")
    kinds.add_column("postings", justify="right")
    kinds.add_column("points", justify="right")
    for kind, count, points in done.postings:
        kinds.add_row(kind, f"{count:,}", written(points, SCALE))
    console.print(kinds)
    console.print("tiers: " + ", ".join(f"{count:,} {tier}" for tier, count in done.tiers))
    sums = Table(title="The ledger beside sums of the purchases in SQL", title_justify="left")
    sums.add_column("points")
    for heading in ("ledger", "SQL", "members who differ"):
        sums.add_column(heading, justify="right")
    for row in done.compared:
        sums.add_row(
            row.what, written(row.ledger, SCALE), written(row.recomputed, SCALE),
            f"{row.differ:,}",
        )  # fmt: skip
    console.print(sums)
    console.print(f"laws of the ledger: {done.violations} violations")
