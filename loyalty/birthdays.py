"""Members' birthdays, for the days on which orders earn more; the year is never kept."""

import re
from collections.abc import Mapping
from datetime import date, datetime

from sqlalchemy import Connection, select

from loyalty.book import Book
from loyalty.errors import Malformed
from loyalty.postings import check_member
from loyalty.statements import Write, write
from loyalty.tables import ACCOUNTS
from loyalty.terms import Terms
from programme.database import Database

_BIRTHDAY = re.compile(r"(?P<year>[0-9]{4}-)?(?P<day>[0-9]{2}-[0-9]{2})")


def month_and_day(written: str) -> str:
    """Return a birthday, written as 02-29 or 1990-02-29, as MM-DD.

    Raises
    ------
    Malformed : if there is no such day.
    """
    found = _BIRTHDAY.fullmatch(written.strip())
    try:
        if found is None:
            raise ValueError(written)
        day = date.fromisoformat(f"{found['year'] or '2000-'}{found['day']}")  # a leap year
    except ValueError as error:
        raise Malformed(
            f"{written!r:.40} is no birthday. Nothing was changed. Write 02-29, or 1992-02-29."
        ) from error
    return f"{day:%m-%d}"


def keep_birthdays(
    database: Database, terms: Terms, birthdays: Mapping[str, str | None], *, now: datetime
) -> None:
    """Remember birthdays, by member, as MM-DD; None forgets one.

    Whose birthday is kept gets an account if she has none: orders look at it. What was earned
    before is not reckoned again.
    """
    told = [member for member, day in birthdays.items() if day is not None]

    def work(connection: Connection) -> None:
        Book(connection, terms, now).lock(birthdays, told)
        rows = [{"member_id": member, "birthday": day} for member, day in birthdays.items()]
        write(connection, Write("change", ACCOUNTS, rows))

    database.write(work)


def birthday(database: Database, member_id: str) -> str | None:
    """Return a member's birthday as MM-DD, if it is known."""
    check_member(member_id)
    query = select(ACCOUNTS.c.birthday).where(ACCOUNTS.c.member_id == member_id)
    with database.read() as connection:
        return connection.execute(query).scalar()
