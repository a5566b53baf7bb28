"""The inbox keeps each version of a thing once, whoever hands it in, however often and at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text, update

from programme.database import Database
from programme.settings import Settings
from serving.online import inbox
from serving.online.inbox import KEPT, accept, forget, last_row, rows_between, waiting
from serving.online.rows import Row, content_of
from serving.online.store import part_of
from serving.online.tables import INBOX
from tests.serving.online.intake.till import NOW, event, hand_in, kept, line

TICK = timedelta(microseconds=1)


def test_a_row_is_kept_with_what_a_reader_needs(database: Database) -> None:
    rows: list[Row] = [line(), event(), line("o2", source_key=None)]

    found = hand_in(database, rows)

    assert [one.what for one in found] == ["new"] * 3
    stored = kept(database)
    assert sorted(one.seq for one in found) == [row.seq for row in stored]
    by_seq = {row.seq: row for row in stored}
    for row, one in zip(rows, found, strict=True):
        mine = by_seq[one.seq]
        assert (mine.kind, mine.key, mine.version) == (row.kind, row.key, 1)
        assert (mine.source_key, mine.part) == (row.source_key or "", part_of(row.source_key or ""))
        assert (mine.occurred_at, mine.accepted_at) == (row.occurred_at, NOW)
        assert mine.content == content_of(row)
    # Nobody waits for an anonymous line.
    assert [by_seq[one.seq].refreshed_at for one in found] == [None, None, NOW]
    assert waiting(database) == (2, NOW)


def test_said_again_it_is_known_and_said_otherwise_it_is_a_version(database: Database) -> None:
    later = NOW + timedelta(minutes=5)
    (first,) = hand_in(database, [line()])
    (again,) = hand_in(database, [line()], later)
    (other,) = hand_in(database, [line(net_cents=900)], later)
    (back,) = hand_in(database, [line()], later + TICK)

    assert [first.what, again.what, other.what, back.what] == ["new", "known", "version", "version"]
    assert again.seq == first.seq < other.seq < back.seq
    stored = kept(database)
    assert [row.version for row in stored] == [1, 2, 3]
    assert [row.accepted_at for row in stored] == [NOW, later, later + TICK]


def test_within_one_delivery_the_same_holds(database: Database) -> None:
    rows: list[Row] = [
        line(),
        line(),
        line(net_cents=5),
        event(),
        line(net_cents=5),
        line(),
        event(),
    ]

    found = hand_in(database, rows)

    what = [one.what for one in found]
    assert what == ["new", "known", "version", "new", "known", "version", "known"]
    assert found[0].seq == found[1].seq
    assert found[2].seq == found[4].seq
    # A later version is known later, or the lake could not tell which holds.
    moments = [row.accepted_at for row in kept(database) if row.kind == "purchase"]
    assert moments == [NOW, NOW + TICK, NOW + 2 * TICK]


def test_a_clock_that_goes_back_makes_no_correction_older(database: Database) -> None:
    hand_in(database, [line()])
    hand_in(database, [line(net_cents=5)], NOW - timedelta(hours=1))

    assert [row.accepted_at for row in kept(database)] == [NOW, NOW + TICK]


def test_an_event_is_one_thing_whichever_source_tells_of_it(database: Database) -> None:
    found = hand_in(database, [event("e1"), event("e1", source="app"), event("e2")])

    assert [one.what for one in found] == ["new", "version", "new"]


def test_text_of_every_script_comes_back_as_it_was(database: Database) -> None:
    odd = [
        "käse",
        "奶酪",
        "🧀",
        "a\"b'c\\d",
        "%(x)s :rows {0}",
        "\t\n\r\x01",
        "\u2028",
        "x" * 1_000,
    ]
    rows = [line(order_id=one, product_id=one) for one in odd]

    hand_in(database, rows)
    again = hand_in(database, rows)

    assert {one.what for one in again} == {"known"}
    assert {row.content for row in kept(database)} == {content_of(row) for row in rows}


KINDS = ["view", "cart"]
deliveries = st.lists(
    st.lists(
        st.builds(
            line, order_id=st.sampled_from("ab"), line_no=st.sampled_from("12"),
            net_cents=st.sampled_from([1, 2]),
        ) | st.builds(event, event_id=st.sampled_from("ab"), kind=st.sampled_from(KINDS)),
        min_size=1, max_size=6,
    ),
    max_size=6,
)  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries)
def test_it_is_what_a_list_of_the_changes_of_each_key_would_be(
    database: Database, given_rows: list[list[Row]]
) -> None:
    database.write(lambda connection: connection.execute(delete(INBOX)))
    said: dict[tuple[str, str], list[str]] = {}
    for n, rows in enumerate(given_rows):
        found = hand_in(database, rows, NOW + n * TICK)
        for row, one in zip(rows, found, strict=True):
            mine = said.setdefault((row.kind, row.key), [])
            what = "known" if mine and mine[-1] == content_of(row) else "version" if mine else "new"
            assert one.what == what
            if what != "known":
                mine.append(content_of(row))
    stored: dict[tuple[str, str], list[Any]] = {}
    for row in sorted(kept(database), key=lambda row: row.version):
        stored.setdefault((row.kind, row.key), []).append(row)
    assert {key: [row.content for row in rows] for key, rows in stored.items()} == said
    for versions in stored.values():
        moments = [row.accepted_at for row in versions]
        assert [row.version for row in versions] == list(range(1, len(versions) + 1))
        assert sorted(set(moments)) == moments


def test_of_two_hundred_at_once_one_is_kept(database: Database) -> None:
    start = threading.Barrier(20)

    def deliver(n: int) -> list[str]:
        if n < 20:
            start.wait()
        return [one.what for one in hand_in(database, [line(), event()])]

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(deliver, range(200)))

    assert sorted(what for one in found for what in one) == ["known"] * 398 + ["new"] * 2
    assert len(kept(database)) == 2


def test_two_who_hand_in_the_same_rows_in_other_orders_do_not_wait_for_each_other(
    database: Database,
) -> None:
    rows = [line(f"o{n}") for n in range(200)]
    start = threading.Barrier(4)

    def deliver(n: int) -> int:
        start.wait()
        mine = rows if n % 2 else rows[::-1]
        return sum(one.what == "new" for one in hand_in(database, mine))

    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(deliver, range(4)))

    assert sum(new) == 200
    assert len(kept(database)) == 200


def test_the_last_row_is_asked_for_when_nobody_below_it_still_writes(
    make_settings: Callable[[], Settings],
) -> None:
    database = Database.open(make_settings())
    if database.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    hand_in(database, [line("before")])
    with database.engine.connect() as slow:
        accept(slow, [line("slow")], NOW) if slow.begin() else None
        hand_in(database, [line("after")])  # numbered later, committed earlier

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(last_row, database)
            while not _somebody_waits(database):
                pass
            assert not asked.done()
            slow.commit()
            last = asked.result()

    rows = list(rows_between(database, 0, last))
    assert [row.seq for row in rows] == [1, 2, 3]
    assert last == 3
    database.close()


def _somebody_waits(database: Database) -> bool:
    with database.read() as connection:
        waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        return bool(connection.execute(text(waits)).scalar())


def test_rows_are_read_in_order_and_only_up_to_the_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "ROWS_AT_ONCE", 3)
    hand_in(database, [line(f"o{n}") for n in range(10)])

    assert [row.seq for row in rows_between(database, 2, 9)] == [3, 4, 5, 6, 7, 8, 9]
    assert list(rows_between(database, 10, last_row(database))) == []


def test_only_what_the_lake_holds_and_the_store_shows_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "ROWS_AT_ONCE", 2)
    old, young = NOW - KEPT - TICK, NOW - KEPT
    hand_in(database, [line(f"old{n}") for n in range(5)], old)
    hand_in(database, [line("young")], young)
    hand_in(database, [line("late")], old)
    shown = update(INBOX).where(INBOX.c.seq != 2).values(refreshed_at=datetime.now(UTC))
    database.write(lambda connection: connection.execute(shown))

    assert forget(database, 6, now=NOW) == 4

    assert [row.seq for row in kept(database)] == [2, 6, 7]
    assert forget(database, 6, now=NOW) == 0
    # Numbers are not given twice, whatever was forgotten.
    assert hand_in(database, [replace(line("next"))])[0].seq == 8


def test_what_fails_after_it_keeps_nothing(database: Database) -> None:
    def fail(connection: Any) -> None:
        accept(connection, [line()], NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(fail)

    assert kept(database) == []
    assert last_row(database) == 0
