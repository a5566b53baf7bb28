"""Points: a balance reads no lots; the index of what was reversed holds only reversals."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make two indexes anew: one with all a balance looks at, one without most postings."""
    _anew("lots_open", "lots", "waiting + remaining > 0",
          "member_id", "ends_at", "remaining", "expires_at", "waiting")  # fmt: skip
    _anew("postings_reverses", "postings", "reverses is not null", "reverses")


def _anew(name: str, table: str, only: str, *columns: str) -> None:
    its = sa.text(only)
    op.drop_index(name)
    op.create_index(name, table, list(columns), sqlite_where=its, postgresql_where=its)
