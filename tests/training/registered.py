"""What a job registered for the made-up grocer: versions, runs, files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from programme.settings import Settings
from training.bundle import FACTS_FILE
from training.tracking import connect

NAMES = {
    "churn": "churn_28d",
    "value": "value_91d",
    "repeat": "repeat_28d",
    "explore": "explore_28d",
    "next_order": "next_order",
}
JUDGED_BY_DECILES = ("churn", "value")


def versions_of(settings: Settings, target: str) -> list[ModelVersion]:
    found = connect(settings).search_model_versions(f"name = '{NAMES[target]}'")
    return sorted(found, key=lambda version: int(version.version))


def run_of(settings: Settings, target: str) -> Run:
    return connect(settings).get_run(str(versions_of(settings, target)[0].run_id))


def artifact(settings: Settings, run: Run, name: str) -> str:
    path = download_artifacts(
        run_id=run.info.run_id, artifact_path=name, tracking_uri=settings.tracking_uri
    )
    return Path(path).read_text("utf-8")


def model_files(settings: Settings, target: str, version: int = 1) -> dict[str, str]:
    """Return name -> SHA-256 of the files a version is made of."""
    mlflow.set_tracking_uri(settings.tracking_uri)
    folder = download_artifacts(
        f"models:/{NAMES[target]}/{version}",
        tracking_uri=settings.tracking_uri,
        registry_uri=settings.tracking_uri,
    )
    (facts,) = Path(folder).rglob(FACTS_FILE)
    files: dict[str, str] = json.loads(facts.read_text("utf-8"))["files"]
    return files


def raising(error: BaseException) -> Callable[..., None]:
    """Return a stand-in for something that fails in the middle of a job."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
