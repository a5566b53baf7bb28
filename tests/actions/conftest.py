"""A programme with a ledger on both databases; the fixtures are those of the loyalty room."""

import pytest

from programme.settings import Programme
from tests.loyalty.conftest import (  # noqa: F401 - fixtures are found by their names
    database,
    make_settings,
    postgres_url,
    templates,
)


@pytest.fixture
def shop() -> Programme:
    """Return the facts of a programme in euros, with points in hundredths."""
    return Programme(name="shop", timezone="Europe/Berlin", currency="EUR", points_scale=2)
