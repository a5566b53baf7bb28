"""Those who are told of changes as they happen: signed webhooks, each at its own pace.

A hook has a position among the changes. What comes after it is posted in batches; the position
moves once the receiver said that it took the batch, and not before. A batch is fixed before it is
sent, and its key names it: a receiver that is sent the same batch again, because we did not hear
its answer, does it once. A receiver that is slow or down waits longer each time, and no other
hook waits for it.
"""

import json
import logging
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection, Row, select, update

from actions.dispatch import Undelivered
from programme.database import Database
from programme.errors import NotReady
from serving import webhooks
from serving.online import changes, cursor, outward
from serving.online.changes import Page
from serving.online.receivers import kinds_of, route_of
from serving.online.tables import CHANGE_HOOKS

BATCH = 500
# As many at a time are told; in one go each of them gets at most so many batches.
HOOKS_AT_ONCE, BATCHES_AT_ONCE = 8, 20
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=15)
# Nobody else sends a batch for so long; a post that hangs is given up well before.
CLAIM = timedelta(seconds=90)

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")


@dataclass
class Told:
    """What one go of telling did; `failed` has the reason by hook."""

    batches: int = 0
    changes: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Post(Protocol):
    """Something that takes a batch to its receiver."""

    def __call__(self, url: str, headers: dict[str, str], body: bytes, *, inside: bool) -> int:
        """Return the status of the answer, or raise `Undelivered`."""


class Teller:
    """Tells hooks beside whatever else its owner does: one that is slow holds up itself alone.

    Several processes may have one: one of them at a time has a hook.

    Parameters
    ----------
    now : returns the present instant
    """

    def __init__(
        self, database: Database, now: Callable[[], datetime], *, post: Post = outward.post
    ) -> None:
        self._database = database
        self._now = now
        self._post = post
        self._several = ThreadPoolExecutor(HOOKS_AT_ONCE, "hooks")
        self._busy: dict[str, Future[Told]] = {}

    def tell(self) -> Told:
        """Begin with every hook that is due, wait for none; return what was done since last."""
        done = self._collected(wait_for_all=False)
        with self._database.read() as connection:
            behind = CHANGE_HOOKS.c.position < changes.last_position(connection)
            due = behind & (CHANGE_HOOKS.c.due_at <= self._now())
            listed = select(CHANGE_HOOKS.c.hook_id).where(due).order_by(CHANGE_HOOKS.c.due_at)
            hook_ids = connection.execute(listed).scalars().all()
        for hook_id in hook_ids:
            if hook_id not in self._busy:
                work = self._several.submit(
                    _deliver, self._database, hook_id, self._now, self._post
                )
                self._busy[hook_id] = work
        return done

    def wait(self) -> None:
        """Wait until every hook that was begun with has been told."""
        wait(self._busy.values())

    def close(self) -> Told:
        """Wait for what is on its way, begin with nothing more; return what was done since last."""
        self._several.shutdown(wait=True, cancel_futures=True)
        return self._collected(wait_for_all=True)

    def _collected(self, *, wait_for_all: bool) -> Told:
        done = Told()
        for hook_id, work in list(self._busy.items()):
            if not (work.done() or wait_for_all):
                continue
            del self._busy[hook_id]
            if work.cancelled():
                continue
            try:
                told = work.result()
            except Exception as error:  # a fault with one hook must not keep the others untold
                logger.exception("hook %s", hook_id)
                told = Told(failed={hook_id: type(error).__name__})
            done.batches += told.batches
            done.changes += told.changes
            done.failed |= told.failed
        return done


def deliver_due(
    database: Database, now: Callable[[], datetime], *, post: Post = outward.post
) -> Told:
    """Tell every hook that is due once over, and wait for all of them; return what was done."""
    teller = Teller(database, now, post=post)
    teller.tell()
    teller.wait()
    return teller.close()


def body_of(page: Page, *, missed: bool) -> bytes:
    """Return a batch as its receiver reads it.

    Parameters
    ----------
    missed : some changes before these are kept no longer, and were never told
    """
    told = [
        {
            "member_id": one.member_id, "what": one.what, "name": one.name, "before": one.before,
            "after": one.after, "changed_at": one.changed_at.isoformat(),
        }
        for one in page.changes
    ]  # fmt: skip
    content = {"changes": told, "next_cursor": cursor.written(page.position), "missed": missed}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class _Batch:
    """What is sent next to a hook, from after `position` to the end of `page`."""

    row: Row[Any]
    position: int
    page: Page
    missed: bool

    @property
    def key(self) -> str:
        return f"{self.row.hook_id}:{self.position}-{self.page.position}"


def _deliver(database: Database, hook_id: str, now: Callable[[], datetime], post: Post) -> Told:
    told = Told()
    for _ in range(BATCHES_AT_ONCE):
        batch = database.write(lambda connection: _claimed(connection, hook_id, now()))
        if batch is None:
            break
        try:
            _send(batch, now(), post)
        except (Undelivered, NotReady) as error:
            told.failed[hook_id] = str(error)
            _put_off(database, batch, str(error), now())
            break
        told.batches += 1
        told.changes += len(batch.page.changes)
        values = {"position": batch.page.position, "sending": None, "attempts": 0, "why": None}
        _change(database, batch, due_at=now(), **values)
    return told


def _claimed(connection: Connection, hook_id: str, now: datetime) -> _Batch | None:
    """Fix the next batch of a hook and keep others from it; None: nothing is to be told."""
    due = (CHANGE_HOOKS.c.hook_id == hook_id) & (CHANGE_HOOKS.c.due_at <= now)
    row = connection.execute(
        select(CHANGE_HOOKS).where(due).with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    kept_from = changes.floor(connection)
    position, missed = max(row.position, kept_from), row.position < kept_from
    # A batch that was on its way is sent again as it was, so that its key says the truth.
    fixed = row.sending is not None and row.sending > position
    last = row.sending if fixed else changes.last_position(connection)
    page = changes.between(connection, position, last, BATCH, kinds_of(row))
    values: dict[str, Any] = {"sending": page.position, "due_at": now + CLAIM}
    if not page.changes and not missed:
        if page.position == row.position:
            return None
        # None of what happened is for this hook: it need not be looked at again.
        values = {"position": page.position, "sending": None}
    connection.execute(update(CHANGE_HOOKS).where(due).values(**values))
    return _Batch(row, row.position, page, missed) if page.changes or missed else None


def _send(batch: _Batch, now: datetime, post: Post) -> None:
    row = batch.row
    body = body_of(batch.page, missed=batch.missed)
    secret = route_of(row.url, row.secret_variable).secret()
    headers = webhooks.signed_headers(secret, batch.key, body, now=now)
    webhooks.check(post(row.url, headers, body, inside=row.inside))


def _put_off(database: Database, batch: _Batch, why: str, now: datetime) -> None:
    attempts = batch.row.attempts + 1
    # No power of two is worked out that no pause is long enough for.
    doubled = min(attempts - 1, math.ceil(math.log2(LONGEST_PAUSE / FIRST_PAUSE)))
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**doubled)
    _change(database, batch, attempts=attempts, due_at=now + pause, why=why[:500])


def _change(database: Database, batch: _Batch, **values: Any) -> None:
    """Change a hook, unless it was removed meanwhile, or another went on with it."""
    same = (CHANGE_HOOKS.c.hook_id == batch.row.hook_id) & (
        CHANGE_HOOKS.c.position == batch.row.position
    )
    changed = update(CHANGE_HOOKS).where(same).values(**values)
    database.write(lambda connection: connection.execute(changed))
