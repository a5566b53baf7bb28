"""A little programme whose members stand in the online store, with segments and tags."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from features import snapshot
from features.segments import segmentation
from features.tags import store as tags
from programme.settings import Settings
from serving.batch import score_all
from serving.live import Live
from serving.online.publish import publish
from serving.points import PointsDesk
from tests.little_programme import AS_OF, LittleProgramme
from training.champions import Champions

PUBLISHED_AT = datetime(2024, 9, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Published:
    """A home everybody of which is in the store, and the desks over it."""

    settings: Settings
    live: Live
    desk: PointsDesk


def publish_all(trained: LittleProgramme, home: Path) -> Published:
    """Copy a trained home and publish its members; the models stay where they are."""
    shutil.copytree(trained.settings.home, home, dirs_exist_ok=True)
    settings = trained.settings.model_copy(update={"home": home})
    made = segmentation.build(settings, AS_OF)
    tags.build(settings, AS_OF, segments=made.members_file)
    score_all(settings, AS_OF, None, _quiet)
    desk = PointsDesk(settings)
    champions = Champions.load(settings)
    publish(settings, desk.database, champions, snapshot.build(settings, AS_OF), PUBLISHED_AT)
    live = Live()
    assert live.refresh(settings)
    return Published(settings, live, desk)


def _quiet(_: str) -> None:
    pass
