"""What is said of a member beside her scores: stage, segments and tags, as the night gave them.

Clusters and tags are made once a night, over the whole table, and stay until the next. A stage
and the RFM group follow her features at once, judged by the night's table of returns and its ranks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.segments import lifecycle, rfm
from features.segments.return_table import ReturnTable
from features.segments.rfm import MEASURES, Cuts
from features.segments.segmentation import FACTS, Segmentation
from features.snapshot import Between, Snapshot
from features.tags import scored
from features.tags.store import HELD, META
from programme.settings import Settings

SEGMENTS = ("rfm_group", "cluster")
_WANTED = ("stage", *SEGMENTS)


@dataclass(frozen=True)
class Nightly:
    """The files that hold segments and tags of one snapshot; None: not made.

    Parameters
    ----------
    tagged : who holds which tag, one column a tag
    scored : the same of tags on scores
    """

    segmentation: Segmentation | None
    tagged: Path | None
    scored: Path | None

    @classmethod
    def of(cls, settings: Settings, snapshot: Snapshot) -> "Nightly":
        """Find what was made from a snapshot, the newest of each."""
        name = snapshot.path.name
        segments = [
            path
            for path in (settings.home / "segments").glob(f"{snapshot.as_of}_*/{FACTS}")
            if json.loads(path.read_text("utf-8"))["snapshot"] == name
        ]
        # A name that begins with a dot is one that is not finished.
        tags = list((settings.home / "tags").glob(f"{name}/[!.]*/{META}"))
        on_scores = list((settings.home / "scores").glob(f"{scored.PREFIX}{name}_*.parquet"))
        newest = [max(one, key=_age, default=None) for one in (segments, tags, on_scores)]
        return cls(
            Segmentation(newest[0].parent, snapshot.programme) if newest[0] else None,
            newest[1].with_name(HELD) if newest[1] else None,
            newest[2],
        )

    def missing(self) -> list[str]:
        """Return what was not made, in words."""
        there = {"segments": self.segmentation, "tags": self.tagged, "tags on scores": self.scored}
        return [name for name, path in there.items() if path is None]

    def read(self, between: Between) -> dict[str, dict[str, Any]]:
        """Return stage, segments and tags by member_id, of the members from one to another."""
        found: dict[str, dict[str, Any]] = {}
        if self.segmentation is not None:
            rows = _read(self.segmentation.members_file, between, ["member_id", *_WANTED])
            for member_id, stage, *names in rows.itertuples(index=False):
                segments = dict(zip(SEGMENTS, names, strict=True))
                found[member_id] = nothing() | {
                    "stage": stage if isinstance(stage, str) else None,
                    "segments": {k: v for k, v in segments.items() if isinstance(v, str)},
                }
        for path in (self.tagged, self.scored):
            if path is None:
                continue
            held = _read(path, between).set_index("member_id")
            codes = held.columns.to_numpy(dtype=object)
            for member_id, mask in zip(held.index, held.notna().to_numpy(), strict=True):
                found.setdefault(member_id, nothing())["tags"] += codes[mask].tolist()
        return found


def nothing() -> dict[str, Any]:
    """Return what is said of a member of whom nothing was made."""
    return {"stage": None, "segments": {}, "tags": []}


@dataclass(frozen=True)
class Standing:
    """How a member computed again stands among the members of the night.

    Parameters
    ----------
    made : the segments of that night
    measured : of r, f and m, the values of all who bought in the last year, rising to the best
    returns : by which stages are given; None in a programme too young for stages
    before : `made` as a table
    """

    made: Segmentation
    measured: Mapping[str, NDArray[np.float64]]
    returns: ReturnTable | None
    cuts: Cuts
    before: pd.DataFrame

    @classmethod
    def of(cls, nightly: Nightly, snapshot: Snapshot) -> "Standing | None":
        """Keep what stages and RFM scores are judged by; None where there are no segments."""
        made = nightly.segmentation
        if made is None:
            return None
        facts = made.facts
        features = pd.read_parquet(snapshot.path / "features.parquet", columns=[*MEASURES.values()])
        bought = features[MEASURES["f"]].to_numpy() > 0
        measured = {
            name: np.sort((-1 if name == "r" else 1) * features[column].to_numpy()[bought])
            for name, column in MEASURES.items()
        }
        table = facts["returns"]
        returns = None
        if table:
            returns = ReturnTable(np.asarray(table["probability"]), np.asarray(table["members"]))
        cuts = Cuts(**{name: tuple(one) for name, one in facts["cuts"].items()})
        return cls(made, measured, returns, cuts, made.members())

    def of_members(self, features: pd.DataFrame, as_of: date) -> dict[str, dict[str, Any]]:
        """Return stage and RFM group of members by member_id.

        Parameters
        ----------
        features : one row per member as `Snapshot.features`
        as_of : the midnight they are seen from
        """
        before = self._earlier(as_of)
        stage = self._stages(features, as_of, before)
        group = self._groups(features, before)
        return {
            str(member_id): {"stage": stage[row], "segments": {"rfm_group": group[row]}}
            for row, member_id in enumerate(features.index)
        }

    def _stages(
        self, features: pd.DataFrame, as_of: date, before: tuple[date, pd.DataFrame] | None
    ) -> list[str | None]:
        if self.returns is None:
            return [None] * len(features)
        previous = None
        if before is not None:
            previous = before[1].reindex(features.index).assign(as_of=pd.Timestamp(before[0]))
            previous = previous[previous["stage"].notna()]
        staged = lifecycle.stages(features, self.returns, pd.Timestamp(as_of), previous)
        return [str(one) for one in staged["stage"]]

    def _groups(
        self, features: pd.DataFrame, before: tuple[date, pd.DataFrame] | None
    ) -> list[str]:
        scores = {}
        for name, column in MEASURES.items():
            values = (-1 if name == "r" else 1) * features[column].to_numpy(dtype=np.float64)
            ordered = self.measured[name]
            # The middle of the places that equal values have, among the members of the night.
            places = np.searchsorted(ordered, values, "left") + np.searchsorted(
                ordered, values, "right"
            )
            ranks = places / 2 / max(1, len(ordered))
            earlier = None
            if name == "r" and before is not None:
                earlier = before[1]["r"].reindex(features.index).to_numpy(dtype=np.float64)
            scores[name] = rfm.placed(ranks, getattr(self.cuts, name), earlier)
        silent = ~(features[MEASURES["f"]].to_numpy() > 0)
        return [
            rfm.group_of(1, 1, 1) if quiet else rfm.group_of(int(r), int(f), int(m))
            for quiet, r, f, m in zip(silent, *scores.values(), strict=True)
        ]

    def _earlier(self, as_of: date) -> tuple[date, pd.DataFrame] | None:
        """Return the segments that those of a day follow."""
        if as_of > self.made.as_of:
            return self.made.as_of, self.before
        return self._followed

    @cached_property
    def _followed(self) -> tuple[date, pd.DataFrame] | None:
        name = self.made.facts["follows"]
        if name is None:
            return None
        earlier = Segmentation(self.made.path.with_name(name), self.made.programme)
        return earlier.as_of, earlier.members()


def _read(path: Path, between: Between, columns: list[str] | None = None) -> pd.DataFrame:
    first, last = between
    within = [("member_id", ">=", first), ("member_id", "<=", last)]
    return pd.read_parquet(path, columns=columns, filters=within)


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns
