"""Points: only reversals are in the index of what was reversed; they are few."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the index anew, without the postings that reverse nothing."""
    op.drop_index("postings_reverses")
    its = sa.text("reverses is not null")
    op.create_index(
        "postings_reverses", "postings", ["reverses"], sqlite_where=its, postgresql_where=its
    )
