"""A child process that should always run: started again if it ends, ended with its parent."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 30.0
# A child that ran for so long was well: after its end the pauses begin anew.
WELL_SECONDS = 60.0
STOP_SECONDS_MAX = 10.0
_LOOK_SECONDS = 0.2
# No setting of ours, and so without its prefix: the process whose children end with it.
_PARENT = "MEMBER_INTELLIGENCE_PARENT"

# Told in the child before it becomes the command: end when the parent does, however that ends.
_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None, use_errno=True).prctl(1, 15, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
os.execv(sys.argv[2], sys.argv[2:])
"""

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")


class Supervisor:
    """Keeps one command running beside this process.

    Parameters
    ----------
    command : the program by its path, and what it is told
    environment : of the child
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Return the process it runs as now; None: between two of them."""
        child = self._child
        return None if child is None else child.pid

    def start(self) -> None:
        """Start the command, in a thread that looks after it."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._look_after, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the command: asked first, then made to."""
        self._stopped.set()
        with self._lock:
            child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS_MAX)

    def _look_after(self) -> None:
        # Linux ends a child with the thread that made it, and so all are made in this one.
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            began = time.monotonic()
            with self._lock:
                if self._stopped.is_set():
                    return
                self._child = self._begin()
            while self._child.poll() is None:
                self._stopped.wait(_LOOK_SECONDS)
                if self._stopped.is_set():
                    return
            if time.monotonic() - began >= WELL_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            logger.warning("%s ended; it is started again in %.0f s", self._name(), pause)
            self._child = None
            self._stopped.wait(pause)
            pause = min(PAUSE_SECONDS_MAX, 2 * pause)

    def _begin(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        first = [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid())]
        return subprocess.Popen(
            [*first, *self._command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            # A Ctrl-C is for the parent, which then ends the child.
            process_group=0,
        )

    def _name(self) -> str:
        return " ".join(word for word in self._command[1:5] if word != "-m")


def tell_children() -> None:
    """Let processes that this one starts know whose children they are; see `end_with_parent`."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_parent(within_seconds: float = STOP_SECONDS_MAX) -> None:
    """End this process soon after the parent that told it so, however that ended.

    A worker of BentoML's outlives a parent that was killed, and keeps the port.

    Parameters
    ----------
    within_seconds : it is asked to end first, as by SIGTERM, and made to after so long
    """
    parent = os.environ.get(_PARENT)
    if parent is None:
        return

    def look() -> None:
        while os.getppid() == int(parent):
            time.sleep(_LOOK_SECONDS)
        logger.warning("the parent is gone; this process ends too")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(within_seconds)
        os._exit(1)

    threading.Thread(target=look, name="parent", daemon=True).start()
