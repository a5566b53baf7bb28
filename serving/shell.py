"""The outermost layer: who may call, what is let in, how long it may take, one shape of refusal.

Requests of the typed routes go straight to their application. BentoML's own layers, which count,
trace, log and time each request once more, stay around what is BentoML's.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import logs
from serving.access.gatekeeper import Gatekeeper, Refusal, is_loopback
from serving.admission import Lane, Room
from serving.api import paths
from serving.api.problems import problem
from serving.drain import Drain
from serving.exchange import HEADERS, Exchange, Timekeeper
from serving.metrics import Page, Sample
from serving.ways import BODY_BYTES_MAX, LaneName, Way, Ways

__all__ = ["BODY_BYTES_MAX", "HEADERS", "Readiness", "Shell", "is_loopback", "make_lanes"]

# Work on the event loop takes turns: more at once only waits longer, in memory.
LOOP_AT_ONCE, LOOP_LINE = 32, 64
# Threads share one interpreter: beyond a few they slow each other and the event loop down.
THREADS_AT_ONCE, THREADS_LINE = 8, 32
PATIENCE_SECONDS = 1.5
# All bodies that are being read, or wait with their request: this much and no more.
BODIES_BYTES_MAX = 64 << 20

# BentoML's own routes that stay. Its start page, which loads a tag manager from elsewhere, its
# description and its static files do not.
LIVE_PATHS = ("/livez", "/healthz")
READY_PATH, METRICS_PATH = "/readyz", "/metrics"
DRAINING = "The service is ending: it finishes what it has begun. Ask another one."
NOT_READY = "The service is not ready. Ask again in a few seconds."
TOO_MANY = "Too many requests are in work. Nothing was done. Try again after Retry-After."
ENCODED = "The body is encoded. Nothing was done. Send it without a Content-Encoding."
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")

Readiness = Callable[[], dict[str, Any] | str]


def make_lanes() -> dict[LaneName, Lane]:
    """Return the lanes of one process."""
    sizes: dict[LaneName, tuple[int, int]] = {
        "loop": (LOOP_AT_ONCE, LOOP_LINE),
        "thread": (THREADS_AT_ONCE, THREADS_LINE),
    }
    return {
        name: Lane(name, at_once=at_once, line=line, patience_seconds=PATIENCE_SECONDS)
        for name, (at_once, line) in sizes.items()
    }


class Shell:
    """ASGI application around the typed API and BentoML's own.

    Parameters
    ----------
    app : the whole BentoML application; the server's lifespan is its own
    api : the typed API
    gatekeeper : says who may come in
    readiness : what `/readyz` says: facts once ready, the reason until then
    stock : BentoML's endpoints by path, each with the scope it asks for
    page : of the metrics
    write : takes the line of each request; None: no log
    lanes : what is done at once
    drain : says when the service is ending
    """

    def __init__(
        self,
        app: ASGIApp,
        api: FastAPI,
        gatekeeper: Gatekeeper,
        readiness: Readiness,
        *,
        stock: Mapping[str, str] | None = None,
        page: Page | None = None,
        write: logs.Write | None = None,
        lanes: Mapping[LaneName, Lane] | None = None,
        drain: Drain | None = None,
    ) -> None:
        self.app = app
        self.gatekeeper = gatekeeper
        self.readiness = readiness
        self.lanes = dict(lanes or make_lanes())
        self._drain = drain or Drain()
        self._write = write
        self._room = Room(BODIES_BYTES_MAX)
        self._timekeeper = Timekeeper()
        self._page = page or Page()
        self._page.add(self._samples)
        self._one_page = CapacityLimiter(1)
        self._ways = Ways(
            api,
            [
                *(Way("GET", path, None, app, None) for path in LIVE_PATHS),
                Way("GET", READY_PATH, None, self._ready, None),
                Way("GET", METRICS_PATH, "metrics:read", self._metrics, None),
                *(Way("POST", path, scope, app, "loop") for path, scope in (stock or {}).items()),
            ],
        )

    @property
    def draining(self) -> bool:
        """Return whether the service is ending."""
        return self._drain.begun

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = scope["headers"]
        told = logs.begin(next((value for name, value in headers if name == b"x-request-id"), None))
        exchange = Exchange(scope, receive, send, told, self._write, self.draining)
        try:
            await self._answer(exchange, paths.told_apart(scope), receive)
        except Exception:
            # Ours, or one that the inside has answered already and hands on for the log.
            logger.error("a fault while answering a request", exc_info=True)
            await exchange.answer(problem(500))
        finally:
            exchange.end()

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        way = exchange.way = self._ways.find(scope["method"], scope["path"])
        if way is None:
            await exchange.answer(problem(404), "not_found")
            return
        if way.scope is not None:
            said = self.gatekeeper.admit(
                scope["headers"],
                loopback=is_here(scope),
                scope_wanted=way.scope,
                monotonic_ns=time.monotonic_ns(),
                now=datetime.now(UTC),
            )
            exchange.told.key_id = said.key_id
            if isinstance(said, Refusal):
                refusal = problem(said.status, said.detail, code=said.code, headers=said.headers)
                await exchange.answer(refusal, said.code)
                return
        if way.lane is None:
            await way.app(scope, receive, exchange.send)
            return
        length = _announced(scope["headers"])
        may_bring = way.method in _WITH_BODY
        if may_bring or length is not None:
            unfit = _unfit(scope, way, length or 0)
            if unfit is not None:
                await exchange.answer(*unfit)
                return
        exchange.begin_timer(self._timekeeper, way.seconds_max)
        if not may_bring and length is None:
            await self._admitted(exchange, way, scope, receive)
            return
        await self._with_body(exchange, way, scope, receive)

    async def _with_body(
        self, exchange: Exchange, way: Way, scope: Scope, receive: Receive
    ) -> None:
        """Collect the body, as far as there is room; then go on."""
        body, taken = bytearray(), 0
        exchange.reading = True
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return  # the caller left, or was answered already
                chunk = message.get("body", b"")
                if len(body) + len(chunk) > way.body_bytes_max:
                    await exchange.answer(problem(413), "too_large")
                    return
                if not self._room.take(len(chunk)):
                    await exchange.answer(self._come_back(way), "busy")
                    return
                taken += len(chunk)
                body += chunk
                if not message.get("more_body"):
                    break
            exchange.reading = False
            await self._admitted(exchange, way, scope, _replay(bytes(body), receive))
        finally:
            self._room.give_back(taken)

    async def _admitted(self, exchange: Exchange, way: Way, scope: Scope, receive: Receive) -> None:
        """Do the work once there is a place; the place is free when the work has ended."""
        assert way.lane is not None
        lane = self.lanes[way.lane]
        if not await lane.enter():
            await exchange.answer(self._come_back(way), "busy")
            return
        try:
            if not exchange.given_up:
                await way.app(scope, receive, exchange.send)
        finally:
            lane.leave()

    def _come_back(self, way: Way) -> Response:
        assert way.lane is not None
        wait = str(self.lanes[way.lane].retry_after())
        return problem(503, TOO_MANY, code="busy", headers={"Retry-After": wait})

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = DRAINING if self.draining else self.readiness()
        if isinstance(said, str):
            # What is wrong inside is for those inside; the rest need to know that it is.
            answer = problem(503, said if is_here(scope) or self.draining else NOT_READY)
        else:
            answer = JSONResponse(said if is_here(scope) else {"ready": True})
        await answer(scope, receive, send)

    async def _metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        text = await to_thread.run_sync(self._page.text, limiter=self._one_page)
        await Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)(scope, receive, send)

    def _samples(self) -> list[Sample]:
        lanes = self.lanes.values()
        return [
            *(Sample("perennial_in_work", lane.in_work, (lane.name,)) for lane in lanes),
            *(Sample("perennial_in_line", lane.in_line, (lane.name,)) for lane in lanes),
            Sample("perennial_body_bytes", self._room.held),
        ]


def is_here(scope: Scope) -> bool:
    """Tell whether a connection comes from this machine, to an address only it can reach."""
    server, client = scope.get("server"), scope.get("client")
    return server is not None and client is not None and _is_here(server[0]) and _is_here(client[0])


@lru_cache(maxsize=4096)
def _is_here(address: str) -> bool:
    return is_loopback(address)


def _announced(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return how long a body is said to be, 0 if it comes without saying; None: there is none."""
    length = None
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
        if name == b"transfer-encoding":
            length = 0
    return length


def _unfit(scope: Scope, way: Way, length: int) -> tuple[Response, str] | None:
    """Return the refusal of a body too large, encoded or of another type, and the word for it."""
    if length > way.body_bytes_max:
        return problem(413), "too_large"
    kind = b""
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return problem(415, ENCODED), "encoded"
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
    if way.method in _WITH_BODY and kind != b"application/json":
        return problem(415), "not_json"
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand over the collected body, then whatever comes after it."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(messages, None) or await receive()

    return replay
