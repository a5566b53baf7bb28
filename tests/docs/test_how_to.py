"""The how-to pages run as they stand: files written, commands called, output as shown."""

import contextlib
import io
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

import perennial
from features import table
from features.sources import facts, happenings
from features.sources.mapping import TABLES, FileFormat, Mapping
from programme.settings import Programme
from serving.reports.console import console
from training import candidates, models

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
Block = tuple[str, str, str, str]


def blocks(page: str) -> list[Block]:
    """Return language, file name, encoding and text of each fenced block."""
    return [match.groups("") for match in BLOCK.finditer((PAGES / page).read_text("utf-8"))]  # type: ignore[misc]


@pytest.fixture
def untouched_code() -> Iterator[None]:
    """Put back what a page changes in this process."""
    before = table.GROUPS, table.COLUMNS, table.ALL_COLUMNS
    churn, kinds, places = candidates.churn, dict(models._WHERE), list(models.__path__)
    yield
    table.GROUPS, table.COLUMNS, table.ALL_COLUMNS = before
    candidates.churn = churn
    models.__path__[:] = places
    for kind in set(models._WHERE) - set(kinds):
        sys.modules.pop(f"training.models.{models._WHERE.pop(kind)[0]}", None)


def called(commands: str) -> str:
    """Run each line of a shell block in this process; return what it printed."""
    printed = ""
    for command in commands.splitlines():
        program, *words = shlex.split(command)
        assert program == "perennial"
        expanded = [
            found for word in words for found in (_matches(word) if "*" in word else [word])
        ]
        done = CliRunner().invoke(perennial.app, expanded, env={"COLUMNS": "400"})
        assert done.exit_code == 0, done.output
        printed += done.output
    return printed


def _matches(pattern: str) -> list[str]:
    return sorted(str(path) for path in Path().glob(pattern))


def executed(code: str, names: dict[str, Any]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "how-to", "exec"), names)
    return printed.getvalue()


def shows(printed: str, promised: str) -> None:
    """Assert that each promised line stands in the output; `...` stands for anything."""
    seen = " ".join(printed.split())
    for line in promised.splitlines():
        pattern = ".*?".join(re.escape(" ".join(part.split())) for part in line.split("..."))
        assert re.search(pattern, seen), f"{line!r} is not in:\n{printed}"


@pytest.mark.usefixtures("untouched_code")
@pytest.mark.parametrize(
    "page",
    [
        "map-your-data.md",
        "add-a-feature.md",
        "add-a-tag.md",
        "add-a-model.md",
        "run-a-points-programme.md",
        "read-an-experiment.md",
        "write-an-offer-catalogue.md",
        "give-access.md",
    ],
)
def test_a_page_runs_as_it_stands(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_template: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if page == "add-a-model.md":  # an empty registry takes seconds to make
        (tmp_path / "var" / "made").mkdir(parents=True)
        shutil.copy(mlflow_template, tmp_path / "var" / "made" / "mlflow.db")
    monkeypatch.setattr(console, "width", 400, raising=False)
    names: dict[str, Any] = {}
    printed, ran = "", {"bash": 0, "python": 0, "text": 0}
    for language, name, encoding, text in blocks(page):
        if name:
            Path(name).write_text(text, encoding or "utf-8")
        elif language == "bash":
            printed = called(text)
        elif language == "python":
            printed = executed(text, names)
        elif language == "text":
            shows(printed, text)
        else:
            raise AssertionError(f"nobody runs a block of {language}")
        ran[language] = ran.get(language, 0) + 1
    assert ran["text"] >= 2


def keys_of(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


SECTIONS: dict[str, type[BaseModel]] = {
    "programme": Programme,
    "file": FileFormat,
    "purchases": happenings.PurchaseColumns,
    "events": happenings.EventColumns,
    "contacts": happenings.ContactColumns,
    "points": happenings.PointsColumns,
    "consents": happenings.ConsentColumns,
    "products": facts.ProductColumns,
    "members": facts.MemberColumns,
    "identities": facts.IdentityColumns,
    "campaigns": facts.CampaignColumns,
    "stock": facts.StockColumns,
}


# Said alike in every section that has them, so shown in one; or in words, beside their rival.
SHOWN_ONCE = {"timezone", "occurred_format", "time_format", "known_at", "known_from_beginning"}
IN_WORDS = {"always", "ends_at"}


def test_every_key_of_a_mapping_is_in_an_example_that_runs() -> None:
    shown: dict[str, set[str]] = {name: set() for name in ("", "returns", *SECTIONS)}
    for language, name, _, text in blocks("map-your-data.md"):
        if language == "toml":
            content = tomllib.loads(text)
            assert name
            shown[""].update(content)
            shown["returns"].update(content.get("purchases", {}).get("returns", {}))
            for section in SECTIONS:
                shown[section].update(content.get(section, {}))

    assert set(TABLES) < set(SECTIONS)
    elsewhere = SHOWN_ONCE | IN_WORDS
    assert {name: keys - elsewhere for name, keys in shown.items()} == {
        "": keys_of(Mapping),
        "returns": keys_of(happenings.Returns),
        **{section: keys_of(model) - elsewhere for section, model in SECTIONS.items()},
    }
    assert set().union(*(shown[table] for table in TABLES)) >= SHOWN_ONCE
    page = (PAGES / "map-your-data.md").read_text("utf-8")
    assert all(key in page for key in IN_WORDS)


def test_every_key_of_the_full_example_is_explained() -> None:
    full = next(text for _, name, _, text in blocks("map-your-data.md") if name == "till.toml")
    obvious = {"name", "timezone", "currency", "value_horizon_days", "repeat_horizon_days",
               "product", "quantity", "store", "channel"}  # fmt: skip
    for written in full.splitlines():
        key = written.partition(" =")[0]
        if " = " in written and key not in obvious:
            assert "  # " in written or "# " in written, f"{key} has no comment"
