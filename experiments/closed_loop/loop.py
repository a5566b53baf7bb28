"""Cycle after cycle through the real code: plan, draw, live, learn, and be judged before deciding.

Nothing here decides: eligibility and expected profit come from `actions.policy`, effects from
`actions.learned`, chance from `actions.drawing`, promotion from `actions.gate`.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from actions.arms import is_held_out
from actions.drawing import TREATED, Drawing, decide
from actions.gate import Verdict
from actions.learned import EFFECT_TREES, ActionModel, Logged, learn
from actions.plan import NOBODY, Numbers
from actions.policy import (
    Costs,
    Guess,
    Mask,
    Policy,
    eligible_at_first,
    prior_uplift,
    win_back_profit,
)
from actions.promotion import Case, case, verdict
from experiments.closed_loop.rivals import oracle, resources_of, total
from experiments.closed_loop.world import KNOWN, Recipe, World
from programme.errors import InputRefused
from training.models.boosting import Trees
from training.models.uplift_learners import Learner

# What the catalogue believes of redemptions, and how firmly, before any are seen.
REDEEM_RATE, REDEEM_ERROR = 0.25, 0.1
GLOBAL_CONTROL = 0.05
# Twenty fewer than a single campaign is given: more learned from noise on the development world.
LOOP_TREES = replace(EFFECT_TREES, n_trees=40)


@dataclass(frozen=True)
class Design:
    """What a programme decides once about how it explores and learns.

    Attributes
    ----------
    taught : cycles in which all is explored, and longer if no offer is promoted by then
    explore, explore_least : share explored in the first cycle that is planned; half of it in the
        next, and so on down to the least
    explore_waiting : share explored at least while all offers wait for promotion; while some do,
        as large a part of it
    control : share withheld
    cycles_kept : how many of the last cycles are learned from
    solved : members the plan's prices are found on
    """

    taught: int = 3
    explore: float = 0.2
    explore_least: float = 0.05
    explore_waiting: float = 0.4
    control: float = 0.1
    learner: Learner = "x"
    splits: int = 2
    trees: Trees = LOOP_TREES
    cycles_kept: int = 6
    solved: int = 3_000


@dataclass
class Cycle:
    """What a cycle of ours brought, in cents of true expected incremental profit.

    Attributes
    ----------
    decided : of the plan as it was decided, before anybody explored or was withheld
    whole : of all who were contacted: explorers too, without those who were withheld
    oracle_here : of the oracle's plan for the same members on the same day
    planned, contacted : members
    as_planned, dogs : contacts that were not explored, and those of them to members whom the
        action, as far as features tell, makes buy less
    left_alone : members with no action that could do good
    spent : of the budget, as truly expected
    promoted : actions whose learned model decides from the next cycle on
    reasons : what the gate said at the cycle's end
    """

    decided: float
    whole: float
    oracle_here: float
    planned: int
    contacted: int
    as_planned: int
    dogs: int
    left_alone: int
    spent: float
    promoted: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def ours(recipe: Recipe, seed: int, design: Design) -> list[Cycle]:
    """Run a programme that measures what it does, and return its cycles."""
    return Programme(recipe, seed, design).run()


class Programme:
    """A programme that starts knowing nothing of its offers."""

    def __init__(self, recipe: Recipe, seed: int, design: Design) -> None:
        self.recipe, self.seed, self.design = recipe, seed, design
        self.world = World(recipe, seed)
        self.held_out = held_out(self.world)
        self.logs: list[Logged] = []
        self.candidates: dict[int, ActionModel] = {}
        self.promoted: set[int] = set()
        self.first_known = 0
        self.cases: dict[int, list[Case]] = {}
        actions = recipe.action
        self.costs = Costs(
            np.array([one.contact_cents for one in actions]),
            np.array([one.redeem_cents for one in actions]),
        )

    def run(self) -> list[Cycle]:
        """Return all cycles."""
        return [self._cycle(number) for number in range(self.recipe.cycles)]

    def _cycle(self, number: int) -> Cycle:
        world = self.world
        policy = self._policy(world.known)
        explore, control = self._shares()
        resources = resources_of(self.recipe, policy.spend)
        drawing = decide(
            policy.profits, resources, world.ids, salt=f"{self.seed}/cycle {number}",
            explore_share=explore, control_share=control, rng=self._rng(number),
            solved=self.design.solved,
        )  # fmt: skip
        found = self._figures(drawing, policy)
        x = world.known
        seen = world.live(drawing.done)
        log = Logged(
            x, drawing.done, drawing.chances, drawing.nobody, seen.orders, seen.redeemed,
            world.margins,
        )  # fmt: skip
        found.reasons = self._judge(log)
        found.promoted = [self.recipe.action[one].name for one in sorted(self.promoted)]
        self.logs.append(log)
        if number + 1 < self.recipe.cycles:
            self._learn(number)
        return found

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 4, number])

    def _shares(self) -> tuple[float, float]:
        """Return the shares explored and withheld: all, then a part, then ever less."""
        design, actions = self.design, len(self.recipe.action)
        if not self.promoted or self.world.cycle < design.taught:
            return 1.0, design.control
        since = self.world.cycle - max(self.first_known, design.taught)
        waiting = design.explore_waiting * (1 - len(self.promoted) / actions)
        explore = max(design.explore / 2**since, waiting, design.explore_least)
        return explore, design.control

    def _figures(self, drawing: Drawing, policy: Policy) -> Cycle:
        world = self.world
        expected, true = world.expected, world.true
        profits, spend = world.profits(true), world.spend(true)
        as_planned = np.flatnonzero(drawing.arms == TREATED)
        harm = expected.orders[as_planned, drawing.done[as_planned]] < 0
        return Cycle(
            total(profits, drawing.planned), total(profits, drawing.done),
            total(profits, oracle(world, self.held_out, self._rng(5))),
            int((drawing.planned != NOBODY).sum()), int((drawing.done != NOBODY).sum()),
            len(as_planned), int(harm.sum()), int(policy.left_alone.sum()),
            total(spend, drawing.done) / (self.recipe.budget_cents * self.recipe.members),
        )  # fmt: skip

    def _policy(self, x: Numbers) -> Policy:
        """Return what is expected of everybody: as learned where that was promoted."""
        parts = [
            self._learned(x, place) if place in self.promoted else self._prior(x, place)
            for place in range(len(self.recipe.action))
        ]
        mean, error, may, spend = (np.column_stack(part) for part in zip(*parts, strict=True))
        measured = np.isin(np.arange(len(parts)), list(self.promoted))
        return Policy(Guess(mean, error), may & ~self.held_out[:, None], measured, spend)

    def _prior(self, x: Numbers, place: int) -> tuple[Numbers, Numbers, Mask, Numbers]:
        churn, costs = x[:, KNOWN.index("churn_probability")], self.costs.of(place)
        redeems = REDEEM_RATE * (self.recipe.action[place].redeem_cents > 0)
        redeemed = Guess.of(np.full((len(x), 1), redeems), REDEEM_ERROR * (redeems > 0))
        value, uplift = self.world.margins, prior_uplift(churn, [None])
        profit = win_back_profit(uplift, Guess.of(value[:, None]), redeemed, costs)
        may = eligible_at_first(churn, value, costs, [None])
        spend = costs.spend(redeemed)
        return profit.mean[:, 0], profit.error[:, 0], may[:, 0], spend.mean[:, 0]

    def _learned(self, x: Numbers, place: int) -> tuple[Numbers, Numbers, Mask, Numbers]:
        model, costs = self.candidates[place], self.costs.of(place)
        profit, spend = model.profit(x, self.world.margins, costs)
        may = np.ones(len(x), dtype=bool)
        return profit.mean[:, 0], profit.error[:, 0], may, spend.mean[:, 0]

    def _judge(self, log: Logged) -> list[str]:
        """Let the gate judge on this cycle what was learned before it."""
        waiting = [place for place in self.candidates if place not in self.promoted]
        if not waiting:
            return []
        verdicts = {place: self._verdict(log, place) for place in waiting}
        if not self.promoted:
            self.first_known = self.world.cycle
        self.promoted |= {place for place, verdict in verdicts.items() if verdict.promoted}
        return [verdict.reason for verdict in verdicts.values()]

    def _verdict(self, log: Logged, place: int) -> Verdict:
        name = self.recipe.action[place].name
        now = case(
            log, place, self.candidates[place], self.costs.of(place), seed=self.seed,
            trees=self.design.trees,
        )  # fmt: skip
        self.cases.setdefault(place, []).append(now)
        return verdict(self.cases[place], name=name, unit="cents")

    def _learn(self, number: int) -> None:
        logged = Logged.of(self.logs[-self.design.cycles_kept :])
        for place, action in enumerate(self.recipe.action):
            redeems = REDEEM_RATE * (action.redeem_cents > 0)
            try:
                self.candidates[place] = learn(
                    logged, place, redeem_rate=redeems, seed=self.seed + number,
                    learner=self.design.learner, splits=self.design.splits,
                    trees=self.design.trees,
                )  # fmt: skip
            except InputRefused:
                continue  # nobody got it yet: the prior stays


def held_out(world: World) -> Mask:
    """Return who is in the global control, which every policy keeps."""
    return np.array([is_held_out("closed loop", one, GLOBAL_CONTROL) for one in world.ids])
