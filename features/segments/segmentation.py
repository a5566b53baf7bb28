"""The segments of one day: who stands where among all members, kept beside the snapshots."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import engine, snapshot
from features.segments import clusters, lifecycle, outliers, return_table, rfm
from features.segments.return_table import HISTORY_DAYS
from features.segments.rfm import QUINTILES, Cuts
from features.snapshot import Snapshot
from programme.errors import InputRefused, NotReady
from programme.files import sync_file, sync_folder, write_json
from programme.settings import Programme, Settings, open_programme

MEMBERS, TRANSITIONS, FACTS = "members.parquet", "transitions.parquet", "facts.json"
# Part of a segmentation's name: raised when its files or the meaning of its columns change.
FORMAT = 3
SEED = 20_240_101
# What a member can be counted by; columns of `Segmentation.members`.
KINDS = ("stage", "rfm_group", "cluster")
NOT_THERE = "(not there)"

_SHAPE = pa.schema(
    [
        ("member_id", pa.string()), ("r", pa.int8()), ("f", pa.int8()), ("m", pa.int8()),
        ("rfm", pa.string()), ("rfm_group", pa.string()), ("gap_ratio", pa.float64()),
        ("return_probability", pa.float64()), ("stage", pa.string()),
        ("stage_since", pa.date32()), ("cluster", pa.string()), ("cluster_name", pa.string()),
        ("outlier", pa.bool_()), ("outlier_measure", pa.string()), ("recency_days", pa.float64()),
        ("purchase_days_364d", pa.float64()), ("spend_cents_364d", pa.float64()),
    ]
)  # fmt: skip
_TRANSITION_SHAPE = pa.schema(
    [
        ("event_id", pa.string()), ("member_id", pa.string()), ("kind", pa.string()),
        ("occurred_on", pa.date32()), ("from_stage", pa.string()), ("to_stage", pa.string()),
        ("gap_ratio", pa.float64()), ("return_probability", pa.float64()),
        ("return_probability_before", pa.float64()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Segmentation:
    """The segments of every member at one `as_of`; its files never change."""

    path: Path
    programme: Programme

    @property
    def as_of(self) -> date:
        """Return the day whose midnight ends what was known."""
        return date.fromisoformat(self.path.name.split("_")[0])

    def members(self) -> pd.DataFrame:
        """Return one row per member, indexed and ordered by member_id.

        Returns
        -------
        DataFrame with r, f, m (1 to 5), rfm ("545"), rfm_group, gap_ratio, return_probability
        (within 91 days), stage, stage_since, cluster (an id that stays with its members),
        cluster_name (what is true of them this day), outlier, outlier_measure, and the place on
        the map: recency_days, purchase_days_364d, spend_cents_364d
        """
        return _read(self.path / MEMBERS)

    @property
    def members_file(self) -> Path:
        """Return the Parquet file that holds `members`."""
        return self.path / MEMBERS

    @property
    def members_sql(self) -> str:
        """Return a SELECT of `members`, ordered by member_id."""
        return f"select * from read_parquet({engine.text(self.members_file)}) order by member_id"

    @property
    def transitions_sql(self) -> str:
        """Return a SELECT of `transitions`, ordered by member_id."""
        file = engine.text(self.path / TRANSITIONS)
        return f"select * from read_parquet({file}) order by member_id"

    def transitions(self) -> pd.DataFrame:
        """Return one event per member whose stage differs from the earlier day's."""
        return pd.read_parquet(self.path / TRANSITIONS)

    @property
    def facts(self) -> dict[str, Any]:
        """Return how it was made: cuts, the return table, cluster profiles, what it follows."""
        facts: dict[str, Any] = json.loads((self.path / FACTS).read_text("utf-8"))
        return facts

    @property
    def follows(self) -> date | None:
        """Return the day whose stages, scores and cluster ids these carry on, if there is one."""
        name = self.facts["follows"]
        return date.fromisoformat(name.split("_")[0]) if name else None


def build(
    settings: Settings,
    as_of: date,
    progress: Callable[[str], None] = lambda _: None,
    *,
    cuts: Cuts = QUINTILES,
    seed: int = SEED,
) -> Segmentation:
    """Return the segments of `as_of`, made if they are not there.

    The latest segmentation of an earlier day is the one it follows: stages and recency scores
    have hysteresis against it, clusters keep its ids. Days are therefore made in order.

    Parameters
    ----------
    progress : told what is being done
    cuts : where RFM scores end
    seed : of the clusters

    Raises
    ------
    NotReady : nothing was ingested
    InputRefused : nobody is known to have bought before `as_of`, or it reaches beyond the data
    """
    taken = snapshot.build(settings, as_of, progress)
    earlier = before(settings, as_of, cuts=cuts, seed=seed)
    path = _folder(settings) / _name(taken, cuts, seed, earlier)
    if not (path / FACTS).exists():
        _make(path, taken, cuts, seed, earlier, progress)
    return Segmentation(path, taken.programme)


def before(
    settings: Settings, as_of: date, *, cuts: Cuts = QUINTILES, seed: int = SEED
) -> Segmentation | None:
    """Return the segmentation of the latest earlier day made in the same way, or None."""
    programme = open_programme(settings)
    asked = json.loads(json.dumps({"cuts": asdict(cuts), "seed": seed, "format": FORMAT}))
    earlier = []
    for written in _folder(settings).glob(f"[0-9]*/{FACTS}"):
        one = Segmentation(written.parent, programme)
        if one.as_of < as_of and asked.items() <= one.facts.items():
            earlier.append(one)
    return max(earlier, key=_age, default=None)


def migration(before: pd.Series, after: pd.Series) -> pd.DataFrame:
    """Count how members moved between two days.

    Parameters
    ----------
    before, after : one name per member, indexed by member_id

    Returns
    -------
    DataFrame of counts: rows are names before, columns names after; `NOT_THERE` holds who was
    not a member on the one day or the other
    """
    both = pd.DataFrame({"before": before, "after": after}).astype(object).fillna(NOT_THERE)
    return pd.crosstab(both["before"], both["after"])


def _folder(settings: Settings) -> Path:
    return settings.home / "segments"


def _age(one: Segmentation) -> tuple[date, int]:
    """Order by day, then by when the files were written: the newest lake of a day comes last."""
    return one.as_of, (one.path / FACTS).stat().st_mtime_ns


def _name(taken: Snapshot, cuts: Cuts, seed: int, earlier: Segmentation | None) -> str:
    told = (FORMAT, taken.path.name, asdict(cuts), seed, earlier.path.name if earlier else None)
    digest = hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:12]
    return f"{taken.as_of}_{taken.lake_version:06d}_{digest}"


def _make(
    path: Path,
    taken: Snapshot,
    cuts: Cuts,
    seed: int,
    earlier: Segmentation | None,
    progress: Callable[[str], None],
) -> None:
    """Write a segmentation: a folder that appears whole or not at all."""
    features = taken.features()
    if features.empty:
        raise InputRefused(
            f"Nobody is known to have bought before {taken.as_of}. No segments were made. Choose "
            "a later day, or ingest purchases that carry a member."
        )
    previous = earlier.members() if earlier is not None else None
    progress("scoring recency, frequency and value")
    scored = rfm.scores(features, cuts, previous)
    with taken.prepared() as connection:
        progress("counting who came back from which silence")
        history = return_table.history_days(connection)
        staged, moved, returns = _stages(features, taken, previous, earlier, connection)
        progress("grouping members who are alike")
        # Too young for stages is too young for clusters: of a year's habits nothing is seen yet.
        past = clusters.past_measures(connection) if history >= HISTORY_DAYS else None
    before = previous["cluster"].dropna() if previous is not None else None
    given = earlier.facts["clusters_given"] if earlier is not None else 0
    grouped, told = clusters.grouped(features, past, seed, before, given)
    parts = [scored, staged, grouped, outliers.outliers(features, seed)]
    members = pd.concat(parts, axis=1).rename_axis("member_id")
    facts = {
        "format": FORMAT,
        "as_of": taken.as_of, "snapshot": taken.path.name,
        "follows": earlier.path.name if earlier is not None else None,
        "cuts": asdict(cuts), "seed": seed, "members": len(members), "history_days": history,
        "returns": returns, **told,
    }  # fmt: skip
    _keep(path, members, moved, facts)


def _keep(path: Path, members: pd.DataFrame, moved: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Make the folder appear, all files in it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _write(members.reset_index(), _SHAPE, unfinished / MEMBERS)
    _write(_events(moved), _TRANSITION_SHAPE, unfinished / TRANSITIONS)
    write_json(unfinished / FACTS, facts)
    try:
        unfinished.rename(path)
    except OSError:
        # Another process finished the same segments first; theirs are equal, ours go.
        shutil.rmtree(unfinished)
        if not (path / FACTS).exists():
            raise
    sync_folder(path.parent)


def _stages(
    features: pd.DataFrame,
    taken: Snapshot,
    previous: pd.DataFrame | None,
    earlier: Segmentation | None,
    connection: Any,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return stages, transitions and the return table; none of them in a very young programme."""
    today = pd.Timestamp(taken.as_of)
    if previous is not None and earlier is not None:
        previous = previous.assign(as_of=pd.Timestamp(earlier.as_of))
        previous = previous[previous["stage"].notna()]
    try:
        table = return_table.tabulate(connection)
    except NotReady:
        columns = ["gap_ratio", "return_probability", "stage", "stage_since"]
        nothing = pd.DataFrame(None, index=features.index, columns=columns, dtype=object)
        nothing["gap_ratio"] = features["overdue_ratio_shrunk"]
        return nothing, lifecycle.transitions(nothing, None, today), {}
    staged = lifecycle.stages(features, table, today, previous)
    return staged, lifecycle.transitions(staged, previous, today), table.as_json()


def _events(moved: pd.DataFrame) -> pd.DataFrame:
    """Give each transition an identity that another run of the same day gives it too."""
    told = moved["member_id"].astype(str) + "|" + moved["occurred_on"].astype(str)
    ids = [hashlib.sha256(f"stage|{text}".encode()).hexdigest()[:32] for text in told]
    return moved.assign(event_id=ids, kind="stage_changed")


def _write(rows: pd.DataFrame, shape: pa.Schema, path: Path) -> None:
    columns: Mapping[str, Any] = {
        field.name: pa.Array.from_pandas(rows[field.name], type=field.type) for field in shape
    }
    pq.write_table(pa.table(columns, schema=shape), path, compression="zstd")
    sync_file(path)


def _read(path: Path) -> pd.DataFrame:
    members = pd.read_parquet(path).set_index("member_id")
    return members.assign(stage_since=pd.to_datetime(members["stage_since"]))
