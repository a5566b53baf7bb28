"""What MLflow remembers of a job: config, data, every figure of models and rivals, plots."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from programme.errors import NotReady
from programme.settings import Settings
from training import figures, registry, tracking
from training.bundle import ModelFacts
from training.config import TrainConfig
from training.forecasts import Forecasts
from training.leaderboard import Leaderboard, Yardstick, headline
from training.standings import Entry, Standing

BOARD_FILE = "leaderboard.json"
REASON_ROWS_MAX = 1_000
_PLAIN = str.maketrans({"@": "_at_", "%": "pct", " ": "_"})


@dataclass(frozen=True)
class Record:
    """One open MLflow run."""

    client: MlflowClient
    run_id: str

    def board(self, board: Leaderboard, facts: ModelFacts, lake_version: int) -> None:
        """Log the data window, the features, and the figures of every candidate."""
        for key, value in {
            "target": board.target,
            "horizon_days": board.horizon_days,
            "validation_as_ofs": ", ".join(map(str, board.plan.validation)),
            "test_as_ofs": ", ".join(map(str, board.plan.test)),
            "data_window": f"{board.plan.begins}..{board.plan.serve}",
            "lake_version": lake_version,
            "feature_set": facts.feature_set,
            "columns": len(facts.columns),
            "served": board.served,
            "grade": board.grade,
        }.items():
            self.client.log_param(self.run_id, key, value)
        for standing in board.standings:
            for entry in standing.entries:
                self._entry(standing, entry)
        skill = board.skill
        for key, figure in {
            "skill": skill.mean,
            "skill_low": skill.low,
            "skill_high": skill.high,
        }.items():
            if np.isfinite(figure):
                self.client.log_metric(self.run_id, key, figure)
        if board.deciles is not None:
            self.client.log_text(self.run_id, board.deciles.to_csv(index=False), "deciles.csv")

    def _entry(self, standing: Standing, entry: Entry) -> None:
        """Log a candidate's figures, and how sure we are of the primary one."""
        said = dict(entry.metrics)
        bounds = {"": entry.interval, " minus best rule": entry.difference}
        for label, interval in bounds.items():
            if interval is not None:
                said[f"{standing.primary}{label} low"] = interval.low
                said[f"{standing.primary}{label} high"] = interval.high
        for metric, figure in said.items():
            if np.isfinite(figure):
                key = f"{standing.population}/{entry.name}/{metric.translate(_PLAIN)}"
                self.client.log_metric(self.run_id, key, figure)

    def plots(self, yardstick: Yardstick, forecasts: Forecasts, board: Leaderboard) -> None:
        """Log every figure with its interval, gains, deciles, and what a campaign would earn."""
        self.client.log_figure(self.run_id, figures.intervals(board), "intervals.png")
        if board.campaign:
            self.client.log_figure(self.run_id, figures.campaign(board), "campaign.png")
        if board.deciles is None:
            return
        tested = headline(forecasts.at(board.plan.test))
        names = [entry.name for entry in board.standings[0].entries]
        self.client.log_figure(self.run_id, figures.gains(tested, names), "gains.png")
        self.client.log_figure(self.run_id, figures.deciles(board, yardstick), "deciles.png")

    def reasons(self, model: Any, rows: pd.DataFrame) -> None:
        """Log which columns move the log-odds most: mean absolute Shapley value over members."""
        shown = rows.iloc[:REASON_ROWS_MAX]
        parts = np.asarray(model.contributions(shown), dtype=np.float64)[:, :-1]
        strength = pd.Series(np.abs(parts).mean(axis=0), index=list(model.columns))
        self.client.log_figure(self.run_id, figures.bars(strength.nlargest(15)), "reasons.png")

    def kept(self, board: dict[str, Any]) -> None:
        """Log the leaderboard as the command line shows it."""
        self.client.log_dict(self.run_id, board, BOARD_FILE)


@contextmanager
def run(
    settings: Settings, name: str, config: TrainConfig, trained_at: datetime
) -> Iterator[Record]:
    """Open a run in the target's experiment; mark it failed if the job fails."""
    client = tracking.connect(settings)
    started = int(trained_at.timestamp() * 1000)
    opened = client.create_run(
        tracking.experiment(settings, name),
        start_time=started,
        run_name=f"{name} {trained_at:%F %T}",
    )
    record = Record(client, str(opened.info.run_id))
    try:
        client.log_dict(record.run_id, config.model_dump(mode="json"), "config.json")
        yield record
    except BaseException:
        client.set_terminated(record.run_id, "FAILED")
        raise
    client.set_terminated(record.run_id, "FINISHED")


def last_leaderboards(settings: Settings, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the leaderboard of the newest version of each registered model that has one.

    Raises
    ------
    NotReady : if none of them was ever trained.
    """
    client = tracking.connect(settings)
    boards = []
    for name in names:
        versions = client.search_model_versions(f"name = '{name}'")
        newest_first = sorted(versions, key=lambda version: -int(version.version))
        # A job that was killed while it registered left a version and no leaderboard.
        kept = (_kept_board(settings, client, str(version.run_id)) for version in newest_first)
        board = next((found for found in kept if found is not None), None)
        if board is not None:
            boards.append(board | {"champion": registry.champion_version(settings, name)})
    if not boards:
        raise NotReady(
            f"Nothing was trained yet in {settings.home}. There is no leaderboard to show. "
            f"Train first: perennial train --home {settings.home}"
        )
    return boards


def _kept_board(settings: Settings, client: MlflowClient, run_id: str) -> dict[str, Any] | None:
    if not any(file.path == BOARD_FILE for file in client.list_artifacts(run_id)):
        return None
    with tempfile.TemporaryDirectory() as place:
        path = download_artifacts(
            run_id=run_id,
            artifact_path=BOARD_FILE,
            dst_path=place,
            tracking_uri=settings.tracking_uri,
        )
        board: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
        return board
