"""The refresh worker: what the inbox holds is shown by the store seconds later.

Features first, then scores, then whatever is due beside them: everybody is published when the
champions or the latest snapshot change, the inbox is flushed into the lake from time to time, and
hooks are told. Publishing and flushing take long and run in threads, so that members go on being
refreshed. Several workers share the members out by leases. Killed anywhere, nothing is lost: what
was not committed waits in the inbox.
"""

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from features import engine
from features import snapshot as snapshots
from features.snapshot import Snapshot
from programme.database import Database
from programme.errors import InputRefused, NotReady, PerennialError
from programme.files import single_writer
from programme.settings import Settings, open_programme
from serving.online import changes, leases
from serving.online.flush import flush, state
from serving.online.hooks import Teller
from serving.online.inbox import is_late
from serving.online.publish import is_due, lacking, publish
from serving.online.refresh import SCORED_AT_ONCE, Done, Refresher
from serving.online.setting import Setting
from serving.online.store import Publication
from training import registry
from training.bundle import TARGETS
from training.champions import Champions

logger = logging.getLogger("perennial.worker")

PAUSE_LEAST, PAUSE_MOST = 0.02, 0.1
LEASE_EVERY, LOOK_EVERY, FOLLOW_EVERY, FORGET_EVERY = 1.0, 5.0, 5.0, 3600.0
FLUSH_AFTER = timedelta(minutes=15)
FLUSH_ROWS = 50_000
# While features wait all the time, scores get their turn once in so many steps.
SCORES_EVERY = 10
# Scores give way to features that are late, but not for ever.
GIVES_WAY_AFTER = timedelta(milliseconds=300)
GIVES_WAY_SECONDS_MAX = 60.0
# After a fault that may pass.
REST_SECONDS = 0.5
WORKERS_MAX = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
Tell = Callable[[str], None]
Clock = Callable[[], datetime]


def check_name(name: str) -> None:
    """Refuse what cannot be a worker's name, which names files of the home too.

    Raises
    ------
    InputRefused : if it could name anything else
    """
    if _NAME.fullmatch(name) is None:
        raise InputRefused(
            f"{name!r:.80} names no worker. None was begun. Use letters, digits, '.', '_' and '-', "
            "at most 80, the first a letter or a digit."
        )


@contextmanager
def own_name(settings: Settings) -> Iterator[str]:
    """Hold a name that no other worker of this home has while we live.

    Raises
    ------
    NotReady : if all names are taken.
    """
    for number in range(1, WORKERS_MAX + 1):
        with ExitStack() as held:
            lock = settings.home / "online" / f"worker-{number}.lock"
            try:
                held.enter_context(single_writer(lock, f"worker {number}"))
            except NotReady:
                continue
            yield f"{socket.gethostname()[:60]}-{number}"
            return
    raise NotReady(f"{WORKERS_MAX} workers refresh {settings.home} already. Nothing was done.")


@dataclass
class Totals:
    """What a worker did while it ran; for people."""

    rows: int = 0
    members: int = 0
    scored: int = 0
    set_aside: dict[str, str] = field(default_factory=dict)

    def add(self, done: Done) -> None:
        """Count what a step did."""
        self.rows += done.rows
        self.members += done.members
        self.scored += done.scored
        self.set_aside |= done.set_aside


class Worker:
    """One worker of a home.

    Parameters
    ----------
    clock : returns the present instant, zoned
    tell : told what happens, in sentences
    flush_after, flush_rows : the inbox is flushed after so long, or with so many rows
    scores_apart : a `Scorer` makes the scores; else they take turns with features, which then wait
        for them
    """

    # Whether it does what one process must for all: publish, flush, tell hooks.
    leads = True
    scored_at_once = SCORED_AT_ONCE

    def __init__(
        self,
        settings: Settings,
        database: Database,
        name: str,
        clock: Clock,
        tell: Tell = logger.info,
        *,
        flush_after: timedelta = FLUSH_AFTER,
        flush_rows: int = FLUSH_ROWS,
        scores_apart: bool = False,
    ) -> None:
        self.settings, self.database, self.name = settings, database, name
        self.clock, self.tell = clock, tell
        self.flush_after, self.flush_rows = flush_after, flush_rows
        self.scores_apart = scores_apart
        self.totals = Totals()
        self.stopped = threading.Event()
        self.parts: frozenset[int] = frozenset()
        self._champions: Champions | None = None
        self._beside: dict[str, threading.Thread] = {}
        self._due: dict[str, float] = {}
        self._flushed_at = clock()
        self._steps = 0
        self._said = ""

    def run(self) -> Totals:
        """Refresh until it is stopped."""
        with self._opened() as refresher:
            pause = PAUSE_LEAST
            while not self.stopped.is_set():
                try:
                    busy = self._turn(refresher)
                except (NotReady, PerennialError, OSError) as error:
                    self._complain(str(error))
                    self.stopped.wait(REST_SECONDS)
                    continue
                except Exception:  # a fault of ours must not end what would go on without it
                    logger.exception("a step of the worker failed; it goes on")
                    self.stopped.wait(REST_SECONDS)
                    continue
                pause = PAUSE_LEAST if busy else min(PAUSE_MOST, pause * 1.5)
                if not busy:
                    self.stopped.wait(pause)
        return self.totals

    def once(self) -> Totals:
        """Publish if that is due, refresh and score everybody who waits, then end."""
        with self._opened() as refresher:
            self._lease()
            self._look(refresher, wait=True)
            if refresher.setting is not None:
                refresher.follow(self.tell)
                # A member that fails is tried a few times, then set aside: it comes to an end.
                while self._step(refresher).oldest is not None:
                    pass
                while (done := self._score(refresher)).scored or done.failed:
                    pass
        return self.totals

    @contextmanager
    def _opened(self) -> Iterator[Refresher]:
        one_thread = self.settings.model_copy(update={"threads": 1})
        teller = Teller(self.database, self.clock)
        try:
            with engine.connect(one_thread) as connection:
                self._teller = teller
                yield Refresher(self.settings, self.database, connection, self.name)
        finally:
            for thread in self._beside.values():
                thread.join(timeout=REST_SECONDS)
            teller.close()
            leases.release(self.database, self.name)

    def _turn(self, refresher: Refresher) -> bool:
        """Do what is due; return whether there was anything to do."""
        if self._is_due("lease", LEASE_EVERY):
            self._lease()
            if self.leads:
                self._teller.tell()
        if self._is_due("look", LOOK_EVERY):
            self._look(refresher)
        if refresher.setting is None:
            self.stopped.wait(REST_SECONDS)
            return False
        if self._is_due("follow", FOLLOW_EVERY):
            refresher.follow(self.tell)
        return self._work(refresher)

    def _work(self, refresher: Refresher) -> bool:
        """Refresh some members, and score some; return whether there was anything to refresh."""
        if self._is_due("flush", FOLLOW_EVERY):
            self._flush_if_due()
        if self._is_due("forget", FORGET_EVERY):
            changes.forget(self.database, self.clock() - timedelta(days=changes.KEPT_DAYS))
        done = self._step(refresher)
        self._steps += 1
        if done.oldest is None:
            # Ahead of what comes only while nothing else is to be done, and not all the time.
            busy = not self.scores_apart and bool(self._score(refresher).scored)
            if not busy:
                self._count(refresher.look_ahead(self.parts, self.clock()))
            return busy
        if self.scores_apart:
            return True
        if self._steps % SCORES_EVERY == 0:
            self._score(refresher)
        return True

    def _step(self, refresher: Refresher) -> Done:
        done = refresher.refresh(self.parts, self.clock())
        self._count(done)
        return done

    def _score(self, refresher: Refresher) -> Done:
        done = refresher.score_due(self.parts, self.clock(), self.scored_at_once)
        self._count(done)
        return done

    def _count(self, done: Done) -> None:
        self.totals.add(done)
        for why in done.set_aside.values():
            # Who it is stands in the inbox; a log names nobody.
            logger.error("rows of a member cannot be refreshed and were set aside: %s", why)

    def _lease(self) -> None:
        self.parts = leases.share_out(self.database, self.parts, self.name, self.clock())

    def _look(self, refresher: Refresher, *, wait: bool = False) -> None:
        """Look for other champions, another snapshot, another publication."""
        versions = self._versions()
        taken = self._whole(refresher.store.publication(), snapshots.latest(self.settings))
        if self._champions is None or self._champions.versions != versions:
            self.tell("loading the champions")
            self._champions = Champions.load(self.settings)
        champions = self._champions
        if self.leads and is_due(self.database, champions.versions, taken):
            self._begin("publish", lambda: self._publish(champions, taken))
            if wait:
                self._beside["publish"].join()
        last = refresher.store.publication()
        present = refresher.setting
        if last is None or (
            present is not None
            and present.publication.publication_no == last.publication_no
            and present.champions is champions
        ):
            return
        if dict(last.champions) != champions.versions:
            return  # it will be published; until then members keep the champions they have
        snapshot = next((one for one in snapshots.of_name(self.settings, last.snapshot)), None)
        if snapshot is None:
            self._complain(f"The snapshot {last.snapshot} of the store is gone.")
            return
        refresher.use(Setting.of(self.settings, last, champions, snapshot))
        refresher.follow(self.tell)
        self.tell(f"refreshing members as publication {last.publication_no} sees them")

    def _whole(self, last: Publication | None, newest: Snapshot) -> Snapshot:
        """Return the newest snapshot; while it lacks what the one that is shown has, that one."""
        if last is None or last.snapshot == newest.path.name:
            return newest
        shown = next(iter(snapshots.of_name(self.settings, last.snapshot)), None)
        absent = lacking(self.settings, newest, shown) if shown is not None else []
        if shown is None or not absent:
            return newest
        self._complain(
            f"The snapshot of {newest.as_of} has no {', no '.join(absent)} yet. Members are shown "
            f"as of {shown.as_of} until it has: perennial score makes them."
        )
        return shown

    def _versions(self) -> dict[str, int]:
        programme = open_programme(self.settings)
        names = [registry.name_of(target, programme) for target in TARGETS]
        found = {name: registry.champion_version(self.settings, name) for name in names}
        return {name: version for name, version in found.items() if version}

    def _publish(self, champions: Champions, taken: Snapshot) -> None:
        owner = f"{self.name}-publishes"
        done = publish(
            self.settings, self.database, champions, taken, self.clock(), self.tell, owner=owner
        )
        self.tell(f"published {done.written:,} members of {taken.as_of}")
        self._due.pop("look", None)

    def _flush_if_due(self) -> None:
        now = self.clock()
        there = state(self.database, self.settings)
        rows = there.last - there.position
        if rows and (rows >= self.flush_rows or now - self._flushed_at >= self.flush_after):
            self._flushed_at = now
            self._begin("flush", self._flush)

    def _flush(self) -> None:
        done = flush(self.database, self.settings, now=self.clock(), tell=lambda _: None)
        self.tell(f"flushed the inbox into the lake, up to row {done.position:,}")

    def _begin(self, what: str, work: Callable[[], None]) -> None:
        """Do something long in a thread, unless it is being done."""
        running = self._beside.get(what)
        if running is not None and running.is_alive():
            return

        def carefully() -> None:
            try:
                work()
            except (NotReady, PerennialError) as error:
                self._complain(str(error))
            except Exception:
                logger.exception("could not %s; it will be tried again", what)

        self._beside[what] = threading.Thread(target=carefully, name=what, daemon=True)
        self._beside[what].start()

    def _is_due(self, what: str, every: float) -> bool:
        present = time.monotonic()
        if present < self._due.get(what, 0.0):
            return False
        self._due[what] = present + every
        return True

    def _complain(self, why: str) -> None:
        """Say what hinders us, once and not at every step."""
        if why != self._said:
            logger.warning("%s", why)
        self._said = why


class Scorer(Worker):
    """Makes the scores of the members whom a worker refreshes, in a process of its own.

    A model of value takes a hundredth of a second for a member, so that beside features it would
    hold up everybody who waits for hers. It holds no parts: what it writes is a function of what is
    known, and never replaces what knows more.

    Parameters
    ----------
    of : name of the worker
    """

    leads = False
    # Nobody waits for it, and a batch costs most of a second before its first member.
    scored_at_once = 50

    def __init__(
        self,
        settings: Settings,
        database: Database,
        of: str,
        clock: Clock,
        tell: Tell = logger.info,
    ) -> None:
        super().__init__(settings, database, f"{of}-scores", clock, tell)
        self._of = of
        self._worked_at = time.monotonic()

    def _lease(self) -> None:
        self.parts = leases.of(self.database, self._of, self.clock())

    def _step(self, refresher: Refresher) -> Done:  # noqa: ARG002 - as a worker's
        return Done()

    def _work(self, refresher: Refresher) -> bool:
        if self._gives_way():
            return False
        self._worked_at = time.monotonic()
        return bool(self._score(refresher).scored)

    def _gives_way(self) -> bool:
        """Return whether rows wait for features: it may have their other half of the processor.

        A lower priority does not do it: two threads of one core share it whatever their priority.
        """
        if time.monotonic() - self._worked_at >= GIVES_WAY_SECONDS_MAX:
            return False
        return is_late(self.database, self.clock() - GIVES_WAY_AFTER)
