"""What the thread that looks for news sees of the online store: publications, and a few rows."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from programme.database import Database
from programme.errors import NotReady
from programme.settings import Settings
from serving.online.store import NUMBERS, OnlineStore, Publication
from serving.online.tables import ONLINE_MEMBERS

# The first of them by id: the same ones for every candidate, and they are nowhere kept.
SAMPLED_MEMBERS = 64


class StoreWatch:
    """A connection of its own to the store; opened when first asked, and again after a fault."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: OnlineStore | None = None

    def publication(self) -> Publication:
        """Return the last time everybody was written.

        Raises
        ------
        NotReady : if nobody ever was, or by code with other features.
        Busy, StorageFailed : if the database is away or damaged.
        """
        try:
            found = self._opened().publication()
        except BaseException:
            self.close()
            raise
        if found is None:
            raise NotReady(
                "The online store is empty: nobody was written to it yet, or everybody is being "
                "written for the first time. Nothing can be answered. Start the worker, or wait "
                f"until it is done: perennial worker --home {self._settings.home}"
            )
        return found

    def sample(self) -> NDArray[np.float64]:
        """Return the rows of a few members, shape (n, len(NUMBERS)).

        Raises
        ------
        NotReady : if there are members, and none that this code can read.
        """
        store = self._opened()
        c = ONLINE_MEMBERS.c
        first = select(c.features, c.feature_set).order_by(c.member_id).limit(SAMPLED_MEMBERS)
        with store.database.read() as connection:
            found = connection.execute(first).all()
        rows = [
            np.frombuffer(row.features, "<f8") for row in found
            if row.feature_set == store.feature_set
        ]  # fmt: skip
        if found and not rows:
            raise NotReady(
                f"The online store was written by code with other features (set "
                f"{found[0].feature_set}; this code reads {store.feature_set}). Nothing can be "
                f"answered. Let the worker write it anew: perennial worker --home "
                f"{self._settings.home}"
            )
        return np.stack(rows) if rows else np.empty((0, len(NUMBERS)))

    def close(self) -> None:
        """Give back the connection."""
        if self._store is not None:
            self._store.database.close()
            self._store = None

    def _opened(self) -> OnlineStore:
        if self._store is None:
            self._store = OnlineStore(Database.open(self._settings))
        return self._store
