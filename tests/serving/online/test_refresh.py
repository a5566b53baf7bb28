"""What a worker computes is what that night's batch computes, for every member it touched."""

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import func, select

from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from serving.online import changes
from serving.online.flush import flush
from serving.online.publish import scores_of
from serving.online.store import NUMBERS, OnlineStore
from serving.online.tables import INBOX
from tests.little_programme import AS_OF
from tests.serving.online import hot_home
from tests.serving.online.hot_home import NOW, HotHome, event, line


def unshown(home: HotHome) -> int:
    waiting = select(func.count()).where(INBOX.c.refreshed_at.is_(None))
    with home.database.read() as connection:
        return int(connection.execute(waiting).scalar_one())


def assert_equals_the_night(home: HotHome, members: list[str] | None = None) -> None:
    """Compare every row of the store whose day is the night's with the batch of that night."""
    built, view = home.night()
    frame = built.features()
    publication = OnlineStore(home.database).publication()
    assert publication is not None
    population = home.champions.expect(view, publication.percentiles)
    ids = [str(one) for one in frame.index]
    said = dict(zip(ids, home.champions.score(population, ids, churn=False), strict=True))
    rows = OnlineStore(home.database).read(ids)
    fresh = {name: row for name, row in rows.items() if row.as_of == built.as_of}
    assert fresh and (members is None or set(members) <= set(fresh))
    for name, row in fresh.items():
        np.testing.assert_allclose(
            row.features, frame.loc[name, list(NUMBERS)].to_numpy(dtype=np.float64),
            rtol=1e-9, atol=1e-9, err_msg=name,
        )  # fmt: skip
        assert row.population == frame.loc[name, "population"]
        for column, text in row.texts.items():
            assert frame.loc[name, column] == text
        place = ids.index(name)
        assert row.traits["churn_probability"] == pytest.approx(
            population.churn_probability[place], abs=1e-9
        )
        expected = scores_of(said[name])
        assert row.scores["next_products"] == expected["next_products"], name
        assert row.scores["next_order"] == expected["next_order"], name
        value = expected["value"]
        for fact in ("value_cents", "percentile", "margin_cents", "historic_cents", "raw_score"):
            assert row.scores["value"][fact] == pytest.approx(value[fact], abs=1e-6), (name, fact)


@pytest.mark.parametrize("seed", [1, 2])
def test_features_and_scores_are_those_of_the_nights_batch(home: HotHome, seed: int) -> None:
    rows = hot_home.a_days_rows(seed, 80)
    with home.refresher() as worker:
        for first in range(0, len(rows), 27):
            home.take(rows[first : first + 27], NOW + timedelta(seconds=first))
            home.drain(worker, NOW + timedelta(seconds=first))
    assert unshown(home) == 0

    assert_equals_the_night(home)


def test_a_line_is_shown_once_it_is_refreshed(home: HotHome) -> None:
    store = OnlineStore(home.database)
    orders = NUMBERS.index("orders_life")
    before = store.read(["m001"])["m001"]
    home.take([line("m001", "today"), event("m001", "seen")])

    with home.refresher() as worker:
        done = home.drain(worker)

    after = store.read(["m001"])["m001"]
    assert (done.rows, done.members, done.scored) == (2, 1, 1)
    assert after.features[orders] == before.features[orders] + 1
    assert after.as_of == AS_OF + timedelta(days=1)
    assert (after.seq, after.scores_seq) == (2, 2)
    assert after.data_as_of == NOW
    assert (
        after.scores["value"]["historic_cents"] == before.scores["value"]["historic_cents"] + 1250
    )


def test_a_new_member_is_there_with_her_first_line(home: HotHome) -> None:
    home.take([line("somebody new", "first")])

    with home.refresher() as worker:
        home.drain(worker)

    assert OnlineStore(home.database).read(["somebody new"])["somebody new"].population == "active"
    assert_equals_the_night(home, ["somebody new"])


def test_a_line_that_moves_to_another_member_leaves_the_first(home: HotHome) -> None:
    home.take([line("m001", "moves"), line("m002", "stays")])
    with home.refresher() as worker:
        home.drain(worker)
        home.take([line("m003", "moves")], NOW + timedelta(minutes=1))
        home.drain(worker, NOW + timedelta(minutes=1))
        home.take([event("m001", "later")], NOW + timedelta(minutes=2))
        home.drain(worker, NOW + timedelta(minutes=2))

    assert_equals_the_night(home, ["m001", "m002", "m003"])


def test_a_line_of_the_lake_is_corrected(home: HotHome) -> None:
    bought = pd.read_csv(home.settings.home / "till.csv").iloc[5]
    lake_line = line(
        "m007", str(bought["order"]), int(bought["line"]), product_id=str(bought["product"]),
        at=NOW - timedelta(days=3), net_cents=5, quantity=None, store_id=None,
    )  # fmt: skip
    home.take([lake_line])

    with home.refresher() as worker:
        home.drain(worker)

    assert_equals_the_night(home, ["m007", str(bought["member"])])


def test_who_has_no_purchase_left_is_no_member(home: HotHome) -> None:
    home.take([line("short", "o")])
    with home.refresher() as worker:
        home.drain(worker)
        home.take([line("m000", "o")], NOW + timedelta(minutes=1))
        home.drain(worker, NOW + timedelta(minutes=1))

    assert not OnlineStore(home.database).read(["short"])


def test_a_flush_and_a_batch_in_between_count_nothing_twice(home: HotHome, tmp_path: Path) -> None:
    home.take([line("m001", "one"), event("m002", "two")])
    with home.refresher() as worker:
        home.drain(worker)
        home.take([line("m001", "three"), line("new", "four")], NOW + timedelta(minutes=1))
        flush(home.database, home.settings, now=NOW + timedelta(minutes=2))
        worker.follow()
        home.take([line("m001", "five")], NOW + timedelta(minutes=3))
        home.drain(worker, NOW + timedelta(minutes=3))
        who = tmp_path / "who.csv"
        who.write_text(
            "source,key,member,at\ntill,m001,m-one,2024-09-02 10:00\n"
            "till,m002,m-one,2024-09-02 10:00\napp,m002,m-one,2024-09-02 10:00\n"
        )
        mapping = {
            "source": "crm",
            "identities": {"key": "key", "member": "member", "system": "source", "known_at": "at"},
        }
        ingest(Export([who], Mapping.model_validate(mapping)), home.settings, NOW)
        worker.follow()
        home.take([event("m002", "six")], NOW + timedelta(minutes=4))
        home.drain(worker, NOW + timedelta(minutes=4))

    assert set(OnlineStore(home.database).read(["m-one", "m001", "m002"])) == {"m-one"}
    assert_equals_the_night(home, ["m-one", "new"])


@pytest.mark.parametrize("damage", ["cut", "gone", "none", "left over"])
def test_a_damaged_cache_of_the_history_is_made_anew(home: HotHome, damage: str) -> None:
    home.take([line("m001", "one")])
    with home.refresher() as worker:
        home.drain(worker)
        folder = worker.history.path.with_suffix("")
    packed = sorted(folder.glob("*.arrow"))
    if damage == "cut":
        packed[0].write_bytes(packed[0].read_bytes()[:-20])
    if damage == "gone":
        packed[0].unlink()
    if damage == "left over":  # of a worker that was killed before it had said that it counts
        shutil.copy(packed[0], folder / "order_days-99.arrow")

    home.take([line("m001", "two")], NOW + timedelta(minutes=1))
    with home.refresher() as worker:
        home.drain(worker, NOW + timedelta(minutes=1))

    assert sorted(folder.glob("*.arrow")) == packed
    assert_equals_the_night(home, ["m001"])


def test_a_cache_with_a_hole_is_told_and_no_members_rows_are_set_aside(home: HotHome) -> None:
    home.take([line(f"m{number:03d}", "one") for number in range(100)])
    with home.refresher() as worker:
        path = next(worker.history.path.with_suffix("").glob("category_days-*.arrow"))
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 20)
            file.write(bytes(size // 2))

        with pytest.raises(OSError, match=r"is damaged.*Remove"):
            home.drain(worker)
        assert unshown(home) == 100

        worker.history.path.unlink()
    with home.refresher() as worker:
        home.drain(worker)

    assert unshown(home) == 0
    assert_equals_the_night(home, ["m001"])


def test_two_workers_write_the_same(home: HotHome) -> None:
    rows = hot_home.a_days_rows(3, 40)
    home.take(rows)
    with home.refresher("one") as one, home.refresher("two") as two:
        home.drain(one)
        first = OnlineStore(home.database).read([f"m{n:03d}" for n in range(140)])
        made = two._compute(list(first), two._relate(), NOW, scored=True)

    for member in made.members:
        row = first[member.member_id]
        if row.as_of == member.as_of:
            np.testing.assert_array_equal(row.features, member.features)
            assert row.seq == member.seq


def test_a_member_that_fails_is_set_aside_and_the_others_go_on(
    home: HotHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.take([line("m001", "a"), line("m002", "b"), line("m003", "c")])
    with home.refresher() as worker:
        compute = worker._compute

        def failing(names: list[str], last: int, now: object, *, scored: bool) -> object:
            if "m002" in names:
                raise ValueError("her row is poison")
            return compute(names, last, now, scored=scored)  # type: ignore[arg-type]

        monkeypatch.setattr(worker, "_compute", failing)
        said: dict[str, str] = {}
        for _ in range(4):
            said |= home.drain(worker).set_aside

    with home.database.read() as connection:
        whys = dict(connection.execute(select(INBOX.c.source_key, INBOX.c.why)).all())
    assert said == {"m002": "ValueError: her row is poison"}
    assert whys == {"m001": None, "m002": "ValueError: her row is poison", "m003": None}
    assert unshown(home) == 0


def test_what_changed_is_told(home: HotHome) -> None:
    head = changes.head(home.database)
    home.take([line("brand new", "x")])

    with home.refresher() as worker:
        home.drain(worker)

    page = changes.since(home.database, head, 100)
    assert ("brand new", "risk_band") in {(one.member_id, one.what) for one in page.changes}
