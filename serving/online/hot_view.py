"""Members computed again, as champions ask about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import sequences
from features.identities import midnight_sql
from features.lake import Lake, Manifest
from programme.settings import Settings
from serving.online.history import History
from serving.online.recent import Recent
from training import margins, shelf
from training.models import replenishment
from training.shelf import Shelf


class Wares:
    """What is known of the goods: read once for a day and a version of the lake.

    Parameters
    ----------
    connection : of an engine, in which the margin rates stand
    """

    def __init__(
        self, settings: Settings, connection: duckdb.DuckDBPyConnection, history: History
    ) -> None:
        self._settings, self._connection, self._history = settings, connection, history
        self._of: tuple[date, int] | None = None
        self._shelves: dict[tuple[tuple[str, ...], float], Shelf] = {}
        self._rated: bool | None = None

    def shelf(self, as_of: date, age_restricted: Sequence[str], margin_weight: float) -> Shelf:
        """Return what may be named to members on a day."""
        self._turn_to(as_of)
        rule = (tuple(age_restricted), margin_weight)
        if rule not in self._shelves:
            self._shelves[rule] = shelf.read(self._settings, as_of, age_restricted, margin_weight)
        return self._shelves[rule]

    def rated(self, as_of: date) -> bool:
        """Have the margin rates of a day stand in the table `rates`; return whether there are."""
        self._turn_to(as_of)
        if self._rated is None:
            lake = self._history.lake
            products = lake.rows_sql("products", lake.manifest().up_to(self._history.version))
            rates = margins.rates_sql(products, midnight_sql(as_of, self._history.timezone))
            self._connection.execute(f"create or replace temp table rates as {rates}")
            found = self._connection.execute("select exists (from rates)").fetchall()
            self._rated = bool(found[0][0])
        return self._rated

    def _turn_to(self, as_of: date) -> None:
        if self._of != (as_of, self._history.version):
            self._of = (as_of, self._history.version)
            self._shelves, self._rated = {}, None


@dataclass(frozen=True, eq=False)
class HotView:
    """The members at hand, whose relations are prepared in an engine."""

    frame: pd.DataFrame
    connection: duckdb.DuckDBPyConnection
    hot: Lake
    setting: Any
    as_of: date
    timezone: str
    recent: Recent
    wares: Wares

    @cached_property
    def data_as_of(self) -> datetime:
        """Return that of the snapshot; each row says her own."""
        moment: datetime = self.setting.snapshot.data_as_of
        return moment

    def features(self) -> pd.DataFrame:
        """Return one row per member."""
        return self.frame

    def weekly(self, n_weeks: int) -> NDArray[np.float32]:
        """Return their last weeks."""
        members = [str(one) for one in self.frame.index]
        return sequences.weekly(self.connection, members, n_weeks)

    def products(self) -> pd.DataFrame:
        """Return what they bought."""
        clock = self.recent.clock("purchases")
        sql = sequences.products_sql(self.hot, Manifest(), self.as_of, self.timezone, clock)
        return self.connection.execute(sql).df()

    def margin_shares(self) -> "pd.Series[float]":
        """Return what the shop keeps of their spend; empty where no product has a margin rate."""
        if not self.wares.rated(self.as_of):
            return pd.Series(dtype="float64", name="margin_share")
        midnight = midnight_sql(self.as_of, self.timezone)
        begins = midnight_sql(self.as_of - timedelta(days=margins.WINDOW_DAYS), self.timezone)
        bought = margins.bought_sql(self.hot.rows_sql("purchases", Manifest()), midnight, begins)
        found = self.connection.execute(margins.shares_sql(bought)).df()
        shares: pd.Series[float] = found.set_index("member_id")["margin_share"].astype("float64")
        return shares

    def habits(self) -> pd.DataFrame:
        """Return how often they buy each category."""
        return replenishment.habits_of(self.connection)

    def usual_gaps(self) -> "pd.Series[float]":
        """Return the gap that is usual in each category, as the snapshot froze it."""
        gaps: pd.Series[float] = self.setting.usual_gaps
        return gaps

    def shelf(self, age_restricted: Sequence[str], margin_weight: float) -> Shelf:
        """Return what may be named to them."""
        return self.wares.shelf(self.as_of, age_restricted, margin_weight)
