"""One request and its answer: begun once, given up at most once, counted and logged once."""

import asyncio
import time
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving import logs, metrics
from serving.api.problems import PROBLEM_JSON, problem
from serving.ways import Way

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_PROBLEM = PROBLEM_JSON.encode()
# An answer that has begun may go on for longer, as a file does; not for ever.
STREAM_SECONDS_MAX = 600.0
LEFT = 499  # the caller left before the answer: nobody sees this status but the log

READING_TOO_LONG = "The request did not arrive in time. Nothing was done. Send it again."


class Timekeeper:
    """Tells exchanges that their time is over, all of them by one timer that comes round.

    A timer for each would cost more than the rest of what is done around a request.
    """

    EVERY_SECONDS = 0.05

    def __init__(self) -> None:
        self._due: dict[Exchange, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, exchange: "Exchange", seconds: float) -> None:
        """Tell it after so many seconds, and no more than a round later, unless it ends."""
        self._due[exchange] = time.monotonic() + seconds
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(self.EVERY_SECONDS, self._look)

    def end(self, exchange: "Exchange") -> None:
        """Tell it nothing any more."""
        self._due.pop(exchange, None)

    def _look(self) -> None:
        now = time.monotonic()
        for exchange in [one for one, due in self._due.items() if due <= now]:
            del self._due[exchange]
            exchange.expire()
        loop, self._loop = self._loop, None
        if self._due and loop is not None:
            self._loop = loop
            loop.call_later(self.EVERY_SECONDS, self._look)


class Exchange:
    """What becomes of one request.

    The answer of whatever lies inside passes through `send`: it gets the headers every answer
    has, and a refusal in another shape than ours is put into it. After `begin_timer`, an answer
    that has not begun in time is given here, and what comes later from inside goes nowhere; the
    work itself is not broken off, since nothing breaks off a thread.
    """

    __slots__ = (
        "_closing", "_give_up_task", "_receive", "_replaced", "_scope", "_send", "_since",
        "_status", "_streaming", "_task", "_timekeeper", "_write", "given_up", "reading", "told",
        "way",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        told: logs.Told,
        write: logs.Write | None,
        closing: bool,
    ) -> None:
        self._since = time.perf_counter()
        self._scope, self._receive, self._send = scope, receive, send
        self._write = write
        self._closing = closing
        self._status = 0
        self._replaced: Response | None = None
        self._task: asyncio.Task[Any] | None = None
        self._timekeeper: Timekeeper | None = None
        self._give_up_task: asyncio.Task[None] | None = None
        self.told = told
        self.way: Way | None = None
        self._streaming = False
        self.reading = False
        self.given_up = False

    @property
    def begun(self) -> bool:
        """Return whether an answer has begun."""
        return self._status != 0

    def begin_timer(self, timekeeper: Timekeeper, seconds: float) -> None:
        """Give the answer up unless it begins within so many seconds."""
        self._task = asyncio.current_task()
        self._timekeeper = timekeeper
        timekeeper.begin(self, seconds)

    async def send(self, message: Message) -> None:
        """Pass on what the inside answers."""
        if not self.given_up:
            await self._pass(message)

    async def answer(self, response: Response, why: str | None = None) -> None:
        """Answer from here.

        Parameters
        ----------
        why : a word of ours, if the route never saw the request
        """
        if why is not None:
            metrics.refused(why)
            self.told.outcome = why
        if not self.given_up and not self.begun:
            await response(self._scope, self._receive, self._pass)

    def end(self) -> None:
        """Count and log the request, once, and stop the timer."""
        if self._timekeeper is not None:
            self._timekeeper.end(self)
        if self.given_up:
            return
        self._tell()

    def _tell(self) -> None:
        seconds = time.perf_counter() - self._since
        way, status = self.way, self._status or LEFT
        method, route = ("OTHER", "(none)") if way is None else (way.method, way.template)
        metrics.answered(method, route, status, seconds)
        if self._write is not None and (way is None or way.lane is not None or status >= 400):
            self._write(logs.line_of(self.told, method, route, status, seconds))

    def expire(self) -> None:
        """Give the answer up; one that has begun is cut off, at its second time."""
        assert self._timekeeper is not None
        assert self._task is not None
        if not self.begun:
            self.given_up = True
            self._give_up_task = asyncio.get_running_loop().create_task(self._give_up())
        elif self._streaming:
            self._task.cancel()
        else:
            self._streaming = True
            self._timekeeper.begin(self, STREAM_SECONDS_MAX)

    async def _give_up(self) -> None:
        why, said = "out_of_time", problem(504)
        if self.reading:
            why, said = "slow_body", problem(408, READING_TOO_LONG, headers={"Connection": "close"})
        metrics.refused(why)
        self.told.outcome = why
        try:
            await said(self._scope, self._receive, self._pass)
        finally:
            self._tell()

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(self._dressed(message))
        elif self._replaced is None:
            await self._send(message)
        elif not message.get("more_body"):
            await self._send({"type": "http.response.body", "body": self._replaced.body})

    def _dressed(self, message: Message) -> Message:
        headers = list(message.get("headers", ()))
        self._status = status = int(message["status"])
        if status >= 400 and not dict(headers).get(b"content-type", b"").startswith(_PROBLEM):
            self._replaced = problem(status, self.told.refusal)
            kept = [pair for pair in headers if pair[0] in (b"allow", b"retry-after")]
            headers = [*self._replaced.raw_headers, *kept]
        # The page of the API brings a policy of its own, which lets its style in.
        present = {name for name, _ in headers}
        headers += [pair for pair in _HEADERS if pair[0] not in present]
        headers.append((b"x-request-id", self.told.request_id.encode()))
        if self._closing:
            headers.append((b"connection", b"close"))
        return {**message, "headers": headers}
