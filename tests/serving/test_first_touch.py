"""Several processes may come first to a new home; what each must import is light."""

import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from programme.database import Database
from programme.settings import Settings
from tests.loyalty.conftest import new_postgres, postgres_url  # noqa: F401 - found by its name

PROCESSES = 4


def touch(home: Path, url: str, *, registry: bool) -> tuple[int, int]:
    """Touch our database, and MLflow's too; return how much each then holds."""
    settings = Settings(home=home, db_url=url)
    database = Database.open(settings)
    with database.read() as connection:
        tables = len(inspect(connection).get_table_names())
    database.close()
    if not registry:
        return tables, 0
    from training.tracking import connect

    return tables, len(connect(settings).search_experiments())


def by_four(home: Path, url: str = "", *, registry: bool = False) -> list[tuple[int, int]]:
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        asked = [
            pool.apply_async(touch, (home, url), {"registry": registry}) for _ in range(PROCESSES)
        ]
        return [one.get(300) for one in asked]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_four_processes_may_come_first_to_our_database(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = ""
    if kind == "postgresql":
        url = new_postgres(request.getfixturevalue("postgres_url"))

    found = by_four(tmp_path, url)

    assert len(set(found)) == 1
    assert found[0][0] > 20


@pytest.mark.slow
def test_four_processes_may_come_first_to_both(tmp_path: Path) -> None:
    found = by_four(tmp_path, registry=True)

    assert len(set(found)) == 1
    assert found[0][1] == 1
