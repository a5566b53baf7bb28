"""Online: the inbox, the store of members, what changed, and the keys of those who call."""

import sqlalchemy as sa
from alembic import op

from programme.database import Instant

revision = "0005"
down_revision = "0004"

# SQLite numbers rows by itself only where the key is its own INTEGER.
_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _inbox()
    _dead_letters()
    _store()
    op.create_table(
        "changes",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("before", sa.String(128)),
        sa.Column("after", sa.String(128)),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_changes"),
        sa.CheckConstraint("what in ('risk_band', 'stage', 'segment', 'tag')", "ck_changes_what"),
    )
    op.create_table(
        "change_hooks",
        sa.Column("hook_id", sa.String(40), nullable=False),
        sa.Column("url", sa.String(500), nullable=False),
        sa.Column("secret_variable", sa.String(100), nullable=False),
        sa.Column("wanted", sa.String(80), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("sending", sa.BigInteger),
        sa.Column("inside", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("why", sa.Text),
        sa.PrimaryKeyConstraint("hook_id", name="pk_change_hooks"),
    )
    op.create_table(
        "leases",
        sa.Column("part", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("part", name="pk_leases"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(24), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scopes", sa.String(400), nullable=False),
        sa.Column("per_second", sa.Integer, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant()),
        sa.Column("revoked_at", Instant()),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("seq", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("source_key", sa.String(200), nullable=False),
        sa.Column("part", sa.SmallInteger, nullable=False),
        sa.Column("occurred_at", Instant(), nullable=False),
        sa.Column("accepted_at", Instant(), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("refreshed_at", Instant()),
        sa.Column("why", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_inbox"),
        sa.UniqueConstraint("kind", "key", "version", name="uq_inbox"),
        sa.CheckConstraint("kind in ('purchase', 'event')", "ck_inbox_kind"),
        sqlite_autoincrement=True,
    )
    waiting = sa.text("refreshed_at is null")
    op.create_index(
        "inbox_waiting", "inbox", ["part", "seq"], sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_index("inbox_member", "inbox", ["source_key", "seq"])


def _dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("message_no", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("column_name", sa.String(200)),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "message_no", name="pk_dead_letters"),
    )


def _store() -> None:
    op.create_table(
        "online_members",
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("data_as_of", Instant(), nullable=False),
        sa.Column("population", sa.String(8), nullable=False),
        sa.Column("feature_set", sa.String(64), nullable=False),
        sa.Column("features", sa.LargeBinary, nullable=False),
        sa.Column("texts", sa.Text, nullable=False),
        sa.Column("scores", sa.Text, nullable=False),
        sa.Column("traits", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("snapshot", sa.String(120), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("scores_seq", sa.BigInteger, nullable=False),
        sa.Column("publication_no", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("member_id", name="pk_online_members"),
    )
    due = sa.text("scores_seq < seq")
    op.create_index(
        "online_scores_due", "online_members", ["seq"], sqlite_where=due, postgresql_where=due
    )
    op.create_index("online_publication", "online_members", ["publication_no"])
    op.create_table(
        "publications",
        sa.Column("publication_no", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("snapshot", sa.String(120), nullable=False),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("champions", sa.Text, nullable=False),
        sa.Column("percentiles", sa.Text, nullable=False),
        sa.Column("members", sa.BigInteger, nullable=False),
        sa.Column("published_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("publication_no", name="pk_publications"),
        sqlite_autoincrement=True,
    )
