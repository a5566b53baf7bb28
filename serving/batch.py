"""Scores for every member, as one Parquet file that appears whole or not at all."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import exports, snapshot
from features.tags import scored
from programme.errors import InputRefused
from programme.files import sync_file, sync_folder
from programme.settings import Programme, Settings
from training.champions import Champions
from training.population import Population

INSTANT = pd.ArrowDtype(pa.timestamp("us", tz="UTC"))


@dataclass(frozen=True)
class Scored:
    """What a batch run wrote.

    Parameters
    ----------
    path : Parquet file, one row per member; columns as `Champions.score_all`
    tags : Parquet file beside it: the day since which each member holds each tag on scores
    members : the rows, without drivers and products, for a summary
    """

    path: Path
    as_of: date
    programme: Programme
    members: pd.DataFrame
    tags: Path | None = None


def score_all(
    settings: Settings,
    as_of: date | None,
    out: Path | None,
    progress: Callable[[str], None],
) -> Scored:
    """Score every member of one snapshot with the champions.

    Parameters
    ----------
    as_of : None takes the midnight after the last purchase
    out : file to write; None takes one in the home, named after the snapshot and the models

    Raises
    ------
    NotReady : if there is no programme or no champion
    InputRefused : if `as_of` lies outside the data, or `out` is a folder
    """
    if out is not None and out.is_dir():
        raise InputRefused(
            f"{out} is a folder. Nothing was scored. Name the Parquet file to write, for example "
            f"{out / 'scores.parquet'}."
        )
    if out is not None:
        exports.check_place(out)
    champions = Champions.load(settings)
    taken = snapshot.build(settings, as_of or snapshot.default_as_of(settings))
    progress("asking the champions about everybody")
    population = champions.population(taken)
    if not len(population):
        raise InputRefused(
            f"Nobody is known to have bought before {taken.as_of}. Nothing was scored. Choose a "
            "later as_of, or ingest purchases that carry a member."
        )
    path = out or settings.home / "scores" / f"{taken.path.name}_{_versions(champions)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        kept = _write(champions, population, unfinished, progress)
        sync_file(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)
    earlier = scored.newest_before(settings.home / "scores", taken.as_of)
    tags = scored.tag_scores(settings, path, taken.as_of, progress, earlier)
    members = pd.concat(kept, ignore_index=True)
    return Scored(path, taken.as_of, champions.programme, members, tags)


def _write(
    champions: Champions, population: Population, path: Path, progress: Callable[[str], None]
) -> list[pd.DataFrame]:
    """Write everybody's scores, part by part; return the parts without their long columns."""
    kept = []
    writer: pq.ParquetWriter | None = None
    try:
        for part in champions.batches(population):
            # Arrow takes a zoned instant from pandas only with a warning, and its own as it is.
            typed = part.astype({"data_as_of": INSTANT})
            # Without pandas' notes on its types, some of which pandas itself cannot read back.
            table = pa.Table.from_pandas(typed, preserve_index=False).replace_schema_metadata()
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
            kept.append(part.drop(columns=[c for c in part if _is_long(str(c))]))
            progress(f"scored {sum(map(len, kept)):,} of {len(population):,} members")
    finally:
        if writer is not None:
            writer.close()
    return kept


def _versions(champions: Champions) -> str:
    models = (
        champions.churn, champions.value, champions.repeat, champions.explore,
        champions.next_order,
    )  # fmt: skip
    return "-".join(str(model.version) if model else "none" for model in models)


def _is_long(column: str) -> bool:
    return column.endswith(("_drivers", "_products", "_due"))
