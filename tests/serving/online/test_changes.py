"""Whoever follows the cursor reads every change once, in order."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from programme.database import Database
from programme.settings import Settings
from serving.online import changes
from serving.online.changes import Change, CursorTooOld, CursorUnknown, Page

NOW = datetime(2018, 1, 1, 3, tzinfo=UTC)
CALM: dict[str, Any] = {
    "risk_band": "low",
    "churn_probability": 0.1,
    "churn_version": 3,
    "stage": "mature",
    "segments": {"rfm_group": "loyal", "cluster": "2"},
    "tags": ["coffee_lover"],
}
traits = st.fixed_dictionaries(
    {
        "risk_band": st.sampled_from(["low", "medium", "high", None]),
        "stage": st.sampled_from(["new", "mature", "lost", None]),
        "segments": st.dictionaries(
            st.sampled_from(["rfm_group", "cluster", "自己的"]),
            st.sampled_from(["a", "b", 3, None]),
        ),
        "tags": st.lists(st.sampled_from(["coffee", "weekend", "价格敏感"]), unique=True),
    }
)


def record(database: Database, *moved: changes.Moved, now: datetime = NOW) -> int:
    return database.write(lambda connection: changes.record_many(connection, moved, now))


def told(page: Page) -> list[tuple[str, str, str | None, str | None]]:
    return [(one.what, one.name, one.before, one.after) for one in page.changes]


def follow(database: Database, position: int = 0, limit: int = 3) -> Iterator[Change]:
    """Yield changes page after page until there is nothing more."""
    while True:
        page = changes.since(database, position, limit)
        yield from page.changes
        position = page.position
        if not page.more:
            return


def test_a_band_a_stage_a_segment_and_a_tag_that_change_are_told(database: Database) -> None:
    after = {
        **CALM, "risk_band": "high", "churn_probability": 0.7, "stage": "declining",
        "segments": {"rfm_group": "at_risk", "cluster": "2"}, "tags": ["tea_lover"],
    }  # fmt: skip

    assert record(database, ("1145", CALM, after)) == 5
    page = changes.since(database, 0, 10)
    assert told(page) == [
        ("risk_band", "", "low", "high"),
        ("stage", "", "mature", "declining"),
        ("segment", "rfm_group", "loyal", "at_risk"),
        ("tag", "tea_lover", None, "held"),
        ("tag", "coffee_lover", "held", None),
    ]
    assert {(one.member_id, one.changed_at) for one in page.changes} == {("1145", NOW)}
    assert (page.position, page.more) == (5, False)


def test_another_probability_in_the_same_band_is_no_change(database: Database) -> None:
    assert record(database, ("1145", CALM, {**CALM, "churn_probability": 0.2})) == 0
    assert changes.head(database) == 0


def test_of_a_new_member_everything_is_told(database: Database) -> None:
    record(database, ("1145", None, CALM))

    assert told(changes.since(database, 0, 10)) == [
        ("risk_band", "", None, "low"),
        ("stage", "", None, "mature"),
        ("segment", "rfm_group", None, "loyal"),
        ("segment", "cluster", None, "2"),
        ("tag", "coffee_lover", None, "held"),
    ]


def test_of_a_member_who_is_gone_everything_ends(database: Database) -> None:
    record(database, ("1145", None, CALM))
    record(database, ("1145", CALM, None))

    page = changes.since(database, 5, 10)
    assert told(page) == [
        ("risk_band", "", "low", None),
        ("stage", "", "mature", None),
        ("segment", "rfm_group", "loyal", None),
        ("segment", "cluster", "2", None),
        ("tag", "coffee_lover", "held", None),
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from("abc"), traits), max_size=12),
       limit=st.integers(1, 7))  # fmt: skip
def test_changes_applied_in_order_lead_to_where_everybody_stands(
    database: Database, steps: list[tuple[str, dict[str, Any]]], limit: int
) -> None:
    begin = changes.head(database)
    stands: dict[str, dict[str, Any]] = {}
    for member_id, after in steps:
        record(database, (member_id, stands.get(member_id), after))
        stands[member_id] = after

    replica: dict[tuple[str, str, str], str] = {}
    positions = []
    for one in follow(database, begin, limit):
        key = (one.member_id, one.what, one.name)
        assert replica.get(key) == one.before
        if one.after is None:
            del replica[key]
        else:
            replica[key] = one.after
        positions.append(one.position)

    assert positions == list(range(begin + 1, begin + 1 + len(positions)))
    wanted: dict[tuple[str, str, str], str] = {}
    for member_id, has in stands.items():
        wanted |= {(member_id, w, ""): has[w] for w in ("risk_band", "stage") if has[w]}
        wanted |= {(member_id, "segment", n): str(v) for n, v in has["segments"].items() if v}
        wanted |= {(member_id, "tag", tag): "held" for tag in has["tags"]}
    assert replica == wanted


def test_a_reader_beside_many_writers_misses_nothing_and_reads_nothing_twice(
    make_settings: Callable[[], Settings],
) -> None:
    database = Database.open(make_settings())
    writers, rounds = 4, 15

    def write(name: str) -> None:
        other = Database(database.engine)
        before: dict[str, Any] = {"risk_band": "low"}
        for _ in range(rounds):
            after = {"risk_band": "high" if before["risk_band"] == "low" else "low"}
            other.write(lambda c: changes.record(c, name, before, after, NOW))  # noqa: B023
            before = after

    threads = [threading.Thread(target=write, args=(f"m{n}",)) for n in range(writers)]
    seen: list[Change] = []
    for thread in threads:
        thread.start()
    position, last_round = 0, False
    while not last_round:
        last_round = not any(thread.is_alive() for thread in threads)
        page = changes.since(database, position, 5)
        while page.more:
            seen += page.changes
            page = changes.since(database, page.position, 5)
        seen += page.changes
        position = page.position
    database.close()

    assert [one.position for one in seen] == list(range(1, writers * rounds + 1))
    for name in {one.member_id for one in seen}:
        own = [one for one in seen if one.member_id == name]
        assert [one.before for one in own[1:]] == [one.after for one in own[:-1]]


def test_work_that_is_undone_leaves_no_gap(database: Database) -> None:
    def fail(connection: Any) -> None:
        changes.record(connection, "1", None, CALM, NOW)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        database.write(fail)
    record(database, ("2", None, {"stage": "new"}))

    assert [one.position for one in follow(database)] == [1]


def test_kinds_that_are_not_asked_for_are_passed_over_for_good(database: Database) -> None:
    record(database, ("1", None, CALM))

    page = changes.since(database, 0, 10, ["stage"])

    assert told(page) == [("stage", "", None, "mature")]
    assert page.position == 5  # beyond the last change, of whatever kind


def test_a_full_page_goes_on_after_its_last_change(database: Database) -> None:
    record(database, ("1", None, CALM))

    page = changes.since(database, 0, 1, ["segment"])

    assert (page.position, page.more) == (3, True)
    rest = changes.since(database, page.position, 1, ["segment"])
    assert told(rest) == [("segment", "cluster", None, "2")]
    assert not rest.more


def test_what_is_old_is_forgotten_and_a_cursor_from_before_is_refused(database: Database) -> None:
    for day in range(5):
        record(database, (f"m{day}", None, {"stage": "new"}), now=NOW + timedelta(days=day))

    assert changes.forget(database, NOW + timedelta(days=3)) == 3

    with pytest.raises(CursorTooOld, match="export everything"):
        changes.since(database, 2, 10)
    assert [one.member_id for one in changes.since(database, 3, 10).changes] == ["m3", "m4"]
    assert changes.since(database, 5, 10).changes == ()


def test_positions_go_on_when_everything_was_forgotten(database: Database) -> None:
    record(database, ("1", None, CALM))

    assert changes.forget(database, NOW + timedelta(days=99)) == 4
    record(database, ("1", CALM, {**CALM, "stage": "lost"}))

    assert [one.position for one in changes.since(database, 5, 10).changes] == [6]


def test_a_cursor_of_another_database_is_refused(database: Database) -> None:
    record(database, ("1", None, CALM))

    with pytest.raises(CursorUnknown):
        changes.since(database, 6, 10)


def test_from_the_position_before_a_moment_every_later_change_is_found(database: Database) -> None:
    assert changes.last_before(database, NOW) == 0
    for day in range(4):
        record(database, ("1", None, {"stage": str(day)}), now=NOW + timedelta(days=day))

    assert changes.last_before(database, NOW + timedelta(days=1, hours=1)) == 2
    assert changes.last_before(database, NOW - timedelta(days=1)) == 0
    changes.forget(database, NOW + timedelta(days=2))
    assert changes.last_before(database, NOW + timedelta(days=1)) is None
