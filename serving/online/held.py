"""Whose stored rows have a key: digests of keys in order, each with the component that holds it.

A correction names the key of a row that was stored long ago, maybe under another member. To find
out, every step looks up the keys of its rows; an engine goes through all keys there are for that,
an ordered array of a mapped file through twenty or thirty places.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Digests = NDArray[np.uint64]
Components = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Held:
    """One pair of arrays, mapped into memory.

    Parameters
    ----------
    path : of the digests; the components lie beside it, as `.whose.npy`
    """

    path: Path

    @cached_property
    def digests(self) -> Digests:
        """Return the digests, rising; several components may hold one."""
        found: Digests = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return found

    @cached_property
    def components(self) -> Components:
        """Return who holds each, of the shape of `digests`."""
        found: Components = np.load(_beside(self.path), mmap_mode="r", allow_pickle=False)
        if found.shape != self.digests.shape:
            raise OSError(f"{self.path} is not of the components beside it. It is made anew.")
        return found

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.components)

    def of(self, wanted: Digests) -> list[Components]:
        """Return the components that hold each of some digests."""
        first = np.searchsorted(self.digests, wanted, "left").tolist()
        end = np.searchsorted(self.digests, wanted, "right").tolist()
        return [self.components[a:b] for a, b in zip(first, end, strict=True)]


def holders(held: Collection[Held], wanted: Digests) -> list[set[int]]:
    """Return the components that hold each of some digests, in all arrays together."""
    found: list[set[int]] = [set() for _ in wanted]
    for one in held:
        for components, some in zip(found, one.of(wanted), strict=True):
            components.update(some.tolist())
    return found


def write(rows: pa.RecordBatchReader, n_rows: int, path: Path) -> Held:
    """Write pairs of digest and component that come in order of the digest.

    Parameters
    ----------
    n_rows : how many will come; memory does not grow with them
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digests, components = _made(path, np.uint64, n_rows), _made(_beside(path), np.int64, n_rows)
    at = 0
    for batch in rows:
        end = at + len(batch)
        digests[at:end] = batch.column(0).to_numpy()
        components[at:end] = batch.column(1).to_numpy()
        at = end
    return _settled(path)


def merge(older: Held, newer: Held, path: Path) -> Held:
    """Write the pairs of two as one."""
    both = np.concatenate([older.digests, newer.digests])
    order = np.argsort(both, kind="stable")
    _made(path, np.uint64, len(both))[:] = both[order]
    whose = np.concatenate([older.components, newer.components])
    _made(_beside(path), np.int64, len(both))[:] = whose[order]
    return _settled(path)


def _made(path: Path, kind: type, n_rows: int) -> NDArray[np.generic]:
    if not n_rows:  # nothing can be mapped: an array of nothing is written whole
        np.save(path, np.empty(0, dtype=kind))
        return np.empty(0, dtype=kind)
    made: NDArray[np.generic] = np.lib.format.open_memmap(
        path, mode="w+", dtype=kind, shape=(n_rows,)
    )
    return made


def _settled(path: Path) -> Held:
    """Have both files on the disk."""
    for one in (path, _beside(path)):
        with one.open("rb+") as file:
            os.fsync(file.fileno())
    return Held(path)


def _beside(path: Path) -> Path:
    return path.with_suffix(".whose.npy")
