"""The demo campaign on the terminal: what a marketer would be told, and the truth beside it."""

from pathlib import Path

from rich.console import Console

from programme.words import label, money
from serving.act_demo import Demo
from serving.reports.actions import show_delivered, show_read_out


def show_demo(console: Console, demo: Demo, page: Path, currency: str) -> None:
    """Print what was sent, the read-out, the truth that only a simulator knows, and the page."""
    show_delivered(console, demo.delivered)
    show_read_out(console, demo.read_out, currency)
    _show_looks(console, demo, currency)
    _show_truth(console, demo, currency)
    console.print(f"the page: {page}", markup=False, soft_wrap=True)


def _show_looks(console: Console, demo: Demo, currency: str) -> None:
    if not demo.looks:
        return
    away = [look.day for look in demo.looks if not _holds_nought(look.profit.always)]
    said = (
        f"from day {away[0]} on it said that something changed" if away
        else "on no day did it say that anything changed"
    )  # fmt: skip
    last = demo.looks[-1].profit
    console.print(
        f"read every day with the interval for any look: {said}; on the last day "
        f"{_between(last.always, currency)}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _show_truth(console: Console, demo: Demo, currency: str) -> None:
    console.print(
        f"{label('campaign.simulated', 'en')} {demo.come_less:.0%} of those assigned come less "
        f"when a message reaches them, and {demo.untold:.0%} of how responses differ is explained "
        "by no feature.",
        markup=False, soft_wrap=True, style="yellow",
    )  # fmt: skip
    profit = demo.read_out.profit
    if profit is None:
        return
    told = (
        f"the simulator knows what it truly changed: {money(demo.true_profit, currency)} of profit "
        f"for each member assigned to contact. The interval read at the close, "
        f"{_between(profit.interval, currency)}, {_holds(demo.holds)}; the one for any look, "
        f"{_between(profit.always, currency)}, {_holds(demo.always_holds)}."
    )
    console.print(told, markup=False, soft_wrap=True)
    if not demo.holds:
        console.print(
            "Five campaigns in a hundred miss it by chance alone; try another --seed.",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def _holds(does: bool | None) -> str:
    return "holds it" if does else "DOES NOT hold it"


def _holds_nought(interval: tuple[float, float]) -> bool:
    return interval[0] <= 0 <= interval[1]


def _between(interval: tuple[float, float], currency: str) -> str:
    return f"{money(interval[0], currency)} to {money(interval[1], currency)}"
