"""The servers that are compared, each a process of its own, and what they use."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from experiments.processes import tree, used_by
from training.lookup import RegisteredModel

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """One that is up.

    Parameters
    ----------
    pid : of the process that was started; its children count too
    """

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return what it has used so far, children included."""
        return sum(used_by(pid)[0] for pid in tree(self.pid))

    def rss_mb(self) -> float:
        """Return the memory it holds, children included, in millions of bytes."""
        return sum(used_by(pid)[1] for pid in tree(self.pid)) / 1e6


def write_model(champion: RegisteredModel, folder: Path) -> None:
    """Write the trees of a churn champion, and its calibration, as the rival reads them.

    Raises
    ------
    ValueError : if it is no mean of boosters of the same columns, which is what is compared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = champion.bundle.model
    parts = list(getattr(model, "models", {"only": model}).values())
    if any(not hasattr(one, "boosters_") or one.columns != model.columns for one in parts):
        raise ValueError(f"{champion.name}/{champion.version} is not made of trees alone")
    if len({len(one.boosters_) for one in parts}) > 1:
        raise ValueError("the parts of the mean have different weights")
    for number, booster in enumerate(one for part in parts for one in part.boosters_):
        (folder / f"{number:02d}.txt").write_text(booster.model_to_string())
    line = champion.bundle.calibration
    assert line is not None
    (folder / "calibration.json").write_text(json.dumps(line.to_dict()))


@contextmanager
def rival(model: Path) -> Iterator[Server]:
    """Start the bare service."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "experiments.bench_serving.rival:app", "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    with _started("bare", command, port, {"RIVAL_MODEL": str(model)}) as server:
        yield server


@contextmanager
def ours(home: Path, log: Path) -> Iterator[Server]:
    """Start `perennial serve`, without its refresh worker: nothing comes in."""
    port = free_port()
    command = [sys.executable, "-m", "perennial", "serve", "--home", str(home), "--port", str(port)]
    with _started("perennial", command, port, {"PERENNIAL_NO_WORKER": "true"}, log) as server:
        yield server


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _started(
    name: str, command: list[str], port: int, variables: dict[str, str], log: Path | None = None
) -> Iterator[Server]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    out = (log or Path(os.devnull)).open("wb")
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=out, stderr=out, start_new_session=True
    )
    try:
        _wait(process, port, name)
        yield Server(name, port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        out.close()


def _wait(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode} before it was ready")
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{name} was not ready within {START_SECONDS:g} seconds")
