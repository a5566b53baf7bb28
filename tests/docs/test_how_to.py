"""The how-to pages run as they stand: files written, commands called, output as shown."""

import contextlib
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

import perennial
from features import table
from features.sources.mapping import (
    FileFormat,
    Mapping,
    ProductColumns,
    PurchaseColumns,
    Returns,
)
from programme.settings import Programme

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
Block = tuple[str, str, str, str]


def blocks(page: str) -> list[Block]:
    """Return language, file name, encoding and text of each fenced block."""
    return [match.groups("") for match in BLOCK.finditer((PAGES / page).read_text("utf-8"))]  # type: ignore[misc]


@pytest.fixture
def untouched_table() -> Iterator[None]:
    """Put back what a page changes in this process."""
    before = table.GROUPS, table.COLUMNS, table.ALL_COLUMNS
    yield
    table.GROUPS, table.COLUMNS, table.ALL_COLUMNS = before


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


@pytest.mark.usefixtures("untouched_table")
@pytest.mark.parametrize("page", ["map-your-data.md", "add-a-feature.md", "add-a-tag.md"])
def test_a_page_runs_as_it_stands(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(perennial.console, "width", 400, raising=False)
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


def test_every_key_of_a_mapping_is_in_an_example_that_runs() -> None:
    shown: dict[str, set[str]] = {}
    for language, name, _, text in blocks("map-your-data.md"):
        if language == "toml":
            content = tomllib.loads(text)
            assert name
            shown.setdefault("", set()).update(content)
            shown.setdefault("returns", set()).update(
                content.get("purchases", {}).get("returns", {})
            )
            for section in ("programme", "file", "purchases", "products"):
                shown.setdefault(section, set()).update(content.get(section, {}))

    assert shown == {
        "": keys_of(Mapping),
        "programme": keys_of(Programme),
        "file": keys_of(FileFormat),
        "purchases": keys_of(PurchaseColumns),
        "returns": keys_of(Returns),
        "products": keys_of(ProductColumns),
    }


def test_every_key_of_the_full_example_is_explained() -> None:
    full = next(text for _, name, _, text in blocks("map-your-data.md") if name == "till.toml")
    obvious = {"name", "timezone", "currency", "value_horizon_days", "repeat_horizon_days",
               "product", "quantity", "store", "channel"}  # fmt: skip
    for written in full.splitlines():
        key = written.partition(" =")[0]
        if " = " in written and key not in obvious:
            assert "  # " in written or "# " in written, f"{key} has no comment"
