"""The lake: append-only Parquet batches behind one manifest, which is the only commit.

Every stored row has a `sign`. A new row is +1. When a later-known version replaces a row, the
batch that brings it also holds the old content again with sign -1 and the new `known_at`. So
what was known at any instant is a sum, with no search for the latest version:
`sum(sign * net_cents) where known_at < as_of`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from features import contracts, engine
from programme.errors import NotReady
from programme.files import single_writer, sync_file, sync_folder, write_json
from programme.settings import Settings

MANIFEST = "manifest.json"
# Raised when stored columns or rollups change: what earlier code wrote cannot be read with them.
LAKE_FORMAT = 4
# Added to every contract's columns; no feature may read ingested_at or batch_no.
STORED_EXTRA = "sign tinyint, ingested_at timestamp, batch_no integer"
QUARANTINE = "quarantine"
QUARANTINE_SHAPE = (
    "source varchar, table_name varchar, reason varchar, column_name varchar, file varchar, "
    "line bigint, row_json varchar, ingested_at timestamp, batch_no integer"
)


@dataclass(frozen=True)
class Batch:
    """One committed ingest.

    Parameters
    ----------
    files : of how many files a table consists, if not of one
    inbox_seq : the last row of the inbox that it holds, with all before; 0: it read no inbox
    """

    batch_no: int
    source: str
    ingested_at: str
    rows: dict[str, int]
    read_files: dict[str, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    inbox_seq: int = 0


@dataclass(frozen=True)
class Manifest:
    """What is committed, oldest batch first. Files it does not name do not exist."""

    batches: tuple[Batch, ...] = ()

    @property
    def lake_version(self) -> int:
        """Return the number of the last batch; 0 for an empty lake."""
        return self.batches[-1].batch_no if self.batches else 0

    def up_to(self, lake_version: int) -> "Manifest":
        """Return the manifest as it was at an earlier version."""
        return Manifest(tuple(b for b in self.batches if b.batch_no <= lake_version))

    def after(self, lake_version: int) -> "Manifest":
        """Return only what came after a version."""
        return Manifest(tuple(b for b in self.batches if b.batch_no > lake_version))


class Lake:
    """The rows of one programme."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home / "lake"
        self._quarantine = settings.home / QUARANTINE

    def manifest(self) -> Manifest:
        """Return what is committed now."""
        path = self.folder / MANIFEST
        if not path.exists():
            return Manifest()
        content = json.loads(path.read_text("utf-8"))
        if content.get("format", 1) != LAKE_FORMAT:
            raise NotReady(
                f"The lake {self.folder} has format {content.get('format', 1)}; this code reads "
                f"and writes format {LAKE_FORMAT}. Nothing was done. Ingest the sources again "
                "into a new home."
            )
        return Manifest(tuple(Batch(**batch) for batch in content["batches"]))

    def inbox_position(self, manifest: Manifest) -> int:
        """Return the last row of the inbox that the lake holds, with all before; 0: none.

        The batch that brought the rows says so itself: there is no second truth to disagree.
        """
        return max((batch.inbox_seq for batch in manifest.batches), default=0)

    def ready(self) -> Manifest:
        """Return the manifest of a lake that holds purchases.

        Raises
        ------
        NotReady : if there are none yet.
        """
        manifest = self.manifest()
        if not self.paths("purchases", manifest):
            raise NotReady(
                f"The lake {self.folder} holds no purchases. Nothing was done. Ingest some "
                "first, for example: perennial ingest completejourney"
            )
        return manifest

    def paths(self, table: str, manifest: Manifest) -> list[Path]:
        """Return the files of one table or rollup."""
        return [
            self.path_of(table, batch.batch_no, number)
            for batch in manifest.batches
            if table in batch.rows
            for number in range(batch.files.get(table, 1))
        ]

    def rows_sql(self, table: str, manifest: Manifest) -> str:
        """Return a SELECT of the stored rows of an accepted table."""
        contract = contracts.TABLES[table]
        shape = ", ".join(f"{f.name} {f.sql_type}" for f in contract.fields)
        return engine.parquet(self.paths(table, manifest), f"{shape}, {STORED_EXTRA}")

    def rollup_sql(self, rollup: str, shape: str, manifest: Manifest) -> str:
        """Return a SELECT of a rollup's rows, whose columns are those of `shape`."""
        return engine.parquet(self.paths(rollup, manifest), shape)

    @contextmanager
    def writing(self) -> Iterator[int]:
        """Hold the lake for one batch; yields the number the batch will have.

        What a killed writer left behind carries the same number and is not in the manifest:
        it is removed before anything is written, and so is what a refused batch has written.
        """
        with single_writer(self.folder / "writer.lock", "the lake"):
            batch_no = self.manifest().lake_version + 1
            self._remove_uncommitted(batch_no)
            try:
                yield batch_no
            finally:
                if self.manifest().lake_version < batch_no:
                    self._remove_uncommitted(batch_no)

    def _remove_uncommitted(self, batch_no: int) -> None:
        leftovers = [
            *self.folder.glob(f"*/{batch_no:06d}.parquet"),
            *self.folder.glob(f"*/{batch_no:06d}-*.parquet"),
        ]
        for leftover in [*leftovers, self.path_of(QUARANTINE, batch_no)]:
            leftover.unlink(missing_ok=True)

    def path_of(self, table: str, batch_no: int, number: int = 0) -> Path:
        """Return where a batch writes a table; bad rows stand beside the lake, not in it.

        Parameters
        ----------
        number : of the file, where a table has several
        """
        folder = self._quarantine if table == QUARANTINE else self.folder / table
        return folder / f"{batch_no:06d}{f'-{number}' if number else ''}.parquet"

    def commit(
        self,
        batch_no: int,
        source: str,
        ingested_at: datetime,
        rows: dict[str, int],
        read_files: dict[str, str],
        files: dict[str, int],
        inbox_seq: int = 0,
    ) -> Batch:
        """Make a batch visible: its files reach the disk, then one rename names them."""
        batch = Batch(batch_no, source, ingested_at.isoformat(), rows, read_files, files, inbox_seq)
        for table in rows:
            for path in self.paths(table, Manifest((batch,))):
                sync_file(path)
            sync_folder(self.path_of(table, batch_no).parent)
        manifest = self.manifest()
        content: dict[str, Any] = {
            "format": LAKE_FORMAT,
            "lake_version": batch_no,
            "batches": [vars(b) for b in (*manifest.batches, batch)],
        }
        write_json(self.folder / MANIFEST, content)
        return batch
