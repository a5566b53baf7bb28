"""What may be named to a member at all: in stock, not age-restricted; and what it earns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from features import engine, identities
from features.lake import Lake
from programme.settings import Settings, open_programme
from training.models.pool import place

# Where margins have a say, so many times the list are considered.
CONSIDERED = 3


@dataclass(frozen=True, eq=False)
class Shelf:
    """The rules before a product is named, as of one day.

    Parameters
    ----------
    barred : product_ids that are out of stock or age-restricted
    names : what people call a product, by product_id; those without a name are left out
    margin_rate : margin over price by product_id, where known
    margin_weight : how much a margin moves a place in the list; 0: not at all
    """

    barred: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    margin_rate: "pd.Series[float]" = field(default_factory=lambda: pd.Series(dtype="float64"))
    margin_weight: float = 0.0

    @property
    def weighs(self) -> bool:
        """Tell whether margins are known and have a say."""
        return self.margin_weight > 0 and len(self.margin_rate) > 0

    def weighed(self, named: pd.DataFrame, k: int) -> pd.DataFrame:
        """Keep k products a member, those that earn more moved forward.

        Parameters
        ----------
        named : as a recommender answers, in order of member and rank

        Notes
        -----
        A place is worth 1 / log2(rank + 1), as in nDCG; it counts 1 + margin_weight times the
        margin rate. A product of unknown margin has the mean of all that are known: not of those
        named, or what is named to a member would depend on who else is asked about.
        """
        if not self.weighs:
            return named[named["rank"] <= k].reset_index(drop=True)
        rate = named["product_id"].map(self.margin_rate).to_numpy(dtype=np.float64)
        mean = float(self.margin_rate.mean())
        worth = 1 / np.log2(named["rank"].to_numpy(dtype=np.float64) + 1)
        worth *= 1 + self.margin_weight * np.where(np.isfinite(rate), rate, mean)
        member = np.cumsum(named["rank"].to_numpy() == 1)
        order = np.lexsort((named["rank"].to_numpy(), -worth, member))
        ranked = named.iloc[order].assign(rank=place(member[order]))
        return ranked[ranked["rank"] <= k].reset_index(drop=True)


def read(
    settings: Settings,
    as_of: date,
    age_restricted: Sequence[str] = (),
    margin_weight: float = 0.0,
) -> Shelf:
    """Read stock, names and margins as known at an as_of.

    Parameters
    ----------
    age_restricted : departments, categories or product types, whatever the case of letters
    margin_weight : see `Shelf`

    Notes
    -----
    A product is out of stock when something is known of its stock and the last that is known of
    all shops adds up to nothing; of a product no shop reports, nothing is held against it.
    """
    lake = Lake(settings)
    manifest = lake.manifest()
    midnight = identities.midnight_sql(as_of, open_programme(settings).timezone)
    words = ", ".join(engine.text(word.strip().casefold()) for word in age_restricted) or "''"
    newest = "where sign > 0 and known_at < {midnight} qualify row_number() over (partition by "
    newest = newest.format(midnight=midnight)
    known = f"""select * from ({lake.rows_sql("products", manifest)})
        {newest} product_id order by known_at desc) = 1"""
    stocked = f"""select * from ({lake.rows_sql("stock", manifest)})
        {newest} product_id, store_id order by known_at desc) = 1"""
    with engine.connect(settings) as connection:
        products = connection.execute(
            f"""select product_id, name, margin_rate, lower(department) in ({words})
                or lower(category) in ({words}) or lower(product_type) in ({words}) as restricted
            from ({known}) order by product_id"""
        ).df()
        empty = connection.execute(
            f"""select product_id from ({stocked}) group by product_id
            having sum(greatest(available, 0)) <= 0"""
        ).fetchall()
    by_id = products.set_index("product_id")
    restricted = by_id.index[by_id["restricted"].fillna(value=False).astype(bool)]
    return Shelf(
        barred=frozenset([*map(str, restricted), *(str(row[0]) for row in empty)]),
        names={str(key): str(name) for key, name in by_id["name"].dropna().items()},
        margin_rate=by_id["margin_rate"].dropna().astype(np.float64),
        margin_weight=margin_weight,
    )
