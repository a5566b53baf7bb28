"""The outbox to the channels: each message has its effect once, however often we are killed.

One deliverer at a time works for a home: it asks consent once more, and sends. What takes effect in
our own database (points) commits together with the word that it was sent. A file for a provider is
named before it is written and appears whole or not at all. A webhook carries the message's id as
its idempotency key: a receiver that is told twice, because we were killed between its answer and
our note of it, does it once.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, select, update

from actions import guardrails
from actions.guardrails import History
from actions.offers import CONSENTED, Catalogue
from actions.routes import Route, Routes
from actions.tables import MESSAGES
from features.exports import FORMULA_STARTS
from loyalty import points
from loyalty.postings import Request
from loyalty.terms import Terms
from programme.calendar import local_date
from programme.database import Database
from programme.errors import NotReady
from programme.files import single_writer, write_durably
from programme.settings import Programme

AT_ONCE = 5_000
ATTEMPTS_MAX = 8
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=6)
COLUMNS = (
    "message_id", "campaign_id", "member_id", "offer", "channel", "name_en", "name_zh", "text_en",
    "text_zh", "valid_until", "points", "products",
)  # fmt: skip


class Undelivered(Exception):
    """A message did not arrive.

    Attributes
    ----------
    for_good : the receiver will never take it; trying again is of no use
    """

    def __init__(self, why: str, *, for_good: bool) -> None:
        super().__init__(why)
        self.for_good = for_good


class Post(Protocol):
    """Something that takes a message to a webhook."""

    def __call__(self, route: Route, message_id: str, body: bytes, *, now: datetime) -> None:
        """Deliver, or raise `Undelivered`."""


@dataclass
class Delivered:
    """What one run of the deliverer did.

    Attributes
    ----------
    later : waits for the end of quiet hours, or for another attempt
    refused : by gate
    files : hand-offs that were written
    """

    sent: int = 0
    later: int = 0
    given_up: int = 0
    refused: dict[str, int] | None = None
    files: tuple[Path, ...] = ()

    def refuse(self, gate: str, members: int) -> None:
        """Count refusals."""
        self.refused = {**(self.refused or {}), gate: (self.refused or {}).get(gate, 0) + members}


@dataclass(frozen=True)
class Deliverer:
    """Everything it takes to deliver.

    Attributes
    ----------
    catalogue_of : returns the catalogue a campaign was launched with
    history : returns what is known now; asked before every batch
    terms : of the ledger; None where a programme keeps no points, and then none may be promised
    """

    database: Database
    programme: Programme
    home: Path
    routes: Routes
    catalogue_of: Callable[[str], Catalogue]
    history: Callable[[], History]
    terms: Terms | None
    post: Post

    def run(self, *, now: Callable[[], datetime], tell: Callable[[str], None]) -> Delivered:
        """Deliver everything that is due; return what was done.

        Raises
        ------
        NotReady : if somebody else is delivering for this home; if points were promised and no
            rules of points hold. What was sent before stays sent.
        """
        done = Delivered()
        with single_writer(self.home / "outbox" / "writer.lock", "the outbox"):
            self._finish_files(done, now())
            while batch := self._due(now()):
                self._deliver(batch, done, now())
                tell(f"{done.sent:,} sent")
        return done

    def _due(self, now: datetime) -> Sequence[Any]:
        """Return messages whose time has come; each leaves this state before the next are asked."""
        due = (MESSAGES.c.state == "waiting") & (MESSAGES.c.due_at <= now)
        sought = select(MESSAGES).where(due).order_by(MESSAGES.c.due_at, MESSAGES.c.message_id)
        with self.database.read() as connection:
            return connection.execute(sought.limit(AT_ONCE)).all()

    def _deliver(self, batch: Sequence[Any], done: Delivered, now: datetime) -> None:
        if self.terms is None and any(row.points for row in batch):
            raise NotReady(
                "Some messages promise points, and no rules of points hold. They were not sent. "
                "Adopt some first: perennial points rules my-rules.toml"
            )
        ready = self._let_through(batch, done, now)
        by_file: dict[str, list[Any]] = {}
        for row in ready:
            if row.channel == "points":
                self._end_sent([row], done, now)
            elif self.routes.of(row.channel).via == "file":
                by_file.setdefault(row.channel, []).append(row)
            else:
                self._send(row, done, now)
        for channel, rows in by_file.items():
            self._hand_over(channel, rows, done, now)

    def _let_through(self, batch: Sequence[Any], done: Delivered, now: datetime) -> list[Any]:
        """Ask the gates once more, at the moment of sending."""
        history, day = self.history(), local_date(now, self.programme.timezone)
        alike: dict[tuple[str, str], list[Any]] = {}
        for row in batch:
            alike.setdefault((row.campaign_id, row.offer), []).append(row)
        ready = list[Any]()
        for (campaign_id, offer_id), rows in alike.items():
            catalogue = self.catalogue_of(campaign_id)
            offer, guards = catalogue.named(offer_id), catalogue.file.guards
            members = np.array([row.member_id for row in rows], dtype=str)
            gates = guardrails.on_sending(members, offer, guards, history, day)
            wakes = guardrails.quiet_until(guards, now, self.programme.timezone)
            asleep = wakes is not None and offer.channel in CONSENTED
            closed: dict[str, list[str]] = {}
            for row, gate in zip(rows, gates, strict=True):
                if gate is not None:
                    closed.setdefault(gate, []).append(row.message_id)
                elif not asleep:
                    ready.append(row)
            for name, ids in closed.items():
                done.refuse(name, len(ids))
                self._change(ids, state="refused", why=name, ended_at=now)
            if asleep:
                waiting = [
                    row.message_id for row, gate in zip(rows, gates, strict=True) if gate is None
                ]
                done.later += len(waiting)
                self._change(waiting, due_at=wakes)
        return ready

    # --- sending

    def _send(self, row: Any, done: Delivered, now: datetime) -> None:
        attempts = row.attempts + 1
        try:
            self.post(self.routes.of(row.channel), row.message_id, row.content.encode(), now=now)
        except Undelivered as error:
            if error.for_good or attempts >= ATTEMPTS_MAX:
                done.given_up += 1
                self._end(row, "given_up", str(error), now)
            else:
                done.later += 1
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1))
                self._change(
                    [row.message_id], due_at=now + pause, attempts=attempts, why=str(error)[:500]
                )
            return
        self._end_sent([row], done, now)

    def _hand_over(self, channel: str, rows: Sequence[Any], done: Delivered, now: datetime) -> None:
        """Write messages to a file of their own: named first, so that a crash writes no second."""
        digest = sha256("\n".join(row.message_id for row in rows).encode()).hexdigest()[:16]
        batch = f"{channel}_{now:%Y%m%dT%H%M%S}_{digest}"
        ids = [row.message_id for row in rows]
        self._change(ids, batch=batch)
        self._write(batch, channel, rows)
        done.files += (self._path(batch, channel),)
        self._end_sent(rows, done, now)

    def _finish_files(self, done: Delivered, now: datetime) -> None:
        """End the hand-offs somebody was killed in: what was written went out, the rest did not."""
        waiting = (MESSAGES.c.state == "waiting") & MESSAGES.c.batch.is_not(None)
        with self.database.read() as connection:
            rows = connection.execute(select(MESSAGES).where(waiting)).all()
        batches: dict[str, list[Any]] = {}
        for row in rows:
            batches.setdefault(row.batch, []).append(row)
        for batch, members in batches.items():
            if self._path(batch, members[0].channel).exists():
                self._end_sent(members, done, now)
            else:
                self._change([row.message_id for row in members], batch=None)

    def _path(self, batch: str, channel: str) -> Path:
        ending = self.routes.of(channel).format  # type: ignore[arg-type]
        return self.home / "outbox" / f"{batch}.{ending}"

    def _write(self, batch: str, channel: str, rows: Sequence[Any]) -> None:
        listed = [_flat(json.loads(row.content)) for row in rows]
        path = self._path(batch, channel)
        if path.suffix == ".parquet":
            sink = io.BytesIO()
            shape = pa.schema([(name, pa.string()) for name in COLUMNS])
            pq.write_table(pa.Table.from_pylist(listed, shape), sink, compression="zstd")
            write_durably(path, sink.getvalue())
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in listed)
        write_durably(path, text.getvalue().encode())

    # --- what became of it

    def _end_sent(self, rows: Sequence[Any], done: Delivered, now: datetime) -> None:
        """Note that messages were sent, and post the points they promise, together."""
        ids = [row.message_id for row in rows]
        waiting = MESSAGES.c.message_id.in_(ids) & (MESSAGES.c.state == "waiting")
        ended = update(MESSAGES).where(waiting).values(state="sent", ended_at=now, why=None)

        def work(connection: Connection) -> int:
            # A campaign may have been closed meanwhile: whoever waits no longer gets no points.
            sent = set(connection.execute(ended.returning(MESSAGES.c.message_id)).scalars())
            for row in rows:
                if row.points and row.message_id in sent:
                    self._grant(connection, row, now)
            return len(sent)

        done.sent += self.database.write(work)

    def _grant(self, connection: Connection, row: Any, now: datetime) -> None:
        assert self.terms is not None, "nothing that promises points is delivered without a ledger"
        asked = Request(
            "EARN", posting_id_of(row.message_id), row.member_id, row.points,
            reason=f"{row.campaign_id}: {row.offer}",
        )  # fmt: skip
        points.post_on(connection, self.terms, asked, now=now)

    def _end(self, row: Any, state: str, why: str, now: datetime) -> None:
        self._change([row.message_id], state=state, why=why[:500], ended_at=now)

    def _change(self, ids: Sequence[str], **values: Any) -> None:
        """Change messages that wait; whatever has ended stays as it is."""
        waiting = MESSAGES.c.message_id.in_(ids) & (MESSAGES.c.state == "waiting")
        changed = update(MESSAGES).where(waiting).values(**values)
        self.database.write(lambda connection: connection.execute(changed))


def posting_id_of(message_id: str) -> str:
    """Return the id under which a message's points are posted: any member id fits in it."""
    return f"act:{sha256(message_id.encode()).hexdigest()[:48]}"


def _flat(content: dict[str, Any]) -> dict[str, str | None]:
    said = {f"{part}_{language}": content[part][language]
            for part in ("name", "text") for language in ("en", "zh")}  # fmt: skip
    said["products"] = ";".join(content.get("products", ()))
    return {name: said.get(name, content.get(name)) for name in COLUMNS}


def _harmless(value: str | None) -> str | None:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{value}" if value and value[0] in FORMULA_STARTS else value
