"""Packed rows: what is read is what was written of these components, whatever was merged."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.online import packed

SCHEMA = pa.schema(
    [("component", pa.int64()), ("lines", pa.int32()), ("store_id", pa.string())]
)  # fmt: skip
Rows = list[tuple[int, int | None, str | None]]

rows_of = st.lists(
    st.tuples(
        st.integers(1, 9), st.none() | st.integers(-5, 5), st.none() | st.text(max_size=3)
    ),
    max_size=30,
)  # fmt: skip


def table(rows: Rows) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    return pa.table(list(map(list, columns)), schema=SCHEMA)


def write(rows: Rows, path: Path, at_once: int) -> packed.Segment:
    ordered = table(sorted(rows, key=lambda row: row[0]))
    return packed.write(ordered.to_reader(max_chunksize=at_once), path)


def told(found: pa.Table) -> list[tuple[int | None, str | None]]:
    return [(row["lines"], row["store_id"]) for row in found.to_pylist()]


@given(rows_of, rows_of, st.sets(st.integers(1, 12)), st.integers(1, 7))
def test_what_is_read_is_what_was_written_of_those(
    older: Rows, newer: Rows, wanted: set[int], at_once: int
) -> None:
    with TemporaryDirectory() as folder:
        one = write(older, Path(folder) / "one.arrow", at_once)
        other = write(newer, Path(folder) / "other.arrow", at_once)
        both = packed.merge(one, other, Path(folder) / "both.arrow")

        apart = packed.read([one, other], wanted)
        merged = packed.read([both], wanted)

        expected = sorted(
            (row[1:] for row in older + newer if row[0] in wanted), key=repr
        )  # fmt: skip
        assert sorted(told(apart), key=repr) == sorted(told(merged), key=repr) == expected
        assert both.components.tolist() == sorted({row[0] for row in older + newer})
        # Whoever has rows in both has the older ones first.
        first = [row[1:] for row in older + newer if row[0] == 1]
        assert told(packed.read([both], [1])) == first
        assert apart.schema == merged.schema == SCHEMA.remove(0)


def test_a_file_that_was_not_written_to_its_end_is_none(tmp_path: Path) -> None:
    path = tmp_path / "one.arrow"
    write([(1, 1, "a")] * 1_000, path, 100)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises((pa.ArrowInvalid, OSError)):
        len(packed.Segment(path))


def test_components_of_another_file_are_noticed(tmp_path: Path) -> None:
    write([(1, 1, "a"), (2, 1, "a")], tmp_path / "one.arrow", 100)
    np.save(tmp_path / "one.npy", np.array([1], dtype=np.int64))

    with pytest.raises(OSError, match="not of the components"):
        len(packed.Segment(tmp_path / "one.arrow"))
