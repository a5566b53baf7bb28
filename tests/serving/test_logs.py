"""The log: one line a request, JSON, and nothing in it that was sent."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.testclient import TestClient

from serving import logs
from serving.access.gatekeeper import Gatekeeper
from serving.api.problems import HANDLERS
from serving.live import Live
from serving.logs import JsonFormatter, Lines
from tests.serving.calling import HERE, NEAR, shell_of

CANARY = "canary-4711"
SCOPE = {"x-scope": "scores:read"}
logger = logging.getLogger("tests.told")


class Asked(BaseModel):
    member: str


def api() -> FastAPI:
    api = FastAPI(openapi_url=None)
    for kind, handler in HANDLERS.items():
        api.add_exception_handler(kind, handler)

    @api.post("/v1/told", openapi_extra=SCOPE)
    def told(asked: Asked) -> str:
        logs.note(members=3, version="churn_28d/4", outcome="fallback")
        return asked.member

    @api.get("/v1/members/{member_id}/fault", openapi_extra=SCOPE)
    def fault(member_id: str) -> None:
        try:
            dict[str, str]()[member_id]
        except KeyError as error:
            raise RuntimeError(f"of {member_id}") from error

    @api.get("/v1/members/{member_id}", openapi_extra=SCOPE)
    async def one(member_id: str) -> str:
        logger.warning("a line of somebody else's")
        return member_id

    return api


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Return everything that goes to the log, other loggers' lines too."""
    lines: list[str] = []
    handler = logs._Handler(lines.append)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    yield lines
    root.removeHandler(handler)


@pytest.fixture
def client(written: list[str]) -> Iterator[TestClient]:
    shell = shell_of(api(), Live(), write=written.append)
    with TestClient(shell, HERE, raise_server_exceptions=False, client=NEAR) as client:
        yield client


def test_a_request_is_one_line_of_words_of_ours(client: TestClient, written: list[str]) -> None:
    answer = client.post("/v1/told?debug=1", json={"member": "ann"})

    (line,) = [json.loads(line) for line in written]
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO", "method": "POST", "route": "/v1/told", "status": 200,
        "request_id": answer.headers["x-request-id"], "members": 3, "version": "churn_28d/4",
        "outcome": "fallback",
    }  # fmt: skip


def test_nothing_that_was_sent_reaches_the_log(client: TestClient, written: list[str]) -> None:
    client.get(f"/v1/members/{CANARY}?q={CANARY}")
    client.get(f"/v1/members/{CANARY}/fault")
    client.get(f"/v1/{CANARY}")
    client.post("/v1/told", json={"member": CANARY})
    client.post("/v1/told", json={CANARY: CANARY})
    client.post("/v1/told", content=CANARY, headers={"Content-Type": "application/json"})
    client.post("/v1/told", content=CANARY, headers={"Content-Type": CANARY})
    client.get("/v1/members/1", headers={"X-Request-Id": f'"{CANARY}"', "User-Agent": CANARY})
    client.request(CANARY, "/v1/told")

    assert len(written) >= 10
    for line in written:
        assert CANARY not in line
        assert isinstance(json.loads(line), dict)


def test_a_fault_is_placed_in_the_code_but_not_quoted(
    client: TestClient, written: list[str]
) -> None:
    answer = client.get(f"/v1/members/{CANARY}/fault")

    (fault,) = [line for line in map(json.loads, written) if "fault" in line]
    assert fault["level"] == "ERROR"
    assert fault["request_id"] == answer.headers["x-request-id"]
    assert {"RuntimeError", "KeyError"} <= set(fault["fault"])
    assert any("test_logs.py" in place for place in fault["fault"])


def test_a_line_beside_a_request_names_it(client: TestClient, written: list[str]) -> None:
    answer = client.get("/v1/members/1")

    (line,) = [line for line in map(json.loads, written) if line.get("logger") == "tests.told"]
    assert line["request_id"] == answer.headers["x-request-id"]


def test_whose_key_it_was_is_told(written: list[str]) -> None:
    shell = shell_of(api(), Live(), Gatekeeper(require_keys=True), write=written.append)
    TestClient(shell, HERE, client=NEAR).get("/v1/members/1")

    (line,) = map(json.loads, written)
    assert (line["status"], line["outcome"]) == (401, "key_needed")


def test_a_probe_that_goes_well_is_not_told(client: TestClient, written: list[str]) -> None:
    assert client.get("/metrics").status_code == 200
    assert written == []
    assert client.get("/readyz").status_code == 503
    assert len(written) == 1


def test_a_note_outside_a_request_is_nobodys() -> None:
    logs.note(members=1)


@given(st.binary(max_size=80))
def test_a_request_always_has_an_id_that_fits_a_header_and_a_line(sent: bytes) -> None:
    told = logs.begin(sent)

    line = json.loads(logs.line_of(told, "GET", "/v1/offers", 200, 0.001))
    assert line["request_id"] == told.request_id
    assert told.request_id.isascii()
    assert 8 <= len(told.request_id) <= 64


def test_other_faults_are_told_whole() -> None:
    record: dict[str, Any] = {}
    try:
        raise ValueError("a file of ours")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
        made = logging.LogRecord("x", logging.ERROR, __file__, 1, "it %s", ("broke",), info)
        logs._present.set(None)
        record = json.loads(JsonFormatter().format(made))

    assert record["message"] == "it broke"
    assert "ValueError: a file of ours" in record["fault"]


def test_lines_are_written_in_order_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    lines = Lines(descriptor)
    for number in range(5_000):
        lines.write(f"{number}\n")
    lines.close()
    os.close(descriptor)

    assert path.read_text().split() == [str(number) for number in range(5_000)]


def test_a_reader_who_takes_nothing_stops_nobody() -> None:
    read, write = os.pipe()  # holds 64 KB, and nobody reads
    lines = Lines(write)
    for _ in range(Lines.WAITING_MAX + 5_000):
        lines.write("x" * 100 + "\n")

    assert len(lines._waiting) <= Lines.WAITING_MAX
    os.close(read)  # the writer's thread is let go
    lines.close()
    os.close(write)
