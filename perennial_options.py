"""What the commands have in common: options that many take, the home, and JSON as they print it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from programme.settings import Settings

if TYPE_CHECKING:
    from programme.database import Database

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of the programme. \\[default: PERENNIAL_HOME, else var/programme]"
    ),
]
AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        help="Day whose midnight, in the programme's timezone, ends the past (YYYY-MM-DD). "
        "Left out: the midnight after the last purchase.",
    ),
]
LanguageOption = Annotated[str, typer.Option(help="Language of the words: en or zh.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# The home named before the verb.
_general_home: list[Path | None] = [None]


def remember_home(home: Path | None) -> None:
    """Remember the home for whichever verb follows."""
    _general_home[0] = home


def settings_of(home: Path | None) -> Settings:
    """Return the settings of a home: named after the verb, before it, or by the environment."""
    return Settings.load(home if home is not None else _general_home[0])


@contextmanager
def database_of(home: Path | None) -> "Iterator[Database]":
    """Open the database of a home that holds a programme: a misspelt home gets nothing."""
    from programme.database import Database
    from programme.settings import open_programme

    settings = settings_of(home)
    open_programme(settings)
    database = Database.open(settings)
    try:
        yield database
    finally:
        database.close()


def print_json(content: object) -> None:
    """Print plain content; days and instants as ISO 8601."""

    def plain(value: object) -> str:
        assert isinstance(value, date | datetime)
        return value.isoformat()

    written = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=plain)
    sys.stdout.write(written + "\n")


def check_language(language: str) -> None:
    """Refuse a language whose words we have not got."""
    from programme.words import codes

    codes(language)
