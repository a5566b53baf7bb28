"""MLflow's store: where runs and registered models are kept, opened one way by everybody."""

import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from programme.errors import NotReady
from programme.settings import Settings

LOCK_WAIT_SECONDS = 60.0
# Several homes may keep their runs in one store: whose a run is.
HOME_TAG = "home"
# On a run nobody ended: its process is gone, so the next training says so in its place.
ENDED_TAG, KILLED = "ended", "killed: the process was gone when the next training began"

_ready_stores: set[str] = set()


def connect(settings: Settings) -> MlflowClient:
    """Open the home's MLflow store, creating it once however many processes come first.

    Several processes that touch a new store together each run its migrations and break it, at
    times beyond repair; so the first touch of this process happens under a lock. MLflow looks
    some things up by its global address however it is called, so that is set as well.
    """
    uri = settings.tracking_uri
    mlflow.set_tracking_uri(uri)
    if uri not in _ready_stores:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        with locked(settings):
            MlflowClient(uri, uri).search_experiments(max_results=1)
        _ready_stores.add(uri)
    return MlflowClient(uri, uri)


def experiment(settings: Settings, name: str) -> str:
    """Return the id of an experiment whose files lie in the home, making it if need be."""
    client = connect(settings)
    with locked(settings):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = str(settings.artifacts_dir / name)
        return str(client.create_experiment(name, artifact_location=place))


def git_sha(repository: Path) -> str:
    """Return the commit checked out, with "-dirty" if files differ; "unknown" outside git."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(repository), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the home's registry lock, waiting a while for whoever has it.

    Raises
    ------
    NotReady : if it is still held after the wait.
    """
    path = settings.home / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    with path.open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise NotReady(
                        f"Another process has held the registry (lock {path}) for "
                        f"{LOCK_WAIT_SECONDS:g} seconds. Nothing was changed. Wait for it to end, "
                        "then try again."
                    ) from error
                time.sleep(0.05)
        yield


@contextmanager
def one_training(settings: Settings) -> Iterator[None]:
    """Hold the home's training lock, or refuse at once; runs of killed trainings become failed.

    The kernel lets go of the lock when a process dies, however it dies, so whoever holds it knows
    that no run still open belongs to a living training.

    Raises
    ------
    NotReady : if another training holds it.
    """
    path = settings.home / "training.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise NotReady(
                f"Another training of {settings.home} is under way ({lock.read().strip()}; lock "
                f"{path}). Nothing was trained. Wait for it to end, then try again."
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        _bury_killed(settings)
        yield


def _bury_killed(settings: Settings) -> None:
    client = connect(settings)
    everywhere = [str(found.experiment_id) for found in client.search_experiments()]
    for run in client.search_runs(everywhere, "attributes.status = 'RUNNING'"):
        if run.data.tags.get(HOME_TAG) != str(settings.home):
            continue
        client.set_tag(run.info.run_id, ENDED_TAG, KILLED)
        client.set_terminated(run.info.run_id, "FAILED")
