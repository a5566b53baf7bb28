"""What follows the scoring of a night: segments and tags are made, and everybody is published."""

from collections.abc import Callable
from datetime import datetime

from features import snapshot
from features.segments import segmentation
from features.tags import store
from programme.database import Database
from programme.settings import Settings
from serving.online.publish import Published, publish
from training.champions import Champions


def publish_latest(
    settings: Settings, now: datetime, tell: Callable[[str], None] = lambda _: None
) -> Published:
    """Write everybody of the newest snapshot to the online store, from which the service answers.

    Parameters
    ----------
    now : zoned

    Raises
    ------
    NotReady : if there is no snapshot or no champion, or another process is publishing
    """
    taken = snapshot.latest(settings)
    segments = segmentation.build(settings, taken.as_of, tell).members_file
    store.build(settings, taken.as_of, tell, segments=segments)
    champions = Champions.load(settings)
    database = Database.open(settings)
    try:
        return publish(settings, database, champions, taken, now, tell)
    finally:
        database.close()
