"""Where only events came, only what reads events is computed again, and the night agrees."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from features import table
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from serving.online.flush import flush
from serving.online.refresh import Refresher
from serving.online.store import NUMBERS, OnlineStore, StoredMember
from serving.online.tables import ONLINE_MEMBERS, PARTS
from tests.little_programme import AS_OF
from tests.serving.online import hot_home
from tests.serving.online.hot_home import NOW, HotHome, event, line

VIEWS = NUMBERS.index("views_28d")


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Note who is computed whole, step by step."""
    steps: list[set[str]] = []
    anew = Refresher._anew

    def noting(worker: Refresher, *given: Any, **named: Any) -> Any:
        frame, scores = anew(worker, *given, **named)
        if not named["scored"]:
            steps.append({str(one) for one in frame.index})
        return frame, scores

    monkeypatch.setattr(Refresher, "_anew", noting)
    return steps


def of(home: HotHome, name: str) -> StoredMember:
    return OnlineStore(home.database).read([name])[name]


def look_ahead(worker: Refresher, parts: range = range(PARTS)) -> int:
    members = 0
    while (done := worker.look_ahead(parts, NOW, limit=7)).members:
        members += done.members
    return members


def assert_features_of_the_night(home: HotHome, n_members: int) -> None:
    # A night is built where something was bought.
    home.take([line("of whom nobody asks", "another")])
    frame = home.night()[0].features()
    store = OnlineStore(home.database).read([str(one) for one in frame.index])
    fresh = [row for row in store.values() if row.as_of == AS_OF + timedelta(days=1)]
    assert len(fresh) >= n_members
    for row in fresh:
        wanted = frame.loc[row.member_id, list(NUMBERS)].to_numpy(dtype=np.float64)
        np.testing.assert_allclose(
            row.features, wanted, rtol=1e-9, atol=1e-9, err_msg=row.member_id
        )


def test_the_groups_of_events_read_nothing_else_and_no_other_group_reads_them() -> None:
    relations = ("member_", "known_", "reference_", "keys_at_hand")

    assert [group.name for group in table.OF_EVENTS] == ["engagement"]
    for group in table.OF_EVENTS:
        rest = group.rows.replace("known_events", "").replace("member_id", "")
        assert not any(name in rest for name in relations)
        assert group.key == "member_id"
    for group in table.GROUPS:
        assert ("known_events" in group.rows) == (group in table.OF_EVENTS)


def test_an_event_leaves_what_was_bought_as_it_stands(home: HotHome, whole: list[set[str]]) -> None:
    with home.refresher() as worker:
        home.take([event("m001", "one"), event("m002", "two")])
        home.drain(worker)
        before = of(home, "m001")
        home.take([event("m001", "three"), line("m002", "o")], NOW + timedelta(minutes=1))
        home.drain(worker, NOW + timedelta(minutes=1))
        after = of(home, "m001")

    assert whole == [{"m001", "m002"}, {"m002"}]
    assert after.features[VIEWS] == before.features[VIEWS] + 1
    assert (after.seq, after.scores_seq) == (3, 3)
    assert after.data_as_of == NOW + timedelta(minutes=1)
    assert_features_of_the_night(home, 2)


def test_ahead_of_what_comes_everybody_is_seen_from_the_coming_midnight(
    home: HotHome, whole: list[set[str]]
) -> None:
    with home.refresher() as worker:
        n_members = look_ahead(worker)
        with home.database.read() as connection:
            rows = connection.execute(select(ONLINE_MEMBERS)).all()
        assert n_members == len(rows) == sum(map(len, whole))
        assert {row.as_of for row in rows} == {AS_OF + timedelta(days=1)}
        assert all(row.scores_seq == row.seq == 0 for row in rows)  # nothing to score again
        assert worker.look_ahead(range(PARTS), NOW).members == 0
        whole.clear()

        names = [str(row.member_id) for row in rows[:40]]
        home.take([event(name, f"{name}-{n}") for name in names for n in range(2)])
        home.drain(worker)

    assert not whole
    assert_features_of_the_night(home, len(rows))


def test_nobody_is_looked_ahead_for_where_nights_are_not_kept_up(home: HotHome) -> None:
    with home.refresher() as worker:
        assert worker.look_ahead(range(PARTS), NOW + timedelta(days=3)).members == 0
        assert worker.look_ahead(range(PARTS), NOW + timedelta(days=1), limit=3).members == 3


def test_each_worker_looks_ahead_for_its_own_parts(home: HotHome) -> None:
    with home.refresher() as worker:
        first = look_ahead(worker, range(PARTS // 2))
        rest = look_ahead(worker)
        with home.database.read() as connection:
            everybody = len(connection.execute(select(ONLINE_MEMBERS.c.member_id)).all())

    assert 0 < first < everybody
    assert first + rest == everybody


def test_looking_ahead_passes_over_nothing_that_came(home: HotHome) -> None:
    """A line that was flushed before anybody was refreshed is in the row, and still told of."""
    with home.refresher() as worker:
        home.take([event("m001", "one")])
        home.drain(worker)
        home.take([line("m001", "o")], NOW + timedelta(minutes=1))
        flush(home.database, home.settings, now=NOW + timedelta(minutes=2))
        worker.follow()
        look_ahead(worker)
        home.take([event("m001", "two")], NOW + timedelta(minutes=3))
        done = home.drain(worker, NOW + timedelta(minutes=3))

    assert done.rows == 2
    assert of(home, "m001").scores_seq == of(home, "m001").seq == 3
    assert_features_of_the_night(home, 1)


def test_a_line_flushed_while_it_waited_is_not_overlooked(
    home: HotHome, whole: list[set[str]]
) -> None:
    with home.refresher() as worker:
        home.take([event("m001", "one")])
        home.drain(worker)
        home.take([event("m001", "two"), line("m001", "o")], NOW + timedelta(seconds=1))
        flush(home.database, home.settings, now=NOW + timedelta(seconds=2))
        worker.follow()
        whole.clear()
        worker.refresh(range(PARTS), NOW + timedelta(seconds=3), limit=1)  # the event alone

    assert whole == [{"m001"}]
    assert_features_of_the_night(home, 1)


def test_what_another_worker_wrote_meanwhile_is_not_overlooked(home: HotHome) -> None:
    with home.refresher("one") as one, home.refresher("two") as two:
        home.take([event("m001", "one")])
        home.drain(one)
        later = NOW + timedelta(minutes=2)
        home.take([line("m001", "o")], later)
        home.drain(two, later)
        last = NOW + timedelta(minutes=4)
        home.take([event("m001", "two")], last)
        home.drain(one, last)

    assert_features_of_the_night(home, 1)


def test_a_batch_of_the_lake_begins_a_new_basis(
    home: HotHome, whole: list[set[str]], tmp_path: Path
) -> None:
    bought = tmp_path / "more.csv"
    bought.write_text("order,line,member,at,amount\nnew,1,m001,2024-09-02 10:00,42.00\n")
    mapping = {
        "source": "shop",
        "purchases": {
            "order": "order", "line": "line", "member": "member", "occurred_at": "at",
            "amount": "amount",
        },
    }  # fmt: skip
    with home.refresher() as worker:
        home.take([event("m001", "one")])
        home.drain(worker)
        ingest(Export([bought], Mapping.model_validate(mapping)), home.settings, NOW)
        worker.follow()
        whole.clear()
        home.take([event("m001", "two")], NOW + timedelta(minutes=1))
        home.drain(worker, NOW + timedelta(minutes=1))

    assert whole == [{"m001"}]
    assert_features_of_the_night(home, 1)


def test_a_flush_keeps_the_basis(home: HotHome, whole: list[set[str]]) -> None:
    with home.refresher() as worker:
        home.take([line("m001", "o"), event("m001", "one")])
        home.drain(worker)
        before = of(home, "m001").data_as_of
        flush(home.database, home.settings, now=NOW + timedelta(minutes=1))
        worker.follow()
        whole.clear()
        home.take([event("m001", "two")], NOW + timedelta(minutes=2))
        home.drain(worker, NOW + timedelta(minutes=2))

    assert not whole
    assert of(home, "m001").data_as_of == before + timedelta(minutes=2)
    assert_features_of_the_night(home, 1)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 9))]
)
def test_any_day_looked_ahead_for_is_that_of_the_night(home: HotHome, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = hot_home.a_days_rows(seed, 60, n_members=25)
    rows += [event(f"m{rng.integers(0, 25):03d}", f"x{n}") for n in range(60)]
    rows = [rows[place] for place in rng.permutation(len(rows))]
    with home.refresher() as worker:
        for first in range(0, len(rows), 15):
            now = NOW + timedelta(seconds=first)
            home.take(rows[first : first + 15], now)
            home.drain(worker, now)
            if rng.random() < 0.4:
                worker.look_ahead(range(PARTS), now, limit=9)
            if rng.random() < 0.3:
                flush(home.database, home.settings, now=now)
                worker.follow()

    assert_features_of_the_night(home, 25)
