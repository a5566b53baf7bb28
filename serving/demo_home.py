"""A home inside a home, to try things in: the same past, by hard links, and nothing shared."""

import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from features import snapshot
from features.lake import MANIFEST, Lake
from features.tags.scored import PREFIX
from programme.errors import NotReady
from programme.settings import PROGRAMME_FILE, Settings

FOLDER = "act-demo"
DATABASE = "programme.db"


@dataclass(frozen=True)
class DemoHome:
    """A home that was made anew, and the day its members are described of."""

    settings: Settings
    as_of: date


def make(settings: Settings) -> DemoHome:
    """Make the demo's home in a home, anew; the home itself stays as it is.

    What never changes (lake, snapshot, segments, tags, scores of the last day) is linked, not
    copied: a new row or a new score is a new file, and lands in the demo alone.

    Raises
    ------
    NotReady : naming the command that makes what is missing.
    """
    lake = Lake(settings)
    manifest = lake.ready()
    day = snapshot.default_as_of(settings)
    taken = _of_day(settings, day, manifest.lake_version)
    scores = sorted((settings.home / "scores").glob(f"{taken.name}_*.parquet"))
    if not scores:
        raise _missing(f"scores of {day}", f"perennial score --home {settings.home}")
    home = settings.home / FOLDER
    shutil.rmtree(home, ignore_errors=True)
    for batch in manifest.batches:
        for table in batch.rows:
            for path in {*lake.paths(table, manifest)}:
                _link(path, settings.home, home)
    for folder in (taken, *_folders(settings.home, day)):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                _link(path, settings.home, home)
    for path in scores:
        for one in (path, path.with_name(PREFIX + path.name)):
            if one.exists():
                _link(one, settings.home, home)
    for name in (PROGRAMME_FILE, f"lake/{MANIFEST}"):
        shutil.copy2(settings.home / name, home / name)
    return DemoHome(
        settings.model_copy(update={"home": home, "db_url": f"sqlite:///{home / DATABASE}"}), day
    )


def _of_day(settings: Settings, day: date, lake_version: int) -> Path:
    newest = snapshot.latest(settings)
    if (newest.as_of, newest.lake_version) != (day, lake_version):
        raise _missing(f"a snapshot of {day}", f"perennial score --home {settings.home}")
    return newest.path


def _folders(home: Path, day: date) -> list[Path]:
    """Return the segments and tags of a day; where there are none, the demo makes its own."""
    return [
        path for part in ("segments", "tags") for path in sorted((home / part).glob(f"{day}_*"))
    ]


def _link(path: Path, home: Path, demo: Path) -> None:
    """Link a file into the demo's home at its own place; copy it where a disk has no links."""
    there = demo / path.relative_to(home)
    there.parent.mkdir(parents=True, exist_ok=True)
    if there.exists():
        return
    try:
        os.link(path, there)
    except OSError:
        shutil.copy2(path, there)


def _missing(what: str, command: str) -> NotReady:
    return NotReady(
        f"The demo needs {what}, and there are none. Nothing was done. Make them: {command} "
        "(for Complete Journey, make demo SERVE=0 makes everything)."
    )
