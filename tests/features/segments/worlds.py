"""Made-up members for tests of segments: feature tables, and programmes with a known rhythm."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from hypothesis import strategies as st

# What segments read of a snapshot, for a member with nothing special about her.
USUAL: dict[str, float] = {
    "recency_days": 5.0,
    "tenure_days": 400.0,
    "purchase_days": 40.0,
    "purchase_days_364d": 36.0,
    "orders_84d": 9.0,
    "spend_cents_364d": 90_000.0,
    "spend_cents_max_364d": 6_000.0,
    "spend_season_84d": 0.0,
    "gap_count": 39.0,
    "gap_days_last": 10.0,
    "gap_days_shrunk": 10.0,
    "overdue_ratio_shrunk": 0.5,
}


def members(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return a feature table with one usual member per row, changed as the row says."""
    table = pd.DataFrame([USUAL | row for row in rows]).astype(float)
    return table.set_axis([f"m{n:03d}" for n in range(len(rows))]).rename_axis("member_id")


def tables(least: int = 1, most: int = 30) -> st.SearchStrategy[pd.DataFrame]:
    """Feature tables in which members often have equal values."""
    row = st.fixed_dictionaries(
        {
            "recency_days": st.integers(1, 12),
            "purchase_days_364d": st.integers(0, 6),
            "spend_cents_364d": st.sampled_from((-500, 0, 100, 2_500, 90_000)),
        }
    )
    return st.lists(row, min_size=least, max_size=most).map(lambda rows: members(*rows))


@contextmanager
def programme(rates: np.ndarray, gap_days: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an engine with the relations of a programme whose members buy at random.

    Parameters
    ----------
    rates : chance of a purchase, shape (n_members, n_days); the last column is yesterday
    gap_days : the programme's usual gap
    """
    rng = np.random.default_rng(5)
    who, day = np.nonzero(rng.random(rates.shape) < rates)
    rows = pd.DataFrame(
        {
            "member_id": [f"m{n}" for n in who],
            "days_ago": rates.shape[1] - day,
            "bought": 1,
            "net_cents": 1_000,
        }
    )
    with duckdb.connect() as connection:
        connection.execute("create temp table member_days as select * from rows")
        connection.execute(
            f"create temp table reference_programme as select {gap_days} as gap_days"
        )
        yield connection
    del rows


def alike(centres: list[tuple[float, float, float]], each: int, seed: int = 1) -> pd.DataFrame:
    """Return members scattered narrowly around (recency, frequency, spend in cents)."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "recency_days": recency * scatter[0],
            "purchase_days_364d": frequency * scatter[1],
            "spend_cents_364d": spend * scatter[2],
        }
        for recency, frequency, spend in centres
        for scatter in np.exp(rng.normal(0, 0.08, (each, 3)))
    ]
    return members(*rows)
