"""What members are judged by: the last publication, its snapshot, its champions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from features.reference import Reference
from features.snapshot import Snapshot
from programme.settings import Settings
from serving.online.publish import churn_traits, texts_of
from serving.online.store import NUMBERS, Publication, StoredMember
from serving.online.traits import Nightly, Standing
from training.champions import Champions
from training.models.replenishment import usual_gaps

# Of a new member, until her scores are made.
_UNSAID = {"value": None, "next_products": None, "next_order": None}


@dataclass(frozen=True, eq=False)
class Setting:
    """A publication and what lies beside it.

    Parameters
    ----------
    reference : what of the whole programme a member's features rest on, as the night froze it
    standing : decides stages and segments; None: the night has none
    """

    publication: Publication
    champions: Champions
    snapshot: Snapshot
    reference: Reference
    standing: Standing | None

    @classmethod
    def of(
        cls, settings: Settings, publication: Publication, champions: Champions, taken: Snapshot
    ) -> "Setting":
        """Read what lies beside the snapshot."""
        standing = Standing.of(Nightly.of(settings, taken), taken)
        return cls(publication, champions, taken, taken.reference, standing)

    @cached_property
    def usual_gaps(self) -> "pd.Series[float]":
        """Return the gap that is usual in each category, as the snapshot froze it."""
        return usual_gaps(self.snapshot)

    def members(
        self, frame: pd.DataFrame, scores: Sequence[dict[str, Any] | None], as_of: date,
        seqs: Callable[[str], int], known: Callable[[str, datetime], datetime], now: datetime,
    ) -> list[StoredMember]:  # fmt: skip
        """Judge members by their features: churn, stage and segments.

        Parameters
        ----------
        frame : every column of the members, one row each
        scores : value, next products and next order of each; None: not made in this step
        seqs : the last row of the inbox that is in a member
        known : until when a member's rows are known, not before what is given
        """
        _, probability = self.champions.churn_of(frame)
        numbers = frame[list(NUMBERS)].to_numpy(dtype=np.float64)
        standing = {}
        if self.standing is not None:
            standing = self.standing.of_members(frame, as_of)
        population = frame["population"].to_numpy(dtype=object)
        least, snapshot = self.snapshot.data_as_of, self.snapshot.path.name
        made = []
        for row, (member_id, texts) in enumerate(zip(frame.index, texts_of(frame), strict=True)):
            name = str(member_id)
            seq = seqs(name)
            made.append(
                StoredMember(
                    member_id=name,
                    as_of=as_of,
                    data_as_of=known(name, least),
                    population=population[row],
                    features=numbers[row],
                    texts=texts,
                    scores=scores[row] or dict(_UNSAID),
                    traits=churn_traits(self.champions, float(probability[row]))
                    | standing.get(name, {"stage": None, "segments": {}}),
                    snapshot=snapshot,
                    updated_at=now,
                    seq=seq,
                    scores_seq=seq if scores[row] is not None else -1,
                    publication_no=self.publication.publication_no,
                )
            )
        return made
