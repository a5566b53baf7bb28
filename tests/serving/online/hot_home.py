"""A home whose members are published, and rows that come into its inbox."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from features import engine
from features import snapshot as snapshots
from features.ingest import ingest
from features.snapshot import Snapshot
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.database import Database
from programme.settings import Settings
from serving.online import leases
from serving.online.flush import flush
from serving.online.inbox import accept
from serving.online.publish import publish
from serving.online.refresh import Done, Refresher
from serving.online.rows import EventRow, PurchaseRow, Row
from serving.online.setting import Setting
from serving.online.tables import PARTS
from tests.little_programme import AS_OF, LittleProgramme
from training.champions import Champions
from training.views import SnapshotView

# The evening before the day after the snapshot's: the coming midnight is that of 3 September.
NOW = datetime(2024, 9, 2, 18, tzinfo=UTC)
SOURCE = "till"


@dataclass
class HotHome:
    """A copy of the little programme, with its own inbox and store."""

    settings: Settings
    database: Database
    champions: Champions
    snapshot: Snapshot

    def take(self, rows: Sequence[Row], now: datetime = NOW) -> None:
        self.database.write(lambda connection: accept(connection, rows, now))

    @contextmanager
    def refresher(self, name: str = "one") -> Iterator[Refresher]:
        with engine.connect(self.settings) as connection:
            made = Refresher(self.settings, self.database, connection, name)
            made.follow()
            store = made.store.publication()
            assert store is not None
            made.use(Setting.of(self.settings, store, self.champions, self.snapshot))
            yield made

    def drain(self, worker: Refresher, now: datetime = NOW) -> Done:
        """Refresh until nothing waits, then score."""
        leases.take(self.database, range(PARTS), worker.name, now)
        total = Done()
        while (done := worker.refresh(range(PARTS), now)).rows or done.oldest:
            total.rows += done.rows
            total.members += done.members
            total.set_aside |= done.set_aside
            if not done.rows and not done.set_aside:
                break
        while (done := worker.score_due(range(PARTS), now)).scored:
            total.scored += done.scored
        return total

    def night(self, now: datetime = NOW) -> tuple[Snapshot, SnapshotView]:
        """Flush, and build that night's batch against the reference tables of the store."""
        flush(self.database, self.settings, now=now)
        built = snapshots.build(
            self.settings, AS_OF + timedelta(days=1), frozen=self.snapshot.reference
        )
        return built, SnapshotView(built, frozen=self.snapshot)


def with_events(little: LittleProgramme, home: Path) -> LittleProgramme:
    """Copy the programme into one whose members also look at things, now and then."""
    shutil.copytree(little.settings.home, home, ignore=shutil.ignore_patterns("snapshots"))
    settings = little.settings.model_copy(update={"home": home})
    looked = home / "looked.csv"
    rows = ["id,member,at"]
    rows += [
        f"v{n},m{n % 90:03d},{AS_OF - timedelta(days=1 + n % 37)} 1{n % 9}:00" for n in range(200)
    ]
    looked.write_text("\n".join(rows) + "\n", "utf-8")
    mapping = {
        "source": "app",
        "events": {
            "event": "id", "member": "member", "occurred_at": "at",
            "always": {"kind": "view", "channel": "app"},
        },
    }  # fmt: skip
    ingest(Export([looked], Mapping.model_validate(mapping)), settings, NOW - timedelta(days=1))
    return replace(little, settings=settings, snapshot=snapshots.build(settings, AS_OF))


def make(little: LittleProgramme, home: Path, champions: Champions, **facts: str) -> HotHome:
    """Copy the programme and publish it, without the scores that other tests made meanwhile."""
    others = shutil.ignore_patterns("scores")
    shutil.copytree(little.settings.home, home, dirs_exist_ok=True, ignore=others)
    settings = little.settings.model_copy(update={"home": home, **facts})
    database = Database.open(settings)
    snapshot = snapshots.latest(settings)
    publish(settings, database, champions, snapshot, NOW - timedelta(hours=12))
    return HotHome(settings, database, champions, snapshot)


def line(
    member: str | None, order: str, number: int = 0, *, at: datetime = NOW, **facts: object
) -> PurchaseRow:
    given = {"product_id": "p03", "net_cents": 1250, "quantity": 1.0, "store_id": "s1"} | facts
    return PurchaseRow(
        source=SOURCE, order_id=order, line_no=str(number), occurred_at=at, source_key=member,
        **given,  # type: ignore[arg-type]
    )  # fmt: skip


def event(member: str, number: str, kind: str = "view", at: datetime = NOW) -> EventRow:
    return EventRow(
        source="app", event_id=number, occurred_at=at, kind_of_event=kind, source_key=member,
        product_id="p02", channel="app", duration_seconds=30.0,
    )  # fmt: skip


def a_days_rows(seed: int, n_rows: int, n_members: int = 120) -> list[Row]:
    """Purchases, returns, corrections, events, back-dated and unknown things, in some order."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for number in range(n_rows):
        who = f"m{rng.integers(0, n_members + 15):03d}"
        at = NOW - timedelta(minutes=int(rng.integers(0, 60 * 24 * rng.choice([1, 1, 40]))))
        kind = rng.choice(["buy", "buy", "buy", "return", "correct", "event", "move"])
        order = f"o{seed}-{rng.integers(0, n_rows // 2)}-{who}"
        product = f"p{rng.integers(0, 24):02d}"
        if kind == "buy":
            rows.append(line(who, order, number, at=at, product_id=product,
                             net_cents=int(rng.integers(100, 9000))))  # fmt: skip
        elif kind == "return":
            rows.append(line(who, order, number, at=at, product_id=product, quantity=-1.0,
                             net_cents=-int(rng.integers(100, 900))))  # fmt: skip
        elif kind == "event":
            rows.append(event(who, f"e{seed}-{number}", str(rng.choice(["view", "cart"])), at))
        else:
            bought = [row for row in rows if isinstance(row, PurchaseRow)]
            if bought:
                old = bought[int(rng.integers(0, len(bought)))]
                mover = who if kind == "move" else old.source_key
                rows.append(line(mover, old.order_id, int(old.line_no), at=old.occurred_at,
                                 product_id=product, net_cents=777))  # fmt: skip
    return rows
