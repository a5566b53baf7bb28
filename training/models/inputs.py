"""What a model accepts: columns by name, outcomes in range; the rest is refused by name."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.rows import MemberRows

ROWS_PER_CHUNK = 16_384
PRODUCT_COLUMNS = ("member_id", "product_id", "purchase_days", "last_days")
# What only some recommenders read: when it was bought first, and how often of late.
DATED_COLUMNS = ("first_days", "purchase_days_28d", "purchase_days_84d", "purchase_days_182d")


class Numbers:
    """Rows of doubles under names: what a model reads where a frame would cost more than it.

    Parameters
    ----------
    columns : names, in the order of `values`
    values : array of shape (n_rows, len(columns)), NaN = absent
    """

    __slots__ = ("columns", "values")

    def __init__(self, columns: tuple[str, ...], values: NDArray[np.float64]) -> None:
        if values.ndim != 2 or values.shape[1] != len(columns):
            raise ValueError(f"{len(columns)} columns, values of shape {values.shape}")
        self.columns = columns
        self.values = values

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the numbers of rows and columns."""
        return self.values.shape

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.values)

    def of(self, columns: tuple[str, ...]) -> NDArray[np.float64]:
        """Return the named columns in this order; they must be there."""
        if columns is self.columns:
            return self.values
        places = _places(self.columns, columns)
        return self.values if places is None else self.values[:, places]


def matrix(features: pd.DataFrame | Numbers, columns: Sequence[str]) -> NDArray[np.float64]:
    """Lay out the named columns, in this order, as doubles with NaN for absent.

    Returns
    -------
    array of shape (n_rows, len(columns))

    Raises
    ------
    InputRefused
        When a column is missing, is not numeric or holds an infinite value.
    """
    if isinstance(features, Numbers):
        try:
            picked = features.of(tuple(columns))
        except KeyError:
            raise _missing(features, columns) from None
        _require_finite(picked, columns)
        return picked
    if any(name not in features.columns for name in columns):
        raise _missing(features, columns)
    values = np.empty((len(features), len(columns)), dtype=np.float64)
    try:
        # A piece at a time: pandas makes copies on the way, too large ones of large tables.
        for first in range(0, len(features), ROWS_PER_CHUNK):
            chunk = features.iloc[first : first + ROWS_PER_CHUNK].loc[:, list(columns)]
            values[first : first + ROWS_PER_CHUNK] = chunk.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputRefused(
            f"A column of {', '.join(columns)} holds something that is not a number ({error}). "
            "Nothing was computed. Leave text columns out."
        ) from error
    _require_finite(values, columns)
    return values


def _missing(features: pd.DataFrame | Numbers, columns: Sequence[str]) -> InputRefused:
    missing = [name for name in columns if name not in features.columns]
    return InputRefused(
        f"The model reads {len(columns)} columns; {', '.join(missing)} missing from the "
        f"{features.shape[1]} given. Nothing was computed. Build the features with the "
        "feature set the model was trained on, or train it again."
    )


@lru_cache(maxsize=64)
def _places(there: tuple[str, ...], asked: tuple[str, ...]) -> NDArray[np.intp] | None:
    """Return where the asked columns stand; None if they are all of them, in their order."""
    if there == asked:
        return None
    place = {name: position for position, name in enumerate(there)}
    return np.array([place[name] for name in asked], dtype=np.intp)


def _require_finite(values: NDArray[np.float64], columns: Sequence[str]) -> None:
    infinite = np.asarray(np.isinf(values).any(axis=0))
    if infinite.any():
        names = [name for name, bad in zip(columns, infinite, strict=True) if bad]
        raise InputRefused(
            f"Columns {', '.join(names)} hold an infinite value. Nothing was computed. "
            "Repair the feature's definition: absent is NaN."
        )


def some_rows(n_rows: int, what: str) -> None:
    """Refuse to learn from nothing."""
    if n_rows == 0:
        raise InputRefused(
            f"There are 0 rows to fit {what} on. Nothing was fitted. "
            "Choose training as_ofs at which the programme has members."
        )


def churn_labels(churned: ArrayLike, n_rows: int, what: str) -> NDArray[np.float64]:
    """Check 0/1 outcomes, one per row, both present.

    Raises
    ------
    InputRefused
        When there are no rows, a length differs, a value is not 0 or 1, or one class is empty.
    """
    some_rows(n_rows, what)
    labels = np.asarray(churned, dtype=np.float64)
    if labels.shape != (n_rows,):
        raise InputRefused(
            f"{what} was given {n_rows} rows and outcomes of shape {labels.shape}. "
            "Nothing was fitted. Give one outcome per row."
        )
    if not np.isin(labels, (0.0, 1.0)).all():
        strange = np.unique(labels[~np.isin(labels, (0.0, 1.0))])[:3]
        raise InputRefused(
            f"{what} was given outcomes such as {strange.tolist()}; an outcome is 0 or 1. "
            "Nothing was fitted. Drop the rows whose outcome is not known yet."
        )
    n_churned = int(labels.sum())
    if n_churned in (0, n_rows):
        raise InputRefused(
            f"{what} needs members who churned and members who stayed; {n_churned} of {n_rows} "
            "churned. Nothing was fitted. Use more as_ofs or another horizon."
        )
    return labels


def value_labels(value_cents: ArrayLike, n_rows: int, what: str) -> NDArray[np.float64]:
    """Check outcomes in cents, one per row; who returned more than was bought is worth 0.

    Raises
    ------
    InputRefused
        When there are no rows, a length differs, a value is not finite, or all are 0.
    """
    some_rows(n_rows, what)
    values = np.asarray(value_cents, dtype=np.float64)
    if values.shape != (n_rows,) or not np.isfinite(values).all():
        raise InputRefused(
            f"{what} was given {n_rows} rows and values of shape {values.shape}, "
            f"{int((~np.isfinite(values)).sum())} of them not finite. Nothing was fitted. "
            "Give one value in cents per row; a member who bought nothing has 0."
        )
    values = np.maximum(values, 0.0)
    if not values.any():
        raise InputRefused(
            f"{what} needs members who bought something; the value of all {n_rows} rows is 0. "
            "Nothing was fitted. Check that the purchases reach past the label window."
        )
    return values


def weekly_of(rows: MemberRows, n_weeks: int | None = None) -> NDArray[np.float32]:
    """Return the weekly tensor, refusing rows without one or with another length.

    Returns
    -------
    array of shape (n, n_weeks, 4), oldest week first
    """
    if rows.weekly is None:
        raise InputRefused(
            "The model reads weekly sequences and these rows have none. Nothing was computed. "
            "Build the rows with weeks."
        )
    if n_weeks is not None and rows.weekly.shape[1] != n_weeks:
        raise InputRefused(
            f"The model reads {n_weeks} weeks and these rows have {rows.weekly.shape[1]}. "
            f"Nothing was computed. Build the rows with {n_weeks} weeks."
        )
    if not np.isfinite(rows.weekly).all():
        raise InputRefused(
            "The weekly sequences hold values that are not finite. Nothing was computed. "
            "A week without orders is 0 in every channel."
        )
    return rows.weekly


def product_rows(products: pd.DataFrame, *, dated: bool = False) -> pd.DataFrame:
    """Check the frame of products per member and return the columns a recommender reads.

    Parameters
    ----------
    dated : whether `DATED_COLUMNS` are read too

    Returns
    -------
    DataFrame with `member_id`, `product_id` text, `purchase_days`, `last_days` numbers; if
    dated, also `DATED_COLUMNS`

    Raises
    ------
    InputRefused
        When a column is missing, or a member and product come twice.
    """
    columns = (*PRODUCT_COLUMNS, *(DATED_COLUMNS if dated else ()))
    missing = [name for name in columns if name not in products.columns]
    if missing:
        raise InputRefused(
            f"The product frame lacks {', '.join(missing)}; a recommender reads "
            f"{', '.join(columns)}. Nothing was computed. Use Snapshot.products."
        )
    frame = products.loc[:, list(columns)]
    numbers = frame[["purchase_days", "last_days"]].to_numpy(dtype=np.float64, na_value=np.nan)
    if not (np.isfinite(numbers).all() and (numbers[:, 0] > 0).all() and (numbers >= 0).all()):
        raise InputRefused(
            "purchase_days must be above 0 and last_days at least 0; some are not, or are absent "
            "or infinite. Nothing was computed. Use Snapshot.products, which counts days "
            "before as_of."
        )
    if dated:
        _check_dates(frame)
    twice = int(frame.duplicated(["member_id", "product_id"]).sum())
    if twice:
        raise InputRefused(
            f"{twice} rows of the product frame repeat a member and product. Nothing was "
            "computed. Give one row per member and product, with the days summed."
        )
    return frame


def _check_dates(frame: pd.DataFrame) -> None:
    dates = frame[["last_days", *DATED_COLUMNS]].to_numpy(dtype=np.float64, na_value=np.nan)
    if not (np.isfinite(dates).all() and (dates >= 0).all() and (dates[:, 1] >= dates[:, 0]).all()):
        raise InputRefused(
            f"{', '.join(DATED_COLUMNS)} must be at least 0, and first_days no less than "
            "last_days; some are not, or are absent or infinite. Nothing was computed. "
            "Use Snapshot.products, which counts days before as_of."
        )


def asked_members(member_ids: Sequence[str], k: int) -> pd.Index:
    """Check whom to recommend to, and how much.

    Raises
    ------
    InputRefused
        When a member is asked for twice, or k is below 1.
    """
    asked = pd.Index(list(member_ids), dtype=object)
    if not asked.is_unique:
        raise InputRefused(
            f"Members asked for twice: {', '.join(map(str, asked[asked.duplicated()][:3]))}. "
            "Nothing was recommended. Ask for each member once."
        )
    if k < 1:
        raise InputRefused(
            f"k is {k}; nothing was recommended. Ask for at least one product per member."
        )
    return asked
