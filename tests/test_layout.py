"""The house stands as it was drawn: what is imported is ours, typed, declared and packed."""

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
TOOL = PYPROJECT["tool"]
PACKAGES: list[str] = TOOL["importlinter"]["root_packages"]
COMMANDS = {
    "perennial", "perennial_act", "perennial_hooks", "perennial_inbox", "perennial_keys",
    "perennial_members", "perennial_models", "perennial_options", "perennial_points",
    "perennial_uplift", "perennial_worker",
}  # fmt: skip
# A room named for what it holds needs no such name; these hold whatever nobody placed.
FORBIDDEN_NAMES = {"utils", "common", "core", "helpers", "manager", "misc", "base", "lib"}


def sources(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def imported_by(path: Path) -> Iterator[str]:
    """Yield the top-level name of each import in a file, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def packages_reached(package: str) -> set[str]:
    """Return our own packages that `package` imports, directly or through another; itself too."""
    reached: set[str] = set()
    waiting = {package}
    while waiting:
        reached |= waiting
        imported = {
            name for found in waiting for path in sources(found) for name in imported_by(path)
        }
        waiting = (imported & set(PACKAGES)) - reached
    return reached


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_imported_from_this_repository(package: str) -> None:
    # The names are ordinary words: an installed distribution that brings the same one would win.
    imported_from = importlib.import_module(package).__file__

    assert imported_from is not None
    assert Path(imported_from).is_relative_to(REPOSITORY)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_tells_type_checkers_that_it_is_typed(package: str) -> None:
    assert (REPOSITORY / package / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_modules_is_a_package(package: str) -> None:
    # import-linter passes over a folder without __init__.py, and so over what it imports.
    folders = {path.parent for path in sources(package)}

    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_or_folder_is_a_drawer_for_odds_and_ends(package: str) -> None:
    paths = (REPOSITORY / package).rglob("*")

    assert [path for path in paths if path.stem.strip("_") in FORBIDDEN_NAMES] == []


def test_every_tool_is_told_of_every_package() -> None:
    with_code = {
        path.parent.name
        for path in REPOSITORY.glob("*/__init__.py")
        if path.parent.name not in {"tests", "notebooks", "build"}
    }

    assert set(PACKAGES) == with_code
    assert {
        name.rstrip("*") for name in TOOL["setuptools"]["packages"]["find"]["include"]
    } == with_code
    assert set(TOOL["mypy"]["files"]) >= with_code


def test_a_bento_includes_every_package_that_serving_imports() -> None:
    included = {line.removesuffix("/**") for line in TOOL["bentoml"]["build"]["include"]}

    assert packages_reached("serving") <= included


def test_every_library_that_is_imported_is_declared() -> None:
    # One that only another library brings is gone the day that library drops it.
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["demo"], *extras["kafka"]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    distributions = packages_distributions()

    # Experiments are run by those who develop: they may use their tools too.
    tools = [Requirement(line).name for line in project["optional-dependencies"]["dev"]]
    imported = {
        name
        for package in PACKAGES
        for path in sources(package)
        for name in imported_by(path)
        if package != "experiments"
        or not {canonicalize_name(tool) for tool in tools}
        & set(map(canonicalize_name, distributions.get(name, [])))
    }
    for commands in COMMANDS:
        imported |= set(imported_by(REPOSITORY / f"{commands}.py"))
    undeclared = {
        name
        for name in imported - set(PACKAGES) - COMMANDS - sys.stdlib_module_names
        if declared.isdisjoint(map(canonicalize_name, distributions.get(name, [])))
    }

    assert undeclared == set()


def test_the_lock_pins_every_dependency_to_one_release_without_a_local_suffix() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    declared = map(
        Requirement, [*project["dependencies"], *(line for extra in extras for line in extra)]
    )

    pinned = {
        canonicalize_name(name): release
        for name, _, release in (pin.partition("==") for pin in pins)
    }

    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    assert [
        str(line)
        for line in declared
        if pinned.get(canonicalize_name(line.name), "") not in line.specifier
    ] == []


# Run where the bento lies; the editable install would otherwise supply what the bento lacks.
IMPORT_FROM_BENTO = """
import importlib, sys
repository, modules, *packages = sys.argv[1:]
sys.path[:] = [entry for entry in sys.path if entry != repository]
for module in modules.split(","):
    importlib.import_module(module)
print(*(sys.modules[name].__file__ for name in packages if name in sys.modules), sep="\\n")
"""


@pytest.mark.slow
def test_a_built_bento_imports_its_service_without_this_repository(tmp_path: Path) -> None:
    environment = os.environ | {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"}
    subprocess.run(
        [sys.executable, "-m", "bentoml", "build", str(REPOSITORY)], env=environment, check=True
    )
    (contents,) = (tmp_path / "bentos").glob("*/*/src")
    module = TOOL["bentoml"]["build"]["service"].partition(":")[0]
    # The service imports models and campaigns only once it serves: ask for them as it would.
    modules = f"{module},training.champions,serving.action_desk"

    imported = subprocess.run(
        [sys.executable, "-c", IMPORT_FROM_BENTO, str(REPOSITORY), modules, *PACKAGES],
        env=environment,
        cwd=contents,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()

    assert len(imported) == len(packages_reached("serving"))
    assert [path for path in imported if not Path(path).is_relative_to(contents)] == []
