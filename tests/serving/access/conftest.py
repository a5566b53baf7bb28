"""Keys on both databases; the fixtures are those of the loyalty room."""

from tests.loyalty.conftest import (  # noqa: F401 - fixtures are found by their names
    database,
    make_settings,
    postgres_url,
    templates,
)
