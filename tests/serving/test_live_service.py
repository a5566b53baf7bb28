"""Model life as callers see it: answers while champions change, starts without any, imports."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from programme.settings import Settings
from serving.api.answers import PROBABILITY_DECIMALS
from serving.live import Live
from serving.points import PointsDesk
from tests.serving import small_home
from tests.serving.calling import client_of
from tests.serving.small_home import NAME, SmallHome, bundle, expected, members, rule
from tests.serving.test_live import answers_from, wait_for

REPOSITORY = Path(__file__).parents[2]
ASKED = [0, 7, 33]


@pytest.fixture
def served(mlflow_template: Path, tmp_path: Path) -> SmallHome:
    (tmp_path / "served").mkdir()
    return small_home.served(mlflow_template, tmp_path / "served")


@pytest.fixture
def client(served: SmallHome) -> Iterator[tuple[TestClient, Live]]:
    live, desk = Live(), PointsDesk(served.settings)
    quick = served.settings.model_copy(update={"poll_seconds": 0.05})
    with client_of(live, desk=desk) as client:
        # Once the routes are made, as in the service: FastAPI silences a warning while it makes
        # them, and a thread that loads a model meanwhile undoes that.
        live.start(quick, on_loaded=lambda: None)
        wait_for(lambda: client.get("/readyz").status_code == 200)
        yield client, live
    live.stop()
    desk.close()


def ask_until(client: TestClient, ended: threading.Event) -> list[tuple[int, int, list[float]]]:
    """Ask about three members again and again; return status, version and scores of each."""
    body = {"member_ids": [f"m{number:03d}" for number in ASKED], "parts": ["churn"]}
    answers = []
    while not ended.is_set():
        answer = client.post("/v1/scores", json=body)
        said = [one["churn"] for one in answer.json()["scores"]] if answer.is_success else []
        versions = {one["model_version"] for one in said}
        assert len(versions) <= 1
        version = versions.pop() if versions else 0
        answers.append((answer.status_code, version, [one["churn_probability"] for one in said]))
    return answers


def test_six_flips_and_a_broken_champion_give_no_error_and_no_mixed_answer(
    client: tuple[TestClient, Live], served: SmallHome
) -> None:
    http, live = client
    shifts = {1: 0.0}
    for number in range(2, 8):
        shifts[served.registered(bundle(rule(0.1 * number)))] = 0.1 * number
    broken = served.registered(bundle(rule(2.0)))
    (served.files(broken) / "model" / "model.json").unlink()
    rows = members()[ASKED]
    ended = threading.Event()

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask_until, http, ended) for _ in range(3)]
        for version in list(shifts)[1:]:
            served.point(version)
            wait_for(partial(answers_from, live, version))
        served.point(broken)
        wait_for(lambda: "champion" in live.trouble)
        looks = live.counts.looks
        wait_for(lambda: live.counts.looks > looks + 3)
        ended.set()
        answers = [answer for one in asked for answer in one.result()]

    assert {status for status, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} == set(shifts)
    for _, version, scores in answers:
        wanted = [round(one, PROBABILITY_DECIMALS) for one in expected(shifts[version], rows)]
        assert scores == wanted
    assert live.counts.refused >= 1
    assert live.reason is None


@pytest.mark.parametrize("missing", ["home", "database"])
def test_a_start_with_nothing_there_answers_at_once_and_becomes_ready(
    mlflow_template: Path, tmp_path: Path, missing: str
) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home, threads=1, poll_seconds=0.05)
    if missing == "database":
        home.mkdir()
        small_home.served(mlflow_template, home)
        (home / "programme.db").rename(home / "away.db")
    live, desk = Live(), PointsDesk(settings)
    with client_of(live, desk=desk) as client:
        live.start(settings, on_loaded=lambda: None)
        waiting = client.get("/readyz")
        scores = client.post("/v1/scores", json={"member_ids": ["m001"]})
        wait_for(lambda: live.counts.looks > 0)
        told = client.get("/readyz").json()["detail"]

        made = SmallHome(settings)
        if missing == "home":
            home.mkdir(exist_ok=True)
            small_home.served(mlflow_template, home)
        else:
            made.publish()
        wait_for(lambda: client.get("/readyz").status_code == 200)
        ready = client.post("/v1/scores", json={"member_ids": ["m001"], "parts": ["churn"]})
    live.stop()
    desk.close()

    assert (waiting.status_code, scores.status_code) == (503, 503)
    assert "holds no programme yet" in told if missing == "home" else "store is empty" in told
    assert ready.json()["scores"][0]["churn"]["model_name"] == NAME


def test_a_service_imports_neither_mlflow_nor_torch(served: SmallHome) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from programme.settings import Settings\n"
        "from serving.api.app import create_api\n"
        "from serving.live import Live\n"
        f"live = Live(); assert live.refresh(Settings(home=Path({str(served.settings.home)!r})))\n"
        "live.stop()\n"
        "print(sorted({'mlflow', 'torch'} & sys.modules.keys()))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )

    assert ran.stdout == "[]\n", ran.stderr
