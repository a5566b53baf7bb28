"""Made-up members whose true churn and value are known: gamma-Poisson shoppers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.rows import MemberRows

N_WEEKS = 26
HORIZON_WEEKS = 13


@dataclass(frozen=True, eq=False)
class World:
    """Rows, what happened after them, and what was to be expected."""

    rows: MemberRows
    churned: NDArray[np.float64]
    value_cents: NDArray[np.float64]
    expected_cents: NDArray[np.float64]
    products: pd.DataFrame
    next_days: NDArray[np.float64]

    def take(self, which: NDArray[np.intp]) -> "World":
        """Select members, their outcomes and their products, in this order."""
        rows = self.rows.take(which)
        return World(
            rows,
            self.churned[which],
            self.value_cents[which],
            self.expected_cents[which],
            self.products[self.products["member_id"].isin(rows.member_id)],
            self.next_days[which],
        )


def world(n_members: int, seed: int) -> World:
    """Draw members: a rate of orders each, Poisson orders, gamma spend per order."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.8, 0.8, n_members)
    basket_cents = rng.gamma(4.0, 700.0, n_members)
    orders = rng.poisson(rate[:, None], (n_members, N_WEEKS + HORIZON_WEEKS))
    cents = np.where(
        orders > 0, rng.gamma(np.maximum(orders, 1) * 5.0, basket_cents[:, None] / 5), 0
    )
    past = slice(None, N_WEEKS)
    weekly = np.zeros((n_members, N_WEEKS, 4), np.float32)
    weekly[:, :, 0], weekly[:, :, 1] = orders[:, past], cents[:, past]
    member_id = np.array([f"m{number:05d}" for number in range(n_members)], dtype=object)
    rows = MemberRows(
        member_id=member_id,
        as_of=np.full(n_members, np.datetime64("2024-07-01", "D")),
        features=_features(orders[:, past], cents[:, past], rng),
        weekly=weekly,
    )
    return World(
        rows=rows,
        churned=(orders[:, N_WEEKS : N_WEEKS + 4].sum(axis=1) == 0).astype(float),
        value_cents=cents[:, N_WEEKS:].sum(axis=1),
        expected_cents=rate * basket_cents * HORIZON_WEEKS,
        products=baskets(member_id, seed),
        next_days=_next_days(orders[:, N_WEEKS:]),
    )


def _next_days(orders: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the Thursday of the first week with an order; the horizon where there is none."""
    first = np.argmax(orders > 0, axis=1) * 7.0 + 3
    return np.where(orders.any(axis=1), first, HORIZON_WEEKS * 7.0)


def baskets(member_id: NDArray[np.object_], seed: int, n_products: int = 60) -> pd.DataFrame:
    """Draw what members ever bought: popular products more often, and one of three tastes."""
    rng = np.random.default_rng([seed, 1])
    popularity = 0.4 / np.arange(1, n_products + 1) ** 0.4
    taste = rng.integers(3, size=len(member_id))
    liked = np.arange(n_products)[None, :] % 3 == taste[:, None]
    bought = rng.random(liked.shape) < np.where(liked, 2.0, 0.5) * popularity
    member, product = np.nonzero(bought)
    days, last = rng.integers(1, 9, len(member)), rng.integers(1, 200, len(member))
    return dated(
        pd.DataFrame(
            {
                "member_id": member_id[member],
                "product_id": [f"p{number:02d}" for number in product],
                "purchase_days": days,
                "last_days": last,
            }
        )
    )


def dated(products: pd.DataFrame, gap_days: int = 15) -> pd.DataFrame:
    """Add the dated columns: every purchase day lies a gap before the next one."""
    days = products["purchase_days"].to_numpy()
    last = products["last_days"].to_numpy()
    inside = {
        f"purchase_days_{window}d": np.clip((window - last) // gap_days + 1, 0, days)
        for window in (28, 84, 182)
    }
    return products.assign(first_days=last + gap_days * (days - 1), **inside)


def _features(
    orders: NDArray[np.int64], cents: NDArray[np.float64], rng: np.random.Generator
) -> pd.DataFrame:
    silence = np.argmax(orders[:, ::-1] > 0, axis=1)
    age = orders.shape[1] - 1 - np.argmax(orders > 0, axis=1)
    total = cents.sum(axis=1)
    n_orders = orders.sum(axis=1)
    return pd.DataFrame(
        {
            "recency_days": np.where(n_orders > 0, silence * 7.0 + 3, np.nan),
            "tenure_days": np.where(n_orders > 0, age * 7.0 + 3, np.nan),
            "purchase_days": n_orders.astype(float),
            "purchase_days_84d": (orders[:, -12:] > 0).sum(axis=1).astype(float),
            "gap_days_median": np.where(n_orders > 1, 7.0 * age / np.maximum(n_orders, 1), np.nan),
            "spend_cents_91d": cents[:, -HORIZON_WEEKS:].sum(axis=1),
            "spend_cents_mean": np.divide(
                total, n_orders, out=np.full(len(total), np.nan), where=n_orders > 0
            ),
            "noise": rng.normal(size=len(total)),
        }
    )
