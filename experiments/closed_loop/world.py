"""A programme in which it is known what every action would change for every member, cycle by cycle.

A cycle has two halves. In each a member buys or does not; an action changes the log-odds of the
first half, by her features and by what no feature shows, and takes from the second what it only
pulled forward. Recent contacts wear the effect down, seasons move everything.
"""

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.special import expit

from programme.errors import InputRefused

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

NOBODY = -1
# Standard normal each; the last two tell nothing.
FEATURES = (
    "recency", "frequency", "value", "deals", "engagement", "breadth", "tenure", "weather", "luck",
)  # fmt: skip
# Those that move from cycle to cycle, and how much of one cycle is found in the next.
MOVING, KEPT = ("recency", "engagement"), 0.8
# What the policy reads beside the features.
KNOWN = (*FEATURES, "contacts", "churn_probability", "season")
# Quadrature over what no feature shows: to a few in ten thousand.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()

Share = Annotated[float, Field(ge=0, le=1)]
Slopes = dict[str, float]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _slopes_are_of_features(self) -> Self:
        for slopes in (value for value in vars(self).values() if isinstance(value, dict)):
            if unknown := sorted(set(slopes) - set(FEATURES)):
                raise ValueError(f"{unknown[0]} is no feature; there is {', '.join(FEATURES)}")
        return self


class Action(_Section):
    """One offer of the world.

    Attributes
    ----------
    contact_cents, redeem_cents : cost of a message, and of a redemption
    redeem_share : of those who buy in the first half, who redeem
    capacity : messages of its channel in a cycle, as a share of members
    odds, by : change of the log-odds at mean features, and by each feature
    bend : how much more for every unit of deals times engagement
    pull_forward : of purchases gained that would have come in the second half, how many do not
    """

    name: str
    contact_cents: Annotated[float, Field(ge=0)]
    redeem_cents: Annotated[float, Field(ge=0)] = 0.0
    redeem_share: Share = 0.0
    capacity: Annotated[float, Field(gt=0, le=1)]
    odds: float
    by: Slopes = Field(default_factory=dict)
    bend: float = 0.0
    pull_forward: Share = 0.3


class Recipe(_Section):
    """Everything a world is made of.

    Attributes
    ----------
    budget_cents : a cycle, for each member: contacts and redemptions together, as expected
    unseen_share : of the variance of each action's odds, what no feature explains
    odds, by : log-odds of buying in a half, at mean features and by each feature
    unseen : standard deviation of what members differ in beside
    margin_cents, margin_spread : of an order: median, and standard deviation of its logarithm
    basket_spread : standard deviation of the logarithm of one order around a member's own margin
    season, season_of_effects : how far log-odds of buying, and of effects, swing over the cycles
    fatigue, remembered : what the effect's log-odds lose by a contact in the cycle before, and how
        much of that is left a cycle later
    """

    members: Annotated[int, Field(ge=500, le=1_000_000)]
    cycles: Annotated[int, Field(ge=2, le=100)] = 6
    budget_cents: Annotated[float, Field(gt=0)]
    unseen_share: Annotated[float, Field(ge=0, lt=1)]
    odds: float
    by: Slopes
    unseen: Annotated[float, Field(ge=0)]
    margin_cents: Annotated[float, Field(gt=0)]
    margin_spread: Annotated[float, Field(ge=0)]
    basket_spread: Annotated[float, Field(ge=0)]
    season: float
    season_of_effects: float
    fatigue: Annotated[float, Field(ge=0)]
    remembered: Share
    action: Annotated[tuple[Action, ...], Field(min_length=1, max_length=20)]


def read(path: Path) -> Recipe:
    """Read a world.

    Raises
    ------
    InputRefused : naming the key that cannot be used.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputRefused(f"{path} is no world: {error}. Nothing was run.") from error
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise InputRefused(f"{path}: {key}: {fault['msg']}. Nothing was run.") from error


@dataclass(frozen=True)
class Expected:
    """What is to be expected of members, with nobody contacted and with each action.

    Attributes
    ----------
    first, second : chance to buy in each half, uncontacted, of shape (members,)
    first_with, second_with : the same with each action, (members, actions)
    """

    first: Numbers
    second: Numbers
    first_with: Numbers
    second_with: Numbers

    @cached_property
    def orders(self) -> Numbers:
        """Return the change in orders of the whole cycle, (members, actions)."""
        before: Numbers = (self.first + self.second)[:, None]
        return self.first_with + self.second_with - before


@dataclass(frozen=True)
class Seen:
    """What came of a cycle: orders and their margin in cents, and who redeemed, (members,)."""

    orders: Numbers
    margin: Numbers
    redeemed: Numbers


class World:
    """One world of a seed, at one cycle after another.

    What is drawn about members and what happens to them come from streams of their own: two
    policies meet the same members with the same luck.

    Attributes
    ----------
    recipe : what it is made of
    ids : of members
    margins : of an order of each member, in cents: what a value model would say of her
    x : features now, (members, features)
    contacts : how many contacts she has in mind, the older the less
    cycle : counted from 0
    """

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.cycle = recipe, 0
        made = np.random.default_rng([seed, 1])
        self._moves = np.random.default_rng([seed, 2])
        self._luck = np.random.default_rng([seed, 3])
        n = recipe.members
        self.ids = [f"{seed}-{number:07d}" for number in range(n)]
        self.x: Numbers = made.standard_normal((n, len(FEATURES)))
        # Who comes often came lately, and looks at what she is sent.
        often = FEATURES.index("frequency")
        for name, share in (("recency", -0.5), ("engagement", 0.3)):
            place = FEATURES.index(name)
            own = np.sqrt(1 - share**2)
            self.x[:, place] = share * self.x[:, often] + own * self.x[:, place]
        self._anchor = self.x.copy()
        self._unseen: Numbers = recipe.unseen * made.standard_normal(n)
        self._unseen_odds: Numbers = made.standard_normal((n, len(recipe.action))) * self.spreads
        self.margins: Numbers = recipe.margin_cents * np.exp(
            recipe.margin_spread * self.x[:, FEATURES.index("value")]
        )
        self.contacts: Numbers = np.zeros(n)
        self._expected: Expected | None = None

    @cached_property
    def spreads(self) -> Numbers:
        """Return the standard deviation of each action's unseen odds, (actions,)."""
        share = self.recipe.unseen_share
        # A standard normal feature adds its squared slope; a product of two, its own.
        seen = [
            sum(slope**2 for slope in one.by.values()) + one.bend**2 for one in self.recipe.action
        ]
        spreads: Numbers = np.sqrt(np.array(seen) * share / (1 - share))
        return spreads

    @property
    def season(self) -> float:
        """Return where in its swing the season is, from -1 to 1."""
        return float(np.cos(2 * np.pi * self.cycle / 6.5))

    @property
    def known(self) -> Numbers:
        """Return what the policy may read of each member, laid out as `KNOWN`."""
        churn = (1 - self.expected.first) * (1 - self.expected.second)
        season = np.full(len(self.x), self.season)
        return np.column_stack([self.x, self.contacts, churn, season])

    def odds(self) -> tuple[Numbers, Numbers]:
        """Return log-odds of buying, and the change by each action, as far as features tell."""
        recipe, x = self.recipe, self.x
        base = recipe.odds + recipe.season * self.season + x @ _slopes(recipe.by)
        bend = x[:, FEATURES.index("deals")] * x[:, FEATURES.index("engagement")]
        change = np.column_stack(
            [one.odds + x @ _slopes(one.by) + one.bend * bend for one in recipe.action]
        )
        worn = recipe.fatigue * self.contacts[:, None]
        return base, change + recipe.season_of_effects * self.season - worn

    @property
    def expected(self) -> Expected:
        """Return what features tell: the mean over everything they do not show."""
        if self._expected is None:
            self._expected = self._mean_over_unseen()
        return self._expected

    def _mean_over_unseen(self) -> Expected:
        base, change = self.odds()
        total = [np.zeros(len(base)) for _ in range(2)] + [np.zeros(change.shape) for _ in range(2)]
        for unseen, weight in zip(_NODES, _WEIGHTS, strict=True):
            at = base + self.recipe.unseen * unseen
            for odds, share in zip(_NODES, _WEIGHTS, strict=True):
                for sum_, part in zip(total, self._halves(at, change + self.spreads * odds),
                                      strict=True):  # fmt: skip
                    sum_ += weight * share * part
        return Expected(*total)

    @property
    def true(self) -> Expected:
        """Return what is so for each member, with what no feature shows."""
        base, change = self.odds()
        return Expected(*self._halves(base + self._unseen, change + self._unseen_odds))

    def _halves(self, base: Numbers, change: Numbers) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        first = expit(base)
        first_with = expit(base[:, None] + change)
        gained = np.maximum(0.0, first_with - first[:, None]) / (1 - first[:, None])
        pulled = np.array([one.pull_forward for one in self.recipe.action])
        # Who would have bought in the second half anyway is as likely as anybody to be gained.
        return first, first, first_with, first[:, None] * (1 - pulled * gained)

    def profits(self, expected: Expected) -> Numbers:
        """Return incremental profit in cents, (members, actions)."""
        gain: Numbers = expected.orders * self.margins[:, None] - self.spend(expected)
        return gain

    def spend(self, expected: Expected) -> Numbers:
        """Return expected cost of contacts and redemptions in cents, (members, actions)."""
        actions = self.recipe.action
        contact = np.array([one.contact_cents for one in actions])
        redeem = np.array([one.redeem_share * one.redeem_cents for one in actions])
        spend: Numbers = contact + redeem * expected.first_with
        return spend

    def live(self, done: Places) -> Seen:
        """Let a cycle pass in which members get what was decided, and see what came of it."""
        true, n = self.true, len(done)
        luck, redeems = self._luck.random((n, 2)), self._luck.random(n)
        baskets = np.exp(
            self.recipe.basket_spread * self._luck.standard_normal(n)
            - self.recipe.basket_spread**2 / 2
        )
        rows, place, contacted = np.arange(n), np.maximum(done, 0), done != NOBODY
        first = luck[:, 0] < np.where(contacted, true.first_with[rows, place], true.first)
        second = luck[:, 1] < np.where(contacted, true.second_with[rows, place], true.second)
        share = np.array([one.redeem_share for one in self.recipe.action])[place]
        redeemed = contacted & first & (redeems < share)
        orders = first.astype(float) + second
        self._pass_on(contacted)
        return Seen(orders, orders * self.margins * baskets, redeemed.astype(float))

    def _pass_on(self, contacted: NDArray[np.bool_]) -> None:
        self.cycle, self._expected = self.cycle + 1, None
        self.contacts = self.recipe.remembered * self.contacts + contacted
        x = self.x.copy()
        for name in MOVING:
            place = FEATURES.index(name)
            fresh = self._moves.standard_normal(len(x))
            # Around where she began, so that the spread over members stays what it was.
            away = KEPT * (x[:, place] - self._anchor[:, place]) + 0.3 * fresh
            x[:, place] = self._anchor[:, place] + away
        self.x = x


def _slopes(by: Slopes) -> Numbers:
    return np.array([by.get(name, 0.0) for name in FEATURES])
