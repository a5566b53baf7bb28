"""Spend by several horizons: what each adds, as far as it has been seen."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models.inputs import some_rows


def additions(value_cents: ArrayLike, n_rows: int, what: str) -> NDArray[np.float64]:
    """Turn spend by each horizon into what each horizon adds to the one before.

    A recent row knows its first horizons only: the last is NaN, and the row still teaches the
    first. Returns may take spend back from one horizon to the next; it then adds nothing, so that
    the sums never fall.

    Parameters
    ----------
    value_cents : array of shape (n,) or (n, n_horizons), shortest first; NaN: not seen yet

    Returns
    -------
    array of shape (n, n_horizons), >= 0, NaN where the horizon had not ended

    Raises
    ------
    InputRefused
        When there are no rows, a shape or value is wrong, a row knows a later horizon but not an
        earlier one, or some horizon is known of nobody or nobody spent anything in it.
    """
    some_rows(n_rows, what)
    values = np.asarray(value_cents, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    unknown = np.isnan(values)
    if (
        values.ndim != 2
        or len(values) != n_rows
        or np.isinf(values).any()
        or (unknown[:, :-1] & ~unknown[:, 1:]).any()
        or unknown[:, 0].any()
    ):
        raise InputRefused(
            f"{what} was given {n_rows} rows and values of shape {np.shape(value_cents)}, some "
            "not finite or known for a later horizon only. Nothing was fitted. Give the cents "
            "spent by each horizon, shortest first; NaN where a horizon has not ended; a member "
            "who bought nothing has 0."
        )
    reached = np.maximum.accumulate(np.maximum(values, 0.0), axis=1)
    added = np.diff(reached, axis=1, prepend=0.0)
    sums = np.nansum(added, axis=0)
    if not (sums > 0).all():
        raise InputRefused(
            f"{what} needs members who bought something; the value of all {n_rows} rows is 0 "
            f"within horizon {int(np.argmin(sums > 0)) + 1} of {len(sums)}. Nothing was fitted. "
            "Check that the purchases reach past the label windows."
        )
    return added


def checked_horizons(horizons_days: Sequence[int]) -> tuple[int, ...]:
    """Refuse horizons that are not whole weeks, growing."""
    wanted = tuple(horizons_days)
    if any(day % 7 or day <= 0 for day in wanted) or sorted(set(wanted)) != list(wanted):
        raise InputRefused(
            f"The horizons {list(wanted)} are not multiples of 7 days, each longer than the one "
            "before. No model was made. Name them like 28 91."
        )
    return wanted
