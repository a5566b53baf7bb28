"""The worker publishes a night once the night is whole; until then members keep what they had."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from features import snapshot as snapshots
from features.segments import segmentation
from features.tags import store as tags
from serving import publishing
from serving.online import changes, leases
from serving.online.publish import publish
from serving.online.store import OnlineStore
from serving.online.tables import ONLINE_MEMBERS
from serving.online.worker import GIVES_WAY_AFTER, GIVES_WAY_SECONDS_MAX, Scorer, Worker
from serving.publishing import publish_latest
from tests.little_programme import AS_OF, LittleProgramme
from tests.serving.online.hot_home import NOW, HotHome, line, make
from tests.serving.test_live import wait_for
from training.champions import Champions


@pytest.fixture
def home(trained: LittleProgramme, tmp_path: Path) -> HotHome:
    """Return a home whose members are shown with tags, and bought on the day after."""
    champions = Champions.load(trained.settings)
    made = make(trained, tmp_path, champions)
    tags.build(made.settings, AS_OF)
    publish(made.settings, made.database, champions, made.snapshot, NOW)
    made.take([line("m001", "fresh")])
    return made


def worker(home: HotHome) -> Worker:
    return Worker(home.settings, home.database, "one", lambda: NOW + timedelta(hours=7))


def test_a_snapshot_without_tags_waits_for_them_and_nobody_loses_one(
    home: HotHome, caplog: pytest.LogCaptureFixture
) -> None:
    before = OnlineStore(home.database).publication()
    assert before is not None and before.as_of == AS_OF
    night, _ = home.night()
    head = changes.head(home.database)

    with caplog.at_level(logging.WARNING):
        worker(home).once()

    assert OnlineStore(home.database).publication() == before
    assert "has no tags yet" in caplog.text and "perennial score" in caplog.text
    lost = [
        one for one in changes.since(home.database, head, 500, ["tag"]).changes if one.after is None
    ]
    assert lost == []

    tags.build(home.settings, night.as_of)
    worker(home).once()

    last = OnlineStore(home.database).publication()
    assert last is not None and last.snapshot == night.path.name


@pytest.mark.parametrize("same", [True, False])
def test_whoever_is_publishing_is_waited_for(
    home: HotHome, monkeypatch: pytest.MonkeyPatch, *, same: bool
) -> None:
    monkeypatch.setattr(publishing, "LOOK_SECONDS", 0.05)
    if not same:
        home.night()
    segmentation.build(home.settings, snapshots.latest(home.settings).as_of)
    now = NOW + timedelta(hours=7)
    leases.take(home.database, [leases.PUBLISHING], "another", now, leases.PUBLISHING_LASTS)

    said: list[str] = []

    def tell(told: str) -> None:
        said.append(told)
        if "waiting for it" in told:
            leases.release(home.database, "another")

    done = publish_latest(home.settings, now, tell)

    assert any("waiting for it" in one for one in said)
    assert (done is None) is same
    last = OnlineStore(home.database).publication()
    assert last is not None and last.snapshot == snapshots.latest(home.settings).path.name


def behind(home: HotHome) -> list[str]:
    """Return whose scores are older than her features."""
    columns = ONLINE_MEMBERS.c
    with home.database.read() as connection:
        late = select(columns.member_id).where(columns.scores_seq < columns.seq)
        return list(connection.execute(late).scalars())


def test_scores_apart_are_made_by_the_scorer_and_hold_up_no_features(home: HotHome) -> None:
    def clock() -> datetime:
        return NOW + timedelta(hours=7)

    features = Worker(home.settings, home.database, "one", clock, scores_apart=True)
    scores = Scorer(home.settings, home.database, "one", clock)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(features.run)
        try:
            wait_for(lambda: features.totals.rows > 0)
            assert features.totals.scored == 0
            assert behind(home) == ["m001"]
            second = pool.submit(scores.run)
            wait_for(lambda: not behind(home))
        finally:
            features.stopped.set()
            scores.stopped.set()
        assert (first.result().scored, second.result().rows) == (0, 0)
    assert scores.totals.scored >= 1
    apart = OnlineStore(home.database).read(["m001"])["m001"]

    home.database.write(lambda c: c.execute(update(ONLINE_MEMBERS).values(scores_seq=-1)))
    worker(home).once()
    together = OnlineStore(home.database).read(["m001"])["m001"]
    assert apart.scores == together.scores
    assert apart.scores["value"] is not None


def test_a_scorer_publishes_nothing_and_takes_no_parts(home: HotHome) -> None:
    night, _ = home.night()
    tags.build(home.settings, night.as_of)
    before = OnlineStore(home.database).publication()
    scores = Scorer(home.settings, home.database, "one", lambda: NOW + timedelta(hours=7))

    scores.once()

    assert OnlineStore(home.database).publication() == before
    assert leases.of(home.database, "one-scores", NOW + timedelta(hours=7)) == frozenset()
    assert scores.totals.rows == 0


def test_scores_give_way_to_features_that_are_late_but_not_for_ever(home: HotHome) -> None:
    moment = NOW
    scorer = Scorer(home.settings, home.database, "one", lambda: moment)
    assert not scorer._gives_way()
    home.take([line("m001", "o")])
    moment = NOW + GIVES_WAY_AFTER
    assert not scorer._gives_way()

    moment = NOW + 2 * GIVES_WAY_AFTER
    assert scorer._gives_way()

    scorer._worked_at -= GIVES_WAY_SECONDS_MAX
    assert not scorer._gives_way()
