"""How likely a member is to buy a product that is named to her, as a probability to budget with.

A recommender's score is an order, not a chance. The chance begins with what everybody can check:
of the members without the product, so many took it up in the last four weeks, and she takes up so
many new things compared with others. It is then held against what was bought after earlier lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from programme.errors import InputRefused
from training.models.calibration import PlattCalibration

Doubles = NDArray[np.float64]
HORIZON_DAYS = 28
# Over which the pace at which she takes up new things is seen, and within which members come.
PACE_DAYS = 84
PACE_LEAST, PACE_MOST = 0.1, 10.0
CHANCE_LEAST, CHANCE_MOST = 1e-5, 0.95
HABIT_WINDOW_DAYS = 182
# Fewer purchases after earlier lists than this say nothing of their chance.
BOUGHT_LEAST = 30


class TooLittleBought(InputRefused):
    """Of what was named on the earlier day, too little was bought to tell a chance."""


@dataclass(frozen=True)
class Calibration:
    """What chances turned out to be, after earlier lists.

    Attributes
    ----------
    lines : by source, through the log-odds of the chance
    named, bought : products named then, and how many of them were bought within the horizon
    prices_spent : what who buys a product spends on it within the horizon, in prices of a line
    """

    lines: Mapping[str, PlattCalibration]
    named: int
    bought: int
    prices_spent: float = 1.0

    @classmethod
    def fit(
        cls,
        kind: Literal["cross_sell", "replenish"],
        named: pd.DataFrame,
        before: pd.DataFrame,
        after: pd.DataFrame,
        price_cents: "pd.Series[float] | None" = None,
    ) -> Self:
        """Hold lists of an earlier day against what was bought within the horizon after it.

        Parameters
        ----------
        named : member_id, product_id, rank, source and lift, as candidates; a source of which too
            little was bought is held against all of them
        before : as `Snapshot.products` of that day
        after : member_id and product_id, what was bought within the horizon, and net_cents, what
            was spent on it, where prices are given
        price_cents : of a line, by product_id; None: who buys a product is taken to buy one line

        Raises
        ------
        TooLittleBought : if too few of them were bought to tell a chance.
        """
        pair = ["member_id", "product_id"]
        truth = pd.MultiIndex.from_frame(named[pair]).isin(pd.MultiIndex.from_frame(after[pair]))
        if not _tells(truth):
            raise TooLittleBought(
                f"Of {len(truth):,} products named then, {int(truth.sum()):,} were bought after; "
                f"at least {BOUGHT_LEAST} are needed, and one that was not. Nothing was "
                "calibrated. Take lists of more members, or of an earlier day."
            )
        raw = _raw(_prior(kind, named, before), named["rank"].to_numpy(np.float64))
        source = named["source"].to_numpy(dtype=object)
        lines = {}
        for one in sorted(set(source)):
            own = source == one
            own = own if _tells(truth[own]) else np.ones(len(own), dtype=np.bool_)
            lines[str(one)] = PlattCalibration.fit(raw[own], truth[own].astype(np.float64))
        spent = 1.0 if price_cents is None else _prices_spent(named[truth], after, price_cents)
        return cls(lines, len(truth), int(truth.sum()), spent)

    def apply(self, prior: Doubles, rank: Doubles, source: NDArray[np.object_]) -> Doubles:
        """Turn chances into what they turn out to be.

        Raises
        ------
        InputRefused : if nothing of a source was named on the earlier day.
        """
        raw = _raw(prior, rank)
        told = np.empty(len(raw))
        for one in sorted(set(source)):
            if one not in self.lines:
                raise InputRefused(
                    f"Chances were held against lists of {', '.join(self.lines)}; nothing of the "
                    f"source {str(one)[:64]!r} was named then. No product was named. Calibrate "
                    "on lists that have it."
                )
            told[source == one] = self.lines[one].apply(raw[source == one])
        return told


def chances(
    kind: Literal["cross_sell", "replenish"],
    candidates: pd.DataFrame,
    bought: pd.DataFrame,
    calibration: Calibration | None,
) -> Doubles:
    """Return the chance that each candidate is bought within the horizon; shape (n,).

    Parameters
    ----------
    candidates : member_id, product_id, rank, source and lift
    bought : as `Snapshot.products` of the day
    """
    prior = _prior(kind, candidates, bought)
    if calibration is None:
        return prior
    rank = candidates["rank"].to_numpy(np.float64)
    source = candidates["source"].to_numpy(dtype=object)
    return np.clip(calibration.apply(prior, rank, source), CHANCE_LEAST, CHANCE_MOST)


def take_up(bought: pd.DataFrame) -> "pd.Series[float]":
    """Return by product which share of the members without it bought it in the last four weeks.

    Of members who still come, half a purchase and one member more: what nobody took up lately has
    a chance, too.
    """
    rows = _of_those_who_come(bought)
    members = rows["member_id"].nunique()
    new = rows["first_days"] <= HORIZON_DAYS
    taken = new.groupby(rows["product_id"]).sum()
    had = (~new).groupby(rows["product_id"]).sum()
    return ((taken + 0.5) / (members - had + 1)).astype(np.float64)


def pace(bought: pd.DataFrame) -> "pd.Series[float]":
    """Return by member how many new products she took up lately, over what is usual.

    One more on both sides; 1 of a member of whom nothing older is known, as all is new then.
    """
    rows = bought.groupby("member_id")
    new = (bought["first_days"] <= PACE_DAYS).groupby(bought["member_id"]).sum()
    comes = rows["last_days"].min() <= PACE_DAYS
    known = rows["first_days"].max() > PACE_DAYS
    usual = new[comes & known].mean() if (comes & known).any() else 0.0
    found = ((new + 1) / (usual + 1)).clip(PACE_LEAST, PACE_MOST)
    return found.where(known, 1.0).astype(np.float64)


def _prior(kind: str, candidates: pd.DataFrame, bought: pd.DataFrame) -> Doubles:
    who, what = candidates["member_id"], candidates["product_id"]
    if kind == "cross_sell":
        taken, quick = take_up(bought), pace(bought)
        usual = taken.min() if len(taken) else CHANCE_LEAST
        chance = who.map(quick).fillna(1.0) * what.map(taken).fillna(usual) * candidates["lift"]
    else:
        own = candidates[["member_id", "product_id"]].merge(
            bought[["member_id", "product_id", f"purchase_days_{HABIT_WINDOW_DAYS}d"]],
            how="left", on=["member_id", "product_id"],
        )  # fmt: skip
        days = own[f"purchase_days_{HABIT_WINDOW_DAYS}d"].fillna(0.0).to_numpy(np.float64)
        chance = pd.Series(1 - np.exp(-days * HORIZON_DAYS / HABIT_WINDOW_DAYS))
    found: Doubles = np.clip(chance.to_numpy(np.float64), CHANCE_LEAST, CHANCE_MOST)
    return found


def _prices_spent(
    taken: pd.DataFrame, after: pd.DataFrame, price_cents: "pd.Series[float]"
) -> float:
    pair = ["member_id", "product_id"]
    rows = taken[pair].merge(after[[*pair, "net_cents"]], on=pair)
    price = rows["product_id"].map(price_cents)
    known = price > 0
    return float(rows["net_cents"][known].sum() / price[known].sum()) if known.any() else 1.0


def _tells(truth: NDArray[np.bool_]) -> bool:
    return bool(BOUGHT_LEAST <= truth.sum() < len(truth))


def _raw(prior: Doubles, rank: Doubles) -> Doubles:
    """Return log-odds that fall with the rank: an order of the recommender has something to say."""
    odds: Doubles = np.asarray(logit(prior), dtype=np.float64)
    return np.asarray(odds - np.log(rank) / 2, dtype=np.float64)


def _of_those_who_come(bought: pd.DataFrame) -> pd.DataFrame:
    last = bought.groupby("member_id")["last_days"].transform("min")
    return bought[last <= PACE_DAYS]
