"""The points desk: the ledger of a home as the service and the command line use it."""

import threading

from sqlalchemy import select

from loyalty import rulebook
from loyalty.rulebook import Rulebook
from loyalty.scale import hold_scale
from loyalty.tables import RULE_VERSIONS
from programme.database import Database
from programme.settings import Programme, Settings, open_programme


class PointsDesk:
    """One programme's ledger, opened at first use; its rules are read anew when they change."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._programme: Programme | None = None
        self._rulebook: Rulebook | None = None

    @property
    def settings(self) -> Settings | None:
        """Return the settings it was made with; None: those of the process."""
        return self._settings

    @property
    def database(self) -> Database:
        """Return the database, its tables up to date.

        Raises
        ------
        NotReady : if the home holds no programme yet, or the database does not answer.
        InputRefused : if its points were counted in another unit than the programme now says.
        """
        with self._lock:
            if self._database is None:
                settings = self._settings or Settings.load()
                self._programme = open_programme(settings)
                self._database = _opened(settings, self._programme)
            return self._database

    @property
    def programme(self) -> Programme:
        """Return the programme of the home."""
        _ = self.database
        assert self._programme is not None
        return self._programme

    @property
    def rules(self) -> Rulebook:
        """Return the rules as they were adopted; parsed again only when there are others."""
        with self.database.read() as connection:
            adopted = set(connection.execute(select(RULE_VERSIONS.c.version)).scalars())
        known = self._rulebook
        if known is None or {rules.version for rules in known.versions} != adopted:
            known = self._rulebook = rulebook.load(self.database, self.programme)
        return known

    def close(self) -> None:
        """Give back every connection; the next use opens anew."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None


def _opened(settings: Settings, programme: Programme) -> Database:
    database = Database.open(settings)
    try:
        hold_scale(database, programme.points_scale)
    except BaseException:
        database.close()
        raise
    return database
