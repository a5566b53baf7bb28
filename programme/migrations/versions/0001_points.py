"""Points: accounts, postings, entries, lots, allocations, and what days counted."""

import sqlalchemy as sa
from alembic import op

from programme.database import Instant

revision = "0001"
down_revision = None

APPENDED = ("postings", "entries", "allocations")
_REFUSAL = "postings are added, never changed: reverse it with a new one"


def upgrade() -> None:
    """Make the tables, and refuse to change what was appended."""
    member = sa.String(64)
    op.create_table(
        "accounts",
        sa.Column("member_id", member, nullable=False),
        sa.Column("postings", sa.BigInteger, nullable=False),
        sa.Column("lots", sa.BigInteger, nullable=False),
        *_counts("active", "pending", "spent", "expired"),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("due_at", Instant()),
        sa.Column("idle_at", Instant()),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("birthday", sa.String(5)),
        sa.PrimaryKeyConstraint("member_id", name="pk_accounts"),
        sa.CheckConstraint("postings >= 0 and lots >= 0 and pending >= 0", "ck_accounts_counts"),
        sa.CheckConstraint("spent >= 0 and expired >= 0", "ck_accounts_sums"),
    )
    due = sa.text("due_at is not null")
    op.create_index("accounts_due", "accounts", ["due_at"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "postings",
        sa.Column("member_id", member, nullable=False),
        sa.Column("posting_no", sa.BigInteger, nullable=False),
        sa.Column("posting_id", sa.String(128), nullable=False, unique=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("active", sa.BigInteger, nullable=False),
        sa.Column("pending", sa.BigInteger, nullable=False),
        sa.Column("occurred_at", Instant(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant()),
        sa.Column("idle_at", Instant()),
        sa.Column("balance", sa.BigInteger, nullable=False),
        sa.Column("tier", sa.String(40)),
        sa.Column("rule_version", sa.String(40)),
        sa.Column("order_key", sa.String(265)),
        sa.Column("reverses", sa.String(128)),
        sa.Column("reason", sa.Text),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("qualifying_points", sa.BigInteger, nullable=False),
        sa.Column("qualifying_cents", sa.BigInteger, nullable=False),
        sa.Column("qualifying_orders", sa.BigInteger, nullable=False),
        sa.Column("qualifying_engagements", sa.BigInteger, nullable=False),
        sa.Column("capped_points", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("member_id", "posting_no", name="pk_postings"),
    )
    op.create_index("postings_reverses", "postings", ["reverses"])
    op.create_index("postings_recorded", "postings", ["recorded_at"])
    op.create_table(
        "entries",
        sa.Column("member_id", member, nullable=False),
        sa.Column("posting_no", sa.BigInteger, nullable=False),
        sa.Column("entry_no", sa.Integer, nullable=False),
        sa.Column("source", sa.String(12), nullable=False),
        sa.Column("target", sa.String(12), nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("member_id", "posting_no", "entry_no", name="pk_entries"),
        _of_posting("fk_entries"),
        sa.CheckConstraint("points > 0", "ck_entries_points"),
        sa.CheckConstraint("source <> target", "ck_entries_moves"),
    )
    op.create_table(
        "lots",
        sa.Column("member_id", member, nullable=False),
        sa.Column("lot_no", sa.BigInteger, nullable=False),
        sa.Column("posting_no", sa.BigInteger, nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        *_counts("waiting", "remaining", "spent", "expired", "reversed"),
        sa.Column("available_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant()),
        sa.Column("ends_at", Instant()),
        sa.Column("idle", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("member_id", "lot_no", name="pk_lots"),
        _of_posting("fk_lots"),
        sa.CheckConstraint("points > 0", "ck_lots_points"),
        sa.CheckConstraint(
            "waiting >= 0 and remaining >= 0 and spent >= 0 and expired >= 0 and reversed >= 0",
            "ck_lots_places",
        ),
        sa.CheckConstraint(
            "points = waiting + remaining + spent + expired + reversed", "ck_lots_sum"
        ),
    )
    left = sa.text("waiting + remaining > 0")
    op.create_index(
        "lots_open",
        "lots",
        ["member_id", "ends_at", "remaining", "expires_at"],
        sqlite_where=left,
        postgresql_where=left,
    )
    op.create_table(
        "allocations",
        sa.Column("member_id", member, nullable=False),
        sa.Column("posting_no", sa.BigInteger, nullable=False),
        sa.Column("allocation_no", sa.Integer, nullable=False),
        sa.Column("lot_no", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(9), nullable=False),
        sa.Column("target", sa.String(9), nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("member_id", "posting_no", "allocation_no", name="pk_allocations"),
        _of_posting("fk_allocations"),
        sa.ForeignKeyConstraint(
            ["member_id", "lot_no"], ["lots.member_id", "lots.lot_no"], "fk_allocations_lots"
        ),
        sa.CheckConstraint("points > 0", "ck_allocations_points"),
    )
    op.create_index("allocations_lot", "allocations", ["member_id", "lot_no"])
    op.create_table(
        "member_days",
        sa.Column("member_id", member, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        *_counts(
            "qualifying_points", "qualifying_cents", "qualifying_orders",
            "qualifying_engagements", "capped_points",
        ),
        sa.PrimaryKeyConstraint("member_id", "day", name="pk_member_days"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    _orders()
    _declared()
    _seal()


def _orders() -> None:
    source, order_id = sa.String(64), sa.String(200)
    op.create_table(
        "orders",
        sa.Column("source", source, nullable=False),
        sa.Column("order_id", order_id, nullable=False),
        sa.Column("member_id", sa.String(64), nullable=False),
        sa.Column("occurred_at", Instant(), nullable=False),
        sa.Column("rule_version", sa.String(40), nullable=False),
        sa.Column("tier", sa.String(40)),
        sa.Column("birthday", sa.String(5)),
        sa.Column("postings", sa.Integer, nullable=False),
        *_counts("points", "qualifying_points", "qualifying_cents", "qualifying_orders"),
        sa.PrimaryKeyConstraint("source", "order_id", name="pk_orders"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "order_lines",
        sa.Column("source", source, nullable=False),
        sa.Column("order_id", order_id, nullable=False),
        sa.Column("line_no", order_id, nullable=False),
        sa.Column("counts_for", order_id, nullable=False),
        sa.Column("net_cents", sa.BigInteger, nullable=False),
        sa.Column("quantity", sa.Float, nullable=False),
        sa.Column("product_id", sa.Text),
        sa.Column("category", sa.Text),
        sa.Column("channel", sa.Text),
        sa.Column("numbers", sa.Text),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("source", "order_id", "line_no", name="pk_order_lines"),
        sqlite_with_rowid=False,
    )
    op.create_index("order_lines_counts_for", "order_lines", ["source", "counts_for"])


def _declared() -> None:
    op.create_table(
        "rule_versions",
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("valid_from", sa.Date, nullable=False, unique=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_rule_versions"),
    )
    op.create_table(
        "watermarks",
        sa.Column("feed", sa.String(100), nullable=False),
        sa.Column("position", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("feed", name="pk_watermarks"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("route", sa.String(100), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("route", "key", name="pk_idempotency_keys"),
    )


def _counts(*names: str) -> list[sa.Column[int]]:
    return [
        sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        for name in names
    ]


def _of_posting(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["member_id", "posting_no"], ["postings.member_id", "postings.posting_no"], name
    )


def _seal() -> None:
    """Let the database itself refuse to change or remove what was appended."""
    if op.get_bind().dialect.name == "sqlite":
        for table in APPENDED:
            for verb in ("update", "delete"):
                op.execute(
                    f"create trigger {table}_no_{verb} before {verb} on {table} "
                    f"begin select raise(abort, '{_REFUSAL}'); end"
                )
        return
    op.execute(
        "create function refuse_change() returns trigger language plpgsql as "
        f"$$ begin raise exception '{_REFUSAL}'; end $$"
    )
    for table in APPENDED:
        op.execute(
            f"create trigger {table}_no_change before update or delete or truncate on {table} "
            "for each statement execute function refuse_change()"
        )
