"""Who is told of changes is said on the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import perennial
from programme.settings import PROGRAMME_FILE
from tests.actions.receiver import SECRET
from tests.loyalty.shop import PROGRAMME

URL = "https://crm.example.com/perennial"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    monkeypatch.setenv("CRM_HOOK_SECRET", SECRET)
    return tmp_path


def hooks(*words: str) -> Result:
    return CliRunner().invoke(perennial.app, ["hooks", *words])


def test_a_hook_is_added_listed_and_removed(home: Path) -> None:
    added = hooks("add", "crm", URL, "--secret-env", "CRM_HOOK_SECRET", "--what", "tag, stage")

    assert added.exit_code == 0, added.output
    assert SECRET not in added.output
    (listed,) = json.loads(hooks("list", "--json").output)
    assert (listed["hook_id"], listed["url"], listed["inside"]) == ("crm", URL, False)
    assert listed["wanted"] == ["stage", "tag"]
    assert "live" in hooks("list").output
    assert "told nothing more" in hooks("remove", "crm").output
    assert "there are no hooks" in hooks("list").output
    assert (home / "programme.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("add", "crm", "http://crm.example.com", "--secret-env", "CRM_HOOK_SECRET"),
        ("add", "crm", URL, "--secret-env", "PERENNIAL_HOOK_SECRET"),
        ("add", "crm", URL, "--secret-env", "CRM_HOOK_SECRET", "--what", "score"),
        ("remove", "crm"),
    ],
)
def test_what_cannot_work_changes_nothing(home: Path, words: tuple[str, ...]) -> None:
    refused = hooks(*words)

    assert refused.exit_code != 0
    assert "Nothing was changed" in str(refused.exception)
    assert json.loads(hooks("list", "--json").output) == []
    assert home.exists()


def test_a_misspelt_home_gets_no_hook(home: Path) -> None:
    refused = hooks("list", "--home", str(home / "nowhere"))

    assert "holds no programme yet" in str(refused.exception)
    assert not (home / "nowhere").exists()
