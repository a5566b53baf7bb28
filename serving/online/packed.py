"""Rows of a relation, packed by component: one small Arrow batch for each, found without a search.

A member has hundreds of rows of what she bought on which day. A table of an engine gives them in
groups of thousands, most of them of others; here her rows are one compressed batch of a file that
is mapped into memory, and reading them is looking up its place.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Components = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segment:
    """One file of batches, and beside it whose they are, in ascending order.

    Parameters
    ----------
    path : of the batches; the components lie beside it, as `.npy`
    """

    path: Path

    @cached_property
    def _reader(self) -> pa.RecordBatchFileReader:
        # A thread for each column of a few hundred rows costs five times what it saves.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        return pa.ipc.open_file(pa.memory_map(str(self.path)), options=options)

    @cached_property
    def components(self) -> Components:
        """Return whose the batches are, of shape (batches,)."""
        found: Components = np.load(_beside(self.path), allow_pickle=False)
        if len(found) != self._reader.num_record_batches:
            raise OSError(f"{self.path} is not of the components beside it. It is made anew.")
        return found

    @property
    def schema(self) -> pa.Schema:
        """Return the columns, without the component."""
        return self._reader.schema

    def __len__(self) -> int:
        """Return the number of components."""
        return len(self.components)

    def batches_of(self, wanted: Components) -> list[pa.RecordBatch]:
        """Return the rows of some components, of each that has any."""
        if not len(self):
            return []
        places = np.minimum(np.searchsorted(self.components, wanted), len(self) - 1)
        there = places[self.components[places] == wanted]
        return [self._reader.get_batch(int(place)) for place in there]

    def each(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Return each component and its rows."""
        for place, component in enumerate(self.components.tolist()):
            yield component, self._reader.get_batch(place)


def read(segments: Collection[Segment], components: Collection[int]) -> pa.Table:
    """Return the rows of some components, from all segments.

    Parameters
    ----------
    segments : of one relation, at least one
    """
    wanted = np.array(sorted(components), dtype=np.int64)
    found = [batch for one in segments for batch in one.batches_of(wanted)]
    return pa.Table.from_batches(found, next(iter(segments)).schema).combine_chunks()


def write(rows: pa.RecordBatchReader, path: Path) -> Segment:
    """Write rows that come in order of their first column, the component.

    The file is on the disk when this returns.
    """
    return _written(_by_component(rows), rows.schema.remove(0), path)


def merge(older: Segment, newer: Segment, path: Path) -> Segment:
    """Write the rows of two segments as one, a component's older rows first."""
    return _written(_merged(older, newer), older.schema, path)


def _by_component(rows: pa.RecordBatchReader) -> Iterator[tuple[int, pa.RecordBatch]]:
    last: int | None = None
    held: list[pa.RecordBatch] = []
    for batch in rows:
        if not len(batch):
            continue
        which = batch.column(0).to_numpy()
        rest = batch.select(batch.schema.names[1:])
        cuts = np.flatnonzero(np.diff(which)) + 1
        for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(which)], strict=True):
            component = int(which[start])
            if last is not None and component != last:
                yield last, _one(held)
                held = []
            last = component
            held.append(rest.slice(start, stop - start))
    if last is not None:
        yield last, _one(held)


def _merged(older: Segment, newer: Segment) -> Iterator[tuple[int, pa.RecordBatch]]:
    # Components are counted from 1.
    both = (older.each(), newer.each())
    waiting = [next(one, None) for one in both]
    while first := min((one[0] for one in waiting if one is not None), default=0):
        held = []
        for place, one in enumerate(waiting):
            if one is not None and one[0] == first:
                held.append(one[1])
                waiting[place] = next(both[place], None)
        yield first, _one(held)


def _one(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _written(
    batches: Iterator[tuple[int, pa.RecordBatch]], schema: pa.Schema, path: Path
) -> Segment:
    path.parent.mkdir(parents=True, exist_ok=True)
    components = []
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with path.open("wb") as file:
        with pa.ipc.new_file(file, schema, options=options) as out:
            for component, batch in batches:
                components.append(component)
                out.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    with _beside(path).open("wb") as file:
        np.save(file, np.array(components, dtype=np.int64), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return Segment(path)


def _beside(path: Path) -> Path:
    return path.with_suffix(".npy")
