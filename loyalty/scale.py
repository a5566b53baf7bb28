"""In which unit the ledger counts: fixed with its first posting, whatever a file says later."""

from sqlalchemy import Connection, func, select

from loyalty.statements import Write, write
from loyalty.tables import LEDGER_FACTS, POSTINGS
from programme.database import Database
from programme.errors import InputRefused

_SCALE = "points_scale"


def hold_scale(database: Database, points_scale: int) -> None:
    """Keep how many decimal places points have, or refuse a number other than the one kept.

    Until something is posted it may still be changed: nothing means anything by it.

    Raises
    ------
    InputRefused : if the postings that are there were made with another.
    """
    with database.read() as connection:
        if _kept(connection) == points_scale:
            return

    def work(connection: Connection) -> None:
        kept = _kept(connection)
        postings = connection.execute(select(func.count()).select_from(POSTINGS)).scalar() or 0
        if kept is not None and kept != points_scale and postings:
            raise InputRefused(
                f"points_scale is {points_scale}, and the {postings:,} postings of this ledger "
                f"were made with {kept}: every balance would mean something else. Nothing was "
                f"done. Write points_scale = {kept} into perennial.toml again; to count "
                "otherwise, begin a new home with a database of its own."
            )
        fact = {"fact": _SCALE, "value": str(points_scale)}
        write(connection, Write("upsert", LEDGER_FACTS, [fact]))

    database.write(work)


def _kept(connection: Connection) -> int | None:
    query = select(LEDGER_FACTS.c.value).where(LEDGER_FACTS.c.fact == _SCALE)
    found = connection.execute(query).scalar()
    return None if found is None else int(found)
