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
from serving.online.recent import Recent
from training import margins, shelf
from training.models import replenishment
from training.shelf import Shelf

_SHELVES: dict[tuple[Any, ...], Shelf] = {}


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
        """Return what the shop keeps of their spend."""
        midnight = midnight_sql(self.as_of, self.timezone)
        begins = midnight_sql(self.as_of - timedelta(days=margins.WINDOW_DAYS), self.timezone)
        lake = self.recent.history.lake
        products = lake.rows_sql("products", lake.manifest().up_to(self.recent.history.version))
        self.connection.execute(
            f"create or replace temp table rates as {margins.rates_sql(products, midnight)}"
        )
        bought = margins.bought_sql(self.hot.rows_sql("purchases", Manifest()), midnight, begins)
        found = self.connection.execute(margins.shares_sql(bought)).df()
        shares: pd.Series[float] = found.set_index("member_id")["margin_share"].astype("float64")
        return shares

    def habits(self) -> pd.DataFrame:
        """Return how often they buy each category."""
        return replenishment.habits_of(self.connection)

    def usual_gaps(self) -> "pd.Series[float]":
        """Return the gap that is usual in each category, as the snapshot froze it."""
        return replenishment.usual_gaps(self.setting.snapshot)

    def shelf(self, age_restricted: Sequence[str], margin_weight: float) -> Shelf:
        """Return what may be named to them; read once for a day and a version of the lake."""
        settings, version = self.setting.snapshot.settings, self.recent.history.version
        key = (settings.home, version, self.as_of, tuple(age_restricted), margin_weight)
        if key not in _SHELVES:
            while len(_SHELVES) > 3:
                _SHELVES.pop(next(iter(_SHELVES)))
            _SHELVES[key] = shelf.read(settings, self.as_of, age_restricted, margin_weight)
        return _SHELVES[key]
