"""What a model found, on one page a marketer can read, print and keep: no network, no login."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from features import exports, snapshot
from programme import words
from programme.errors import InputRefused, NotReady
from programme.files import write_durably
from programme.settings import Settings
from serving.reports.model_facts import Facts, gather
from serving.reports.model_sections import Teller
from training.bundle import Target
from training.champions import Champions

PAGES = ("churn", "value", "recommend")

Progress = Callable[[str], None]


def write(
    settings: Settings,
    page: str,
    language: str,
    path: Path | None,
    as_of: date | None = None,
    progress: Progress = lambda _: None,
) -> Path:
    """Write the page of churn, value or the recommendations.

    Parameters
    ----------
    path : of the HTML file; None: in the home's `reports/`, named after page, day and language
    as_of : None takes the midnight after the last purchase

    Raises
    ------
    InputRefused : if there is no such page, or the path is a folder
    NotReady : if what it is about was never trained
    """
    if page not in PAGES:
        raise InputRefused(
            f"There is no page {page!r}. Nothing was written. Pages are {', '.join(PAGES)}."
        )
    if path is not None:
        exports.check(path, (".html", ".htm"))
    champions = Champions.load(settings)
    wanted: tuple[Target, ...] = {"churn": ("churn",), "value": ("value",)}.get(
        page, tuple(t for t in ("repeat", "explore") if getattr(champions, t) is not None)
    )  # type: ignore[assignment]
    if not wanted:
        raise NotReady(
            "No recommender was trained: the purchases carry no product numbers. Nothing was "
            "written. Map the product column, ingest and train again."
        )
    taken = snapshot.build(settings, as_of or snapshot.default_as_of(settings))
    progress("asking the champions about everybody")
    population = champions.population(taken)
    facts = [gather(settings, t, champions, taken, population, progress) for t in wanted]
    there = path or settings.home / "reports" / f"{page}-{taken.as_of}-{language}.html"
    there.parent.mkdir(parents=True, exist_ok=True)
    write_durably(there, _page(page, language, champions, facts).encode())
    return there


def _page(page: str, language: str, champions: Champions, facts: list[Facts]) -> str:
    currency = champions.programme.currency

    def say(code: str, **told: Any) -> str:
        return words.label(f"report.{code}", language, currency=currency, **told)

    teller = Teller(say, language, currency)
    return _TEMPLATES.get_template("model.html").render(
        say=say,
        language=language,
        page=page,
        programme=champions.programme.name,
        as_of=facts[0].population.as_of,
        sections=[teller.section(each, champions) for each in facts],
        caveats=[words.label("caveat.attribution", language), say("caveat_past")],
    )


_TEMPLATES = Environment(
    loader=PackageLoader("serving"), autoescape=select_autoescape(), trim_blocks=True
)
