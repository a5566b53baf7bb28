"""What members had bought at an as_of, and what they bought next, as products or as their kinds."""

from collections.abc import Collection
from datetime import date
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import engine, identities, rollups, sequences, snapshot
from features.clock import clock_of
from features.lake import Lake
from programme.errors import InputRefused
from programme.settings import Settings, open_programme
from training.labels import bought_products
from training.models.origin import ITEM_FACTS, Origin

Level = Literal["product", "product_type", "category"]
# Of the year before, the weeks that lie where the coming ones will lie; on either side one more.
DAYS_PER_YEAR, SEASON_DAYS = 364, 28


class Baskets:
    """The baskets of one programme; every as_of is read once.

    Parameters
    ----------
    settings : names the home
    horizon_days : of what is bought next
    level : what counts as an item: products, or their product types or categories
    without : departments whose products are left out, such as fuel
    """

    def __init__(
        self,
        settings: Settings,
        horizon_days: int,
        level: Level = "product",
        without: Collection[str] = (),
    ) -> None:
        if level not in get_args(Level):
            raise InputRefused(
                f"There is no level {level!r}. Nothing was read. Levels are "
                f"{', '.join(get_args(Level))}."
            )
        self.settings = settings
        self.horizon_days = horizon_days
        self.level = level
        self.without = tuple(without)
        self._before: dict[date, pd.DataFrame] = {}
        self._after: dict[date, pd.DataFrame] = {}
        self._items: dict[date, pd.DataFrame] = {}
        self._origins: dict[date, Origin] = {}

    def before(self, as_of: date) -> pd.DataFrame:
        """Return everything bought before, in the columns of `Snapshot.products`."""
        if as_of not in self._before:
            self._before[as_of] = self._read_before(as_of)
        return self._before[as_of]

    def after(self, as_of: date) -> pd.DataFrame:
        """Return member_id and product_id: everything bought within the horizon."""
        if as_of not in self._after:
            self._after[as_of] = self._read_after(as_of)
        return self._after[as_of]

    def items(self, as_of: date) -> pd.DataFrame:
        """Return the facts of items that rankers read, indexed by product_id: `ITEM_FACTS`."""
        if as_of not in self._items:
            self._items[as_of] = self._read_items(as_of)
        return self._items[as_of]

    def active(self, as_of: date) -> npt.NDArray[np.object_]:
        """Return the members who bought lately."""
        features = snapshot.build(self.settings, as_of).features()
        return np.asarray(features.index[features["population"] == "active"], dtype=object)

    def origin(self, as_of: date) -> Origin:
        """Return a past day as rankers learn from it."""
        if as_of not in self._origins:
            self._origins[as_of] = Origin(self.before(as_of), self.after(as_of), self.items(as_of))
        return self._origins[as_of]

    def kinds(self, as_of: date) -> pd.Series:
        """Return what each product counts as by product_id; products without one are left out."""
        with engine.connect(self.settings) as connection:
            found = connection.execute(self._kinds_sql(as_of)).df()
        return found.set_index("product_id")["kind"]

    def days(self, as_of: date) -> pd.DataFrame:
        """Return member_id, product_id and days_ago, one row per purchase day before."""
        with engine.connect(self.settings) as connection:
            lines = self._lines(connection, as_of)
            return connection.execute(
                f"""select member_id, item as product_id,
                    cast(date_diff('day', bought_on, date '{as_of}') as integer) as days_ago
                from ({lines}) group by all having sum(sign) > 0 order by all"""
            ).df()

    def _read_before(self, as_of: date) -> pd.DataFrame:
        lake = Lake(self.settings)
        manifest, zone = lake.ready(), open_programme(self.settings).timezone
        with engine.connect(self.settings) as connection:
            identities.resolve(connection, lake, manifest, as_of, zone)
            clock = clock_of(connection, zone, lake.rows_sql("purchases", manifest))
            kinds = None if self._plain else self._kinds_sql(as_of)
            sql = sequences.products_sql(lake, manifest, as_of, zone, clock, kinds)
            return connection.execute(sql).df()

    def _read_after(self, as_of: date) -> pd.DataFrame:
        lake_version = Lake(self.settings).ready().lake_version
        bought = bought_products(self.settings, as_of, self.horizon_days, lake_version)
        if self._plain:
            return bought
        kinds = self.kinds(as_of)
        item = bought["product_id"].map(kinds)
        known = bought.assign(product_id=item)[item.notna()].drop_duplicates()
        return known.sort_values(["member_id", "product_id"], ignore_index=True)

    def _read_items(self, as_of: date) -> pd.DataFrame:
        day = f"date '{as_of}'"
        lately = f"bought_on >= {day} - 28"
        ended = DAYS_PER_YEAR - SEASON_DAYS + 1
        last_year = f"bought_on between {day} - {DAYS_PER_YEAR} and {day} - {ended}"
        with engine.connect(self.settings) as connection:
            lines = self._lines(connection, as_of)
            found = connection.execute(
                f"""with lines as ({lines}), watched as (
                    select date_diff('day', min(bought_on), {day}) as days from lines)
                select item as product_id,
                    cast(sum(sign * net_cents) / nullif(sum(sign), 0) as double) as price_cents,
                    cast(sum(sign * off_cents) filter (where {lately})
                        / nullif(sum(sign * (net_cents + off_cents)) filter (where {lately}), 0)
                        as double) as discount_share_28d,
                    cast(sum(sign * off_cents) / nullif(sum(sign * (net_cents + off_cents)), 0)
                        as double) as discount_share,
                    case when any_value(days) >= {DAYS_PER_YEAR} then cast(
                        coalesce(sum(sign) filter (where {last_year}), 0) / {SEASON_DAYS}
                        / nullif(sum(sign), 0) * any_value(days) as double) end as season_ratio
                from lines, watched group by item order by item"""
            ).df()
        return found.set_index("product_id")[list(ITEM_FACTS)].astype(np.float64)

    @property
    def _plain(self) -> bool:
        return self.level == "product" and not self.without

    def _lines(self, connection: object, as_of: date) -> str:
        """Resolve members as of a day and return a SELECT of lines known by then, no returns."""
        lake = Lake(self.settings)
        manifest, zone = lake.ready(), open_programme(self.settings).timezone
        identities.resolve(connection, lake, manifest, as_of, zone)  # type: ignore[arg-type]
        rows = lake.rows_sql("purchases", manifest)
        local = clock_of(connection, zone, rows)  # type: ignore[arg-type]
        midnight = identities.midnight_sql(as_of, zone)
        lines = f"""select source, source_key, kind as item, sign, net_cents,
                coalesce(discount_cents, 0) as off_cents,
                cast({local("occurred_at")} as date) as bought_on
            from ({rows}) join ({self._kinds_sql(as_of)}) using (product_id)
            where known_at < {midnight} and occurred_at < {midnight}
                and source_key is not null and not {rollups.RETURNED}"""
        return identities.with_member(lines)

    def _kinds_sql(self, as_of: date) -> str:
        """Return a SELECT of product_id and what it counts as, as known at an as_of."""
        lake = Lake(self.settings)
        manifest, zone = lake.ready(), open_programme(self.settings).timezone
        midnight = identities.midnight_sql(as_of, zone)
        named = f"""select product_id, category, product_type, department
            from ({lake.rows_sql("products", manifest)})
            where sign > 0 and known_at < {midnight}
            qualify row_number() over (partition by product_id order by known_at desc) = 1"""
        dropped = ", ".join(engine.text(name) for name in self.without)
        outside = f"and coalesce(department, '') not in ({dropped})" if dropped else ""
        if self.level != "product":
            return f"""select product_id, {self.level} as kind from ({named})
                where {self.level} is not null {outside}"""
        bought = f"select distinct product_id from ({lake.rows_sql('purchases', manifest)})"
        return f"""select product_id, product_id as kind
            from ({bought}) left join ({named}) using (product_id)
            where product_id is not null {outside}"""
