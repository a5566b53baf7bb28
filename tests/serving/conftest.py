"""A points desk over a little programme, the whole ledger added up after each test; a store."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loyalty.rulebook import adopt
from loyalty.rules import read
from loyalty.verify import verify
from programme.settings import PROGRAMME_FILE, Settings
from serving.points import PointsDesk
from tests.little_programme import LittleProgramme
from tests.loyalty.shop import PROGRAMME, RULES
from tests.serving.published import Published, publish_all


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PointsDesk]:
    (tmp_path / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    desk = PointsDesk(Settings(home=tmp_path))
    adopt(desk.database, PROGRAMME, read(RULES, PROGRAMME), now=datetime(2018, 1, 1, tzinfo=UTC))
    yield desk
    assert not verify(desk.database).violations
    desk.close()


@pytest.fixture(scope="session")
def published(
    trained: LittleProgramme, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    """Return a little programme whose members stand in the online store; read-only."""
    made = publish_all(trained, tmp_path_factory.mktemp("published"))
    yield made
    made.desk.close()
