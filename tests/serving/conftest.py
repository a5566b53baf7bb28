"""A points desk over a little programme; after each test the whole ledger is added up."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loyalty.rulebook import adopt
from loyalty.rules import read
from loyalty.verify import verify
from programme.settings import PROGRAMME_FILE, Settings
from serving.points import PointsDesk
from tests.loyalty.shop import PROGRAMME, RULES


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PointsDesk]:
    (tmp_path / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    desk = PointsDesk(Settings(home=tmp_path))
    adopt(desk.database, PROGRAMME, read(RULES, PROGRAMME), now=datetime(2018, 1, 1, tzinfo=UTC))
    yield desk
    assert not verify(desk.database).violations
    desk.close()
