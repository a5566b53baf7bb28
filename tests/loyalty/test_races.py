"""Many writers at once, on the real engines: nothing is overspent, doubled or lost."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, select, text

from loyalty.errors import InsufficientPoints, PostingConflict, PostingRefused
from loyalty.expiry import settle_due
from loyalty.idempotency import forget, once
from loyalty.lasting import Lasting
from loyalty.orders import take_purchases
from loyalty.points import balance, ledger, post
from loyalty.postings import Posting, Request
from loyalty.tables import ACCOUNTS, POSTINGS
from loyalty.terms import Terms
from loyalty.verify import verify
from programme import database as databases
from programme.database import Busy, Database
from programme.settings import Settings
from tests.loyalty import shop
from tests.loyalty.conftest import new_postgres

NOW = datetime(2018, 3, 9, 17, tzinfo=UTC)
TERMS = Terms("UTC", lasting=Lasting("days", 30))
AT_ONCE = 10
Result = TypeVar("Result")


def at_once(work: Callable[[int], Result], times: int) -> list[Result]:
    """Carry out `work` many times, all released at the same moment."""
    gate = threading.Barrier(min(AT_ONCE, times))

    def released(number: int) -> Result:
        if number < gate.parties:
            gate.wait(30)
        return work(number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(released, range(times)))


def _open(settings: Settings, _: int) -> Database:
    return Database.open(settings)


def tried(database: Database, request: Request) -> str:
    try:
        post(database, TERMS, request, now=NOW)
    except PostingRefused as refused:
        return type(refused).__name__
    return "posted"


def test_of_fifty_redemptions_at_once_exactly_those_that_are_affordable_succeed(
    database: Database,
) -> None:
    post(database, TERMS, Request("EARN", "e1", "ann", 700), now=NOW)
    post(database, TERMS, Request("EARN", "e2", "ann", 550), now=NOW)

    outcomes = at_once(lambda n: tried(database, Request("REDEEM", f"r{n}", "ann", 100)), 50)

    assert Counter(outcomes) == {"posted": 12, "InsufficientPoints": 38}
    assert balance(database, TERMS, "ann", now=NOW).active == 50
    assert not verify(database).violations


def test_of_two_hundred_deliveries_one_has_an_effect(database: Database) -> None:
    request = Request("EARN", "e", "ann", 100)

    answers = at_once(lambda _: post(database, TERMS, request, now=NOW), 200)

    assert set(answers) == {answers[0]}
    assert balance(database, TERMS, "ann", now=NOW).active == 100


def test_a_redemption_of_all_she_has_answers_every_delivery_alike(database: Database) -> None:
    # Who waited for the lock finds no points left, and must find that she was served.
    post(database, TERMS, Request("EARN", "e1", "ann", 700), now=NOW)
    request = Request("REDEEM", "r", "ann", 700)

    answers = at_once(lambda _: post(database, TERMS, request, now=NOW), 50)

    assert set(answers) == {answers[0]}
    assert balance(database, TERMS, "ann", now=NOW).active == 0


def test_one_id_for_two_members_is_one_posting_and_a_conflict(database: Database) -> None:
    outcomes = at_once(
        lambda n: tried(database, Request("EARN", "same", f"member-{n % 2}", 100)), 10
    )

    assert outcomes.count("posted") == 5
    assert outcomes.count(PostingConflict.__name__) == 5
    assert not verify(database).violations


def test_one_order_delivered_by_many_at_once_earns_once(database: Database) -> None:
    book = shop.rulebook()
    lines = [shop.purchase("o1", 10_00), shop.purchase("o1", 20_00)]

    def deliver(number: int) -> None:
        take_purchases(database, book, lines if number % 2 else lines[:1], now=shop.NOW)

    at_once(deliver, 20)

    found = balance(database, book.terms(shop.NOW), "ann", now=shop.NOW)
    assert found.active == 30_00
    assert not verify(database).violations


def test_one_key_used_by_many_at_once_has_one_answer(database: Database) -> None:
    def work(connection: Connection, number: int) -> tuple[int, str]:
        return once(connection, "route", "key", "same", lambda: (200, str(number)), now=NOW)

    answers = at_once(lambda n: database.write(lambda c: work(c, n)), 20)

    assert len(set(answers)) == 1


def test_a_key_is_forgotten_after_thirty_days(database: Database) -> None:
    def ask(answer: str, moment: datetime) -> tuple[int, str]:
        return database.write(
            lambda c: once(c, "route", "key", "same", lambda: (200, answer), now=moment)
        )

    ask("first", NOW)

    assert forget(database, now=NOW + timedelta(days=30)) == 0
    assert ask("second", NOW + timedelta(days=30)) == (200, "first")
    assert forget(database, now=NOW + timedelta(days=30, seconds=1)) == 1
    assert ask("third", NOW + timedelta(days=31)) == (200, "third")


def test_transfers_that_cross_neither_block_each_other_nor_lose_a_point(
    database: Database,
) -> None:
    for member in ("ann", "bob"):
        post(database, TERMS, Request("EARN", member, member, 1_000), now=NOW)

    def cross(number: int) -> str:
        giver, receiver = ("ann", "bob") if number % 2 else ("bob", "ann")
        return tried(database, Request("TRANSFER", f"t{number}", giver, 7, to_member_id=receiver))

    assert set(at_once(cross, 40)) == {"posted"}
    assert sum(balance(database, TERMS, m, now=NOW).active for m in ("ann", "bob")) == 2_000
    assert not verify(database).violations


def test_expiry_and_redemption_at_the_boundary_never_both_take_a_point(
    database: Database,
) -> None:
    for number in range(20):
        member = f"m{number}"
        post(
            database,
            TERMS,
            Request("EARN", member, member, 10, lasting=Lasting("days", 0)),
            now=NOW,
        )
    end = datetime(2018, 3, 10, tzinfo=UTC)

    def race(number: int) -> None:
        if number % 4 == 0:
            settle_due(database, TERMS, now=end, members_at_once=3)
            return
        # Half of the clocks are a second behind.
        moment = end - timedelta(seconds=number % 2)
        request = Request("REDEEM", f"r{number}", f"m{number % 20}", 10)
        try:
            post(database, TERMS, request, now=moment)
        except InsufficientPoints:
            return

    at_once(race, 40)
    settle_due(database, TERMS, now=end)

    for number in range(20):
        kinds = [posting.kind for posting in ledger(database, f"m{number}")]
        assert kinds in (["EXPIRE", "EARN"], ["REDEEM", "EARN"])
    assert not verify(database).violations


def test_a_deadlock_is_tried_again_and_both_come_through(database: Database) -> None:
    if database.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time: nothing can be locked the other way round")
    for member in ("ann", "bob"):
        post(database, TERMS, Request("EARN", member, member, 100), now=NOW)
    both_hold_one = threading.Barrier(2)
    tries: Counter[int] = Counter()

    def crossed(number: int) -> None:
        order = ["ann", "bob"] if number else ["bob", "ann"]

        def work(connection: Connection) -> None:
            tries[number] += 1
            for place, member in enumerate(order):
                connection.execute(
                    select(ACCOUNTS).where(ACCOUNTS.c.member_id == member).with_for_update()
                )
                if place == 0 and tries[number] == 1:
                    both_hold_one.wait(30)

        database.write(work)

    at_once(crossed, 2)

    assert sorted(tries.values()) == [1, 2]


def test_a_serialization_failure_is_tried_again(database: Database) -> None:
    if database.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time: every order of writes is serial")
    post(database, TERMS, Request("EARN", "e", "ann", 100), now=NOW)
    both_have_read = threading.Barrier(2)
    tries: Counter[int] = Counter()

    def add(number: int) -> None:
        def work(connection: Connection) -> None:
            tries[number] += 1
            connection.execute(text("set transaction isolation level serializable"))
            seen = connection.execute(select(ACCOUNTS.c.spent)).scalar_one()
            if tries[number] == 1:
                both_have_read.wait(30)
            connection.execute(ACCOUNTS.update().values(spent=seen + 1))

        database.write(work)

    at_once(add, 2)

    with database.read() as connection:
        assert connection.execute(select(ACCOUNTS.c.spent)).scalar_one() == 2
    assert sorted(tries.values()) == [1, 2]


def test_a_lock_that_is_held_makes_writers_give_up_and_readers_go_on(
    make_settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.3)
    monkeypatch.setattr(databases, "_POSTGRES_OPTIONS", "-c lock_timeout=300")
    settings = make_settings()
    database, holder = Database.open(settings), Database.open(settings)
    post(database, TERMS, Request("EARN", "e", "ann", 100), now=NOW)

    def hold(connection: Connection) -> None:
        connection.execute(ACCOUNTS.update().values(spent=0))
        with pytest.raises(Busy, match="Nothing was changed"):
            post(database, TERMS, Request("REDEEM", "r", "ann", 10), now=NOW)
        assert balance(database, TERMS, "ann", now=NOW).active == 100

    holder.write(hold)
    post(database, TERMS, Request("REDEEM", "r", "ann", 10), now=NOW)

    assert balance(database, TERMS, "ann", now=NOW).active == 90
    for opened in (database, holder):
        opened.close()


def test_those_who_open_a_new_ledger_at_once_all_find_it_made(
    postgres_url: str, tmp_path: Path
) -> None:
    for settings in (
        Settings(home=tmp_path / "new"),
        Settings(home=tmp_path, db_url=new_postgres(postgres_url)),
    ):
        opened = at_once(partial(_open, settings), 4)

        with opened[0].read() as connection:
            assert connection.execute(select(POSTINGS)).all() == []
        for database in opened:
            database.close()


def test_what_a_writer_answered_is_what_a_reader_sees(database: Database) -> None:
    def write_and_read(number: int) -> tuple[Posting, list[Posting]]:
        member = f"m{number % 5}"
        posting = post(database, TERMS, Request("EARN", f"e{number}", member, 1), now=NOW)
        return posting, ledger(database, member)

    for posting, seen in at_once(write_and_read, 40):
        assert posting in seen
