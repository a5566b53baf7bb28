"""Who joins: her rate, her way of leaving, her purse, her liking for deals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.synthetic.recipe import Recipe
from training.models.pareto_nbd import ParetoNbd

Doubles = NDArray[np.float64]
# Liking for deals is beta distributed: most a little, some much. It decides what she buys at a
# discount, and it is what her response to a mailing follows.
DEALS_BETA = (2.0, 5.0)
RESPONSE_NOISE = 0.1


@dataclass(frozen=True, eq=False)
class Members:
    """What is true of each member; nobody in a shop can see it.

    Parameters
    ----------
    joined_at : days since the programme's first midnight, shape (n,)
    rate : orders a week, while she is a buyer
    leaving : per week if members leave at any moment (Pareto/NBD), else a chance per order
    basket_cents : mean of her orders
    deals : share of lines she takes at a discount, in [0, 1]
    response : change of her rate when contacted; -0.2 is a fifth fewer orders, a sleeping dog
    """

    joined_at: Doubles
    rate: Doubles
    leaving: Doubles
    basket_cents: Doubles
    deals: Doubles
    response: Doubles

    def __len__(self) -> int:
        """Count them."""
        return len(self.joined_at)


def draw_members(recipe: Recipe) -> Members:
    """Draw who joins, independently of each other."""
    rng = np.random.default_rng([recipe.seed, 1])
    n, counting, spend = recipe.members, recipe.counting, recipe.spend
    joined_at = np.sort(rng.uniform(0, recipe.joining_days, n))
    rate = rng.gamma(counting.r, 1 / counting.alpha, n)
    if isinstance(counting, ParetoNbd):
        leaving = rng.gamma(counting.s, 1 / counting.beta, n)
    else:
        # A chance of exactly 0 would make a member immortal; geometric draws refuse it.
        leaving = np.maximum(rng.beta(counting.a, counting.b, n), 1e-12)
    basket_cents = spend.p * spend.v / rng.gamma(spend.q, 1.0, n)
    deals = rng.beta(*DEALS_BETA, n)
    least, most = recipe.response
    response = least + (most - least) * deals + rng.normal(0, RESPONSE_NOISE, n)
    if least == most == 0:  # an A/A world: nobody responds, not even by chance
        response = np.zeros(n)
    return Members(joined_at, rate, leaving, basket_cents, deals, np.clip(response, -0.9, 2.0))
