"""What lies in deploy/ can be read, and names commands, settings and files there are."""

import configparser
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from typer.main import get_command

import perennial
from programme.settings import Settings

REPOSITORY = Path(__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
GUIDE = REPOSITORY / "docs" / "how-to" / "run-the-service.md"
OUR_COMMAND = re.compile(r"-m perennial ([a-z][a-z -]*)")


class Unit(configparser.RawConfigParser):
    """A systemd unit: keys keep their case, and may come more than once."""

    def __init__(self) -> None:
        super().__init__(strict=False, comment_prefixes=("#",), interpolation=None)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def commands_in(text: str) -> Iterator[list[str]]:
    plain = text.replace('", "', " ").replace('"', " ").replace("\\\n", " ")
    for found in OUR_COMMAND.finditer(plain):
        yield found.group(1).split(" --")[0].split()


def exists(words: list[str]) -> bool:
    """Return whether the words begin with a command, as far as commands go."""
    command = get_command(perennial.app)
    for word in words:
        inner = getattr(command, "commands", None)
        if inner is None:
            return True  # what follows are its arguments
        if word not in inner:
            return False
        command = inner[word]
    return True


def every_file() -> list[Path]:
    return [DEPLOY / "Containerfile", DEPLOY / "compose.yaml", *UNITS]


@pytest.mark.parametrize("path", every_file(), ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path: Path) -> None:
    found = list(commands_in(path.read_text()))

    assert found
    for words in found:
        assert exists(words), words
    assert not exists(["nonsense"])


@pytest.mark.parametrize("path", [*every_file(), GUIDE], ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"PERENNIAL_[A-Z_]+[A-Z]", path.read_text()))

    assert named <= {f"PERENNIAL_{name.upper()}" for name in Settings.model_fields}


def test_the_guide_names_every_setting() -> None:
    text = GUIDE.read_text()

    for name, field in Settings.model_fields.items():
        default = f" `{field.default}` " if field.default != "" else " "
        assert f"| `PERENNIAL_{name.upper()}` |{default}|" in text, name


def test_the_services_of_compose_share_one_home_and_one_database() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())

    assert set(compose["services"]) == {"service", "worker", "database"}
    for name in ("service", "worker"):
        ours = compose["services"][name]
        assert ours["volumes"] == ["home:/data"]
        assert ours["read_only"] is True
        assert ours["cap_drop"] == ["ALL"]
    published = compose["services"]["service"]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "--no-worker" in compose["services"]["service"]["command"]
    assert "ports" not in compose["services"]["database"]


def test_the_image_runs_as_nobody_in_particular_and_holds_no_model() -> None:
    lines = (DEPLOY / "Containerfile").read_text().splitlines()

    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER perennial"]
    assert lines.index("USER perennial") < next(
        at for at, line in enumerate(lines) if line.startswith("CMD ")
    )
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert "VOLUME /data" in lines
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases == ["debian:bookworm-slim"]
    for copied in (line.split()[1:-1] for line in lines if line.startswith("COPY ")):
        for name in copied:
            assert list(REPOSITORY.glob(name.removeprefix("./"))), name


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_has_what_every_unit_of_ours_has(path: Path) -> None:
    unit = Unit()
    unit.read_string(path.read_text())

    assert unit["Service"]["User"] == "perennial"
    assert unit["Service"]["ProtectSystem"] == "strict"
    assert unit["Unit"]["Description"].startswith("Perennial: ")


def test_the_timer_has_its_service() -> None:
    timer = Unit()
    timer.read_string((DEPLOY / "systemd" / "perennial-nightly.timer").read_text())

    assert timer["Timer"]["OnCalendar"]
    assert (DEPLOY / "systemd" / "perennial-nightly.service").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_but_that_it_is_not_installed() -> None:
    units = sorted(str(path) for path in (DEPLOY / "systemd").iterdir())

    judged = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60
    )

    wrong = [
        line
        for line in judged.stderr.splitlines()
        if "perennial" in line and "is not executable" not in line and "User=" not in line
    ]
    assert wrong == []
