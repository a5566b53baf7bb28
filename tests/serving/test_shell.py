"""The shell: what is let in, how long it may take, and one shape for whatever is refused."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Body, FastAPI, Response
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient
from starlette.types import Message

from serving.access.gatekeeper import Gatekeeper
from serving.admission import Lane
from serving.api.problems import HANDLERS
from serving.drain import Drain
from serving.live import Live
from serving.shell import BODIES_BYTES_MAX, HEADERS, NOT_READY, Shell
from serving.ways import BODY_BYTES_MAX
from tests.serving.calling import FAR, HERE, NEAR, shell_of

CANARY = "canary-4711"
SCOPE = {"x-scope": "scores:read"}
SHORT = 0.2


class Kitchen:
    """An API whose routes take as long as a test says; `busy` counts those at work.

    Who was told before whom is counted, not timed: a busy machine is no fault of the shell.
    """

    def __init__(self) -> None:
        self.busy = self.most = self.done = 0
        self.on_work: Callable[[], object] = lambda: None
        self.go = threading.Event()
        self._lock = threading.Lock()
        self.api = api = FastAPI(openapi_url=None)
        for kind, handler in HANDLERS.items():
            api.add_exception_handler(kind, handler)
        short = {**SCOPE, "x-seconds-max": SHORT}

        @api.post("/v1/slow", openapi_extra=short)
        def slow() -> dict[str, bool]:
            self._work(lambda: self.go.wait(20))
            return {"done": True}

        @api.post("/v1/nap", openapi_extra=SCOPE)
        def nap() -> dict[str, bool]:
            self._work(lambda: time.sleep(0.01))
            return {"done": True}

        @api.post("/v1/quick", openapi_extra=SCOPE)
        async def quick(body: Annotated[Any, Body()] = None) -> dict[str, bool]:  # noqa: ARG001
            return {"done": True}

        @api.post("/v1/big", openapi_extra={**SCOPE, "x-body-bytes-max": 2 * BODY_BYTES_MAX})
        async def big(body: Annotated[Any, Body()]) -> int:
            return len(str(body))

        @api.get("/v1/members/{member_id}/fault", openapi_extra=SCOPE)
        async def fault(member_id: str) -> None:
            raise RuntimeError(member_id)

        @api.get("/v1/file", openapi_extra=short)
        async def file() -> StreamingResponse:
            async def parts() -> AsyncIterator[bytes]:
                for _ in range(4):
                    yield b"part,"
                    await asyncio.sleep(SHORT / 2)

            return StreamingResponse(parts(), media_type="text/csv")

        @api.get("/v1/teapot", openapi_extra=SCOPE)
        async def teapot() -> Response:
            return Response(CANARY, 418)

    def _work(self, wait: Callable[[], object]) -> None:
        with self._lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
        self.on_work()
        try:
            wait()
        finally:
            with self._lock:
                self.busy -= 1
                self.done += 1


@pytest.fixture
def kitchen() -> Iterator[Kitchen]:
    kitchen = Kitchen()
    yield kitchen
    kitchen.go.set()


def lanes(at_once: int, line: int) -> dict[Any, Lane]:
    return {
        name: Lane(name, at_once=at_once, line=line, patience_seconds=1.0)
        for name in ("loop", "thread")
    }


def client(kitchen: Kitchen, address: str = HERE, **more: Any) -> TestClient:
    shell = shell_of(kitchen.api, Live(), **more)
    return TestClient(shell, address, raise_server_exceptions=False, client=NEAR)


def post(client: TestClient, path: str = "/v1/quick", **more: Any) -> Any:
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return client.post(path, headers=headers, **{"content": b"{}", **more})


def assert_is_a_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["detail"]
    assert CANARY not in response.text
    return problem


async def asked(shell: Shell, path: str, times: int) -> list[tuple[int, dict[bytes, bytes]]]:
    """Ask at once, so many times; return statuses and headers."""

    async def one() -> tuple[int, dict[bytes, bytes]]:
        status, headers, finished = 0, {}, asyncio.Event()
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                await finished.wait()
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], dict(message["headers"])
            elif not message.get("more_body"):
                finished.set()

        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
            "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"),
                        (b"content-length", b"2")],
            "server": ("127.0.0.1", 3000), "client": NEAR, "state": {},
        }  # fmt: skip
        work = asyncio.create_task(shell(scope, receive, send))
        left = asyncio.create_task(finished.wait())
        await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        pending.append(work)
        return status, headers

    pending: list[Awaitable[None]] = []
    return await asyncio.gather(*(one() for _ in range(times)))


def test_slow_work_is_given_up_bounded_and_recovers(kitchen: Kitchen) -> None:
    shell = shell_of(kitchen.api, Live(), lanes=lanes(at_once=3, line=2))

    async def story() -> None:
        answers = await asked(shell, "/v1/slow", 20)
        statuses = [status for status, _ in answers]
        assert set(statuses) == {503, 504}
        # Those in the line, too, are told within their time.
        assert statuses.count(504) == 5
        assert kitchen.done == 0  # told before any work was done, not once it was
        assert kitchen.most == 3
        assert shell.lanes["thread"].in_work == 3  # given up, and still at work

        more = await asked(shell, "/v1/nap", 4)
        assert {status for status, _ in more} <= {503}

        kitchen.go.set()
        while shell.lanes["thread"].in_work:
            await asyncio.sleep(0.01)
        assert [status for status, _ in await asked(shell, "/v1/nap", 3)] == [200] * 3

    asyncio.run(story())


def test_64_callers_at_once_get_200_or_503_behind_a_bounded_line(kitchen: Kitchen) -> None:
    shell = shell_of(kitchen.api, Live(), lanes=lanes(at_once=4, line=8))
    lane, lines = shell.lanes["thread"], []
    kitchen.on_work = lambda: lines.append(lane.in_line)

    async def story() -> None:
        answers = [one for _ in range(5) for one in await asked(shell, "/v1/nap", 64)]
        statuses = [status for status, _ in answers]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 5 * 12
        assert kitchen.most <= 4
        assert 0 < max(lines) <= 8  # nobody is ever behind more than these and those at work
        for status, headers in answers:
            if status == 503:
                assert 1 <= int(headers[b"retry-after"]) <= 30
        assert lane.in_work == lane.in_line == 0

    asyncio.run(story())


def test_probes_are_answered_while_everything_is_full(kitchen: Kitchen) -> None:
    shell = shell_of(kitchen.api, Live(), lanes=lanes(at_once=1, line=0))

    async def story() -> None:
        await asked(shell, "/v1/slow", 2)
        transport = httpx2.ASGITransport(app=shell, client=NEAR)
        async with httpx2.AsyncClient(transport=transport, base_url=HERE) as near:
            assert (await near.get("/readyz")).status_code == 503  # no champion in this test
            assert (await near.get("/metrics")).status_code == 200
            assert kitchen.done == 0

    asyncio.run(story())


def test_a_file_that_has_begun_may_take_longer(kitchen: Kitchen) -> None:
    with client(kitchen) as near:
        answer = near.get("/v1/file")

    assert (answer.status_code, answer.text) == (200, "part," * 4)


def test_a_body_that_does_not_arrive_is_given_up(kitchen: Kitchen) -> None:
    shell = shell_of(kitchen.api, Live())
    found: list[Message] = []

    async def story() -> None:
        over = asyncio.Event()

        async def receive() -> Message:
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            found.append(message)
            if message["type"] == "http.response.body":
                over.set()

        await shell(
            {"type": "http", "method": "POST", "path": "/v1/slow", "server": ("127.0.0.1", 1),
             "client": NEAR, "headers": [(b"content-type", b"application/json"),
                                         (b"content-length", b"9")]},
            receive, send,
        )  # fmt: skip

    asyncio.run(story())

    assert found[0]["status"] == 408
    assert (b"connection", b"close") in found[0]["headers"]
    assert kitchen.most == 0


@pytest.mark.parametrize("announced", [True, False])
def test_fifty_megabytes_are_refused_without_being_kept(kitchen: Kitchen, announced: bool) -> None:
    def dribble() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * (1 << 20)

    content = b" " * (50 << 20) if announced else dribble()
    with client(kitchen) as near:
        answer = post(near, content=content)

    assert_is_a_problem(answer, 413)


def test_a_route_may_take_larger_bodies(kitchen: Kitchen) -> None:
    text = b'"' + b"x" * (BODY_BYTES_MAX + 10) + b'"'

    with client(kitchen) as near:
        assert post(near, "/v1/big", content=text).json() == len(text) - 2
        assert_is_a_problem(post(near, "/v1/quick", content=text), 413)


def test_bodies_together_are_bounded(kitchen: Kitchen) -> None:
    shell = shell_of(kitchen.api, Live())
    assert shell._room.take(BODIES_BYTES_MAX - 1)

    near = TestClient(shell, HERE, client=NEAR)
    problem = assert_is_a_problem(post(near), 503)

    assert problem["code"] == "busy"
    assert shell._room.held == BODIES_BYTES_MAX - 1  # what was taken for it is given back


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
def test_an_encoded_body_is_refused_unopened(kitchen: Kitchen, encoding: str) -> None:
    with client(kitchen) as near:
        answer = post(near, headers={"Content-Encoding": encoding}, content=b"\x1f\x8b" * 500)

    assert_is_a_problem(answer, 415)


def test_identity_is_no_encoding(kitchen: Kitchen) -> None:
    with client(kitchen) as near:
        assert post(near, headers={"Content-Encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    "kind",
    ["application/vnd.bentoml+pickle", "application/octet-stream", "text/plain",
     "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)  # fmt: skip
def test_another_content_type_is_refused(kitchen: Kitchen, kind: str) -> None:
    with client(kitchen) as near:
        assert_is_a_problem(post(near, headers={"Content-Type": kind}), 415)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 50_000, b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'{"a": "\xff"}',
     b'{"a": "\\u0000"}', b"\x00", b"nul\x00l", b'{"a": 1e999}', b"[1e99999999]",
     b"9" * 100_000, b'"\\ud800"', b"", b"\r\n"],
)  # fmt: skip
def test_no_body_however_odd_is_a_fault_of_ours(kitchen: Kitchen, content: bytes) -> None:
    with client(kitchen) as near:
        answer = post(near, content=content)

    assert answer.status_code in (200, 400, 422)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/quick/", "/v1//quick", "/v1/%00", "/v1/\u00e9\u4e2d", "/v1/../quick",
             "/metrics/", "/static_content/x.css", "/v1/members//fault"],
)  # fmt: skip
def test_a_path_there_is_none_of_is_a_problem(kitchen: Kitchen, path: str) -> None:
    with client(kitchen) as near:
        assert_is_a_problem(near.get(path), 404)


def test_a_refusal_of_the_inside_gets_our_shape(kitchen: Kitchen) -> None:
    with client(kitchen) as near:
        assert_is_a_problem(near.get("/v1/teapot"), 418)


def test_a_fault_is_a_500_that_says_nothing_and_is_counted_once(kitchen: Kitchen) -> None:
    lines: list[str] = []
    with client(kitchen, write=lines.append) as near:
        assert_is_a_problem(near.get(f"/v1/members/{CANARY}/fault"), 500)

    assert len(lines) == 1
    assert '"status":500' in lines[0]
    assert CANARY not in lines[0]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/quick"), ("DELETE", "/v1/teapot")])
def test_a_wrong_method_is_told_the_right_one(kitchen: Kitchen, method: str, path: str) -> None:
    with client(kitchen) as near:
        answer = near.request(method, path)

    assert_is_a_problem(answer, 405)
    assert answer.headers["allow"]


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/livez"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_probes_are_only_read(kitchen: Kitchen, method: str, path: str) -> None:
    with client(kitchen) as near:
        assert_is_a_problem(near.request(method, path), 405)


def test_whoever_comes_from_elsewhere_needs_a_key_but_for_probes(kitchen: Kitchen) -> None:
    open_shell = shell_of(kitchen.api, Live())
    for address, caller in (("http://192.0.2.7:3000", FAR), ("http://192.0.2.7:3000", NEAR),
                            (HERE, FAR)):  # fmt: skip
        far = TestClient(open_shell, address, client=caller)
        assert assert_is_a_problem(post(far), 401)["code"] == "key_needed"
        assert assert_is_a_problem(far.get("/metrics"), 401)["code"] == "key_needed"
        # What is wrong inside is for those inside.
        assert assert_is_a_problem(far.get("/readyz"), 503)["detail"] == NOT_READY


def test_no_key_no_entry_where_keys_are_required(kitchen: Kitchen) -> None:
    with client(kitchen, gatekeeper=Gatekeeper(require_keys=True)) as near:
        problem = assert_is_a_problem(post(near), 401)

    assert problem["code"] == "key_needed"


def test_who_is_not_let_in_is_not_read(kitchen: Kitchen) -> None:
    def never() -> Iterator[bytes]:
        yield b"{"
        raise AssertionError("the body was read")

    with client(kitchen, gatekeeper=Gatekeeper(require_keys=True)) as near:
        answer = near.post("/v1/quick", content=b"{}", headers={"Authorization": "Bearer x"})

    assert_is_a_problem(answer, 503)
    assert kitchen.done == 0


def test_every_answer_has_the_same_headers_and_an_id(kitchen: Kitchen) -> None:
    with client(kitchen) as near:
        for answer in (post(near), near.get("/"), near.get("/readyz"), near.get("/v1/teapot")):
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            assert answer.headers["x-request-id"]


def test_a_sane_request_id_is_kept_and_no_other(kitchen: Kitchen) -> None:
    with client(kitchen) as near:
        kept = post(near, headers={"X-Request-Id": "9f8e7d6c-1234"})
        replaced = [
            post(near, headers={"X-Request-Id": odd}).headers["x-request-id"]
            for odd in ("short", "x" * 65, 'quo"ted-id', "with space 1", b"\xe9" * 9)
        ]

    assert kept.headers["x-request-id"] == "9f8e7d6c-1234"
    assert len(set(replaced)) == 5
    assert all(len(one) == 21 for one in replaced)


def test_a_service_that_ends_says_so_and_answers_on(kitchen: Kitchen) -> None:
    drain = Drain()
    with client(kitchen, drain=drain) as near:
        drain.begun = True
        ready, answer = near.get("/readyz"), post(near)

    assert "is ending" in assert_is_a_problem(ready, 503)["detail"]
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"
