"""Counting buyers the classical way: purchases at a steady pace until a member drops out.

BG/NBD: each member buys at her own rate, and after each purchase drops out with her own chance.
Rates are gamma and chances beta distributed over members.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, hyp2f1

from training.models.histories import SCALE_MOST, SHAPE_MOST, Histories, maximise

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BgNbd:
    """BG/NBD with its four parameters, fitted to weeks.

    Parameters
    ----------
    r, alpha : shape and rate of the gamma distribution of purchase rates
    a, b : of the beta distribution of the chance to drop out after a purchase

    Source
    ------
    Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2).
    """

    r: float
    alpha: float
    a: float
    b: float

    @classmethod
    def fit(cls, histories: Histories) -> Self:
        """Return the parameters of highest likelihood, eq. (6) of the source.

        Raises
        ------
        InputRefused : when there is no history to learn from
        """
        most = (SHAPE_MOST, SCALE_MOST, SHAPE_MOST, SHAPE_MOST)
        best = maximise(histories, lambda h, p: cls(*p).log_likelihood(h), most)
        return cls(*map(float, best))

    def log_likelihood(self, histories: Histories) -> Array:
        """Log-likelihood of each history, shape (n,), up to a constant of the data."""
        x, t_x, T = histories.x, histories.t_x, histories.T
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        shared = (
            gammaln(r + x) - gammaln(r) + r * np.log(alpha)
            + gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        )  # fmt: skip
        stayed = -(r + x) * np.log(alpha + T)
        with np.errstate(divide="ignore"):
            left = np.where(x > 0, np.log(a) - np.log(b + np.maximum(x, 1) - 1), -np.inf)
        return np.asarray(shared + np.logaddexp(stayed, left - (r + x) * np.log(alpha + t_x)))

    def alive_probability(self, histories: Histories) -> Array:
        """P(not dropped out by T) of each member; 1 for whoever bought once, so no churn score.

        Source
        ------
        Fader, Hardie & Lee (2008), "Computing P(alive) Using the BG/NBD Model", eq. (1).
        """
        x, t_x, T = histories.x, histories.t_x, histories.T
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        # In logs: the odds of having left can be beyond any double for a busy, silent member.
        odds = (
            np.log(a) - np.log(b + np.maximum(x, 1) - 1)
            + (r + x) * (np.log(alpha + T) - np.log(alpha + t_x))
        )  # fmt: skip
        return np.where(x > 0, 1 / (1 + np.exp(np.minimum(odds, 700))), 1.0)

    def no_purchase_probability(self, histories: Histories, weeks: float) -> Array:
        """P(no purchase in the `weeks` after T) of each member, shape (n,).

        A member who has left buys nothing; one who has not leaves only after a purchase, so her
        silence is that of her rate alone, gamma with shape r + x and rate alpha + T.
        """
        alive = self.alive_probability(histories)
        rate = self.alpha + histories.T
        silent = np.exp((self.r + histories.x) * (np.log(rate) - np.log(rate + weeks)))
        return np.asarray(1 - alive * (1 - silent))

    def expected_purchases(self, histories: Histories, weeks: float) -> Array:
        """Expected purchase days in the `weeks` after T, shape (n,): eq. (10) of the source.

        Its hypergeometric function is turned by Euler's transformation, so that hundreds of
        purchases neither over- nor underflow.
        """
        x, T = histories.x, histories.T
        r, alpha, b = self.r, self.alpha, self.b
        # At a = 1 numerator and denominator vanish together; the limit is as near as this.
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6
        kept = (alpha + T) / (alpha + T + weeks)
        grown = hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, 1 - kept)
        buys = (a + b + x - 1) / (a - 1) * (1 - kept ** (a - 1) * grown)
        return np.asarray(buys * self.alive_probability(histories))

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain values."""
        return dict(vars(self))
