"""How soon the store shows what came in: from accepted to refreshed, at so many events a second.

Run with `python -m experiments.bench_freshness --home var/bench/completejourney-x40`. The home
needs a lake, a snapshot and champions (copy `mlflow.db` of a trained home of the same features
beside the lake). Where the store holds no publication of that snapshot, one is written without
asking the models about everybody, which takes an hour for 100,000 members: each row has its own
features and churn, and the scores of one of 500 members who were scored.

Events are views of members drawn at random, each of another member than the one before: the
hardest case, for a purchase of ten lines is one member's. `refreshed_at - accepted_at` is read
from the inbox itself. Then events are accepted at a higher rate, and the backlog has to drain.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, insert, select

from features import snapshot as snapshots
from features.snapshot import Snapshot
from programme.database import Database
from programme.settings import Settings
from serving.online.inbox import accept
from serving.online.publish import churn_traits, is_due, scores_of, texts_of
from serving.online.rows import EventRow, Row
from serving.online.store import NUMBERS, OnlineStore, StoredMember
from serving.online.tables import INBOX, PUBLICATIONS
from training.champions import Champions
from training.percentiles import thresholds
from training.views import SnapshotView

TICKS_PER_SECOND = 20
SCORED = 500
WRITTEN_AT_ONCE = 5_000


@dataclass(frozen=True)
class Measured:
    """What a run at one rate showed; seconds from accepted to refreshed."""

    rate: int
    accepted: int
    accepted_per_second: float
    p50: float
    p99: float
    longest: float
    drained_in: float


def measure(
    settings: Settings,
    rates: tuple[int, ...] = (300, 1_000),
    seconds: int = 30,
    workers: int = 1,
    tell: Callable[[str], None] = print,
) -> list[Measured]:
    """Start real workers and send events at each rate; return what was seen."""
    database = Database.open(settings)
    taken = snapshots.latest(settings)
    fill(settings, database, taken, tell)
    members = [str(one) for one in taken.features().index]
    command = [sys.executable, "-m", "perennial", "--home", str(settings.home), "worker"]
    running = [subprocess.Popen(command) for _ in range(workers)]
    try:
        tell("waiting for the workers")
        _send(database, members[:1])
        _drained(database, 3_600.0)
        return [_at(database, members, rate, seconds) for rate in rates]
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            one.wait()
        database.close()


def fill(
    settings: Settings, database: Database, taken: Snapshot, tell: Callable[[str], None]
) -> None:
    """Write a row for everybody, unless everybody was published."""
    champions = Champions.load(settings)
    if not is_due(database, champions.versions, taken):
        return
    tell("filling the store")
    frame = taken.features()
    few = (str(frame.index[0]), str(frame.index[min(SCORED, len(frame)) - 1]))
    population = champions.expect(SnapshotView(taken, few))
    scored = champions.score(population, [str(one) for one in population.members], churn=False)
    scores = [scores_of(one) for one in scored]
    _, probability = champions.churn_of(frame)
    among = {
        "churn": thresholds(probability),
        "value": thresholds(np.asarray([one["value"]["value_cents"] for one in scores])),
    }
    store, now = OnlineStore(database), datetime.now(UTC)
    last = store.publication()
    number = 1 + (last.publication_no if last else 0)
    numbers = frame[list(NUMBERS)].to_numpy(dtype=np.float64)
    for first in range(0, len(frame), WRITTEN_AT_ONCE):
        part = frame.iloc[first : first + WRITTEN_AT_ONCE]
        rows = [
            StoredMember(
                member_id=str(member_id), as_of=taken.as_of, data_as_of=taken.data_as_of,
                population=part["population"].iloc[place], features=numbers[first + place],
                texts=texts, scores=scores[(first + place) % len(scores)],
                traits=churn_traits(champions, float(probability[first + place]))
                | {"stage": None, "segments": {}, "tags": []},
                snapshot=taken.path.name, updated_at=now, publication_no=number,
            )
            for place, (member_id, texts) in enumerate(
                zip(part.index, texts_of(part), strict=True)
            )
        ]  # fmt: skip
        database.write(lambda connection, some=rows: store.write(connection, some))  # type: ignore[misc]
    said = {
        "publication_no": number, "snapshot": taken.path.name, "as_of": taken.as_of,
        "champions": json.dumps(champions.versions), "percentiles": json.dumps(among),
        "members": len(frame), "published_at": now,
    }  # fmt: skip
    database.write(lambda connection: connection.execute(insert(PUBLICATIONS), [said]))


def _at(database: Database, members: list[str], rate: int, seconds: int) -> Measured:
    """Send events at one rate, wait until all are shown, and read how long each waited."""
    rng = np.random.default_rng(rate)
    with database.read() as connection:
        before = int(connection.execute(select(func.max(INBOX.c.seq))).scalar_one() or 0)
    began = time.monotonic()
    sent = 0
    for tick in range(seconds * TICKS_PER_SECOND):
        due = int(rate * (tick + 1) / TICKS_PER_SECOND) - sent
        _send(database, [members[place] for place in rng.integers(0, len(members), due)])
        sent += due
        time.sleep(max(0.0, began + (tick + 1) / TICKS_PER_SECOND - time.monotonic()))
    took = time.monotonic() - began
    drained = _drained(database, 3_600.0)
    waited = select(INBOX.c.accepted_at, INBOX.c.refreshed_at).where(INBOX.c.seq > before)
    with database.read() as connection:
        delays = sorted(
            (row.refreshed_at - row.accepted_at).total_seconds()
            for row in connection.execute(waited)
        )
    return Measured(
        rate, len(delays), len(delays) / took, statistics.median(delays),
        delays[int(0.99 * (len(delays) - 1))], delays[-1], drained,
    )  # fmt: skip


def _send(database: Database, members: list[str]) -> None:
    """Accept a view of each member, as the service does: durable when this returns."""
    now = datetime.now(UTC)
    rows: list[Row] = [
        EventRow(
            source="bench", event_id=uuid4().hex, occurred_at=now, kind_of_event="view",
            source_key=member, channel="app",
        )
        for member in members
    ]  # fmt: skip
    database.write(lambda connection: accept(connection, rows, now))


def _drained(database: Database, most: float) -> float:
    """Wait until the store shows every row; return how long that took."""
    began = time.monotonic()
    unshown = select(INBOX.c.seq).where(INBOX.c.refreshed_at.is_(None)).limit(1)
    while time.monotonic() - began < most:
        with database.read() as connection:
            if connection.execute(unshown).first() is None:
                return time.monotonic() - began
        time.sleep(0.05)
    raise TimeoutError(f"rows wait after {most} s: is the worker running?")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", default="var/bench/completejourney-x40")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rates", type=int, nargs="+", default=[300, 1_000])
    given = parser.parse_args()
    settings = Settings(home=Path(given.home), threads=1)
    console = Console(width=None if sys.stdout.isatty() else 132)
    shown = Table(title=f"From accepted to refreshed, {given.workers} workers")
    for name in ("events/s", "accepted/s", "p50 s", "p99 s", "longest s", "drained after s"):
        shown.add_column(name, justify="right")
    for one in measure(settings, tuple(given.rates), given.seconds, given.workers, console.print):
        shown.add_row(
            str(one.rate), f"{one.accepted_per_second:.0f}", f"{one.p50:.2f}", f"{one.p99:.2f}",
            f"{one.longest:.2f}", f"{one.drained_in:.1f}",
        )  # fmt: skip
    console.print(shown)


if __name__ == "__main__":
    main()
