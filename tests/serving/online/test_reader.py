"""Requests read rows as they were written, on both databases, and are told when there is none."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import make_url

from programme.database import Busy, Database, StorageFailed
from programme.errors import NotReady
from programme.settings import Settings
from serving.online.reader import Reader
from serving.online.store import OnlineStore, StoredMember
from tests.serving.online.stored import MEMBER

OTHERS = [replace(MEMBER, member_id=f"o{number}") for number in range(600)]


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    settings = make_settings()
    database = Database.open(settings)
    store = OnlineStore(database)
    database.write(lambda connection: store.write(connection, [MEMBER, *OTHERS]))
    database.close()
    return settings


@pytest.fixture
def reader(settings: Settings) -> Iterator[Reader]:
    opened = Reader(settings)
    yield opened
    opened.close()


def test_a_row_is_read_as_it_was_written(reader: Reader) -> None:
    row = reader.read(["1145"])["1145"]

    np.testing.assert_array_equal(row.features, MEMBER.features)
    assert (row.texts, row.scores, row.traits) == (MEMBER.texts, MEMBER.scores, MEMBER.traits)
    assert (row.as_of, row.data_as_of) == ("2018-01-01", "2017-12-31T12:00:00.000005Z")
    assert (row.population, row.seq) == ("dormant", 7)


def test_500_members_are_read_at_once_and_those_who_are_not_there_are_not(reader: Reader) -> None:
    asked = ["nobody", *(f"o{number}" for number in range(499)), "o1"]

    assert list(reader.read(asked, whole=False)) != []
    assert set(reader.read(asked, whole=False)) == set(asked) - {"nobody"}
    assert reader.read([]) == {}


def test_a_light_row_refuses_what_was_not_read(reader: Reader) -> None:
    row = reader.read(["1145"], whole=False)["1145"]

    assert row.texts == MEMBER.texts
    with pytest.raises(ValueError, match="read without it"):
        _ = row.scores


@pytest.mark.parametrize("member_id", ["a\0b", "\ud800", "", "'; drop table online_members; --"])
def test_an_id_no_database_can_hold_is_not_known(reader: Reader, member_id: str) -> None:
    assert set(reader.read([member_id, "1145"])) == {"1145"}


def test_threads_read_side_by_side(reader: Reader) -> None:
    found: list[int] = []

    def read() -> None:
        for _ in range(20):
            found.append(len(reader.read([f"o{number}" for number in range(50)])))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [50] * 80


def test_what_was_written_since_is_seen(settings: Settings, reader: Reader) -> None:
    assert reader.read(["1145"])["1145"].seq == 7

    database = Database.open(settings)
    store = OnlineStore(database)
    database.write(lambda connection: store.write(connection, [replace(MEMBER, seq=8)]))
    database.close()

    assert reader.read(["1145"])["1145"].seq == 8


def test_rows_of_other_features_are_refused_and_never_taken_for_nobody(
    settings: Settings, reader: Reader
) -> None:
    database = Database.open(settings)
    store = OnlineStore(database, feature_set="another")
    other = replace(MEMBER, member_id="other")
    database.write(lambda connection: store.write(connection, [other]))
    database.close()

    with pytest.raises(NotReady, match="other features"):
        reader.read(["1145", "other"])
    assert set(reader.read(["1145"])) == {"1145"}


def test_a_lost_connection_is_made_again_once(settings: Settings, reader: Reader) -> None:
    assert reader.read(["1145"])
    if not reader.waits:
        pytest.skip("SQLite has no connection to lose")
    url = make_url(settings.database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as other:
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )

    assert set(reader.read(["1145"])) == {"1145"}


def test_a_server_that_is_away_is_busy() -> None:
    reader = Reader(Settings(db_url="postgresql://nobody@127.0.0.1:9/none"))

    with pytest.raises(Busy, match="busy or away"):
        reader.read(["1145"])


def test_without_a_store_the_reason_is_given(tmp_path: Path) -> None:
    reader = Reader(Settings(home=tmp_path))

    with pytest.raises(NotReady, match="perennial score, or perennial worker"):
        reader.read(["1145"])
    sqlite3.connect(tmp_path / "programme.db").close()
    with pytest.raises(NotReady, match="perennial score, or perennial worker"):
        reader.read(["1145"])
    assert not (tmp_path / "programme.db").stat().st_size


def test_a_damaged_file_answers_nothing(tmp_path: Path) -> None:
    (tmp_path / "programme.db").write_bytes(b"no database " * 1000)

    with pytest.raises(StorageFailed, match="damaged"):
        Reader(Settings(home=tmp_path)).read(["1145"])


def test_a_file_that_was_put_in_its_place_is_read(
    make_settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, restored = make_settings(), make_settings()
    if settings.db_url:
        pytest.skip("a server's files are its own")
    _hold(settings, replace(MEMBER, seq=7))
    _hold(restored, replace(MEMBER, seq=9))
    monkeypatch.setattr("serving.online.reader.SAME_FILE_SECONDS", 0.0)
    reader = Reader(settings)
    assert reader.read(["1145"])["1145"].seq == 7

    (restored.home / "programme.db").replace(settings.home / "programme.db")

    assert reader.read(["1145"])["1145"].seq == 9
    reader.close()


def _hold(settings: Settings, member: StoredMember) -> None:
    """Write a member, and leave all of the database in its one file."""
    database = Database.open(settings)
    store = OnlineStore(database)
    database.write(lambda connection: store.write(connection, [member]))
    with database.engine.connect() as connection:
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    database.close()
