"""The worker publishes a night once the night is whole; until then members keep what they had."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from features import snapshot as snapshots
from features.segments import segmentation
from features.tags import store as tags
from serving import publishing
from serving.online import changes, leases
from serving.online.publish import publish
from serving.online.store import OnlineStore
from serving.online.worker import Worker
from serving.publishing import publish_latest
from tests.little_programme import AS_OF, LittleProgramme
from tests.serving.online.hot_home import NOW, HotHome, line, make
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
