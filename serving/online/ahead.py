"""Whom a worker computes while nothing waits: all of its parts, in order, once on each basis."""

from dataclasses import dataclass

from sqlalchemy import select

from programme.database import Database
from serving.online.standing import Basis, Whole
from serving.online.store import part_of
from serving.online.tables import ONLINE_MEMBERS

_READ_AT_ONCE = 1_000


@dataclass
class Ahead:
    """How far the members were looked ahead for, in their order.

    Parameters
    ----------
    wanted : on which basis, and of which parts
    after : the last member looked at; None: everybody was
    """

    wanted: tuple[Basis, frozenset[int]]
    after: str | None = ""

    def following(self, database: Database, whole: Whole, limit: int) -> list[str]:
        """Return the next members who were not computed whole."""
        if self.after is None:
            return []
        column = ONLINE_MEMBERS.c.member_id
        page = select(column).where(column > self.after).order_by(column).limit(_READ_AT_ONCE)
        with database.read() as connection:
            found = [str(one) for one in connection.execute(page).scalars()]
        _, parts = self.wanted
        due = [one for one in found if part_of(one) in parts and one not in whole][:limit]
        # Beyond a full list there may be more of this page.
        self.after = due[-1] if len(due) == limit else found[-1] if found else None
        return due
