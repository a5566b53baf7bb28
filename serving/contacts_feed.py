"""From the outbox to the lake: messages that were sent become `contacts` rows that features read.

What a provider tells of them afterwards, delivered, opened, redeemed, opted out, comes by
`perennial ingest` with the same contact_id, which is the message's id.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import select

from actions.tables import DECISIONS, MESSAGES
from features import contracts
from programme.database import Database
from serving.database_feed import DatabaseFeed

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


class ContactsFeed(DatabaseFeed):
    """The outbox of a home as a source of rows."""

    name = "outbox"
    feed = "contacts to the lake"
    table = contracts.CONTACTS
    columns = tuple(field.name for field in fields(SentRow))

    def rows(self) -> Iterator[SentRow]:
        """Yield the messages of the time it was asked for."""
        return rows(self._database, since=self._since, until=self._until)
