"""Which champions are due to be trained again, on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from training.retrain import Review

_HEADINGS = {
    "age_days": "days of data since",
    "psi_answers": "PSI of answers",
    "psi_columns": "PSI of columns, most",
    "figure_then": "figure when judged",
    "figure_since": "figure since",
}


def show_reviews(console: Console, reviews: Sequence[Review]) -> None:
    """Print what was measured of every champion, and why it is due, if it is."""
    table = Table(title="Champions", title_justify="left")
    table.add_column("model")
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right")
    table.add_column("due", overflow="fold")
    for found in reviews:
        table.add_row(
            found.name,
            *(_said(found.figures.get(name)) for name in _HEADINGS),
            " ".join(found.due) or "no",
        )
    console.print(table)


def _said(figure: float | None) -> str:
    return "" if figure is None else f"{figure:,.3f}".removesuffix(".000")
