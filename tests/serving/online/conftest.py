"""Both databases, as in the loyalty room, and a home whose members are published."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.little_programme import LittleProgramme
from tests.loyalty.conftest import (  # noqa: F401 - fixtures are found by their names
    database,
    make_settings,
    postgres_url,
    templates,
)
from tests.serving.online import hot_home
from tests.serving.online.hot_home import HotHome
from training.champions import Champions


@pytest.fixture(scope="module")
def champions(trained: LittleProgramme) -> Champions:
    return Champions.load(trained.settings)


@pytest.fixture(scope="module")
def looking(trained: LittleProgramme, tmp_path_factory: pytest.TempPathFactory) -> LittleProgramme:
    return hot_home.with_events(trained, tmp_path_factory.mktemp("looking") / "home")


@pytest.fixture
def home(looking: LittleProgramme, champions: Champions, tmp_path: Path) -> Iterator[HotHome]:
    made = hot_home.make(looking, tmp_path / "home", champions)
    yield made
    made.database.close()
