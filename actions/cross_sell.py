"""Which products an offer names to each member: new to her, or due again; and what they may earn.

What is named is what the recommenders found for her and what goes with what she has just begun to
buy, as far as it may be named: in stock, not age-restricted, never returned by her, one of a
category; for a cross-sell never bought in the look-back, for a replenishment bought again and
again. Of those, what is expected to earn most comes first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actions.candidates import CANDIDATE_COLUMNS, Kind
from actions.chances import Calibration, chances
from programme.errors import InputRefused

Rule = Literal[
    "not_sold", "restricted", "out_of_stock", "no_price", "bought", "not_bought", "returned",
    "same_category",
]  # fmt: skip
# In the order in which a product meets them.
RULES: tuple[Rule, ...] = (
    "not_sold", "restricted", "out_of_stock", "no_price", "bought", "not_bought", "returned",
    "same_category",
)  # fmt: skip
GOODS_COLUMNS = ("category", "price_cents", "margin_rate", "stock", "restricted")
SHOWN_COLUMNS = (
    "member_id", "place", "product_id", "category", "source", "because", "chance", "price_cents",
    "margin_rate", "margin_known", "stock", "margin_cents",
)  # fmt: skip
PAIR = ["member_id", "product_id"]
# Bought on fewer days in the look-back, it is no habit that could be due.
HABIT_DAYS = 2


@dataclass(frozen=True)
class Terms:
    """What holds for everything that is named.

    Attributes
    ----------
    shown : products a member, at most
    lookback_days : within which a cross-sell was never bought
    cannibalisation : share of a product's margin that other purchases lose by it, until measured
    margin_rate : what the shop keeps of a unit of spend, where goods do not say it
    """

    shown: int = 4
    lookback_days: int = 182
    cannibalisation: float = 0.2
    margin_rate: float = 0.25

    def __post_init__(self) -> None:
        """Refuse terms under which nothing could be named or valued."""
        wrong = [
            said
            for said, fine in (
                (f"shown {self.shown} (at least 1)", self.shown >= 1),
                (f"lookback_days {self.lookback_days} (at least 1)", self.lookback_days >= 1),
                (
                    f"cannibalisation {self.cannibalisation} (0 to 1)",
                    0 <= self.cannibalisation <= 1,
                ),
                (f"margin_rate {self.margin_rate} (above 0, at most 1)", 0 < self.margin_rate <= 1),
            )
            if not fine
        ]
        if wrong:
            raise InputRefused(
                f"These terms cannot be used: {', '.join(wrong)}. No product was named."
            )


TERMS = Terms()


@dataclass(frozen=True)
class Shown:
    """What is named to whom.

    Attributes
    ----------
    rows : `SHOWN_COLUMNS`, in order of member and place
        `chance` is of her buying it within the horizon, offer or no offer; `stock` is in_stock or
        unknown; `margin_cents` = chance x price x margin_rate x (1 - cannibalisation), and
        calibrated also x the lines of it that who buys it usually buys
    refused : how many candidates each rule refused; the first that a candidate does not pass
    calibrated : whether chances were held against what was bought after earlier lists
    """

    rows: pd.DataFrame
    refused: Mapping[Rule, int]
    calibrated: bool

    def worth_cents(self) -> "pd.Series[float]":
        """Return what everything named to a member is expected to earn, by member_id.

        It is the margin of what she buys of it, not of what the offer adds: an offer that raises
        every chance by a share u, as an experiment measures it, adds u times this. (Sum over j of
        [P(buy j | offer) - P(buy j)] m_j price_j (1 - kappa_j), with P(buy j | offer) =
        (1 + u) P(buy j).)
        """
        return self.rows.groupby("member_id", sort=True)["margin_cents"].sum()


def name_products(
    kind: Kind,
    candidates: pd.DataFrame,
    goods: pd.DataFrame,
    bought: pd.DataFrame,
    returned: pd.DataFrame,
    terms: Terms = TERMS,
    calibration: Calibration | None = None,
) -> Shown:
    """Choose what is named to each member.

    Parameters
    ----------
    candidates : `CANDIDATE_COLUMNS`; `rank` from 1 within a source, `because` what it goes with
        or empty, `lift` by how much more likely that makes it
    goods : `GOODS_COLUMNS`, indexed by product_id; `stock` is in_stock, out_of_stock or unknown
    bought : as `Snapshot.products`: everything that was bought before the day
    returned : member_id and product_id, what she gave back
    calibration : of chances; None: they are as often as members in general take things up

    Raises
    ------
    InputRefused : if a column is missing, or a product is twice among the goods.
    """
    _check(candidates, goods, bought, returned)
    rows = _once(candidates)
    rows = rows.join(goods[list(GOODS_COLUMNS)], on="product_id")
    rows["code"] = _refusals(kind, rows, goods.index, bought, returned, terms)
    free = rows[rows["code"] == ""].copy()
    free["chance"] = chances(kind, free, bought, calibration)
    free["margin_known"] = free["margin_rate"].notna()
    free["margin_rate"] = free["margin_rate"].astype(np.float64).fillna(terms.margin_rate)
    spent = free["price_cents"] * (calibration.prices_spent if calibration else 1.0)
    free["margin_cents"] = (
        free["chance"] * spent * free["margin_rate"] * (1 - terms.cannibalisation)
    )
    order = ["member_id", "margin_cents", "rank", "product_id"]
    free = free.sort_values(order, ascending=[True, False, True, True], kind="stable")
    # Of unknown kind, each is a kind of its own.
    own = free["category"].astype(object).where(free["category"].notna(), free["product_id"])
    again = pd.DataFrame({"who": free["member_id"], "what": own}).duplicated()
    chosen = free[~again]
    place = chosen.groupby("member_id").cumcount() + 1
    chosen = chosen.assign(place=place)[place <= terms.shown]
    counts = rows["code"].value_counts()
    refused = {rule: int(counts.get(rule, 0)) for rule in RULES} | {
        "same_category": int(again.sum())
    }
    return Shown(
        chosen[list(SHOWN_COLUMNS)].reset_index(drop=True), refused, calibration is not None
    )


def _refusals(
    kind: Kind,
    rows: pd.DataFrame,
    sold: pd.Index,
    bought: pd.DataFrame,
    returned: pd.DataFrame,
    terms: Terms,
) -> NDArray[np.object_]:
    """Return the first rule that each candidate does not pass, or an empty text."""
    pairs = pd.MultiIndex.from_frame(rows[PAIR])
    lately = bought[bought["last_days"] <= terms.lookback_days]
    habit = lately[lately["purchase_days"] >= HABIT_DAYS]
    closed: dict[Rule, NDArray[np.bool_]] = {
        "not_sold": ~rows["product_id"].isin(sold).to_numpy(),
        "restricted": rows["restricted"].eq(True).to_numpy(bool),
        "out_of_stock": rows["stock"].eq("out_of_stock").to_numpy(bool),
        "no_price": ~(rows["price_cents"].astype(np.float64) > 0).to_numpy(bool),
        "returned": pairs.isin(pd.MultiIndex.from_frame(returned[PAIR])),
    }
    if kind == "cross_sell":
        closed["bought"] = pairs.isin(pd.MultiIndex.from_frame(lately[PAIR]))
    else:
        closed["not_bought"] = ~pairs.isin(pd.MultiIndex.from_frame(habit[PAIR]))
    code = np.full(len(rows), "", dtype=object)
    for rule in RULES:
        if rule in closed:
            code[(code == "") & closed[rule]] = rule
    return code


def _once(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return each pair of member and product once, as its best source has it."""
    rows = candidates[list(CANDIDATE_COLUMNS)].astype({"member_id": str, "product_id": str})
    rows = rows.sort_values(["rank", "source"], kind="stable").drop_duplicates(PAIR)
    return rows.sort_values([*PAIR]).reset_index(drop=True)


def _check(
    candidates: pd.DataFrame, goods: pd.DataFrame, bought: pd.DataFrame, returned: pd.DataFrame
) -> None:
    wanted: tuple[tuple[str, pd.DataFrame, tuple[str, ...]], ...] = (
        ("candidates", candidates, CANDIDATE_COLUMNS),
        ("goods", goods, GOODS_COLUMNS),
        ("what was bought", bought, (*PAIR, "purchase_days", "last_days", "first_days")),
        ("what was returned", returned, tuple(PAIR)),
    )
    for what, frame, columns in wanted:
        missing = [name for name in columns if name not in frame]
        if missing:
            raise InputRefused(
                f"{what.capitalize()} lack {', '.join(missing)}. No product was named."
            )
    if not goods.index.is_unique:
        twice = goods.index[goods.index.duplicated()][0]
        raise InputRefused(
            f"Product {str(twice)[:64]!r} is twice among the goods. No product was named."
        )
    rates = goods["margin_rate"].astype(np.float64)
    if not np.isfinite(rates.dropna()).all() or (goods["price_cents"].astype(np.float64) < 0).any():
        raise InputRefused(
            "A price below nothing or a margin that is no number is among the goods. No product "
            "was named."
        )
