"""A writer may be killed at any moment: the lake is as it was, or it has the whole batch."""

import fcntl
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from features import snapshot
from features.lake import Lake, Manifest
from programme.errors import NotReady
from programme.settings import Settings
from tests.features import shop
from tests.features.killed_writer import second_batch

REPOSITORY = Path(__file__).parents[2]
# The engine writes each table twice and each rollup once, so that some death falls before, between
# and after every kind of file.
POINTS = [
    *(f"copy:{calls}" for calls in (1, 5, 9)),
    "sync:3",
    "half:manifest.json",
    "before:manifest.json",
    "after:manifest.json",
    *(f"seconds:{seconds:.3f}" for seconds in np.random.default_rng(20).uniform(0.02, 0.2, 2)),
]


@dataclass(frozen=True)
class Lakes:
    """A home before the second batch, one after it, and what the writers left behind."""

    before: Manifest
    after: Manifest
    killed: dict[str, Settings]
    codes: dict[str, int]
    written_at_once: Settings
    built_at_once: Settings
    codes_at_once: tuple[list[int], list[int]]


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    folder = tmp_path_factory.mktemp("killed")
    first = Settings(home=folder / "first", threads=1)
    shop.take(first, shop.year())

    def copy(name: str) -> Settings:
        shutil.copytree(first.home, folder / name)
        return Settings(home=folder / name, threads=1)

    whole = copy("whole")
    shop.take(whole, second_batch())
    killed = {point: copy(point.replace(":", "-")) for point in POINTS}
    written, built = copy("written"), copy("built")
    groups = [
        *([("write", str(home.home), point)] for point, home in killed.items()),
        [("write", str(written.home), ""), ("write", str(written.home), "")],
        [("build", str(built.home), ""), ("build", str(built.home), "")],
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.features.killed_writer", json.dumps(groups)],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    *codes, writes, builds = json.loads(done.stdout)
    return Lakes(
        Lake(first).manifest(), Lake(whole).manifest(), killed,
        {point: code for point, (code,) in zip(POINTS, codes, strict=True)},
        written, built, (writes, builds),
    )  # fmt: skip


def rows(manifest: Manifest) -> list[dict[str, int]]:
    return [batch.rows for batch in manifest.batches]


def files_beside(home: Settings) -> set[str]:
    """Return the data files of a home, whether or not the manifest names them."""
    found = [*home.home.glob("lake/*/*"), *home.home.glob("quarantine/*")]
    return {str(path.relative_to(home.home)) for path in found}


def files_named(home: Settings) -> set[str]:
    lake = Lake(home)
    paths = [
        path
        for batch in lake.manifest().batches
        for table in batch.rows
        for path in [lake.path_of(table, batch.batch_no)]
    ]
    return {str(path.relative_to(home.home)) for path in paths}


def test_the_writers_were_killed_where_they_should(lakes: Lakes) -> None:
    for point, code in lakes.codes.items():
        if point.startswith("seconds"):
            assert code in (0, -signal.SIGALRM)
        else:
            assert code == -signal.SIGKILL, point


def test_a_killed_ingest_leaves_the_whole_batch_or_nothing(lakes: Lakes) -> None:
    for point, home in lakes.killed.items():
        found = rows(Lake(home).manifest())
        if point == "after:manifest.json" or lakes.codes[point] == 0:
            assert found == rows(lakes.after), point
        elif point.startswith("seconds"):
            assert found in (rows(lakes.before), rows(lakes.after)), point
        else:
            assert found == rows(lakes.before), point
        assert files_named(home) <= files_beside(home)


def test_after_a_kill_the_next_ingest_puts_everything_right(lakes: Lakes) -> None:
    tables = []
    for point, home in lakes.killed.items():
        committed = rows(Lake(home).manifest()) == rows(lakes.after)

        (again,) = shop.take(home, second_batch())

        assert again.batch_no == (None if committed else 2), point
        assert rows(Lake(home).manifest()) == rows(lakes.after)
        assert files_beside(home) == files_named(home), point
        assert list((home.home / "tmp").glob("ingest-*")) == []
        if point in ("copy:5", "half:manifest.json", "after:manifest.json"):
            tables.append(shop.features(home))
    for table in tables[1:]:
        shop.same(table, tables[0])


def test_a_second_writer_is_refused_until_the_first_has_ended(
    home: Settings, tmp_path: Path
) -> None:
    shop.take(home, shop.year())
    lock = home.home / "lake" / "writer.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import fcntl, sys; f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX); "
         "print('held', flush=True); sys.stdin.read()", str(lock)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        with pytest.raises(NotReady, match="Another process is writing the lake") as refusal:
            shop.take(home, second_batch())

        assert "Nothing was changed" in str(refusal.value)
        assert Lake(home).manifest().lake_version == 1
        holder.kill()

    assert shop.take(home, second_batch())[0].batch_no == 2


def test_of_two_ingests_at_once_one_writes(lakes: Lakes) -> None:
    codes, home = lakes.codes_at_once[0], lakes.written_at_once

    # The second is refused, or comes after the first and finds nothing new.
    assert sorted(codes) in ([0, NotReady.exit_code], [0, 0])
    assert rows(Lake(home).manifest()) == rows(lakes.after)
    assert files_beside(home) == files_named(home)


def test_two_builds_at_once_make_one_snapshot(lakes: Lakes) -> None:
    codes, home = lakes.codes_at_once[1], lakes.built_at_once

    built = snapshot.build(home, shop.AS_OF)

    assert codes == [0, 0]
    assert [path.name for path in (home.home / "snapshots").iterdir()] == [built.path.name]
    shop.same(built.features(), shop.rebuilt(home))


def test_a_lock_is_free_again_after_a_refused_source(home: Settings) -> None:
    with pytest.raises(Exception, match="None of the 1 purchase rows"):
        shop.take(home, shop.Till([shop.line("ann", shop.MIDNIGHT, store_id="x" * 2_000)]))

    assert files_beside(home) == set()
    with (home.home / "lake" / "writer.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
