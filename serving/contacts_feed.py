"""From the outbox to the lake: messages that were sent become `contacts` rows that features read.

What a provider tells of them afterwards, delivered, opened, redeemed, opted out, comes by
`perennial ingest` with the same contact_id, which is the message's id.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import duckdb
from sqlalchemy import select

from actions.tables import DECISIONS, MESSAGES
from features import contracts, engine
from features.sources.staging import Notes, Staged, contract_columns
from loyalty.intake import position
from programme.database import Database
from programme.settings import Programme

FEED = "contacts to the lake"
# Two deliverers may end messages in one order and commit in the other: a reader who goes on looks
# back by more than any transaction lasts. Rows that come twice change nothing.
LOOK_BACK = timedelta(hours=1)
_AT_ONCE = 1_000


@dataclass(frozen=True)
class SentRow:
    """One row of the contract `features.contracts.CONTACTS`; the two rooms meet in it only."""

    contact_id: str
    kind: str
    occurred_at: datetime
    member_id: str
    decision_id: str
    campaign_id: str
    channel: str
    offer: str
    arm: str
    propensity: float
    known_at: datetime


COLUMNS = tuple(SentRow.__dataclass_fields__)


def rows(
    database: Database, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[SentRow]:
    """Yield messages sent in `[since, until)`, with what could have been missed before.

    Parameters
    ----------
    since : up to where an earlier call read; None for everything
    """
    query = (
        select(
            MESSAGES.c.message_id, MESSAGES.c.member_id, MESSAGES.c.campaign_id,
            MESSAGES.c.channel, MESSAGES.c.offer, MESSAGES.c.ended_at, DECISIONS.c.decision_id,
            DECISIONS.c.arm, DECISIONS.c.propensity,
        )
        .join(DECISIONS, DECISIONS.c.decision_id == MESSAGES.c.message_id)
        .where(MESSAGES.c.state == "sent")
        .order_by(MESSAGES.c.ended_at, MESSAGES.c.message_id)
    )  # fmt: skip
    if since is not None:
        query = query.where(MESSAGES.c.ended_at >= since - LOOK_BACK)
    if until is not None:
        query = query.where(MESSAGES.c.ended_at < until)
    with database.read() as connection:
        for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
            yield SentRow(
                row.message_id, "sent", row.ended_at, row.member_id, row.decision_id,
                row.campaign_id, row.channel, row.offer, row.arm, row.propensity, row.ended_at,
            )  # fmt: skip


class ContactsFeed:
    """The outbox of a home as a source of rows; what came before is known and changes nothing."""

    name = "outbox"
    notes = Notes(historical_load=False)

    def __init__(
        self, database: Database, *, since: datetime | None = None, until: datetime | None = None
    ) -> None:
        self._database = database
        self._since = since
        self._until = until

    @classmethod
    def since_last(cls, database: Database, now: datetime) -> Self:
        """Return what was sent between the last time it was read, as remembered, and now."""
        last = position(database, FEED)
        return cls(
            database, since=None if last is None else datetime.fromisoformat(last), until=now
        )

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was sent in that time."""
        found = rows(self._database, since=self._since, until=self._until)
        return next(found, None) is None

    @property
    def programme(self) -> Programme | None:
        """Return None: the programme is the home's own."""
        return None

    def files(self) -> list[Path]:
        """Return nothing: rows come from a database."""
        return []

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002 - nothing to look up first
        scratch: Path,
        programme: Programme,  # noqa: ARG002 - instants have no zone
    ) -> Iterator[Staged]:
        """Yield what was sent, written down as text first: it may not fit in memory."""
        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / "outbox.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in rows(self._database, since=self._since, until=self._until):
                writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
        read = (
            f"select *, row_number() over () as line from read_csv({engine.text(path)}, "
            "header = true, all_varchar = true, nullstr = '\\N')"
        )
        typed = contract_columns(contracts.CONTACTS, {name: name for name in COLUMNS})
        yield Staged(
            contracts.CONTACTS,
            f"select {typed}, 'outbox' as file, line, cast(null as varchar) as problem, "
            f"cast(null as varchar) as raw from ({read})",
        )


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return str(value)
