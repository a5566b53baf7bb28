"""The rows a model learns from and answers for: one per member and `as_of`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from programme.errors import InputRefused

WEEKLY_CHANNELS = ("orders", "net_cents", "discount_cents", "returned_cents")


@dataclass(frozen=True, eq=False)
class MemberRows:
    """Members at one or several `as_of`s, everything known of them side by side.

    Parameters
    ----------
    member_id : array of shape (n,), text
    as_of : array of shape (n,), datetime64[D]
        The day whose first instant in the programme's timezone ends the past of this row.
    features : DataFrame of shape (n, n_columns), numeric only, RangeIndex, NaN = absent
    weekly : float32 array of shape (n, n_weeks, 4) or None
        Oldest week first; channels as `WEEKLY_CHANNELS`: count, then cents.

    Raises
    ------
    InputRefused
        When the parts differ in length, or `features` is not as described.
    """

    member_id: NDArray[np.object_]
    as_of: NDArray[np.datetime64]
    features: pd.DataFrame
    weekly: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        lengths = {
            "member_id": len(self.member_id),
            "as_of": len(self.as_of),
            "features": len(self.features),
        }
        if self.weekly is not None:
            lengths["weekly"] = len(self.weekly)
            if self.weekly.ndim != 3 or self.weekly.shape[2] != len(WEEKLY_CHANNELS):
                raise InputRefused(
                    f"weekly has shape {self.weekly.shape}; expected (n, n_weeks, "
                    f"{len(WEEKLY_CHANNELS)}) with channels {', '.join(WEEKLY_CHANNELS)}. "
                    "No rows were made. Build it with Snapshot.weekly."
                )
        if len(set(lengths.values())) > 1:
            raise InputRefused(
                f"The parts of the rows differ in length: {lengths}. No rows were made. "
                "Select the same members, in the same order, for each part."
            )
        if not self.features.index.equals(pd.RangeIndex(len(self.features))):
            raise InputRefused(
                "The features of member rows carry an index of their own, which would misalign "
                "them with member_id. No rows were made. Call reset_index(drop=True) first."
            )
        text = [
            str(name)
            for name, dtype in self.features.dtypes.items()
            if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype))
        ]
        if text:
            raise InputRefused(
                f"Feature columns {', '.join(text)} are not numeric; models read numbers only. "
                "No rows were made. Leave report columns out."
            )

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.member_id)

    def take(self, which: NDArray[Any]) -> "MemberRows":
        """Select rows by a boolean mask or by positions, in the order of the positions."""
        return MemberRows(
            member_id=self.member_id[which],
            as_of=self.as_of[which],
            features=self.features.iloc[which].reset_index(drop=True),
            weekly=None if self.weekly is None else self.weekly[which],
        )

    @classmethod
    def concat(cls, parts: Sequence["MemberRows"]) -> "MemberRows":
        """Put rows one below the other.

        Raises
        ------
        InputRefused
            When there is no part, or the parts differ in columns or in weekly shape: a column
            silently filled with NaN would teach a model that the past had no data.
        """
        if not parts:
            raise InputRefused(
                "There are no member rows to put together: the list is empty. Nothing was built. "
                "Choose at least one as_of that has members."
            )
        shapes = {
            (tuple(part.features.columns), None if part.weekly is None else part.weekly.shape[1:])
            for part in parts
        }
        if len(shapes) > 1:
            raise InputRefused(
                "The member rows differ in their columns or weekly shape: "
                f"{sorted(f'{len(columns)} and {weekly}' for columns, weekly in shapes)} "
                "(columns, weekly shape). Nothing was put together. "
                "Build every as_of with the same feature set and the same number of weeks."
            )
        weekly = [part.weekly for part in parts if part.weekly is not None]
        return cls(
            member_id=np.concatenate([part.member_id for part in parts]),
            as_of=np.concatenate([part.as_of for part in parts]),
            features=pd.concat([part.features for part in parts], ignore_index=True),
            weekly=np.concatenate(weekly) if weekly else None,
        )
