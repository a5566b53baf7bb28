"""Made-up responses of real members to a real campaign, and what it truly changed.

Everybody buys by her own rhythm and basket, as her features say. A message that reached her changes
how often she comes: a little of that can be told from her features, most of it cannot, and some
come less for it. Whoever comes may redeem, also if she had come anyway. Nobody behaves like this;
it is made so that a read-out can be held against a truth that is known.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class World:
    """How members respond.

    Attributes
    ----------
    more_visits : that a message brings in the horizon, on average, before nobody can come less
        often than never
    told, untold : standard deviations of that over members: of the part features tell, and of the
        part nothing tells
    redeems : chance that a member who was reached and comes redeems
    basket_shape : of the gamma distribution of baskets
    """

    more_visits: float = 0.3
    told: float = 0.15
    untold: float = 0.45
    redeems: float = 0.15
    basket_shape: float = 2.0


@dataclass(frozen=True, eq=False)
class People:
    """Members as the simulator sees them, arrays of shape (members,).

    Attributes
    ----------
    visits, basket_cents : expected in the horizon without a message, and of one visit
    change : of her visits, if a message reaches her
    """

    member_id: NDArray[np.str_]
    visits: Numbers
    basket_cents: Numbers
    change: Numbers

    @property
    def visits_if_reached(self) -> Numbers:
        """Return her expected visits if a message reaches her."""
        return np.maximum(0.0, self.visits + self.change)

    @property
    def come_less(self) -> float:
        """Return the share of members whom a message keeps away."""
        return float((self.visits_if_reached < self.visits).mean())

    @property
    def untold(self) -> float:
        """Return the share of the variance of their responses that no feature explains."""
        known = np.column_stack([np.ones(len(self.visits)), _told(self.visits)])
        explained = known @ np.linalg.lstsq(known, self.change, rcond=None)[0]
        return float((self.change - explained).var() / self.change.var())


def people(features: pd.DataFrame, world: World, *, horizon_days: int, rng: Rng) -> People:
    """Return members from their features.

    Parameters
    ----------
    features : one row a member, with recency_days, gap_days_shrunk, purchase_days_84d and
        spend_cents_mean
    """
    gap = features["gap_days_shrunk"].fillna(28.0).to_numpy(float)
    silent = features["recency_days"].to_numpy(float)
    seen = features["purchase_days_84d"].fillna(0).to_numpy(float)
    # A gamma prior worth one of her usual gaps: who has been silent for long is expected less and
    # less, and never not at all.
    visits = horizon_days * (seen + 1) / (np.maximum(84.0, silent) + gap)
    untold = rng.normal(0.0, world.untold, len(features))
    change = world.more_visits + world.told * _told(visits) + untold
    basket = features["spend_cents_mean"].fillna(0).to_numpy(float)
    return People(features.index.to_numpy(str), visits, np.maximum(1.0, basket), change)


@dataclass(frozen=True, eq=False)
class Told:
    """What was told to whom, arrays in the order of `People`.

    Attributes
    ----------
    reached : whether a message was sent to her
    contact_cents, redeem_cents : what her offer costs
    redeem_days : for how many days of the horizon it can be redeemed
    """

    reached: NDArray[np.bool_]
    contact_cents: Numbers
    redeem_cents: Numbers
    redeem_days: Numbers


def true_profit(
    who: People, told: Told, world: World, *, margin_rate: float, horizon_days: int
) -> Numbers:
    """Return what contacting each changes on average, in cents: no chance is left in it."""
    more = (who.visits_if_reached - who.visits) * who.basket_cents * margin_rate
    comes = 1 - np.exp(-who.visits_if_reached * told.redeem_days / horizon_days)
    spent = told.contact_cents + told.redeem_cents * world.redeems * comes
    return np.where(told.reached, more - spent, 0.0)


def respond(
    who: People, told: Told, world: World, *, horizon_days: int, rng: Rng
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw what everybody does in the horizon.

    Returns
    -------
    purchases : member, order, day (since the launch, a fraction), amount_cents
    redemptions : member, day: of her first visit, if she redeems
    """
    expected = np.where(told.reached, who.visits_if_reached, who.visits)
    counts = rng.poisson(expected)
    place = np.repeat(np.arange(len(counts)), counts)
    shape = world.basket_shape
    baskets = rng.gamma(shape, who.basket_cents[place] / shape)
    visits = pd.DataFrame(
        {
            "member": who.member_id[place],
            "day": rng.uniform(0.0, horizon_days, len(place)),
            "amount_cents": np.maximum(1, np.rint(baskets)).astype(np.int64),
            "place": place,
        }
    ).sort_values(["place", "day"], ignore_index=True)
    visits["order"] = [f"made-up-{number}" for number in range(len(visits))]
    first = visits.groupby("place")["day"].min()
    redeems = rng.random(len(counts))[first.index] < world.redeems
    in_time = first.to_numpy() < told.redeem_days[first.index]
    taken = first[redeems & in_time & told.reached[first.index]]
    redemptions = pd.DataFrame({"member": who.member_id[taken.index], "day": taken.to_numpy()})
    return visits.drop(columns="place"), redemptions


def _told(visits: Numbers) -> Numbers:
    """Return the part of a response that features tell: who comes seldom is moved more."""
    rare = -np.log(visits)
    return np.asarray((rare - rare.mean()) / (rare.std() or 1.0), np.float64)
