"""Why one member's risk is what it is, and three answers to what could lower it, in words."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from programme.words import label
from training.remedies import Alike, Remedies, Swap
from training.scores import no_single_driver


def sentences(found: Remedies, language: str, currency: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each box: its heading, then its sentences. The caveat is the last, without a heading.

    Parameters
    ----------
    language, currency : of the words and of the money in them
    """

    def say(code: str, **facts: Any) -> str:
        return label(code, language, currency=currency, **facts)

    reasons = [
        f"{say(f'driver.{driver.code}', **driver.parameters)} "
        f"({say(f'importance.{driver.importance}')}; {say(f'direction.churn.{driver.direction}')})"
        for driver in found.drivers
        if driver.importance != "low"
    ]
    if no_single_driver(found.drivers):
        reasons.insert(0, say("explain.no_single_driver"))
    yield say("explain.drivers"), reasons

    def swapped(swap: Swap) -> str:
        now, then = (say(f"driver.{swap.code}", **facts) for facts in (swap.now, swap.then))
        return say("explain.swap", now=now, then=then, churn_share=swap.churn_probability)

    yield (
        say("explain.arithmetic"),
        [swapped(swap) for swap in found.swaps] or [say("explain.no_swap")],
    )
    yield (
        say("explain.alike", horizon_days=found.horizon_days),
        _alike(found.alike, say, found.horizon_days),
    )
    yield (
        say("explain.measured"),
        [say("explain.measured_effect", **vars(effect)) for effect in found.measured]
        or [say("explain.measured_not")],
    )
    yield "", [say("caveat.attribution")]


def _alike(alike: Alike | None, say: Any, horizon_days: int) -> list[str]:
    if alike is None:
        return [say("explain.alike_unknown")]
    told = [
        say(
            "explain.alike_back",
            members=alike.members,
            back=alike.came_back,
            within_days=alike.days_median,
            horizon_days=horizon_days,
        )
    ]
    if alike.first_categories:
        named = ", ".join(f"{name} {share:.0%}" for name, share in alike.first_categories)
        told.append(say("explain.alike_first", categories=named))
    return told


def show_remedies(console: Console, found: Remedies, language: str, currency: str) -> None:
    """Print the score, its reasons and the three boxes."""
    risk = label(
        "explain.risk",
        language,
        horizon_days=found.horizon_days,
        churn_share=found.churn_probability,
    )
    console.print(f"{found.member_id}, {found.as_of}. {risk}", markup=False, soft_wrap=True)
    for heading, told in sentences(found, language, currency):
        if heading:
            console.print(f"\n[bold]{heading}[/bold]")
        for sentence in told:
            console.print(f"  {sentence}", markup=False, soft_wrap=True)
