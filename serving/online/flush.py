"""The inbox is flushed: one batch of the lake, which says itself how far it read.

Killed anywhere, it is as if it had not begun, or as if it had ended: the rename that names the
batch's rows also says which rows of the inbox they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from features.ingest import Ingested, ingest
from features.lake import Lake
from programme.database import Database
from programme.settings import Settings
from serving.online.inbox import Waiting, forget, last_row, waiting
from serving.online.inbox_feed import InboxFeed


@dataclass(frozen=True)
class Flushed:
    """What a flush did.

    Parameters
    ----------
    ingested : of the lake; None where nothing had come since the last flush
    position : the last row of the inbox that the lake holds, with all before
    forgotten : rows that nobody will send again and that were dropped
    """

    ingested: Ingested | None
    position: int
    forgotten: int


@dataclass(frozen=True)
class State:
    """What is in the inbox: its last row, the last that the lake holds, what is not shown yet."""

    last: int
    position: int
    waiting: Waiting


def flush(
    database: Database,
    settings: Settings,
    *,
    now: datetime,
    tell: Callable[[str], None] = lambda _: None,
) -> Flushed:
    """Bring what was accepted into the lake, then drop what is long settled.

    Raises
    ------
    NotReady : if another process writes the lake; nothing was changed.
    """
    last, done = last_row(database), None
    if last > position(settings):
        done = ingest(InboxFeed(database, settings, last), settings, now, tell, inbox_seq=last)
    reached = position(settings)
    return Flushed(done, reached, forget(database, reached, now=now))


def state(database: Database, settings: Settings) -> State:
    """Return how far things are."""
    return State(last_row(database), position(settings), waiting(database))


def position(settings: Settings) -> int:
    """Return the last row of the inbox that the lake of a home holds; 0: none."""
    lake = Lake(settings)
    return lake.inbox_position(lake.manifest())
