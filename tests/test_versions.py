"""Releases with known holes are not installed, and the project's own bounds refuse them."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

# The first release without the hole, and the hole. A scanner that asks a vulnerability database
# does better where one can be reached; this holds everywhere. CVE-2026-116692 (code execution
# through an MLflow server, no fixed release known) is met otherwise: we run no MLflow server.
FIRST_SAFE = [
    ("bentoml", "1.4.3", "CVE-2025-27520: remote code execution by deserialisation"),
    ("bentoml", "1.4.8", "CVE-2025-32375: remote code execution in the runner server"),
    ("bentoml", "1.4.38", "CVE-2026-35043 and CVE-2026-35044"),
    ("bentoml", "1.4.39", "CVE-2026-44345 and CVE-2026-44346"),
    ("mlflow", "3.8", "CVE-2026-2033: remote code execution"),
    ("mlflow", "3.10", "CVE-2026-2614: file read; CVE-2026-2652: password check bypassed"),
    ("mlflow", "3.11", "CVE-2026-4137: unsafe temporary folder"),
    ("mlflow", "3.15", "CVE-2026-96804: a flavour without the guard against pickle"),
    ("mlflow", "3.17", "CVE-2026-115886: server-side request forgery; CVE-2026-116690: file read"),
    ("lightgbm", "4.6", "CVE-2024-43598: remote code execution"),
]
CASES = [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in FIRST_SAFE]


@pytest.mark.parametrize(("package", "first_safe", "hole"), CASES)
def test_the_installed_release_has_no_known_hole(package: str, first_safe: str, hole: str) -> None:
    assert Version(version(package)) >= Version(first_safe), hole


@pytest.mark.parametrize(("package", "first_safe", "hole"), CASES)
def test_our_bounds_refuse_the_release_with_the_hole(
    package: str, first_safe: str, hole: str
) -> None:
    bounds = {line.name: line.specifier for line in map(Requirement, PROJECT["dependencies"])}

    lowest = [Version(bound.version) for bound in bounds[package] if bound.operator == ">="]

    assert lowest, f"{package} has no lower bound: {hole}"
    assert lowest[0] >= Version(first_safe), hole
