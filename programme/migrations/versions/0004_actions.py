"""Actions: offers, campaigns, decisions, messages to be sent, who is left alone."""

import sqlalchemy as sa
from alembic import op

from programme.database import Instant

revision = "0004"
down_revision = "0003"

_REFUSAL = "decisions are added, never changed: the log says what was decided then"


def upgrade() -> None:
    """Make the tables, and refuse to change what was decided."""
    op.create_table(
        "catalogues",
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("adopted_no", sa.BigInteger, nullable=False, unique=True),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_catalogues"),
    )
    op.create_table(
        "campaigns",
        sa.Column("campaign_id", sa.String(40), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("catalogue", sa.String(40), nullable=False),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("proposal", sa.String(64), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("proposed_at", Instant(), nullable=False),
        sa.Column("approved_at", Instant()),
        sa.Column("approved_by", sa.String(100)),
        sa.Column("launched_at", Instant()),
        sa.Column("closed_at", Instant()),
        sa.Column("readout", sa.Text),
        sa.PrimaryKeyConstraint("campaign_id", name="pk_campaigns"),
    )
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(105), nullable=False),
        sa.Column("campaign_id", sa.String(40), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("arm", sa.String(12), nullable=False),
        sa.Column("planned", sa.String(64)),
        sa.Column("offer", sa.String(64)),
        sa.Column("propensity", sa.Double, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name="pk_decisions"),
    )
    op.create_index("decisions_member", "decisions", ["member_id", "decided_at"])
    op.create_index("decisions_campaign", "decisions", ["campaign_id"])
    _messages()
    op.create_table(
        "suppressions",
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("until", sa.Date),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("member_id", name="pk_suppressions"),
    )
    op.create_table(
        "firings",
        sa.Column("trigger_id", sa.String(64), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("fired_on", sa.Date, nullable=False),
        sa.PrimaryKeyConstraint("trigger_id", "member_id", "fired_on", name="pk_firings"),
    )
    _never_changed()


def _messages() -> None:
    waiting = sa.text("state = 'waiting'")
    op.create_table(
        "messages",
        sa.Column("message_id", sa.String(105), nullable=False),
        sa.Column("campaign_id", sa.String(40), nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("offer", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("purpose", sa.String(10), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("batch", sa.String(80)),
        sa.Column("ended_at", Instant()),
        sa.Column("why", sa.Text),
        sa.PrimaryKeyConstraint("message_id", name="pk_messages"),
        sa.CheckConstraint(
            "state in ('waiting', 'sent', 'refused', 'given_up')", "ck_messages_state"
        ),
    )
    op.create_index(
        "messages_waiting", "messages", ["due_at", "message_id"],
        sqlite_where=waiting, postgresql_where=waiting,
    )  # fmt: skip
    op.create_index("messages_campaign", "messages", ["campaign_id"])
    op.create_index("messages_sent", "messages", ["ended_at"])


def _never_changed() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for change in ("update", "delete"):
            op.execute(
                f"create trigger decisions_no_{change} before {change} on decisions "
                f"begin select raise(abort, '{_REFUSAL}'); end"
            )
        return
    op.execute(
        f"""create function refuse_change_of_decisions() returns trigger language plpgsql as
        $$ begin raise exception '{_REFUSAL}'; end $$"""
    )
    op.execute(
        "create trigger decisions_no_change before update or delete or truncate on decisions "
        "for each statement execute function refuse_change_of_decisions()"
    )
