"""What the made-up shops sell: foods, things that run out, machines and what goes with them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PRODUCTS_PER_CATEGORY = 20
FREE = ("dairy", "bread", "fruit", "snacks", "drinks", "frozen", "machines", "accessories")
# Members who use these buy again when they run out: days between two purchases, on average.
CYCLES_DAYS = {"coffee": 21.0, "detergent": 35.0, "pet food": 14.0, "toothpaste": 56.0}
CYCLE_SHAPE = 16.0
USES_SHARE = 0.5
CATEGORIES = (*FREE, *CYCLES_DAYS)
# How much members like the free categories on average; machines are seldom bought.
TASTES = (3.0, 2.5, 2.5, 2.0, 2.0, 1.5, 0.8, 0.4)
# A machine, and the accessory of the same number that follows it.
PAIRS = 5
FOLLOWS_SHARE = 0.6
FOLLOWS_DAYS = 14.0
FAVOURITE_SHARE = 0.6
STORES = 6


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The products, numbered by category and then by how common they are.

    Parameters
    ----------
    popularity : share of a category's purchases, shape (PRODUCTS_PER_CATEGORY,), falling
    price_cents : list price, shape (n_products,)
    """

    popularity: NDArray[np.float64]
    price_cents: NDArray[np.int64]

    def frame(self) -> pd.DataFrame:
        """Return the products in the columns of the contract."""
        number = np.arange(len(self.price_cents))
        category = np.array(CATEGORIES, dtype=object)[number // PRODUCTS_PER_CATEGORY]
        place = number % PRODUCTS_PER_CATEGORY
        return pd.DataFrame(
            {
                "product_id": product_ids()[number],
                "name": [f"{what} {nth + 1}" for what, nth in zip(category, place, strict=True)],
                "department": np.where(np.isin(category, FREE[-2:]), "household", "food"),
                "category": category,
                "product_type": category,
                "brand": [f"brand {nth % 4}" for nth in place],
                "private_label": place % 4 == 0,
                "price_cents": self.price_cents,
                "margin_rate": 0.2 + 0.02 * (place % 5),
            }
        )


def product_ids() -> NDArray[np.object_]:
    """Return the names of the products, in the order of their numbers."""
    n = len(CATEGORIES) * PRODUCTS_PER_CATEGORY
    return np.array([f"p{number:03d}" for number in range(n)], dtype=object)


def pairs() -> list[tuple[int, int]]:
    """Return the planted complements as numbers of products: a machine, what follows it."""
    machine, accessory = (FREE.index(c) * PRODUCTS_PER_CATEGORY for c in FREE[-2:])
    return [(machine + nth, accessory + nth) for nth in range(PAIRS)]


def draw_catalogue(seed: int) -> Catalogue:
    """Draw prices; how common products are is the same in every world."""
    rng = np.random.default_rng([seed, 5])
    common = 1 / np.arange(1, PRODUCTS_PER_CATEGORY + 1) ** 0.8
    prices = rng.lognormal(np.log(300), 0.5, len(CATEGORIES) * PRODUCTS_PER_CATEGORY)
    return Catalogue(common / common.sum(), np.maximum(prices, 50).astype(np.int64))
