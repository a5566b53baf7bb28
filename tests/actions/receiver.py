"""A real receiver of webhooks, over HTTP on this machine."""

import json
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.webhooks import KEY, MOMENT, SIGNATURE, signature

SECRET = "a key that both sides know"
# How long an ending server may take to notice: a hundred tests end one each.
POLL_SECONDS = 0.01


class Receiver:
    """A real HTTP server that remembers what it did; a key that comes twice is done once."""

    def __init__(self) -> None:
        self.done: dict[str, dict[str, Any]] = {}
        self.calls = 0
        self.answers: list[int] = []
        self.after: Callable[[], None] = lambda: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                moment = int(self.headers[MOMENT])
                signed = f"sha256={signature(SECRET.encode(), moment, body)}"
                outer.calls += 1
                status = outer.answers.pop(0) if outer.answers else 200
                if self.headers[SIGNATURE] != signed:
                    status = 401
                if status == 200:
                    outer.done[self.headers[KEY]] = json.loads(body)
                outer.after()
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        serve = partial(self.server.serve_forever, poll_interval=POLL_SECONDS)
        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/messages"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
