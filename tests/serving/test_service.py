"""The service as users start it: BentoML itself, mostly in a process of its own."""

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from programme.errors import InputRefused
from programme.settings import Settings
from serving import service
from serving.access.doors import Doors
from serving.online.store import NUMBERS
from serving.start import run
from tests.serving.calling import FAR, HERE, NEAR
from tests.serving.small_home import SmallHome, expected, served

REPOSITORY = Path(__file__).parents[2]
SERVICE = "serving.service:MemberIntelligence"
START_SECONDS = 150.0  # on a machine that is busy with other tests
BENTO: Any = service.MemberIntelligence  # a class to mypy, which decorators do not change


@pytest.fixture(scope="module")
def small(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallHome:
    """Return a home whose champion is a rule and whose members are in the store; read-only."""
    return served(mlflow_template, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def whole(small: SmallHome) -> Iterator[TestClient]:
    """Return a client of BentoML's whole application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_HOME", str(small.settings.home))
        patch.setattr(service, "settle", lambda: None)
        with TestClient(BENTO.to_asgi(), HERE, client=NEAR) as client:
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


def environment(home: Path, **more: str) -> dict[str, str]:
    own = {"PERENNIAL_HOME": str(home), "BENTOML_HOME": str(home / "bentoml")}
    return {**os.environ, **own, "PYTHONPATH": str(REPOSITORY), "PERENNIAL_NO_WORKER": "1", **more}


@dataclass(frozen=True)
class Started:
    """A service in processes of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        ready = get(f"{self.url}/readyz")
        return ready is not None and ready.status_code == 200

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        return [one for one, told in self.children() if "_bentoml_impl.worker.service" in told]

    def refreshers(self) -> list[int]:
        """Return the processes that refresh the store."""
        return [one for one, told in self.children() if told[-3:] == ["-m", "perennial", "worker"]]

    def children(self) -> list[tuple[int, list[str]]]:
        """Return every child with what it was told."""
        found = []
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in map(int, children.read_text().split()):
                with contextlib.suppress(OSError):
                    told = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
                    found.append((pid, told))
        return found

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextlib.contextmanager
def started(home: Path, **more: str) -> Iterator[Started]:
    """Start the service the way `perennial serve` does."""
    port = free_port()
    start = (
        "from pathlib import Path; from programme.settings import Settings; "
        "from serving.start import run; "
        f"run(Settings.load(Path({str(home)!r})), port={port})"
    )
    log = home.parent / f"{home.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", start],
            cwd=home,
            env=environment(home, **more),
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield Started(process, port, log)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class HalfSent:
    """A request of which the last part is still to come: in flight for as long as one likes."""

    def __init__(self, port: int) -> None:
        body = b'{"member_ids":["m001"]}'
        self._rest = body[5:]
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(10)
        head = (
            f"POST /v1/scores HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body[:5])

    def status(self) -> int:
        """Send the rest, and return how it was answered."""
        with self._socket:
            self._socket.sendall(self._rest)
            return int(self._socket.recv(1024).split()[1])


def resident_pages(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


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


def test_rows_are_scored_as_their_model_scores_them(whole: TestClient) -> None:
    answer = whole.post(
        "/score", json={"columns": ["recency_days"], "rows": [[3.0], [250.0], [None]]}
    ).json()

    rows = np.full((3, len(NUMBERS)), np.nan)
    rows[:, NUMBERS.index("recency_days")] = [3.0, 250.0, np.nan]
    assert answer["churn_probability"] == pytest.approx(expected(0.0, rows).tolist(), abs=1e-12)
    assert (answer["model_name"], answer["model_version"]) == ("churn_28d", 1)


@pytest.mark.parametrize(
    "body",
    [
        {"columns": ["recency_days"], "rows": [[1.0, 2.0]]},
        {"columns": ["recency_days", "recency_days"], "rows": [[1.0, 2.0]]},
        {"columns": ["canary-4711"], "rows": [[1.0]]},
        {"columns": ["recency_days"], "rows": []},
        {"columns": ["recency_days"], "rows": [["canary-4711"]]},
        {"columns": ["recency_days"], "rows": [[1.0]] * 501},
        {"columns": ["recency_days"], "rows": [[1.0]], "canary-4711": 1},
        [],
    ],
)
def test_rows_that_do_not_fit_are_refused(whole: TestClient, body: object) -> None:
    refused = whole.post("/score", json=body)

    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert "canary-4711" not in refused.text


@pytest.mark.parametrize(
    ("columns", "rows", "said"),
    [
        (["recency_days", "nonsense"], [[1.0, 2.0]], "columns[1] is no feature column"),
        (["tenure_days", "recency_days", "tenure_days"], [[1.0] * 3], "columns[2] names the"),
        (["recency_days"], [[1.0], [2.0, 3.0]], "rows[1] has 2 values for 1 columns"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(
    whole: TestClient, columns: list[str], rows: list[list[float]], said: str
) -> None:
    refused = whole.post("/score", json={"columns": columns, "rows": rows})

    assert said in refused.json()["detail"]


def test_a_row_is_not_infinite(whole: TestClient) -> None:
    json_ = {"Content-Type": "application/json"}
    for value in ("NaN", "Infinity", "1e999"):
        body = f'{{"columns":["recency_days"],"rows":[[{value}]]}}'
        assert whole.post("/score", content=body, headers=json_).status_code == 400


def test_pickle_is_not_opened(whole: TestClient) -> None:
    class Mark:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("a pickle was opened",)

    refused = whole.post(
        "/score", content=pickle.dumps(Mark()),
        headers={"Content-Type": "application/vnd.bentoml+pickle"},
    )  # fmt: skip

    assert refused.status_code == 415


def test_every_way_in_but_probes_and_the_description_asks_for_a_key(whole: TestClient) -> None:
    far = TestClient(whole.app, "http://192.0.2.7:3000", client=FAR)
    json_ = {"Content-Type": "application/json"}

    for path in ("/livez", "/healthz", "/readyz", "/v1/openapi.json", "/v1/docs"):
        assert far.get(path).status_code == 200, path
    assert far.get("/readyz").json() == {"ready": True}
    assert far.get("/metrics").status_code == 401
    assert far.post("/score", content="{}", headers=json_).status_code == 401
    for door in Doors(service.API.routes):
        if door.scope is not None:
            path = door.path.replace("{", "").replace("}", "")
            answer = far.request(door.method, path, headers=json_)
            assert answer.status_code == 401, (door.method, door.path)


@pytest.mark.parametrize("path", ["/", "/docs.json", "/schema.json", "/static_content/index.css"])
def test_no_stock_page_with_scripts_from_elsewhere_is_served(whole: TestClient, path: str) -> None:
    page = whole.get(path)

    assert page.status_code == 404
    assert page.headers["content-type"] == "application/problem+json"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "googletagmanager" not in page.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.com"])
def test_an_open_bind_without_keys_is_refused_before_anything_starts(
    host: str, tmp_path: Path
) -> None:
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


def test_a_service_waits_for_its_champion_answers_and_ends_without_cutting_anybody(
    small: SmallHome, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    canary = "canary-4711"

    with started(home, PERENNIAL_DRAIN_NOTICE_SECONDS="1") as service_:
        url = service_.url
        wait_for(lambda: (live := get(f"{url}/livez")) is not None and live.status_code == 200)
        waiting = get(f"{url}/readyz")
        small.copied_to(home)
        wait_for(service_.is_ready)
        answer = httpx2.post(f"{url}/v1/scores?q={canary}", json={"member_ids": ["m001", canary]})
        metrics = get(f"{url}/metrics")
        (worker,) = service_.workers()
        loaded = Path(f"/proc/{worker}/maps").read_text()

        in_flight = [HalfSent(service_.port) for _ in range(50)]
        time.sleep(0.5)  # all of them are being read
        service_.process.send_signal(signal.SIGTERM)
        wait_for(lambda: (said := get(f"{url}/readyz")) is None or said.status_code == 503)
        draining = get(f"{url}/readyz")
        wait_for(lambda: get(f"{url}/livez") is None)
        refused_while_ending = service_.process.poll() is None
        statuses = [request.status() for request in in_flight]
        code = service_.process.wait(START_SECONDS)
        lines = service_.lines()

    assert waiting is not None
    assert waiting.status_code == 503
    assert waiting.headers["content-type"] == "application/problem+json"
    assert "holds no programme" in waiting.json()["detail"]
    assert [score["known"] for score in answer.json()["scores"]] == [True, False]
    assert metrics is not None
    assert 'perennial_model_info{checked="golden rows"' in metrics.text
    assert "/uvloop/loop." in loaded
    assert "/httptools/parser/" in loaded
    assert draining is not None
    assert "is ending" in draining.json()["detail"]
    assert refused_while_ending  # not left waiting for the old socket
    assert statuses == [200] * 50
    assert code == 0
    told = [line for line in lines if line.get("route") == "/v1/scores"]
    assert len(told) == 51
    assert (told[0]["members"], told[0]["version"]) == (2, "churn_28d/1")
    assert canary not in json.dumps(lines)


@pytest.mark.slow
def test_an_interrupt_ends_the_service_cleanly(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with started(home) as service_:
        wait_for(lambda: get(f"{service_.url}/livez") is not None)
        service_.process.send_signal(signal.SIGINT)

        assert service_.process.wait(START_SECONDS) == 0
    assert get(f"{service_.url}/livez") is None


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_goes_is_replaced_and_listens_again(
    small: SmallHome, tmp_path: Path, how: signal.Signals
) -> None:
    home = tmp_path / "home"
    small.copied_to(home)
    with started(home, PERENNIAL_DRAIN_NOTICE_SECONDS="0") as service_:
        wait_for(service_.is_ready)
        (before,) = service_.workers()
        os.kill(before, how)
        wait_for(lambda: service_.workers() not in ([before], []))
        wait_for(service_.is_ready)

        answer = httpx2.post(f"{service_.url}/v1/scores", json={"member_ids": ["m001"]})
        assert answer.status_code == 200


@pytest.mark.slow
def test_64_callers_for_seconds_get_200_or_503_and_leave_nothing_behind(
    small: SmallHome, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    small.copied_to(home)
    members = [f"m{number:03d}" for number in range(100)]

    def call(url: str, until: float) -> list[int]:
        found = []
        with httpx2.Client(timeout=20) as client:
            while time.monotonic() < until:
                asked = client.post(f"{url}/v1/scores", json={"member_ids": members})
                found.append(asked.status_code)
        return found

    with started(home) as service_, ThreadPoolExecutor(64) as callers:
        wait_for(service_.is_ready)
        (worker,) = service_.workers()
        call(service_.url, time.monotonic() + 3)
        before = resident_pages(worker)
        until = time.monotonic() + 10
        calls = [callers.submit(call, service_.url, until) for _ in range(64)]
        answers = [answer for one in calls for answer in one.result()]
        wait_for(service_.is_ready)
        after = resident_pages(worker)

    assert set(answers) <= {200, 503}
    assert 200 in answers
    assert after < 1.2 * before


@pytest.mark.slow
def test_the_refresh_worker_runs_beside_the_service_and_ends_with_it(
    small: SmallHome, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    small.copied_to(home)

    with started(home, PERENNIAL_NO_WORKER="0") as service_:
        wait_for(lambda: len(service_.refreshers()) == 1)
        (first,) = service_.refreshers()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: service_.refreshers() not in ([first], []))
        (second,), (answering,) = service_.refreshers(), service_.workers()
        service_.process.kill()  # no chance to say goodbye
        wait_for(lambda: not runs(second))
        # BentoML's own worker would live on, and hold the port.
        wait_for(lambda: not runs(answering))
