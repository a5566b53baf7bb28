"""Results on the terminal: what was read, which model won and by how much, who is at risk."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.ingest import Ingested
from features.snapshot import Snapshot
from programme.words import money
from serving.batch import Scored
from serving.online.publish import Published
from training.scores import RISK_BANDS

# Paths and outside text are shown as they are, in one line, brackets and all.
PLAIN: Mapping[str, Any] = {"markup": False, "soft_wrap": True}
_COLOURS = {"error": "bold red", "warning": "yellow", "information": "dim"}


def show_ingested(console: Console, done: Ingested) -> None:
    """Print the usability report of an ingest."""
    table = Table(title=f"Data usability: {done.source}", title_justify="left")
    for heading in ("step", "severity", "table", "column"):
        table.add_column(heading)
    table.add_column("count", justify="right")
    table.add_column("finding, and how to fix it")
    for found in done.report.findings:
        words = f"{found.finding}; {found.how_to_fix}" if found.how_to_fix else found.finding
        table.add_row(
            found.step, f"[{_COLOURS[found.severity]}]{found.severity}[/]", found.table,
            escape(found.column), f"{found.count:,}", escape(words),
        )  # fmt: skip
    console.print(table)
    for count in done.counts:
        console.print(
            f"{count.table}: {count.read:,} rows read: {count.stored:,} new, {count.corrected:,} "
            f"corrected, {count.unchanged:,} known already, {count.refused:,} in quarantine",
            **PLAIN,
        )
    state = "nothing new" if done.batch_no is None else f"committed as batch {done.batch_no}"
    console.print(f"{done.source}: {state}. Report: {done.report_path}", **PLAIN)


def show_snapshot(console: Console, built: Snapshot) -> None:
    """Print what a snapshot holds."""
    features = built.features()
    counts = features["population"].value_counts()
    console.print(
        f"Snapshot {built.as_of}: {len(features):,} members ({counts.get('active', 0):,} active, "
        f"{counts.get('dormant', 0):,} dormant), {features.shape[1] - 1} columns, feature set "
        f"{built.feature_set}, lake version {built.lake_version}."
    )
    console.print(f"Kept in {built.path}", **PLAIN)


def show_leaderboard(console: Console, board: dict[str, Any]) -> None:
    """Print one target's leaderboard, best on the test days first, the winner in green."""
    for population in board["populations"]:
        primary = population.get("primary") or board["primary"]
        table = Table(
            title=f"{board['name']}, {population['name']} members ({population['rows']:,} rows, "
            f"judged at {', '.join(population['test_as_ofs'])})",
            title_justify="left",
        )
        table.add_column("", no_wrap=True)
        table.add_column("role", no_wrap=True)
        for metric in population["metrics"]:
            table.add_column(metric, justify="right")
        table.add_column(f"{primary}, 95 %", justify="right")
        table.add_column(f"{primary} - best rule, 95 %", justify="right")
        for entry in population["entries"]:
            style = "bold green" if entry["name"] == board["winner"] else ""
            cells = [_figure(entry["metrics"].get(metric)) for metric in population["metrics"]]
            table.add_row(
                entry["name"], entry["role"], *cells,
                _reach(entry.get("interval")), _difference(entry["difference"]), style=style,
            )  # fmt: skip
        console.print(table)
    if board.get("campaign"):
        console.print(_campaign(board), **PLAIN)
    console.print(board["verdict"], **PLAIN)
    console.print()


def _campaign(board: Mapping[str, Any]) -> str:
    """Say what contacting the members at risk would have earned, and what that rests on."""
    campaign, currency = board["campaign"], board["currency"]
    costs = campaign["assumed"]
    earned = ", ".join(
        f"{name} {money(said['most_cents_a_member'], currency)} a member at "
        f"{said['share_contacted']:.0%} contacted"
        for name, said in campaign["by"].items()
        if said["most_cents_a_member"] is not None
    )
    return (
        f"Best campaign: {earned}; a contact pays from P(churn) {campaign['least_probability']:.3f}"
        f". Assumed, not measured: a member is worth {money(costs['member_cents'], currency)}, the "
        f"offer {money(costs['offer_cents'], currency)}, a contact "
        f"{money(costs['contact_cents'], currency)}, and "
        f"{costs['save_rate']:.0%} of leavers contacted stay (training config: churn.campaign)."
    )


def show_scores(console: Console, scored: Scored) -> None:
    """Print how many members stand where, and the most valuable of those at risk."""
    members = scored.members
    table = Table(
        title=f"{len(members):,} members scored as of {scored.as_of}", title_justify="left"
    )
    for heading in ("risk band", "members", "active", "mean P(churn)", "expected value"):
        table.add_column(heading, justify="left" if heading == "risk band" else "right")
    for band in ("high", "medium", "low"):
        chosen = members[members["churn_risk_band"] == band]
        table.add_row(
            band, f"{len(chosen):,}",
            f"{(chosen['churn_population'] == 'active').sum():,}",
            f"{chosen['churn_probability'].mean():.2f}" if len(chosen) else "",
            money(chosen["value_cents"].sum(), scored.programme.currency),
        )  # fmt: skip
    console.print(table)
    _show_at_risk(console, scored, members)
    _show_next_orders(console, scored, members)
    console.print(f"All of them: {scored.path}", **PLAIN)


def show_published(console: Console, published: Published | None) -> None:
    """Print how many members the service answers about now; None: another process wrote them."""
    if published is None:
        console.print("The service answers from these scores: another process wrote them.", **PLAIN)
        return
    kept = f"; {published.kept:,} knew more and were left" if published.kept else ""
    console.print(
        f"The service answers about {published.written:,} members as of "
        f"{published.publication.as_of}{kept}.",
        **PLAIN,
    )


def _show_at_risk(console: Console, scored: Scored, members: pd.DataFrame) -> None:
    risky = members[
        (members["churn_population"] == "active")
        & (members["churn_probability"] >= RISK_BANDS.medium)
    ]
    if risky.empty:
        return
    table = Table(title="Active members at risk, most valuable first", title_justify="left")
    for heading in ("member", "P(churn)", "percentile", "expected value"):
        table.add_column(heading, justify="left" if heading == "member" else "right")
    for member in risky.nlargest(5, "value_cents").to_dict(orient="records"):
        table.add_row(
            escape(str(member["member_id"])), f"{member['churn_probability']:.2f}",
            str(member["churn_percentile"]),
            money(member["value_cents"], scored.programme.currency),
        )  # fmt: skip
    console.print(table)


# Days from as_of, and what a marketer calls them.
_SOON = ((0, 7, "within 7 days"), (7, 28, "in 8 to 28 days"), (28, None, "later"))


def _show_next_orders(console: Console, scored: Scored, members: pd.DataFrame) -> None:
    """Print when how many members are expected to order; nothing where nobody was asked."""
    if "next_order_horizon_days" not in members.columns:  # nothing was trained for it
        return
    horizons = members["next_order_horizon_days"].dropna()
    if horizons.empty:
        return
    ahead = (
        pd.to_datetime(members["next_order_expected_on"]) - pd.Timestamp(scored.as_of)
    ).dt.days.astype("float64")
    table = Table(title="Next order expected", title_justify="left")
    table.add_column("")
    table.add_column("members", justify="right")
    for first, end, label in _SOON:
        chosen = (ahead >= first) & ((ahead < end) if end is not None else True)
        table.add_row(label, f"{int(chosen.sum()):,}")
    table.add_row(f"not within {int(horizons.iloc[0])} days", f"{int(ahead.isna().sum()):,}")
    console.print(table)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"


def _reach(interval: Mapping[str, float | None] | None) -> str:
    if interval is None or interval["low"] is None or interval["high"] is None:
        return ""
    return f"{interval['low']:.3f} .. {interval['high']:.3f}"


def _difference(gain: Mapping[str, float | None] | None) -> str:
    if gain is None or gain["mean"] is None:
        return ""
    return f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
