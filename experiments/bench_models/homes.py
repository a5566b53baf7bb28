"""Where the benchmarks keep their data: a home a source, ingested where it is absent."""

from datetime import UTC, datetime
from pathlib import Path

from experiments.bench_models.lines import Progress
from features.ingest import ingest
from features.lake import Lake
from features.sources import open_source
from programme.settings import Settings


def home_of(folder: Path, source: str, progress: Progress) -> Settings:
    """Return a home with the data of a source."""
    settings = Settings.load(folder / source)
    if not Lake(settings).manifest().lake_version:
        ingest(open_source([source], None), settings, datetime.now(UTC), progress)
    return settings
