"""What follows the scoring of a night: segments and tags are made, and everybody is published."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from features import snapshot
from features.segments import segmentation
from features.tags import store
from programme.database import Database
from programme.settings import Settings
from serving.online.publish import BeingPublished, Published, is_due, publish
from training.champions import Champions

LOOK_SECONDS = 1.0
Tell = Callable[[str], None]


def publish_latest(
    settings: Settings, now: datetime, tell: Tell = lambda _: None
) -> Published | None:
    """Write everybody of the newest snapshot to the online store, from which the service answers.

    Where another process, such as a worker, is writing everybody, it is waited for.

    Parameters
    ----------
    now : zoned

    Returns
    -------
    what was written; None: what another process has written is the same

    Raises
    ------
    NotReady : if there is no snapshot or no champion
    InputRefused : if a rule of tags is wrong; nothing was published
    """
    begun = time.monotonic()
    taken = snapshot.latest(settings)
    champions = Champions.load(settings)
    database = Database.open(settings)
    try:
        segments = segmentation.build(settings, taken.as_of, tell).members_file
        store.build(settings, taken.as_of, tell, segments=segments)
        while True:
            present = now + timedelta(seconds=time.monotonic() - begun)
            try:
                return publish(settings, database, champions, taken, present, tell)
            except BeingPublished:
                tell("another process is writing everybody to the online store: waiting for it")
                time.sleep(LOOK_SECONDS)
            if not is_due(database, champions.versions, taken):
                return None
    finally:
        database.close()
