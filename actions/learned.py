"""What logged decisions teach of an action: whom it changes by how much, and who redeems it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actions.plan import NOBODY, Places
from actions.policy import Costs, Guess, Numbers, win_back_profit
from training.models import uplift
from training.models.boosting import Trees
from training.models.trial import Trial
from training.models.uplift import UpliftModel
from training.models.uplift_learners import UPLIFT_TREES, Learner, Part, grower

# Fatigue, and much else that moves an effect, is nearly a line: trees that answer with numbers need
# many steps for it, and take noise with each (docs/decisions/0019).
EFFECT_TREES = replace(UPLIFT_TREES, linear=True)
# Lines go on beyond what was seen, and money has long tails: columns end at these quantiles.
ENDS = (0.01, 0.99)
# With a smaller chance of either, one member would stand for fifty and more.
CHANCE_LEAST = 0.02
# So many who got nothing are kept for each who got the action. Where few are contacted, the others
# mostly say the same once more, and take the time.
WITHOUT_FOR_EACH = 4.0
# With fewer contacts, everybody redeems as often as anybody.
REDEEMED_LEAST = 400
# What is believed of redemptions weighs as much as so many contacts.
REDEEM_WEIGHT = 50.0


@dataclass(frozen=True, eq=False)
class Logged:
    """Decisions and what came of them, of one or more campaigns.

    Attributes
    ----------
    x : what was known of each member when it was decided, (rows, columns)
    done : place of the action she was contacted with, or `NOBODY`
    chances : exact probability of each action, (rows, actions)
    nobody : exact probability of none
    outcome : what counts, such as orders within the horizon
    redeemed : 1 where she redeemed
    value : margin of one unit of the outcome, as it was expected when it was decided
    """

    x: Numbers
    done: Places
    chances: Numbers
    nobody: Numbers
    outcome: Numbers
    redeemed: Numbers
    value: Numbers

    @classmethod
    def of(cls, parts: Sequence[Self]) -> Self:
        """Return the decisions of all parts."""
        names = [one.name for one in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """Return some of the decisions."""
        return type(self)(*(getattr(self, one.name)[rows] for one in fields(self)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.done)

    def among(self, action: int) -> tuple[NDArray[np.bool_], Numbers]:
        """Return the rows that say something of an action, and its chance beside no contact.

        Those who got it or nothing, and could have got either; what another action did says
        nothing of it. The chance is given for those rows.
        """
        either = self.chances[:, action] + self.nobody
        share = np.divide(
            self.chances[:, action], either, out=np.zeros(len(self)), where=either > 0
        )
        fair = (share >= CHANCE_LEAST) & (share <= 1 - CHANCE_LEAST)
        rows = fair & np.isin(self.done, (action, NOBODY))
        return rows, share[rows]

    def thinned(self, action: int, rng: np.random.Generator) -> tuple[Self, Numbers, Numbers]:
        """Return an action's rows, with fewer of those without.

        Whoever is left out is drawn by chance alone, so that nothing but noise changes.

        Returns
        -------
        rows, the action's chance beside no contact as it was logged, and its chance among these
        """
        rows, share = self.among(action)
        few = self.take(rows)
        got, without = few.done == action, few.done == NOBODY
        kept = min(1.0, WITHOUT_FOR_EACH * float(got.sum()) / max(1, int(without.sum())))
        among = share / (share + kept * (1 - share))
        chosen = (got | (rng.random(len(few)) < kept)) & (among <= 1 - CHANCE_LEAST)
        return few.take(chosen), share[chosen], among[chosen]


@dataclass(frozen=True, eq=False)
class ActionModel:
    """What one action changes, and how likely it is redeemed.

    Attributes
    ----------
    uplift : of the outcome
    redeem : by what she is; None: `redeem_rate` holds for everybody
    redeem_rate, redeem_error : of all who were contacted, and the standard error of one's chance
    ends : where each column ends, low and high, (2, columns)
    """

    uplift: UpliftModel
    redeem: Part | None
    redeem_rate: float
    redeem_error: float
    ends: Numbers

    def within(self, x: Numbers) -> Numbers:
        """Return columns ended where they were for learning, (n, columns)."""
        return ended(x, self.ends)

    def changes(self, x: Numbers) -> Guess:
        """Return the change of the outcome for each member, of shape (n,)."""
        return Guess(*self.uplift.predict_with_error(self.within(x)))

    def redeems(self, x: Numbers) -> Guess:
        """Return the chance that each member redeems, of shape (n,)."""
        if self.redeem is None:
            rate = np.full(len(x), self.redeem_rate)
        else:
            rate = np.clip(self.redeem.answer(self.within(x)), 0.0, 1.0)
        return Guess(rate, np.full(len(x), self.redeem_error))

    def profit(self, x: Numbers, value: Numbers, costs: Costs) -> tuple[Guess, Guess]:
        """Return expected incremental profit and expected spend, both of shape (n, 1).

        Parameters
        ----------
        value : margin of one unit of the outcome, of shape (n,)
        costs : of this action alone
        """
        changes, redeems = self.changes(x).column(), self.redeems(x).column()
        profit = win_back_profit(changes, Guess.of(value[:, None]), redeems, costs)
        return profit, costs.spend(redeems)


def learn(
    logged: Logged,
    action: int,
    *,
    redeem_rate: float,
    seed: int,
    learner: Learner = "x",
    splits: int = 1,
    trees: Trees = EFFECT_TREES,
) -> ActionModel:
    """Learn an action from what was decided before.

    The uplift is drawn towards the action's average effect, as far as its own error says.

    Parameters
    ----------
    redeem_rate : what the catalogue believes of redemptions
    learner, splits, trees : as `training.models.uplift.fit`

    Raises
    ------
    InputRefused : if nobody got the action, or nobody went without.
    """
    few, _, chance = logged.thinned(action, np.random.default_rng(seed))
    ends = ends_of(few.x)
    trial = Trial.of(ended(few.x, ends), few.done == action, few.outcome, chance)
    model = uplift.fit(
        trial.x, trial.treated, trial.outcome, trial.propensity,
        learner=learner, seed=seed, splits=splits, trees=trees,
    )  # fmt: skip
    got = logged.done == action
    redeemed, count = logged.redeemed[got], int(got.sum())
    rate = float((redeemed.sum() + REDEEM_WEIGHT * redeem_rate) / (count + REDEEM_WEIGHT))
    error = float(np.sqrt(rate * (1 - rate) / (REDEEM_WEIGHT + min(count, REDEEMED_LEAST))))
    booster = None
    if count >= REDEEMED_LEAST and np.ptp(redeemed) > 0:
        grow = grower(replace(trees, linear=False), 2, seed)
        booster = Part(1.0, grow(ended(logged.x[got], ends), redeemed, np.ones(count)))
    return ActionModel(model, booster, rate, error, ends)


def ends_of(x: Numbers) -> Numbers:
    """Return where each column ends, low and high, (2, columns); NaN where nothing is known."""
    known = np.ma.masked_invalid(x)
    ends = np.full((2, x.shape[1]), np.nan)
    for place in np.flatnonzero(known.count(axis=0)):
        ends[:, place] = np.quantile(known[:, place].compressed(), ENDS)
    return ends


def ended(x: Numbers, ends: Numbers) -> Numbers:
    """Return columns cut off at their ends; what is absent stays so."""
    whole: Numbers = np.fmin(np.fmax(x, ends[0]), ends[1])
    return np.where(np.isnan(x), np.nan, whole)
