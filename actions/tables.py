"""The tables of actions, in the one SQL database. `decisions` are only ever added to.

catalogues     every version of the offers that was adopted
campaigns      what was asked of each, and how far it has come
decisions      what was decided about one member in one campaign, and everything behind it
messages       the outbox: what is to be sent, and what became of it
suppressions   who is left alone, since when and why
firings        which trigger fired for whom, so that it does not fire again at once
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from programme.database import Instant

MEMBER_ID_LENGTH_MAX = 64
CAMPAIGN_ID_LENGTH_MAX = 40
MESSAGE_ID_LENGTH_MAX = CAMPAIGN_ID_LENGTH_MAX + 1 + MEMBER_ID_LENGTH_MAX

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
)

CATALOGUES = Table(
    "catalogues",
    metadata,
    Column("version", String(40), primary_key=True),
    Column("text", Text, nullable=False),
    Column("adopted_no", BigInteger, nullable=False, unique=True),  # the highest one holds
    Column("recorded_at", Instant(), nullable=False),
)
CAMPAIGNS = Table(
    "campaigns",
    metadata,
    Column("campaign_id", String(CAMPAIGN_ID_LENGTH_MAX), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("text", Text, nullable=False),  # the file that asked for it
    Column("catalogue", String(40), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("proposal", String(64), nullable=False),  # SHA-256 of the proposal's file
    Column("facts", Text, nullable=False),  # JSON: plan, prices, power, models
    Column("proposed_at", Instant(), nullable=False),
    Column("approved_at", Instant()),
    Column("approved_by", String(100)),
    Column("launched_at", Instant()),
    Column("closed_at", Instant()),
    Column("readout", Text),  # JSON, as it stood when the campaign was closed
)
DECISIONS = Table(
    "decisions",
    metadata,
    Column("decision_id", String(MESSAGE_ID_LENGTH_MAX), primary_key=True),
    Column("campaign_id", String(CAMPAIGN_ID_LENGTH_MAX), nullable=False),
    Column("member_id", String(MEMBER_ID_LENGTH_MAX), nullable=False),
    Column("decided_at", Instant(), nullable=False),
    Column("arm", String(12), nullable=False),
    Column("planned", String(64)),  # the offer the plan chose; absent: nobody's turn
    Column("offer", String(64)),  # the offer the draw gave her, before the control withheld it
    Column("propensity", Double, nullable=False),  # of what was done
    Column("detail", Text, nullable=False),  # JSON: scores, errors, chances, refusals
)
Index("decisions_member", DECISIONS.c.member_id, DECISIONS.c.decided_at)
Index("decisions_campaign", DECISIONS.c.campaign_id)
MESSAGES = Table(
    "messages",
    metadata,
    Column("message_id", String(MESSAGE_ID_LENGTH_MAX), primary_key=True),  # its decision's
    Column("campaign_id", String(CAMPAIGN_ID_LENGTH_MAX), nullable=False),
    Column("member_id", String(MEMBER_ID_LENGTH_MAX), nullable=False),
    Column("offer", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("channel", String(20), nullable=False),
    Column("purpose", String(10), nullable=False),
    Column("content", Text, nullable=False),  # JSON: what the channel is handed
    Column("points", BigInteger, nullable=False, server_default=text("0")),
    Column("state", String(10), nullable=False),
    Column("due_at", Instant(), nullable=False),  # not to be sent before; later after a failure
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("batch", String(80)),  # the hand-off it was given to, decided before it was written
    Column("ended_at", Instant()),
    Column("why", Text),  # why it was refused or given up
    CheckConstraint("state in ('waiting', 'sent', 'refused', 'given_up')", name="state"),
)
Index(
    "messages_waiting", MESSAGES.c.due_at, MESSAGES.c.message_id,
    sqlite_where=text("state = 'waiting'"), postgresql_where=text("state = 'waiting'"),
)  # fmt: skip
Index("messages_campaign", MESSAGES.c.campaign_id)
Index("messages_sent", MESSAGES.c.ended_at)
SUPPRESSIONS = Table(
    "suppressions",
    metadata,
    Column("member_id", String(MEMBER_ID_LENGTH_MAX), primary_key=True),
    Column("reason", String(200), nullable=False),
    Column("until", Date),  # absent: for good
    Column("recorded_at", Instant(), nullable=False),
)
FIRINGS = Table(
    "firings",
    metadata,
    Column("trigger_id", String(64), primary_key=True),
    Column("member_id", String(MEMBER_ID_LENGTH_MAX), primary_key=True),
    Column("fired_on", Date, primary_key=True),
)
