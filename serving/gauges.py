"""What the page of metrics looks up when it is asked for: champions, lanes, the database."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from sqlalchemy import func, select

from programme.calendar import local_midnight
from programme.database import Database
from programme.errors import PerennialError
from serving.live import Live
from serving.metrics import Sample, Source
from serving.online.tables import INBOX, PUBLICATIONS

# Counting what waits ends here, so that asking for the page costs the same however much waits.
WAITING_COUNTED_MAX = 10_000
# Several who ask at once share one look at the database.
LOOK_SECONDS = 1.0


def of_champions(live: Live) -> Source:
    """Return what says which champion answers, and how it fares beside its challenger."""

    def look() -> Iterator[Sample]:
        now = datetime.now(UTC)
        yield Sample("perennial_ready", live.reason is None)
        yield Sample("perennial_swaps_total", live.counts.swaps, ("taken up",))
        yield Sample("perennial_swaps_total", live.counts.refused, ("refused",))
        looked = time.monotonic() - live.counts.looked_at
        yield Sample("perennial_registry_look_seconds", looked)
        for what in live.trouble:
            yield Sample("perennial_trouble", 1, (what,))
        yield Sample("perennial_shadow_dropped_total", live.shadow.dropped)
        for pair in live.shadow_report():
            versions = (str(pair["champion"]), str(pair["challenger"]))
            yield Sample("perennial_shadow_scores_total", pair["n"], versions)
            if pair["n"]:
                difference = pair["difference_mean"]
                yield Sample("perennial_shadow_difference_mean", difference, versions)
        if live.reason is not None:
            return
        found = live.loaded
        name, version = found.version.name, str(found.version.version)
        told = (name, version, found.version.digest[:12], found.checked)
        yield Sample("perennial_model_info", 1, told)
        ends = local_midnight(found.model.bundle.facts.data_until, found.programme.timezone)
        yield Sample("perennial_champion_age_seconds", (now - ends).total_seconds(), (name,))
        yield Sample(
            "perennial_champion_taken_up_seconds", (now - found.since).total_seconds(), (name,)
        )

    return look


class StoreLook:
    """What the database says of freshness; at most one look a second, of a bounded cost.

    Parameters
    ----------
    database : opens it, or says why not; called when the page is first asked for
    """

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen: list[Sample] = []
        self._seen_at = -LOOK_SECONDS

    def __call__(self) -> Iterable[Sample]:
        """Return what it says now."""
        with self._lock:
            if time.monotonic() - self._seen_at >= LOOK_SECONDS:
                try:
                    self._seen = list(_of_store(self._database(), datetime.now(UTC)))
                except PerennialError:
                    self._seen = [Sample("perennial_database_up", 0)]
                self._seen_at = time.monotonic()
            return self._seen


def _of_store(database: Database, now: datetime) -> Iterator[Sample]:
    c = INBOX.c
    # Answered from the index of those that wait, which is empty while the store keeps up.
    waiting = (
        select(c.accepted_at).where(c.refreshed_at.is_(None)).limit(WAITING_COUNTED_MAX).subquery()
    )
    counted = select(func.count(), func.min(waiting.c.accepted_at))
    last = (
        select(PUBLICATIONS.c.published_at, PUBLICATIONS.c.members)
        .order_by(PUBLICATIONS.c.publication_no.desc())
        .limit(1)
    )
    with database.read() as connection:
        accepted = connection.execute(select(func.max(c.seq))).scalar() or 0
        n_waiting, oldest = connection.execute(counted).one()
        published = connection.execute(last).one_or_none()
    yield Sample("perennial_database_up", 1)
    yield Sample("perennial_inbox_accepted_total", accepted)
    yield Sample("perennial_inbox_waiting", n_waiting)
    if n_waiting < WAITING_COUNTED_MAX:
        yield Sample("perennial_refreshed_total", accepted - n_waiting)
    age = (now - oldest).total_seconds() if oldest is not None else 0.0
    yield Sample("perennial_feature_age_seconds", max(0.0, age))
    if published is not None:
        ago = (now - published.published_at).total_seconds()
        yield Sample("perennial_published_age_seconds", max(0.0, ago))
        yield Sample("perennial_online_members", published.members)
