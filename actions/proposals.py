"""Proposals as files: what a campaign would do to every member, written before anything is done."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actions import decisions
from actions.decisions import CONTACTED, Decision
from programme.files import sha256_of, sync_file, sync_folder

ROWS_AT_ONCE = 10_000
_SHAPE = pa.schema(
    [
        ("member_id", pa.string()), ("arm", pa.string()), ("planned", pa.string()),
        ("offer", pa.string()), ("propensity", pa.float64()), ("detail", pa.string()),
        ("known", pa.list_(pa.float64())), ("value", pa.float64()),
        ("products", pa.list_(pa.string())),
    ]
)  # fmt: skip


def path_of(home: Path, campaign_id: str, digest: str) -> Path:
    """Return where the proposal of a campaign lies, by its SHA-256."""
    return home / "campaigns" / f"{campaign_id}_{digest[:16]}.parquet"


def write(decided: Iterable[Decision], home: Path, campaign_id: str) -> tuple[int, str]:
    """Write a proposal's file; return how many it contacts, and its SHA-256."""
    folder = home / "campaigns"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{campaign_id}.{os.getpid()}.unfinished"
    contacted, rows = 0, list[dict[str, Any]]()
    with pq.ParquetWriter(unfinished, _SHAPE, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, _SHAPE))
            rows.clear()

        for decision in decided:
            contacted += decision.arm in CONTACTED
            rows.append(
                {
                    "member_id": decision.member_id, "arm": decision.arm,
                    "planned": decision.planned, "offer": decision.offer,
                    "propensity": decision.propensity, "detail": decision.detail(),
                    "known": decision.known, "value": decision.value,
                    "products": decision.products,
                }
            )  # fmt: skip
            if len(rows) == ROWS_AT_ONCE:
                flush()
        flush()
    sync_file(unfinished)
    digest = sha256_of(unfinished)
    unfinished.replace(path_of(home, campaign_id, digest))
    sync_folder(folder)
    return contacted, digest


def read(path: Path, campaign_id: str) -> Iterator[Decision]:
    """Yield what a proposal would do, member by member."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield Decision(
                    campaign_id, row["member_id"], row["arm"], row["planned"], row["offer"],
                    row["propensity"], decisions.considered(row["detail"]), tuple(row["known"]),
                    row["value"], tuple(row["products"]),
                )  # fmt: skip
