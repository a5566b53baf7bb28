"""The log: one JSON line per request, and every other logger's lines in the same shape.

No body, no query string, no path with an id in it and no member's id is ever written: a route is
named by its template, and of a fault met while answering only its kind and its place in the code.
Lines are handed to a thread, so that a reader who is slow to take them stops no request.
"""

import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import count
from traceback import walk_tb
from types import TracebackType

from bentoml.exceptions import InvalidArgument
from pydantic import ValidationError

from serving import metrics

Write = Callable[[str], object]

# A caller's own id for a request is kept if it can be nothing but an id.
_SANE = re.compile(rb"[0-9A-Za-z_-]{8,64}")
_OWN = f"{os.urandom(6).hex()}-"
_numbers = count(1)


class Told:
    """What a request is told apart by in the log; routes add to it by `note`.

    Parameters
    ----------
    key_id : whose key it came with; None: nobody's
    members : how many it was about
    version : of the model that answered
    outcome : a word of ours, where the status does not say it all
    refusal : a sentence of ours for the caller, of a route whose own answer is in another shape;
        it is not logged
    """

    __slots__ = ("key_id", "members", "outcome", "refusal", "request_id", "version")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.key_id: str | None = None
        self.members: int | None = None
        self.version: str | None = None
        self.outcome: str | None = None
        self.refusal: str | None = None


_present: ContextVar[Told | None] = ContextVar("request", default=None)


def begin(sent: bytes | None) -> Told:
    """Begin a request.

    Parameters
    ----------
    sent : the caller's X-Request-Id
    """
    if sent is not None and _SANE.fullmatch(sent):
        told = Told(sent.decode())
    else:
        told = Told(f"{_OWN}{next(_numbers):08x}")
    _present.set(told)
    return told


def note(
    *, members: int | None = None, version: str | None = None, outcome: str | None = None
) -> None:
    """Add to the line of the request that is being answered; elsewhere it does nothing.

    Parameters
    ----------
    members : how many members it is about
    version : of the model that answers, such as "churn_28d/3"
    outcome : a word of ours, never of the caller's
    """
    told = _present.get()
    if told is None:
        return
    if members is not None:
        told.members = members
    if version is not None:
        told.version = version
    if outcome is not None:
        told.outcome = outcome


def refuse(why: str) -> None:
    """Say to the caller of the present request why it is refused."""
    told = _present.get()
    if told is not None:
        told.refusal = why


def line_of(told: Told, method: str, route: str, status: int, seconds: float) -> str:
    """Return the line of a request; everything in it is a word or a number of ours."""
    level = "ERROR" if status >= 500 and status not in (503, 504) else "INFO"
    line = (
        f'{{"time":"{_instant(time.time())}","level":"{level}","method":"{method}",'
        f'"route":"{route}","status":{status},"ms":{seconds * 1000:.2f},'
        f'"request_id":"{told.request_id}"'
    )
    if told.key_id is not None:
        line += f',"key_id":"{told.key_id}"'
    if told.members is not None:
        line += f',"members":{told.members}'
    if told.version is not None:
        line += f',"version":"{told.version}"'
    if told.outcome is not None:
        line += f',"outcome":"{told.outcome}"'
    return line + "}\n"


class Lines:
    """Writes lines in a thread of its own, a few times a second, many at once.

    What waits is bounded: where nobody takes the lines, the newest are dropped and counted. A
    process that is killed loses those of the last moment.

    Parameters
    ----------
    descriptor : of the file they go to
    """

    WAITING_MAX = 20_000
    EVERY_SECONDS = 0.05

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: deque[str] = deque()
        self._wake, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Hand over a line with its end; any thread, and it returns at once."""
        if len(self._waiting) >= self.WAITING_MAX:
            metrics.line_lost()
            return
        self._waiting.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what waits, and end."""
        self._closed.set()
        self._wake.set()
        self._thread.join(2.0)

    def _keep_writing(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            self._flush()
            self._closed.wait(self.EVERY_SECONDS)
        self._flush()

    def _flush(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        left = memoryview("".join(lines).encode("utf-8", "backslashreplace"))
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:  # nobody reads any more: answering matters more than telling
            metrics.line_lost(len(lines))


class JsonFormatter(logging.Formatter):
    """A record of any logger as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = _present.get()
        line: dict[str, object] = {
            "time": _instant(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if told is not None:
            line["request_id"] = told.request_id
        if record.exc_info and record.exc_info[1] is not None:
            if told is None:
                line["fault"] = self.formatException(record.exc_info)
            else:  # what a fault says may repeat what was sent
                line["message"] = "a fault while answering a request"
                line["fault"] = place_of(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def place_of(error: BaseException) -> list[str]:
    """Return the kind of an error and the lines of code it passed, without what it says."""
    found: list[str] = []
    each: BaseException | None = error
    while each is not None and len(found) < 100:
        found.append(type(each).__qualname__)
        found += [f"{file}:{line} {name}" for file, line, name in _passed(each.__traceback__)]
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return found


def begin_logging(write: Write) -> None:
    """Send every logger's lines through `write`, as JSON; those of uvicorn per request go."""
    handler = _Handler(write)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name, level in (("bentoml", logging.INFO), ("uvicorn.error", logging.WARNING),
                        ("circus", logging.WARNING)):  # fmt: skip
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(level)
        logger.propagate = True
    # Without a handler uvicorn does not even word its lines.
    logging.getLogger("uvicorn.access").propagate = False
    refusals = logging.getLogger("bentoml._internal.server.http_app")
    refusals.filters[:] = [_is_ours]
    logging.captureWarnings(True)


def to_standard_output() -> Lines:
    """Return the lines of this process's standard output."""
    sys.stdout.flush()
    return Lines(sys.stdout.fileno())


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell faults of ours from requests BentoML refused, which have a line already."""
    fault = record.exc_info[1] if record.exc_info else None
    return not isinstance(fault, InvalidArgument | ValidationError)


class _Handler(logging.Handler):
    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _passed(trace: TracebackType | None) -> list[tuple[str, int, str]]:
    return [
        (frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in walk_tb(trace)
    ]


_second: tuple[int, str] = (0, "")


def _instant(moment: float) -> str:
    """Return a moment as ISO 8601 in UTC; its second is worded once."""
    global _second  # a pair, replaced whole: any thread may
    whole = int(moment)
    known, text = _second
    if known != whole:
        text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _second = (whole, text)
    return f"{text}.{int((moment - whole) * 1000):03d}Z"
