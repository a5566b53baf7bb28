"""What the night made of everybody, in words: segments with their sizes, tags with their holders.

Its files never change and are small to read, but for one column of each member's groups, which is
counted once. What is kept is replaced when everybody was written anew.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.tags import rules
from features.tags.declared import Tag
from features.tags.scored import score_rules
from features.tags.store import DECLARED, META
from programme.errors import NotReady
from programme.settings import Programme, Settings
from programme.words import codes, label
from serving.online.store import OnlineStore, Publication
from serving.points import PointsDesk

if TYPE_CHECKING:
    from serving.online.traits import Nightly

Kind = Literal["stage", "rfm_group", "cluster"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Group:
    """One group of members in words."""

    name: str
    label: str
    meaning: str
    members: int


@dataclass(frozen=True, eq=False)
class Night:
    """Segments and tags of the snapshot from which everybody was last written."""

    settings: Settings
    programme: Programme
    publication: Publication
    made: "Nightly"

    @cached_property
    def tags(self) -> Mapping[str, tuple[Tag, int]]:
        """Return each tag by its code, in their order, with how many members hold it."""
        declared = dict(self._declared())
        counted = {**_held(self.made.tagged), **_held(self.made.scored)}
        return {code: (declared[code], counted[code]) for code in sorted(counted)
                if code in declared}  # fmt: skip

    def groups(self, kind: str, language: str) -> list[Group]:
        """Return the groups of one kind that have members, in the order a marketer reads them."""
        from features.segments import described

        made = self.made.segmentation
        if made is None:
            return []
        counts = self._counts[kind]
        told = described.groups(kind, self._facts, language, self.programme.currency)
        return [
            Group(name, text, meaning, counts[name])
            for name, text, meaning in told
            if counts.get(name)
        ]

    def notes(self, kind: str, language: str) -> list[str]:
        """Say how a kind of group is read, or why it is not there."""
        from features.segments import described

        made = self.made.segmentation
        return [] if made is None else described.notes(made, kind, language)

    def group_label(self, kind: str, name: str, language: str) -> str:
        """Return what people call a group; its name where it is not known."""
        if f"{kind}.{name}" in codes(language):
            return label(f"{kind}.{name}", language)
        if kind != "cluster":
            return name
        return self._cluster_labels(language).get(name, name)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        made = self.made.segmentation
        return {"clusters": []} if made is None else made.facts

    @cached_property
    def _counts(self) -> dict[str, dict[str, int]]:
        made = self.made.segmentation
        assert made is not None
        found: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
        with pq.ParquetFile(made.members_file) as file:
            for part in file.iter_batches(columns=list(KINDS)):
                for kind in KINDS:
                    for one in pc.value_counts(part.column(kind)).to_pylist():
                        if one["values"] is not None:
                            before = found[kind].get(one["values"], 0)
                            found[kind][one["values"]] = before + one["counts"]
        return found

    def _cluster_labels(self, language: str) -> dict[str, str]:
        from features.segments import described

        return described.cluster_labels(self._facts, language, self.programme.currency)

    def _declared(self) -> Mapping[str, Tag]:
        """Return every tag as it was declared that night; of older nights, as it is today."""
        found = {tag.id: tag for tag in score_rules(self.settings).tags}
        kept = None
        if self.made.tagged is not None:
            meta = json.loads(self.made.tagged.with_name(META).read_text("utf-8"))
            kept = meta.get(DECLARED)
        if kept is None:
            today = rules.read(self.settings.home).expand(None)
            return found | {tag.id: tag for tag in (*today.tags, *today.off)}
        return found | {code: Tag.model_validate(one) for code, one in kept.items()}


class NightBook:
    """Finds the night of the last publication, and keeps what was read of it."""

    def __init__(self, desk: PointsDesk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._kept: Night | None = None

    def night(self) -> Night:
        """Return the night from which everybody was last written.

        Raises
        ------
        NotReady : if nobody ever was.
        """
        publication = OnlineStore(self._desk.database).publication()
        if publication is None:
            raise NotReady(
                "Nobody was written to the online store yet. Nothing was read. Fill it: perennial "
                "score, or perennial worker."
            )
        with self._lock:
            kept = self._kept
            if kept is None or kept.publication.publication_no != publication.publication_no:
                kept = self._kept = self._found(publication)
            return kept

    def _found(self, publication: Publication) -> Night:
        from features.snapshot import Snapshot
        from serving.online.traits import Nightly

        settings = self._desk.settings or Settings.load()
        programme = self._desk.programme
        taken = Snapshot.named(settings, programme, publication.snapshot)
        made = Nightly.of(settings, taken)
        return Night(settings, programme, publication, made)


def _held(path: Path | None) -> dict[str, int]:
    """Return how many members hold each tag, from the notes at the end of a file."""
    if path is None:
        return {}
    meta = pq.read_metadata(path)
    found: dict[str, int] = {}
    for part in range(meta.num_row_groups):
        group = meta.row_group(part)
        for place in range(group.num_columns):
            column = group.column(place)
            told = column.statistics
            if column.path_in_schema == "member_id" or told is None or not told.has_null_count:
                continue
            held = group.num_rows - told.null_count
            found[column.path_in_schema] = found.get(column.path_in_schema, 0) + held
    return found
