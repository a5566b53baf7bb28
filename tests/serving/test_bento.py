"""A Bento built from the repository answers from the home it is shown, and nothing else."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.serving.small_home import served
from tests.serving.test_service import REPOSITORY, START_SECONDS, free_port, get, wait_for

pytestmark = pytest.mark.slow


def test_a_bento_is_built_and_serves(mlflow_template: Path, tmp_path: Path) -> None:
    home = served(mlflow_template, tmp_path / "home").settings.home
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PERENNIAL_HOME": str(home),
        "PERENNIAL_NO_WORKER": "1",
    }
    bentoml = [sys.executable, "-m", "bentoml"]

    built = subprocess.run(
        [*bentoml, "build", "--output", "tag"],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=START_SECONDS,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    tag = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    (source,) = (tmp_path / "bentoml" / "bentos").glob("perennial/*/src")
    for name in ("perennial_worker.py", "programme/words/en.toml", "serving/templates/api.html"):
        assert (source / name).exists(), name

    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*bentoml, "serve", tag, "--port", str(port)],
            cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: (ready := get(f"{url}/readyz")) is not None and ready.status_code == 200)
        scored = httpx2.post(f"{url}/v1/scores", json={"member_ids": ["m001", "nobody"]})
        rows = httpx2.post(f"{url}/score", json={"columns": ["recency_days"], "rows": [[3.0]]})
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    assert [one["known"] for one in scored.json()["scores"]] == [True, False]
    assert 0 < rows.json()["churn_probability"][0] < 1
