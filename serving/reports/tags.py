"""Tags on the terminal: how many hold what, why one member does, and how good each tag is."""

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features import snapshot
from features.tags import quality, report
from features.tags.explain import explain
from features.tags.quality import HORIZON_DAYS, Report
from features.tags.store import Tagged
from programme.calendar import parse_day
from programme.settings import Settings, open_programme
from serving.reports.terminal import PLAIN

# Of the reasons why tags are absent, the commonest; all of them are kept beside the tags.
REASONS_SHOWN = 5
Judged = tuple[Report, Tagged, Path]


def day_of(settings: Settings, as_of: str | None, *, judged: bool) -> date:
    """Return the day asked for; left out, the last one there is, or the last one to judge."""
    if as_of is not None:
        return parse_day(as_of)
    last = snapshot.default_as_of(settings)
    return last - timedelta(days=HORIZON_DAYS) if judged else last


def judge(
    settings: Settings, day: date, progress: Callable[[str], None], sensitive: bool | None
) -> Judged:
    """Judge every tag and write the report into the home."""
    judged, tagged = quality.judge(settings, day, progress, sensitive)
    path = report.write(settings.home / "reports", judged, tagged.rules)
    return judged, tagged, path


def show_tags(console: Console, built: Tagged) -> None:
    """Print a line a family: how many tags, how many of them held, how widely."""
    wide = built.wide()
    table = Table(
        title=f"{len(built.rules.tags)} tags as of {built.as_of} over {len(wide):,} members",
        title_justify="left",
    )
    for heading in ("family", "tags", "held by somebody", "members with one", "widest"):
        table.add_column(heading, justify="left" if heading in ("family", "widest") else "right")
    for family in built.rules.families:
        own = [tag for tag in built.rules.tags if tag.family == family.id]
        if not own:
            continue
        held = wide[[tag.id for tag in own]].notna()
        shares = held.mean()
        widest = shares.idxmax()
        table.add_row(
            family.name.en, str(len(own)), str(int((shares > 0).sum())),
            f"{held.any(axis=1).mean():.0%}",
            f"{built.rules.named(str(widest)).name.en} ({shares.max():.0%})",
        )  # fmt: skip
    console.print(table)
    if built.rules.off:
        console.print(f"{len(built.rules.off)} sensitive tags are off; --sensitive turns them on.")
    for reason, number in Counter(built.meta["absent"].values()).most_common(REASONS_SHOWN):
        words = "1 tag is" if number == 1 else f"{number} tags are"
        console.print(f"{words} absent: {reason}.", **PLAIN)
    console.print(f"Kept in {built.path}; meta.json says of every absent tag why", **PLAIN)


def show_member(
    console: Console, settings: Settings, built: Tagged, member: str, language: str
) -> None:
    """Print every tag of one member with the facts of its rule."""
    currency = open_programme(settings).currency
    found = explain(built, member, language, currency)
    if language == "zh":
        console.print(f"会员{member}在{built.as_of}持有{len(found)}个标签", **PLAIN)
    else:
        console.print(f"Member {member} holds {len(found)} tags as of {built.as_of}", **PLAIN)
    names = {family.id: family.name.of(language) for family in built.rules.families}
    family = ""
    for why in found:
        if why.tag.family != family:
            family = why.tag.family
            console.print(f"\n[bold]{escape(names[family])}[/]")
        since = f"自{why.since}起" if language == "zh" else f"since {why.since}"
        console.print(f"  {why.name} ({since}): {why.says}", **PLAIN)
        for fact in why.facts:
            console.print(f"    - {fact}", **PLAIN)


def show_report(console: Console, judged: Report, tagged: Tagged, path: Path) -> None:
    """Print what counts in each family, and which tags fail and why."""
    names = {family.id: family.name.en for family in tagged.rules.families}
    table = Table(
        title=f"{sum(judged.counted.values())} of {len(judged.tags)} tags pass everything "
        f"({judged.before} to {judged.as_of}, outcomes until {judged.horizon_days} days later)",
        title_justify="left",
    )
    for heading in ("family", "tags", "pass", "coverage", "flips", "overlap", "absence"):
        table.add_column(heading, justify="left" if heading == "family" else "right")
    for family, name in names.items():
        own = [one for one in judged.tags if one.family == family]
        if own:
            failed = [
                sum(reason in one.failures for one in own)
                for reason in ("coverage", "flip rate", "duplicate", "absence")
            ]
            table.add_row(name, str(len(own)), str(judged.counted.get(family, 0)),
                          *(str(number or "") for number in failed))  # fmt: skip
    console.print(table)
    console.print(f"Every tag with its figures: {path}", **PLAIN)
