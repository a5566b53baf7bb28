"""Fixtures that several rooms share."""

import fcntl
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from programme.settings import Settings
from tests import little_programme
from tests.little_programme import LittleProgramme
from tests.training import grocer as made_up
from tests.training.grocer import Trained
from training.tracking import connect

Made = TypeVar("Made")

# A busy machine is no failure of the law under test.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


# Files that train for minutes begin first: one of them alone at the end would leave a core idle.
LONGEST = ("test_train.py", "test_train_again.py", "test_command_line.py", "test_retrain.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first, all else in its order.

    Raises
    ------
    pytest.UsageError : if two tests have one name: of those xdist runs one, and says nothing
    """
    twice = [name for name, times in Counter(item.nodeid for item in items).items() if times > 1]
    if twice:
        raise pytest.UsageError(f"more than one test is called {', '.join(twice[:5])}")
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else 99)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that every process of this run of the tests sees."""
    folder = tmp_path_factory.getbasetemp()
    at_once = "PYTEST_XDIST_WORKER" in os.environ
    return folder.parent if at_once else folder


def made_once(home: Path, make: Callable[[Path], Made]) -> Made:
    """Return what is made in a home; whichever process asks first makes it, the others wait."""
    ready = home.with_suffix(".pickle")
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            ready.write_bytes(pickle.dumps(make(home)))
    made: Made = pickle.loads(ready.read_bytes())
    return made


@pytest.fixture(scope="session")
def mlflow_template(shared_folder: Path) -> Path:
    """Return a migrated, empty MLflow database: making one takes seconds, copying one does not."""

    def make(home: Path) -> Path:
        connect(Settings(home=home))
        return home / "mlflow.db"

    return made_once(shared_folder / "mlflow", make)


@pytest.fixture
def new_settings(mlflow_template: Path, tmp_path: Path) -> Callable[[], Settings]:
    """Return a maker of settings over homes that hold nothing but an empty registry."""
    made = 0

    def make() -> Settings:
        nonlocal made
        made += 1
        home = tmp_path / f"home-{made}"
        home.mkdir()
        shutil.copy(mlflow_template, home / "mlflow.db")
        return Settings(home=home, threads=1)

    return make


@pytest.fixture(scope="session")
def trained(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> LittleProgramme:
    """Return a little programme with a champion for every target; read-only."""
    home = tmp_path_factory.mktemp("trained")
    shutil.copy(mlflow_template, home / "mlflow.db")
    little = little_programme.make(home)
    little_programme.train(little)
    return little


@pytest.fixture(scope="session")
def grocer(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home with all of the made-up grocer's receipts; only snapshots may be added."""
    home = tmp_path_factory.mktemp("grocer")
    return made_up.open_home(mlflow_template, home, made_up.purchases())


@pytest.fixture(scope="session")
def trained_grocer(mlflow_template: Path, shared_folder: Path) -> Trained:
    """Return a home of the grocer's with every target trained; only snapshots may be added.

    It takes a minute.
    """

    def make(home: Path) -> Trained:
        return made_up.trained(made_up.open_home(mlflow_template, home, made_up.purchases()))

    return made_once(shared_folder / "trained-grocer", make)
