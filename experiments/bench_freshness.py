"""How soon the store shows what came in: from accepted to refreshed, at so many events a second.

Run with `python -m experiments.bench_freshness --trained var/completejourney`. The home is made
once and kept: Complete Journey `--copies` times over, as if it had ended yesterday, with twenty
views a member beside the purchases, and the champions of the trained home. Where the store holds
no publication of the snapshot, one is written without asking the models about everybody: each row
has its own features and churn, and the scores of one of 500 members who were scored.

Each event is of a member drawn at random, nearly always another than the one before: the
hardest case, for a purchase of ten lines is one member's. `refreshed_at - accepted_at` is read
from the inbox itself. Rates are run one after the other, and each backlog has to drain. With
`--ahead`, the workers are first left alone until they have seen everybody from the coming
midnight, as they do in idle hours of each day; without, most members are met for the first time.
"""

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, insert, select

from experiments import replicated
from features import engine
from features import snapshot as snapshots
from features.ingest import ingest
from features.lake import Lake
from features.snapshot import Snapshot
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.database import Database
from programme.settings import Settings
from serving.online.inbox import accept
from serving.online.publish import churn_traits, is_due, scores_of, texts_of
from serving.online.rows import EventRow, PurchaseRow, Row
from serving.online.store import NUMBERS, OnlineStore, StoredMember
from serving.online.tables import INBOX, ONLINE_MEMBERS, PUBLICATIONS
from training.champions import Champions
from training.percentiles import thresholds
from training.views import SnapshotView

TICKS_PER_SECOND = 20
# Twenty views of each member, on days and hours spread over the last 200 days.
_VIEWS = """
    select concat('v', member, '-', n) as id, member,
           timestamp '{until}' - interval 1 day * (1 + hash(member, n) % 200)
               + interval 1 hour * (hash(n, member) % 20) as at
    from (select distinct source_key as member from ({lines}) where source_key is not null),
        range(20) views(n)"""
_EVENTS = {
    "source": "app",
    "events": {
        "event": "id", "member": "member", "occurred_at": "at",
        "always": {"kind": "view", "channel": "app"},
    },
}  # fmt: skip
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


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Parameters
    ----------
    rates : rows a second, one after the other
    seconds : of each rate
    kind : view, or a purchase of one line
    ahead : whether to wait first until everybody was looked ahead for
    """

    rates: tuple[int, ...] = (300, 1_000)
    seconds: int = 30
    workers: int = 1
    kind: Literal["view", "line"] = "view"
    ahead: bool = False


def measure(
    settings: Settings, asked: Asked, tell: Callable[[str], None] = print
) -> Iterator[Measured]:
    """Start real workers and send rows at each rate; yield what was seen."""
    database = Database.open(settings)
    taken = snapshots.latest(settings)
    fill(settings, database, taken, tell)
    members = [str(one) for one in taken.features().index]
    command = [sys.executable, "-m", "perennial", "--home", str(settings.home), "worker"]
    running = [subprocess.Popen(command) for _ in range(asked.workers)]
    try:
        tell("waiting for the workers")
        _send(database, members[:1], asked.kind)
        _drained(database, 3_600.0)
        if asked.ahead:
            tell("waiting until everybody was looked ahead for")
            _looked_ahead(database, taken, 3_600.0)
        for rate in asked.rates:
            yield _at(database, members, rate, asked)
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            one.wait()
        database.close()


def make_home(
    settings: Settings, trained: Path, copies: int, tell: Callable[[str], None] = print
) -> None:
    """Lay out a programme whose last purchases were made yesterday, with the models of another.

    Parameters
    ----------
    trained : home of Complete Journey as it is, with champions
    """
    if list((settings.home / "snapshots").glob("*")):
        return
    today = datetime.now(UTC).date()
    ended = snapshots.default_as_of(settings.model_copy(update={"home": trained}))
    replicated.lay_out(settings, copies, later_days=(today - ended).days, tell=tell)
    tell("adding events")
    looked = settings.home / "events.parquet"
    lake = Lake(settings)
    lines = lake.rows_sql("purchases", lake.manifest())
    with engine.connect(settings) as connection:
        engine.copy_to_parquet(connection, _VIEWS.format(until=today, lines=lines), looked)
    ingest(Export([looked], Mapping.model_validate(_EVENTS)), settings, datetime.now(UTC), tell)
    looked.unlink()
    shutil.copy(trained / "mlflow.db", settings.home / "mlflow.db")
    tell("computing features")
    snapshots.build(settings, snapshots.default_as_of(settings), tell)


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


def _at(database: Database, members: list[str], rate: int, asked: Asked) -> Measured:
    """Send rows at one rate, wait until all are shown, and read how long each waited."""
    rng = np.random.default_rng(rate)
    with database.read() as connection:
        before = int(connection.execute(select(func.max(INBOX.c.seq))).scalar_one() or 0)
    began = time.monotonic()
    sent = 0
    for tick in range(asked.seconds * TICKS_PER_SECOND):
        due = int(rate * (tick + 1) / TICKS_PER_SECOND) - sent
        drawn = [members[place] for place in rng.integers(0, len(members), due)]
        _send(database, drawn, asked.kind)
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


def _send(database: Database, members: list[str], kind: Literal["view", "line"]) -> None:
    """Accept a row of each member, as the service does: durable when this returns."""
    now = datetime.now(UTC)
    rows: list[Row] = []
    for member in members:
        number = uuid4().hex
        if kind == "view":
            rows.append(EventRow(
                source="bench", event_id=number, occurred_at=now, kind_of_event="view",
                source_key=member, channel="app",
            ))  # fmt: skip
        else:
            rows.append(PurchaseRow(
                source="completejourney", order_id=number, line_no="1", occurred_at=now,
                source_key=member, product_id="1082185", quantity=1.0, net_cents=199,
            ))  # fmt: skip
    database.write(lambda connection: accept(connection, rows, now))


def _looked_ahead(database: Database, taken: Snapshot, most: float) -> None:
    """Wait until the store shows everybody as of a later midnight than the snapshot's."""
    began = time.monotonic()
    left = select(func.count()).where(ONLINE_MEMBERS.c.as_of <= taken.as_of)
    while time.monotonic() - began < most:
        with database.read() as connection:
            if not connection.execute(left).scalar_one():
                return
        time.sleep(2.0)
    raise TimeoutError(f"members of {taken.as_of} are left after {most} s: is the worker running?")


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
    parser.add_argument("--home", default="var/bench/live", help="made once, and kept")
    parser.add_argument("--trained", default="var/completejourney", help="home with champions")
    parser.add_argument("--copies", type=int, default=40, help="of 2,469 members each")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ahead", action="store_true", help="wait until all were looked ahead for")
    parser.add_argument("--kind", choices=("view", "line"), default="view", help="what comes in")
    parser.add_argument("--rates", type=int, nargs="+", default=[300, 1_000])
    given = parser.parse_args()
    settings = Settings(home=Path(given.home), threads=1)
    console = Console(width=None if sys.stdout.isatty() else 132)
    shown = Table(title=f"From accepted to refreshed, {given.workers} workers, {given.kind}s")
    for name in ("rows/s", "accepted/s", "p50 s", "p99 s", "longest s", "drained after s"):
        shown.add_column(name, justify="right")
    make_home(settings, Path(given.trained).resolve(), given.copies, console.print)
    asked = Asked(tuple(given.rates), given.seconds, given.workers, given.kind, given.ahead)
    for one in measure(settings, asked, console.print):
        shown.add_row(
            str(one.rate), f"{one.accepted_per_second:.0f}", f"{one.p50:.2f}", f"{one.p99:.2f}",
            f"{one.longest:.2f}", f"{one.drained_in:.1f}",
        )  # fmt: skip
    console.print(shown)


if __name__ == "__main__":
    main()
