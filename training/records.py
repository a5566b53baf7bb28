"""What MLflow remembers of a job: config, data, every figure of models and rivals, plots."""

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric

from programme.errors import NotReady
from programme.settings import Settings
from training import curves, figures, registry, tracking
from training.bundle import ModelFacts
from training.card import as_markdown
from training.config import TrainConfig
from training.forecasts import Forecasts, NothingToJudge
from training.leaderboard import Leaderboard, Yardstick, headline
from training.standings import Entry, Standing

BOARD_FILE = "leaderboard.json"
DECILES_FILE, GAINS_FILE = "deciles.csv", "gains.csv"
CARD_FILE, CARD_TEXT_FILE = "model_card.json", "model_card.md"
REASON_ROWS_MAX = 1_000
TAG_LENGTH_MAX = 500
METRICS_PER_WRITE = 1_000  # MLflow takes no more
_PLAIN = str.maketrans({"@": "_at_", "%": "pct", " ": "_"})


@dataclass(frozen=True)
class Record:
    """One open MLflow run."""

    client: MlflowClient
    run_id: str
    started_ms: int

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
        skill = board.skill
        said = {"skill": skill.mean, "skill_low": skill.low, "skill_high": skill.high}
        for standing in board.standings:
            for entry in standing.entries:
                said |= _figures(standing, entry)
        self._metrics(said)
        if board.deciles is not None:
            self.client.log_text(self.run_id, board.deciles.to_csv(index=False), DECILES_FILE)

    def _metrics(self, figures: Mapping[str, float]) -> None:
        """Log what is finite, many at a time: a board has hundreds, and each write is a commit."""
        finite = [
            Metric(key, figure, self.started_ms, 0)
            for key, figure in figures.items()
            if np.isfinite(figure)
        ]
        for first in range(0, len(finite), METRICS_PER_WRITE):
            self.client.log_batch(self.run_id, finite[first : first + METRICS_PER_WRITE])

    def plots(self, yardstick: Yardstick, forecasts: Forecasts, board: Leaderboard) -> None:
        """Log every figure with its interval, gains, deciles, and what a campaign would earn."""
        self.client.log_figure(self.run_id, figures.intervals(board), "intervals.png")
        if board.campaign:
            self.client.log_figure(self.run_id, figures.campaign(board), "campaign.png")
        if board.deciles is None:
            return
        tested = headline(forecasts.at(board.plan.test))
        names = [entry.name for entry in board.standings[0].entries]
        self.client.log_text(
            self.run_id, curves.gains(tested, names).to_csv(index=False), GAINS_FILE
        )
        self.client.log_figure(self.run_id, figures.gains(tested, names), "gains.png")
        self.client.log_figure(self.run_id, figures.deciles(board, yardstick), "deciles.png")

    def reasons(self, model: Any, rows: pd.DataFrame) -> None:
        """Log which columns move the log-odds most: mean absolute Shapley value over members."""
        shown = rows.iloc[:REASON_ROWS_MAX]
        parts = np.asarray(model.contributions(shown), dtype=np.float64)[:, :-1]
        strength = pd.Series(np.abs(parts).mean(axis=0), index=list(model.columns))
        self.client.log_figure(self.run_id, figures.bars(strength.nlargest(15)), "reasons.png")

    def card(self, card: dict[str, Any]) -> None:
        """Log what a person must know before she trusts the version, as data and as a page."""
        self.client.log_dict(self.run_id, card, CARD_FILE)
        self.client.log_text(self.run_id, as_markdown(card), CARD_TEXT_FILE)

    def kept(self, board: dict[str, Any]) -> None:
        """Log the leaderboard as the command line shows it."""
        self.client.log_dict(self.run_id, board, BOARD_FILE)


def _figures(standing: Standing, entry: Entry) -> dict[str, float]:
    """Return a candidate's figures by their key, and how sure we are of the primary one."""
    said = dict(entry.metrics)
    bounds = {"": entry.interval, " minus best rule": entry.difference}
    for label, interval in bounds.items():
        if interval is not None:
            said[f"{standing.primary}{label} low"] = interval.low
            said[f"{standing.primary}{label} high"] = interval.high
    return {
        f"{standing.population}/{entry.name}/{metric.translate(_PLAIN)}": figure
        for metric, figure in said.items()
    }


@contextmanager
def run(
    settings: Settings, name: str, config: TrainConfig, trained_at: datetime
) -> Iterator[Record]:
    """Open a run in the target's experiment; mark it failed if the job fails.

    It is opened before anything is learned, so that a job that dies leaves a trace. A target with
    nothing to judge did not fail: its run is finished, and a tag says why it holds nothing.
    """
    client = tracking.connect(settings)
    started = int(trained_at.timestamp() * 1000)
    opened = client.create_run(
        tracking.experiment(settings, name),
        start_time=started,
        run_name=f"{name} {trained_at:%F %T}",
        tags={tracking.HOME_TAG: str(settings.home)},
    )
    record = Record(client, str(opened.info.run_id), started)
    try:
        client.log_dict(record.run_id, config.model_dump(mode="json"), "config.json")
        yield record
    except NothingToJudge as error:
        client.set_tag(record.run_id, tracking.ENDED_TAG, f"left out: {error}"[:TAG_LENGTH_MAX])
        client.set_terminated(record.run_id, "FINISHED")
        raise
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"[:TAG_LENGTH_MAX]
        client.set_tag(record.run_id, tracking.ENDED_TAG, said)
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
        kept = (
            _artifact(settings, client, str(version.run_id), BOARD_FILE) for version in newest_first
        )
        board = next((found for found in kept if found is not None), None)
        if board is not None:
            boards.append(board | {"champion": registry.champion_version(settings, name)})
    if not boards:
        raise NotReady(
            f"Nothing was trained yet in {settings.home}. There is no leaderboard to show. "
            f"Train first: perennial train --home {settings.home}"
        )
    return boards


def card_of(settings: Settings, name: str, version: int | None = None) -> dict[str, Any]:
    """Return the model card of a version; of the champion where none is named.

    Raises
    ------
    NotReady : if there is no such model, version or card.
    """
    client = tracking.connect(settings)
    wanted = version if version is not None else registry.champion_version(settings, name)
    found = [
        each
        for each in client.search_model_versions(f"name = '{name}'")
        if int(each.version) == wanted
    ]
    card = _artifact(settings, client, str(found[0].run_id), CARD_FILE) if found else None
    if card is None:
        said = "champion" if version is None else f"version {version}"
        raise NotReady(
            f"There is no {said} of {name} with a model card in {settings.home}. Nothing was "
            f"shown. Train first: perennial train --home {settings.home}"
        )
    return card


@dataclass(frozen=True)
class Evidence:
    """What was kept of how a champion came to be.

    Parameters
    ----------
    board, card : as they were logged
    deciles, gains : of the test days; None for recommendations, which have none
    """

    board: dict[str, Any]
    card: dict[str, Any]
    deciles: pd.DataFrame | None
    gains: pd.DataFrame | None


def evidence(settings: Settings, name: str) -> Evidence:
    """Return what the run of a registered model's champion kept.

    Raises
    ------
    NotReady : if there is no champion, or it was trained before cards were kept
    """
    card = card_of(settings, name)
    client = tracking.connect(settings)
    run_id = str(client.get_model_version(name, str(card["details"]["version"])).run_id)

    def table(file: str) -> pd.DataFrame | None:
        text = _text(settings, client, run_id, file)
        return None if text is None else pd.read_csv(io.StringIO(text))

    board = _artifact(settings, client, run_id, BOARD_FILE)
    assert board is not None, "the board is logged before the card can be asked for"
    return Evidence(board, card, table(DECILES_FILE), table(GAINS_FILE))


def _artifact(
    settings: Settings, client: MlflowClient, run_id: str, name: str
) -> dict[str, Any] | None:
    text = _text(settings, client, run_id, name)
    return None if text is None else dict(json.loads(text))


def _text(settings: Settings, client: MlflowClient, run_id: str, name: str) -> str | None:
    if not any(file.path == name for file in client.list_artifacts(run_id)):
        return None
    with tempfile.TemporaryDirectory() as place:
        path = download_artifacts(
            run_id=run_id,
            artifact_path=name,
            dst_path=place,
            tracking_uri=settings.tracking_uri,
        )
        return Path(path).read_text("utf-8")
