"""A made-up grocer whose members have habits: enough to learn from, small enough for seconds."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping as FileMapping
from programme.settings import Settings
from training.config import TrainConfig
from training.train import train

FIRST_DAY = date(2023, 1, 2)
N_DAYS = 65 * 7
END = FIRST_DAY + timedelta(days=N_DAYS)
N_MEMBERS, N_PRODUCTS = 300, 80
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
PROGRAMME = {"name": "grocer", "timezone": "Europe/Berlin", "currency": "EUR"}
ALL_COLUMNS = {
    "member": "member",
    "occurred_at": "at",
    "order": "receipt",
    "line": "line",
    "product": "product",
    "amount": "amount",
}
PLAIN_COLUMNS = {"member": "member", "occurred_at": "at", "amount": "amount"}
# Every part of a job, none of it long.
TINY: dict[str, Any] = {
    "draws": 100,
    "churn": {
        "n_trees": 40,
        "n_seeds": 1,
        "split": {"tests": 2, "validations": 1, "step_days": 28, "train_max": 4},
    },
    "value": {
        "n_weeks": 8,
        "lstm_rows_max": 300,
        "lstm_seeds": 3,
        "split": {"tests": 1, "validations": 1, "step_days": 91, "train_max": 1},
    },
    "next_order": {
        "n_trees": 20,
        "split": {"tests": 1, "validations": 1, "step_days": 28, "train_max": 2},
    },
    "recommend": {
        "n_items": 60,
        "draws": 3,
        "members_max": 100,
        "split": {"tests": 1, "validations": 1, "step_days": 28, "train_max": 1},
    },
}


def tiny_config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(TINY | changes)


def purchases(seed: int = 11, n_members: int = N_MEMBERS, n_days: int = N_DAYS) -> pd.DataFrame:
    """Receipt lines: members of several rhythms, some of whom leave, each with her own staples."""
    rng = np.random.default_rng(seed)
    frames = []
    for member in range(n_members):
        gap = rng.choice([4.0, 9.0, 20.0, 35.0])
        leaves = rng.geometric(1 / 900) + 30
        visits = np.cumsum(np.maximum(1.0, rng.gamma(2.0, gap / 2, size=n_days)))
        days = (rng.integers(0, 60) + visits).astype(int)
        days = days[(days < n_days) & (days < leaves)]
        if len(days) == 0:
            continue
        lines = rng.integers(1, 6, size=len(days))
        staples = rng.choice(N_PRODUCTS, 14, replace=False)
        bought = np.where(
            rng.random(lines.sum()) < 0.7,
            staples[(14 * rng.random(lines.sum()) ** 2).astype(int)],
            (N_PRODUCTS * rng.random(lines.sum()) ** 2).astype(int),
        )
        frames.append(
            pd.DataFrame(
                {
                    "member": f"m{member:03d}",
                    "day": np.repeat(days, lines),
                    "hour": np.repeat(rng.integers(8, 21, size=len(days)), lines),
                    "receipt": np.repeat([f"{member}-{day}" for day in days], lines),
                    "line": np.concatenate([np.arange(n) for n in lines]),
                    "product": [f"p{product:02d}" for product in bought],
                    "amount": np.round(rng.gamma(2.0, 3.0, size=lines.sum()) + 0.5, 2),
                }
            )
        )
    rows = pd.concat(frames, ignore_index=True)
    midnight = pd.Timestamp(FIRST_DAY) + pd.to_timedelta(rows.pop("day"), unit="D")
    rows["at"] = (midnight + pd.to_timedelta(rows.pop("hour"), unit="h")).dt.strftime(
        "%Y-%m-%d %H:%M:%S"
    )
    return rows


def mapping(columns: Mapping[str, str], **programme: Any) -> dict[str, Any]:
    return {
        "source": "till",
        "programme": PROGRAMME | programme,
        "purchases": dict(columns),
    }


def as_toml(content: Mapping[str, Any], prefix: str = "") -> str:
    """Write nested sections with dotted keys, as a user might keep them."""
    lines = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines.append(as_toml(value, f"{prefix}{key}."))
        else:
            lines.append(f"{prefix}{key} = {json.dumps(value)}\n")
    return "".join(lines)


def take(
    settings: Settings,
    rows: pd.DataFrame,
    columns: Mapping[str, str] = ALL_COLUMNS,
    **programme: Any,
) -> Settings:
    """Ingest receipt lines into a home."""
    settings.home.mkdir(parents=True, exist_ok=True)
    path: Path = settings.home / "till.csv"
    rows.to_csv(path, index=False)
    source = Export([path], FileMapping.model_validate(mapping(columns, **programme)))
    ingest(source, settings, NOW)
    return settings


@dataclass(frozen=True)
class Trained:
    """A home with champions, and what the job said of each target."""

    settings: Settings
    boards: dict[str, dict[str, Any]]


def open_home(
    mlflow_template: Path,
    home: Path,
    receipts: pd.DataFrame,
    columns: Mapping[str, str] = ALL_COLUMNS,
    **programme: Any,
) -> Settings:
    """Return a home with receipts and an empty registry."""
    shutil.copy(mlflow_template, home / "mlflow.db")
    return take(Settings(home=home, threads=1), receipts, columns, **programme)


def trained(settings: Settings, *targets: str) -> Trained:
    """Train some targets, or all."""
    boards = train(settings, tiny_config(), targets or None, NOW)
    return Trained(settings, {board["target"]: board for board in boards})
