"""What a member spends on a purchase day, drawn towards what all members spend.

Gamma-Gamma: a member's purchases scatter around her own mean as a gamma distribution, and the
means of members are themselves spread as one.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import gammaln

from programme.errors import InputRefused

Array = NDArray[np.float64]
_LOG_MOST = 15.0


@dataclass(frozen=True)
class GammaGamma:
    """Gamma-Gamma with its three parameters.

    Parameters
    ----------
    p : shape of a member's purchases
    q, v : shape of the spread of members, and its scale in the unit of the values

    Source
    ------
    Fader & Hardie (2013), "The Gamma-Gamma Model of Monetary Value", eqs. (1a) and (5).
    """

    p: float
    q: float
    v: float

    @classmethod
    def fit(cls, count: ArrayLike, mean: ArrayLike) -> Self:
        """Return the parameters of highest likelihood.

        Parameters
        ----------
        count : purchases behind each mean, shape (n,); members with none tell nothing
        mean : of their values, shape (n,); one of 0 or less is no gamma value and is left out

        Raises
        ------
        InputRefused : when no member has a purchase of positive value
        """
        x, z = np.asarray(count, dtype=np.float64), np.asarray(mean, dtype=np.float64)
        told = (x > 0) & (z > 0) & np.isfinite(z)
        if not told.any():
            raise InputRefused(
                f"None of {len(x)} members has a purchase of positive value. Nothing was fitted. "
                "Choose as_ofs at which members had spent something."
            )
        x, z = x[told], z[told]
        # Fitted to values near 1, so that one search serves every currency.
        unit = float(np.exp(np.log(z).mean()))

        def loss(logs: Array) -> float:
            one = cls(*np.exp(np.clip(logs, -_LOG_MOST, _LOG_MOST)))
            with np.errstate(all="ignore"):
                value = float(one.log_likelihood(x, z / unit).mean())
            return -value if np.isfinite(value) else 1e9

        best = min(
            (
                minimize(
                    loss, np.array(start), method="L-BFGS-B",
                    bounds=[(-_LOG_MOST, _LOG_MOST)] * 3,
                    options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
                )
                for start in ((1.0, 1.0, 0.0), (2.0, 2.0, 1.0))
            ),
            key=lambda found: float(found.fun),
        )  # fmt: skip
        p, q, v = np.exp(best.x)
        return cls(float(p), float(q), float(v) * unit)

    def log_likelihood(self, count: Array, mean: Array) -> Array:
        """Log-density of each mean, shape (n,): eq. (1a) of the source."""
        p, q, v = self.p, self.q, self.v
        px = p * count
        return np.asarray(
            gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(v)
            + (px - 1) * np.log(mean) + px * np.log(count) - (px + q) * np.log(count * mean + v)
        )  # fmt: skip

    def expected_value(self, count: ArrayLike, mean: ArrayLike) -> Array:
        """Expected value of a purchase of each member, shape (n,): eq. (5) of the source.

        A member without purchases, or with a mean of 0 or less, is expected to be like all
        others. With q <= 1 the mean of all has no bound; then what was seen stands alone.
        """
        x = np.asarray(count, dtype=np.float64)
        z = np.nan_to_num(np.asarray(mean, dtype=np.float64))
        x = np.where(z > 0, x, 0.0)
        if self.q <= 1:
            return np.maximum(z, 0.0)
        weight = self.p * x / (self.p * x + self.q - 1)
        return np.asarray((1 - weight) * self.p * self.v / (self.q - 1) + weight * z)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain values."""
        return dict(vars(self))
