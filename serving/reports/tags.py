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
from programme.words import label
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


def show_tags(console: Console, built: Tagged, language: str) -> None:
    """Print a line a family: how many tags, how many of them held, how widely."""
    wide = built.wide()
    counted = {"tags": str(len(built.rules.tags)), "members": f"{len(wide):,}"}
    title = label("tags.counted", language, as_of=str(built.as_of), **counted)
    table = _table(title, ("family", "tags", "held", "members", "widest"), language)
    for family in built.rules.families:
        own = [tag for tag in built.rules.tags if tag.family == family.id]
        if not own:
            continue
        held = wide[[tag.id for tag in own]].notna()
        shares = held.mean()
        widest = shares.idxmax()
        table.add_row(
            family.name.of(language), str(len(own)), str(int((shares > 0).sum())),
            f"{held.any(axis=1).mean():.0%}",
            label("tags.share", language, share=f"{shares.max():.0%}",
                  name=built.rules.named(str(widest)).name.of(language)),
        )  # fmt: skip
    console.print(table)
    if built.rules.off:
        console.print(label("tags.off", language, tags=str(len(built.rules.off))), **PLAIN)
    stop = label("segments.stop", language)
    for reason, number in Counter(built.meta["absent"].values()).most_common(REASONS_SHOWN):
        told = label("tags.absent", language, absent_tags=number, reason=reason)
        console.print(f"{told}{stop}", **PLAIN)
    console.print(label("written.kept", language, path=str(built.path)), **PLAIN)


def show_member(
    console: Console, settings: Settings, built: Tagged, member: str, language: str
) -> None:
    """Print every tag of one member with the facts of its rule."""
    currency = open_programme(settings).currency
    found = explain(built, member, language, currency)
    facts = {"member": member, "tags": str(len(found)), "as_of": str(built.as_of)}
    console.print(label("tags.of_member", language, **facts), **PLAIN)
    names = {family.id: family.name.of(language) for family in built.rules.families}
    family = ""
    for why in found:
        if why.tag.family != family:
            family = why.tag.family
            console.print(f"\n[bold]{escape(names[family])}[/]")
        told = {"name": why.name, "since": str(why.since), "says": why.says}
        console.print(f"  {label('tags.since', language, **told)}", **PLAIN)
        for fact in why.facts:
            console.print(f"    - {fact}", **PLAIN)


def show_written(console: Console, held: int, path: Path, language: str) -> None:
    """Print how many tags were written, and where."""
    console.print(label("written.tags", language, held=f"{held:,}", path=str(path)), **PLAIN)


def show_report(
    console: Console, judged: Report, tagged: Tagged, path: Path, language: str
) -> None:
    """Print what counts in each family, and which tags fail and why."""
    names = {family.id: family.name.of(language) for family in tagged.rules.families}
    title = label(
        "tags.judged", language, passed=str(sum(judged.counted.values())),
        tags=str(len(judged.tags)), before=str(judged.before), as_of=str(judged.as_of),
        horizon_days=judged.horizon_days,
    )  # fmt: skip
    headings = ("family", "tags", "passed", "coverage", "flips", "overlap", "absence")
    table = _table(title, headings, language)
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
    console.print(label("written.judged", language, path=str(path)), **PLAIN)


def _table(title: str, headings: tuple[str, ...], language: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(
            label(f"tags.{heading}", language), overflow="fold",
            justify="left" if heading in ("family", "widest") else "right",
        )  # fmt: skip
    return table
