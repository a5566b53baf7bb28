"""A day in the past, what was known then and what was bought next: what a ranker learns from."""

from dataclasses import dataclass, field

import pandas as pd

from programme.errors import InputRefused
from training.models.inputs import product_rows
from training.models.pool import text
from training.models.signals import Recipe, Signals

# Facts of a product: price per line, the share taken off lately and ever, and how much more of it
# was sold in the same weeks of last year than in an average week (absent in a first year).
ITEM_FACTS = ("price_cents", "discount_share_28d", "discount_share", "season_ratio")


@dataclass(frozen=True, eq=False)
class Origin:
    """One past day.

    Parameters
    ----------
    before : product frame of that day, as `Snapshot.products`
    after : DataFrame with member_id and product_id, everything bought in the window that followed
    items : DataFrame indexed by product_id with `ITEM_FACTS`, as known that day; may lack any
    """

    before: pd.DataFrame
    after: pd.DataFrame
    items: pd.DataFrame = field(default_factory=pd.DataFrame)
    _signals: dict[Recipe, Signals] = field(default_factory=dict, repr=False)

    def signals(self, recipe: Recipe) -> Signals:
        """Learn the signals of that day, once."""
        if recipe not in self._signals:
            self._signals[recipe] = Signals.of(self.before, recipe)
        return self._signals[recipe]

    def found(self) -> pd.DataFrame:
        """Return the pairs bought in the window by members with a history, and never before."""
        pair = ["member_id", "product_id"]
        before = product_rows(self.before)[pair].astype("str")
        after = self.after[pair].astype("str").drop_duplicates()
        known = after.merge(before, on=pair, how="left", indicator=True)
        seen = known["member_id"].isin(text(before["member_id"]).unique())
        return known.loc[seen & (known["_merge"] == "left_only"), pair]


def some_origins(origins: tuple[Origin, ...], what: str) -> None:
    """Refuse to learn a ranking without a past to learn it from.

    Raises
    ------
    InputRefused
        When there is no origin, or nobody bought anything new after any.
    """
    n_found = sum(len(origin.found()) for origin in origins)
    if n_found == 0:
        raise InputRefused(
            f"{what} learns from what members bought for the first time after earlier days; "
            f"{len(origins)} such days were given, with {n_found} first purchases after them. "
            "Nothing was fitted. Give earlier days, or a longer history."
        )
