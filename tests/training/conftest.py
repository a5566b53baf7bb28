"""The made-up grocer: ingested once, trained once."""

from pathlib import Path

import pytest

from programme.settings import Settings
from tests.training import grocer as made_up
from tests.training.grocer import Trained


@pytest.fixture(scope="session")
def grocer(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home with all of the grocer's receipts; only snapshots may be added."""
    home = tmp_path_factory.mktemp("grocer")
    return made_up.open_home(mlflow_template, home, made_up.purchases())


@pytest.fixture(scope="session")
def trained_grocer(grocer: Settings) -> Trained:
    """Return the grocer's home once every target is trained; read-only."""
    return made_up.trained(grocer)
