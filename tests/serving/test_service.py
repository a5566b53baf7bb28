"""The service as users start it: BentoML itself, mostly in a process of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from programme.errors import InputRefused
from programme.settings import Settings
from serving import service
from serving.service import run
from tests.little_programme import LittleProgramme
from tests.serving.calling import HERE

REPOSITORY = Path(__file__).parents[2]
SERVICE = "serving.service:MemberIntelligence"
START_SECONDS = 60.0
BENTO: Any = service.MemberIntelligence  # a class to mypy, which decorators do not change


@pytest.fixture(scope="module")
def whole(trained: LittleProgramme) -> Iterator[TestClient]:
    """Return a client of BentoML's whole application; metrics off, they register once a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_HOME", str(trained.settings.home))
        patch.setitem(BENTO.config, "metrics", {"enabled": False})
        patch.setattr(service, "settle", lambda: None)
        with TestClient(BENTO.to_asgi(), HERE) as client:
            wait_for(lambda: client.get("/readyz").status_code == 200)
            yield client


def wait_for(condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    own = {"PERENNIAL_HOME": str(home), "BENTOML_HOME": str(home / "bentoml")}
    return {**os.environ, **own, "PYTHONPATH": str(REPOSITORY)}


@contextlib.contextmanager
def started(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the service the way `perennial serve` does."""
    start = (
        "from pathlib import Path; from programme.settings import Settings; "
        "from serving.service import run; "
        f"run(Settings.load(Path({str(home)!r})), port={port})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start],
        cwd=home,
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def get(url: str) -> httpx2.Response | None:
    try:
        return httpx2.get(url, timeout=5)
    except httpx2.TransportError:
        return None


def test_bentomls_application_answers_scores(whole: TestClient) -> None:
    answer = whole.post("/v1/scores", json={"member_ids": ["m001", "nobody"]})

    assert answer.status_code == 200
    assert [score["known"] for score in answer.json()["scores"]] == [True, False]


def test_readiness_names_what_is_in_service(whole: TestClient) -> None:
    ready = whole.get("/readyz").json()

    assert ready["ready"] is True
    assert "churn_28d/1" in ready["answering_from"]


@pytest.mark.parametrize("path", ["/", "/docs.json", "/schema.json", "/static_content/index.css"])
def test_no_stock_page_with_scripts_from_elsewhere_is_served(whole: TestClient, path: str) -> None:
    page = whole.get(path)

    assert page.status_code == 404
    assert page.headers["content-type"] == "application/problem+json"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "googletagmanager" not in page.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.com"])
def test_an_open_bind_is_refused_before_anything_starts(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"no keys yet\. It did not start"):
        run(Settings(home=tmp_path), host=host)


def test_a_taken_port_is_refused_by_number(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(InputRefused, match=f"Port {port} .* perennial serve --port"):
            run(Settings(home=tmp_path), port=port)


def test_bentoml_serve_refuses_an_open_bind_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE]

    refused = subprocess.run(
        [*command, "--host", "0.0.0.0", "--port", str(free_port())],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )

    assert refused.returncode != 0
    assert "would listen on 0.0.0.0" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_service_without_champions_says_why_and_is_ready_once_they_come(
    trained: LittleProgramme, tmp_path: Path
) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    url = f"http://127.0.0.1:{port}"

    with started(home, port) as process:
        wait_for(lambda: (live := get(f"{url}/livez")) is not None and live.status_code == 200)
        waiting = get(f"{url}/readyz")
        shutil.copytree(trained.settings.home, home, dirs_exist_ok=True)
        wait_for(lambda: (ready := get(f"{url}/readyz")) is not None and ready.status_code == 200)
        answer = httpx2.post(f"{url}/v1/scores", json={"member_ids": ["m001"]}, timeout=10)
        metrics = get(f"{url}/metrics")
        process.send_signal(signal.SIGTERM)
        code = process.wait(START_SECONDS)

    assert waiting is not None
    assert waiting.status_code == 503
    assert waiting.headers["content-type"] == "application/problem+json"
    assert answer.status_code == 200
    assert answer.json()["scores"][0]["churn"]["model_name"] == "churn_28d"
    assert metrics is not None
    assert metrics.status_code == 200
    assert code == 0


def test_an_interrupt_ends_the_service_cleanly(tmp_path: Path) -> None:
    port = free_port()

    with started(tmp_path, port) as process:
        wait_for(lambda: get(f"http://127.0.0.1:{port}/livez") is not None)
        process.send_signal(signal.SIGINT)

        assert process.wait(START_SECONDS) == 0
    assert get(f"http://127.0.0.1:{port}/livez") is None
