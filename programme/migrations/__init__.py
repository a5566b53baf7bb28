"""How the tables of the database came to be: one history, written with Alembic."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from programme.errors import InputRefused

HEAD = "0005"
# Any number that no other program on the server is likely to lock.
_LOCK = 7_302_711_206_115


def is_current(connection: Connection) -> bool:
    """Say whether the tables are those this code expects; nothing is locked to look."""
    return _revision(connection) == HEAD


def upgrade(connection: Connection) -> None:
    """Bring the tables up to what this code expects.

    Raises
    ------
    InputRefused : if the database was written by newer code.
    """
    if connection.dialect.name == "postgresql":
        # Two processes that touch a new database at once: the second finds the work done.
        connection.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))
    present = _revision(connection)
    if present == HEAD:
        return
    # A third of a second to import, and needed once in the life of a database.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise InputRefused(
            f"The database is at revision {present}, which this code (revision {HEAD}) does not "
            "know: newer code wrote it. Nothing was done. Run that code, or restore a backup."
        ) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("select version_num from alembic_version")).scalar()
    return None if found is None else str(found)
