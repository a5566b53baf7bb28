"""A load generator: HTTP/1.1 over plain sockets, so that it costs less than what it measures."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

SECONDS_MAX = 30.0

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Told:
    """What came back.

    Parameters
    ----------
    statuses : HTTP status -> how often; 0: no answer
    latencies : of each answer with status 200, seconds
    ends : when each of those was complete, seconds since the start
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        """Count the answers, whatever they were."""
        return sum(self.statuses.values())

    def milliseconds(self, share: float) -> float:
        """Return a quantile of the latencies."""
        return float(np.quantile(self.latencies, share)) * 1e3 if self.latencies else float("nan")


def request_of(port: int, path: str, body: bytes) -> bytes:
    """Return the bytes of a POST of JSON."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed(port: int, requests: Sequence[bytes], *, clients: int, seconds: float) -> Told:
    """Let so many clients ask one request after the other, each as soon as it is answered."""
    return asyncio.run(_closed(port, requests, clients, seconds))


def opened(port: int, requests: Sequence[bytes], *, per_second: float, seconds: float) -> Told:
    """Send at a steady rate, whether or not what came before is answered.

    A latency counts from when the request was due, so that a server which stalls cannot hide it.
    """
    return asyncio.run(_opened(port, requests, per_second, seconds))


async def _closed(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Told:
    told, start = Told(), time.perf_counter()

    async def ask(first: int) -> None:
        line: Line | None = None
        number = first
        while time.perf_counter() - start < seconds:
            line = line or await _connect(port)
            sent = time.perf_counter()
            status, keep = await _exchange(line, requests[number % len(requests)])
            _note(told, status, time.perf_counter() - sent, start)
            if not keep:
                line[1].close()
                line = None
            number += clients

    await asyncio.gather(*(ask(first) for first in range(clients)))
    told.seconds = time.perf_counter() - start
    return told


async def _opened(port: int, requests: Sequence[bytes], per_second: float, seconds: float) -> Told:
    told, waiting = Told(), set[asyncio.Task[None]]()
    idle: list[Line] = []
    start = time.perf_counter()

    async def ask(number: int, due: float) -> None:
        # A server hangs up on whoever is silent for seconds.
        while idle and idle[-1][0].at_eof():
            idle.pop()[1].close()
        line = idle.pop() if idle else await _connect(port)
        status, keep = await _exchange(line, requests[number % len(requests)])
        _note(told, status, time.perf_counter() - due, start)
        if keep:
            idle.append(line)
        else:
            line[1].close()

    for number in range(int(per_second * seconds)):
        due = start + number / per_second
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(ask(number, due))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)
    told.seconds = time.perf_counter() - start
    for line in idle:
        line[1].close()
    return told


async def _connect(port: int) -> Line:
    return await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)


async def _exchange(line: Line, request: bytes) -> tuple[int, bool]:
    """Return the status, 0 for no answer, and whether the connection is of further use."""
    reader, writer = line
    try:
        async with asyncio.timeout(SECONDS_MAX):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            at = head.index(b"content-length:") + 15
            await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
        return 0, False
    return int(head[9:12]), b"connection: close" not in head


def _note(told: Told, status: int, latency: float, start: float) -> None:
    told.statuses[status] += 1
    if status == 200:
        told.latencies.append(latency)
        told.ends.append(time.perf_counter() - start)
