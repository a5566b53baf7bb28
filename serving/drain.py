"""The end of a service: it says that it ends, finishes what it has begun, and lets go of its port.

BentoML's parent process holds the socket on which its worker listens. A worker that only stops
looking at it leaves new callers waiting for an answer nobody will give: here the socket itself
stops listening, so that they are refused at once and ask another.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

_LOOK_SECONDS = 0.02

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")


class Drain:
    """Stands between a signal to end and the server that obeys it."""

    def __init__(self) -> None:
        self.begun = False

    def take_over(self, notice_seconds: float) -> bool:
        """Take the server's signals, in its own process; False where there is no such server.

        Parameters
        ----------
        notice_seconds : how long the service goes on, saying that it is not ready, before it
            takes no one in any more: long enough for a balancer to have looked
        """
        self.begun = False
        server = _server()
        if server is None:
            return False
        loop = asyncio.get_running_loop()

        def obey(number: int, frame: FrameType | None) -> None:
            if self.begun and number == signal.SIGINT:
                server.handle_exit(number, frame)  # asked twice from a keyboard: at once
            elif not self.begun:
                self.begun = True
                loop.call_soon_threadsafe(self._begin, server, number, notice_seconds)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, obey)
        return True

    def _begin(self, server: uvicorn.Server, number: int, notice_seconds: float) -> None:
        logger.info("ending: not ready any more, %.1f s until nobody is let in", notice_seconds)
        loop = asyncio.get_running_loop()
        held = [
            socket.socket(fileno=os.dup(one.fileno()))
            for listening in server.servers for one in listening.sockets
        ]  # fmt: skip

        def stop() -> None:
            server.handle_exit(number, None)
            release()

        def release() -> None:
            if any(one.is_serving() for one in server.servers):
                loop.call_later(_LOOK_SECONDS, release)
                return
            for one in held:
                _stop_listening(one)

        loop.call_later(notice_seconds, stop)


def _server() -> uvicorn.Server | None:
    if threading.current_thread() is not threading.main_thread():
        return None
    handler: Callable[..., object] | int | None = signal.getsignal(signal.SIGTERM)
    server = getattr(handler, "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None


def _stop_listening(held: socket.socket) -> None:
    """End listening for every process that holds the socket; who comes now is refused."""
    with held:
        try:
            held.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            logger.warning("the socket could not be ended: %s", error)
