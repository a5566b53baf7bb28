"""Keys of stored rows: who holds one is found, whatever was merged, and nobody else."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.online import held
from serving.online.held import Held

LARGEST = 2**64 - 1
Pairs = list[tuple[int, int]]
digests = st.sampled_from([0, 1, 5, 2**63, LARGEST]) | st.integers(0, LARGEST)
pairs_of = st.lists(st.tuples(digests, st.integers(1, 9)), max_size=20)


def write(pairs: Pairs, path: Path, at_once: int) -> Held:
    ordered = sorted(pairs, key=lambda pair: pair[0])
    columns = [list(one) for one in zip(*ordered, strict=True)] if ordered else [[], []]
    rows = pa.table(
        [pa.array(columns[0], pa.uint64()), pa.array(columns[1], pa.int64())], ["d", "c"]
    )
    return held.write(rows.to_reader(max_chunksize=at_once), len(pairs), path)


@given(pairs_of, pairs_of, st.lists(digests, max_size=6), st.integers(1, 7))
def test_holders_are_those_that_were_written(
    older: Pairs, newer: Pairs, others: list[int], at_once: int
) -> None:
    wanted = np.array([*(digest for digest, _ in older + newer), *others], dtype=np.uint64)
    expected = [{c for d, c in older + newer if d == one} for one in wanted.tolist()]
    with TemporaryDirectory() as folder:
        one = write(older, Path(folder) / "held_events-1.npy", at_once)
        other = write(newer, Path(folder) / "held_events-2.npy", at_once)
        both = held.merge(one, other, Path(folder) / "held_events-2-1.npy")

        assert held.holders([one, other], wanted) == expected
        assert held.holders([both], wanted) == expected
        assert held.holders([], wanted) == [set() for _ in wanted]
        assert len(both) == len(older) + len(newer)
        assert (np.diff(both.digests.astype(object)) >= 0).all()


def test_arrays_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    one = write([(1, 1), (2, 2)], tmp_path / "one.npy", 9)
    np.save(one.path.with_suffix(".whose.npy"), np.array([1, 2, 3]))

    with pytest.raises(OSError, match=r"one\.npy is not of the components"):
        len(Held(one.path))
