"""The outermost layer: who may call, what is let in, and one shape for every refusal.

BentoML's own timeout, overload, not-found and start pages lie outside any middleware it lets a
service add, so this wraps the whole application.
"""

import ipaddress
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.problems import PROBLEM_JSON, problem

# 500 member_ids of 64 characters, each escaped to 12 bytes at worst, and room.
BODY_BYTES_MAX = 512 * 1024
# BentoML's own routes that stay: probes and metrics. Its start page, which loads a tag manager
# from elsewhere, its docs and its static files do not.
STOCK_PATHS = frozenset({"/livez", "/healthz", "/metrics"})
READY_PATH = "/readyz"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

Readiness = Callable[[], dict[str, Any] | str]


def is_loopback(host: str) -> bool:
    """Return whether a bind address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Shell:
    """ASGI application around another.

    Parameters
    ----------
    app : the whole BentoML application
    routes : of the typed API; anything else but `STOCK_PATHS` does not exist
    readiness : what `/readyz` says: facts once ready, the reason until then
    """

    def __init__(self, app: ASGIApp, routes: list[Any], readiness: Readiness) -> None:
        self.app = app
        self.routes = routes
        self.readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        guarded = _guarded(send)
        refusal = self._answer_here(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        body = await _read(receive)
        if body is None:
            return  # the caller left
        if len(body) > BODY_BYTES_MAX:
            await problem(413)(scope, receive, guarded)
            return
        await self.app(scope, _replay(body, receive), guarded)

    def _answer_here(self, scope: Scope) -> Response | None:
        # The address the connection came in by, whatever the service was told to bind.
        server = scope.get("server")
        if server is not None and not is_loopback(server[0]):
            return problem(403)
        path = scope["path"]
        if path == READY_PATH:
            said = self.readiness()
            return problem(503, said) if isinstance(said, str) else JSONResponse(said)
        if path in STOCK_PATHS:
            return None
        if all(route.matches(scope)[0] is Match.NONE for route in self.routes):
            return problem(404)
        headers = dict(scope["headers"])
        if int(headers.get(b"content-length", b"0") or 0) > BODY_BYTES_MAX:
            return problem(413)
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if scope["method"] == "POST" and kind != b"application/json":
            return problem(415)
        return None


def _guarded(send: Send) -> Send:
    """Add the security headers, and give every refusal of the inside our shape."""
    replaced: Response | None = None

    async def guarded(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            kind = dict(headers).get(b"content-type", b"")
            status = int(message["status"])
            if status >= 400 and not kind.startswith(PROBLEM_JSON.encode()):
                replaced = problem(status)
                kept = [pair for pair in headers if pair[0] in (b"allow", b"retry-after")]
                headers = [*replaced.raw_headers, *kept]
            # The page of the API brings a policy of its own, which lets its style in.
            present = {name for name, _ in headers}
            ours = [pair for pair in _HEADERS if pair[0] not in present]
            await send({**message, "headers": [*headers, *ours]})
        elif replaced is None:
            await send(message)
        elif not message.get("more_body"):
            await send({"type": "http.response.body", "body": replaced.body})

    return guarded


async def _read(receive: Receive) -> bytes | None:
    """Collect the body, stopping once it is too large; None if the caller left."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > BODY_BYTES_MAX:
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand over the collected body, then whatever comes after it."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(messages, None) or await receive()

    return replay
