"""Scores for every member, as one Parquet file that appears whole or not at all.

Members are scored some at a time, each part a file of its own that is whole once it has its name;
a run that was killed goes on where it stopped. Memory does not grow with the programme: where there
are several parts, as many processes as there may be threads have one at a time each.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import exports, snapshot
from features.snapshot import Snapshot
from features.tags import scored
from programme.errors import InputRefused
from programme.files import sha256_of, single_writer, sync_file, sync_folder, write_json
from programme.settings import Programme, Settings
from serving.side_by_side import Crew, shared_out
from training.champions import Champions
from training.population import Look
from training.views import MEMBERS_PER_PART, SnapshotView, parts

INSTANT = pd.ArrowDtype(pa.timestamp("us", tz="UTC"))
# What a summary of everybody needs: short columns, so that a million members fit in memory.
SUMMARY = (
    "member_id", "churn_population", "churn_probability", "churn_percentile", "churn_risk_band",
    "value_cents", "next_order_horizon_days", "next_order_expected_on",
)  # fmt: skip
MANIFEST = "manifest.json"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Scored:
    """What a batch run wrote.

    Parameters
    ----------
    path : Parquet file, one row per member; columns as `Champions.score_all`. Beside it
        `manifest_of(path)` says how many rows it has, of which snapshot, by which champions
    tags : Parquet file beside it: the day since which each member holds each tag on scores
    resumed : how many members an earlier run, which was killed, had scored already
    """

    path: Path
    as_of: date
    programme: Programme
    tags: Path | None = None
    resumed: int = 0

    @property
    def members(self) -> pd.DataFrame:
        """Return the columns of `SUMMARY`, one row per member."""
        return pd.read_parquet(self.path, columns=list(SUMMARY))


def score_all(
    settings: Settings,
    as_of: date | None,
    out: Path | None,
    progress: Tell,
    size: int = MEMBERS_PER_PART,
    processes: int | None = None,
) -> Scored:
    """Score every member of one snapshot with the champions.

    Parameters
    ----------
    as_of : None takes the midnight after the last purchase
    out : file to write; None takes one in the home, named after the snapshot and the models
    size : members of a part
    processes : parts at a time; None: as many as `settings` allows threads

    Raises
    ------
    NotReady : if there is no programme or no champion, or another run writes the same file
    ProcessLost : if one of several processes was killed
    InputRefused : if `as_of` lies outside the data, or `out` is a folder, is no .parquet, or lies
        where nothing can be written
    """
    if out is not None:
        exports.check(out, (".parquet",))
    champions = Champions.load(settings)
    taken = snapshot.build(settings, as_of or snapshot.default_as_of(settings))
    path = out or settings.home / "scores" / f"{taken.path.name}_{_versions(champions)}.parquet"
    views = list(parts(taken, size))
    if not views:
        raise InputRefused(
            f"Nobody is known to have bought before {taken.as_of}. Nothing was scored. Choose a "
            "later as_of, or ingest purchases that carry a member."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.parts")
    with single_writer(unfinished.with_suffix(".lock"), f"the scores {path}"):
        at_once = min(processes or settings.threads, len(views))
        with Crew(champions, settings, at_once) as crew:
            run = _Run.begin(unfinished, settings, champions, crew, taken, views, size, progress)
            resumed = run.members_there()
            written = run.score()
        _join(written, path, run.about)
        shutil.rmtree(unfinished)
        unfinished.with_suffix(".lock").unlink()
    earlier = scored.newest_before(settings.home / "scores", taken.as_of)
    tags = scored.tag_scores(settings, path, taken.as_of, progress, earlier)
    return Scored(path, taken.as_of, champions.programme, tags, resumed)


def manifest_of(path: Path) -> Path:
    """Return the file that says what a file of scores is, once it is whole."""
    return path.with_name(f"{path.name}.{MANIFEST}")


@dataclass
class _Run:
    """One scoring of everybody, in parts that lie in a folder of their own.

    Parameters
    ----------
    about : what decides the answer; parts of a run about something else are of no use
    thresholds : of "churn" and "value", what percentiles are reckoned by
    crew : who score
    """

    folder: Path
    crew: Crew
    views: list[SnapshotView]
    about: dict[str, Any]
    thresholds: dict[str, list[float]]
    n_members: int
    progress: Tell

    @classmethod
    def begin(
        cls,
        folder: Path,
        settings: Settings,
        champions: Champions,
        crew: Crew,
        taken: Snapshot,
        views: list[SnapshotView],
        size: int,
        progress: Tell,
    ) -> "_Run":
        """Go on with the parts that are there, or begin anew."""
        if crew.processes > 1:
            own = replace(taken, settings=shared_out(settings, crew.processes))
            views = [replace(view, snapshot=own) for view in views]
        about = {
            "snapshot": taken.path.name,
            "as_of": str(taken.as_of),
            "champions": champions.versions,
            "risk_bands": asdict(champions.risk_bands),
        }
        begun = _read(folder / MANIFEST)
        if begun is None or begun["about"] != about or begun["size"] != size:
            shutil.rmtree(folder, ignore_errors=True)
            progress("asking the champions about everybody")
            looks: dict[int, Look] = {}
            for place, look in crew.each(Champions.look, views):
                looks[place] = look
                if len(views) > 1:
                    progress(f"asked about {len(looks):,} of {len(views):,} parts")
            everybody = Look.of([looks[place] for place in range(len(views))])
            begun = {
                "about": about,
                "size": size,
                "thresholds": everybody.thresholds(),
                "members": len(everybody.value_cents),
            }
            write_json(folder / MANIFEST, begun)
        return cls(folder, crew, views, about, begun["thresholds"], begun["members"], progress)

    def members_there(self) -> int:
        """Count the members of parts that are whole."""
        return sum(_rows(path) for path in self._paths() if path.exists())

    def score(self) -> list[Path]:
        """Write the parts that are not there; return all of them, in order."""
        done, paths = self.members_there(), self._paths()
        missing = [
            _Part(view, self.thresholds, path)
            for view, path in zip(self.views, paths, strict=True)
            if not path.exists()
        ]
        for _, rows in self.crew.each(_write, missing):
            done += rows
            self.progress(f"scored {done:,} of {self.n_members:,} members")
        return paths

    def _paths(self) -> list[Path]:
        return [self.folder / f"{number:06d}.parquet" for number in range(len(self.views))]


@dataclass(frozen=True)
class _Part:
    """Members to be scored, against what, and into which file."""

    view: SnapshotView
    thresholds: dict[str, list[float]]
    path: Path


def _write(champions: Champions, part: _Part) -> int:
    """Write a part, whole once it has its name; return how many members it has."""
    unfinished = part.path.with_suffix(f".{os.getpid()}.unfinished")
    population = champions.expect(part.view, part.thresholds)
    writer: pq.ParquetWriter | None = None
    try:
        for rows in champions.batches(population):
            # Arrow takes a zoned instant from pandas only with a warning, its own as it is.
            typed = rows.astype({"data_as_of": INSTANT})
            # Without pandas' notes on its types, some of which pandas itself cannot read back.
            table = pa.Table.from_pandas(typed, preserve_index=False).replace_schema_metadata()
            writer = writer or pq.ParquetWriter(unfinished, table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()
    sync_file(unfinished)
    unfinished.replace(part.path)
    sync_folder(part.path.parent)
    return _rows(part.path)


def _join(written: Sequence[Path], path: Path, about: dict[str, Any]) -> None:
    """Make one file of the parts, and say beside it what it is."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    n_members = 0
    try:
        with pq.ParquetWriter(unfinished, pq.read_schema(written[0]), compression="zstd") as writer:
            for part in written:
                with pq.ParquetFile(part) as file:
                    for group in range(file.num_row_groups):
                        rows = file.read_row_group(group)
                        writer.write_table(rows.cast(writer.schema))
                        n_members += rows.num_rows
        sync_file(unfinished)
        facts = {**about, "members": n_members, "sha256": sha256_of(unfinished)}
        # A manifest of another content than the file's belongs to a file that is being replaced.
        manifest_of(path).unlink(missing_ok=True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)
    write_json(manifest_of(path), facts)


def _read(path: Path) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
    return found


def _rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def _versions(champions: Champions) -> str:
    return "-".join(str(model.version) if model else "none" for model in champions.models())
