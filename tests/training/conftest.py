"""The made-up grocer: ingested once, trained once."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from programme.settings import Settings
from tests.training import grocer as made_up
from training.train import train


@dataclass(frozen=True)
class Trained:
    """A home with a champion for every target, and what the job said of them."""

    settings: Settings
    boards: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def grocer(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home with all of the grocer's receipts; only snapshots may be added."""
    return home_of(mlflow_template, tmp_path_factory.mktemp("grocer"))


@pytest.fixture(scope="session")
def trained_grocer(grocer: Settings) -> Trained:
    """Return the grocer's home once every target is trained; read-only."""
    return trained_in(grocer)


def home_of(mlflow_template: Path, home: Path, **receipts: int) -> Settings:
    shutil.copy(mlflow_template, home / "mlflow.db")
    return made_up.take(Settings(home=home, threads=1), made_up.purchases(**receipts))


def trained_in(settings: Settings) -> Trained:
    boards = train(settings, made_up.tiny_config(), None, made_up.NOW)
    return Trained(settings, {board["target"]: board for board in boards})
