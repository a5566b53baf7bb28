"""The inbox on both databases."""

from tests.loyalty.conftest import database, make_settings, postgres_url, templates

__all__ = ["database", "make_settings", "postgres_url", "templates"]
