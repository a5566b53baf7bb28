"""Points: lines know their instant, so that an order can be dated anew; the scale is kept."""

import sqlalchemy as sa
from alembic import op

from programme.database import Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the instant of a line, empty for those that are there, and facts of the ledger."""
    op.add_column("order_lines", sa.Column("occurred_at", Instant()))
    op.create_table(
        "ledger_facts",
        sa.Column("fact", sa.String(40), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("fact", name="pk_ledger_facts"),
    )
