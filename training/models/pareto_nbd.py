"""Counting buyers the classical way, where a member may leave at any moment.

Pareto/NBD: each member buys at her own rate and lives for her own exponential time. Rates of both
are gamma distributed over members.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, hyp2f1

from training.models.histories import SCALE_MOST, SHAPE_MOST, Histories, maximise

Array = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass(frozen=True)
class ParetoNbd:
    """Pareto/NBD with its four parameters, fitted to weeks.

    Parameters
    ----------
    r, alpha : shape and rate of the gamma distribution of purchase rates
    s, beta : shape and rate of the gamma distribution of rates of leaving

    Source
    ------
    Schmittlein, Morrison & Colombo (1987), "Counting Your Customers", Management Science 33(1);
    the likelihood as in Fader & Hardie (2005), "A Note on Deriving the Pareto/NBD Model and
    Related Expressions".
    """

    r: float
    alpha: float
    s: float
    beta: float

    @classmethod
    def fit(cls, histories: Histories) -> Self:
        """Return the parameters of highest likelihood.

        Raises
        ------
        InputRefused : when there is no history to learn from
        """
        most = (SHAPE_MOST, SCALE_MOST, SHAPE_MOST, SCALE_MOST)
        best = maximise(histories, lambda h, p: cls(*p).log_likelihood(h), most)
        return cls(*map(float, best))

    def log_likelihood(self, histories: Histories) -> Array:
        """Log-likelihood of each history, shape (n,): eq. (18) of the note."""
        shared, stayed, left = self._parts(histories)
        return np.asarray(shared + np.logaddexp(stayed, left))

    def alive_probability(self, histories: Histories) -> Array:
        """P(still a buyer at T) of each member, shape (n,)."""
        _, stayed, left = self._parts(histories)
        return np.asarray(1 / (1 + np.exp(np.clip(left - stayed, -700, 700))))

    def no_purchase_probability(self, histories: Histories, weeks: float) -> Array:
        """P(no purchase in the `weeks` after T) of each member, shape (n,).

        Given that she is alive at T, her rates are gamma with r + x, alpha + T and s, beta + T.
        She buys nothing if neither event comes, or if she leaves first, at some u: the integral
        over u is smooth and taken with 48 Gauss-Legendre nodes.
        """
        shape, rate = self.r + histories.x, self.alpha + histories.T
        life = self.beta + histories.T
        # In logs: a scale to the power of a shape may leave the doubles, a ratio of scales not.
        neither = np.exp(
            shape * np.log(rate / (rate + weeks)) + self.s * np.log(life / (life + weeks))
        )
        u = (0.5 * weeks * (_NODES + 1))[:, None]
        silent = np.exp(shape * np.log(rate / (rate + u)) + self.s * np.log(life / (life + u)))
        leaves_at_u = silent * self.s / (life + u)
        leaves_first = 0.5 * weeks * (_WEIGHTS[:, None] * leaves_at_u).sum(axis=0)
        return np.asarray(1 - self.alive_probability(histories) * (1 - neither - leaves_first))

    def expected_purchases(self, histories: Histories, weeks: float) -> Array:
        """Expected purchase days in the `weeks` after T, shape (n,): eq. (41) of the note."""
        shape, rate = self.r + histories.x, self.alpha + histories.T
        life = self.beta + histories.T
        # The mean time she lives on within the window; s = 1 is the limit, a logarithm.
        if abs(self.s - 1) < 1e-9:
            lives_on = life * np.log((life + weeks) / life)
        else:
            lives_on = life / (self.s - 1) * (1 - (life / (life + weeks)) ** (self.s - 1))
        return np.asarray(self.alive_probability(histories) * shape / rate * lives_on)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain values."""
        return dict(vars(self))

    def _parts(self, histories: Histories) -> tuple[Array, Array, Array]:
        """Return logs: what both ways share, of staying until T, and of leaving before it."""
        x, t_x, T = histories.x, histories.t_x, histories.T
        r, alpha, s, beta = self.r, self.alpha, self.s, self.beta
        shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
        stayed = -(r + x) * np.log(alpha + T) - s * np.log(beta + T)
        total = r + s + x
        # The hypergeometric function of the note, turned by Euler's transformation: what is left
        # of it stays small whatever the parameters.
        other: Array | float
        power: Array | float
        if alpha >= beta:
            larger, smaller, other, power = alpha, beta, r + x, s
        else:
            larger, smaller, other, power = beta, alpha, s + 1, r + x - 1

        def term(t: Array) -> Array:
            kept = (smaller + t) / (larger + t)
            grown = np.log(hyp2f1(1.0, other, total + 1, 1 - kept)) - power * np.log(kept)
            return np.asarray(grown - total * np.log(larger + t))

        early, late = term(t_x), term(T)
        with np.errstate(divide="ignore"):
            gap = np.log(-np.expm1(np.minimum(late - early, 0.0)))
        return shared, stayed, np.log(s) - np.log(total) + early + gap
