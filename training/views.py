"""What champions are asked about: all members of a snapshot, some of them, or one just refreshed.

A score is made from what a view says and from nothing else, so whoever gives the same view gets
the same score: the nightly batch, a part of it, and the worker that computes a member again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.snapshot import Snapshot
from training import margins, shelf
from training.models import replenishment
from training.shelf import Shelf

MEMBERS_PER_PART = 20_000


class MemberView(Protocol):
    """Members, and all that is known of them at one `as_of`."""

    @property
    def as_of(self) -> date:
        """The midnight that ends what is known."""

    @property
    def data_as_of(self) -> datetime:
        """The UTC instant at which we last came to know of something in it."""

    def features(self) -> pd.DataFrame:
        """Return one row per member, as `Snapshot.features`."""

    def weekly(self, n_weeks: int) -> NDArray[np.float32]:
        """Return their last weeks, shape (n, n_weeks, 4), members in the order of `features`."""

    def products(self) -> pd.DataFrame:
        """Return what they bought, as `Snapshot.products`."""

    def margin_shares(self) -> "pd.Series[float]":
        """Return what the shop keeps of their spend, as `margins.margin_shares`."""

    def habits(self) -> pd.DataFrame:
        """Return how often they buy each category, as `replenishment.habits`."""

    def usual_gaps(self) -> "pd.Series[float]":
        """Return the gap that is usual in each category, frozen with a snapshot."""

    def shelf(self, age_restricted: Sequence[str], margin_weight: float) -> Shelf:
        """Return what may be named to them, as `shelf.read`."""


@dataclass(frozen=True)
class SnapshotView:
    """The members of a snapshot, or those from one to another in its order.

    Parameters
    ----------
    between : first and last member_id; None: everybody
    frozen : the snapshot that says what gap is usual; None: this one
    """

    snapshot: Snapshot
    between: tuple[str, str] | None = None
    frozen: Snapshot | None = None

    @property
    def as_of(self) -> date:
        """Return the midnight of the snapshot."""
        return self.snapshot.as_of

    @cached_property
    def data_as_of(self) -> datetime:
        """Return the UTC instant at which we last came to know of a purchase in it."""
        return self.snapshot.data_as_of

    def features(self) -> pd.DataFrame:
        """Return one row per member."""
        return self.snapshot.features(self.between)

    def weekly(self, n_weeks: int) -> NDArray[np.float32]:
        """Return their last weeks."""
        return self.snapshot.weekly(n_weeks, self.between)[1]

    def products(self) -> pd.DataFrame:
        """Return what they bought."""
        return self.snapshot.products(self.between)

    def margin_shares(self) -> "pd.Series[float]":
        """Return what the shop keeps of their spend."""
        return margins.margin_shares(self.snapshot, self.between)

    def habits(self) -> pd.DataFrame:
        """Return how often they buy each category."""
        return replenishment.habits(self.snapshot, self.between)

    def usual_gaps(self) -> "pd.Series[float]":
        """Return the gap that is usual in each category among all members."""
        return replenishment.usual_gaps(self.frozen or self.snapshot)

    def shelf(self, age_restricted: Sequence[str], margin_weight: float) -> Shelf:
        """Return what may be named on that day."""
        settings = self.snapshot.settings
        return shelf.read(settings, self.as_of, age_restricted, margin_weight)


def parts(snapshot: Snapshot, size: int = MEMBERS_PER_PART) -> Iterator[SnapshotView]:
    """Yield the members of a snapshot some at a time: memory does not grow with the programme."""
    for between in snapshot.ranges(size):
        yield SnapshotView(snapshot, between)
