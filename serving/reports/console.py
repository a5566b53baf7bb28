"""The terminal a command speaks to: its results, its progress, and how it ends."""

import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from programme.errors import PerennialError

# Where nobody watches (a file, a pipe, CI) a table is not squeezed into 80 columns.
_WIDTH = None if sys.stdout.isatty() else 132
# An id such as till:100:7 is not a smiley.
console = Console(width=_WIDTH, emoji=False)
complaints = Console(stderr=True, width=_WIDTH, emoji=False)

STOPPED = 130
# What a system says of a place where nothing can be written; anything else is a fault of ours.
_OF_A_PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip


@contextmanager
def progress(verb: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done and for how long; a line a step where there is no terminal."""
    if not complaints.is_terminal:
        yield lambda step: complaints.print(f"{verb}: {step}", markup=False, soft_wrap=True)
        return
    words = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), words, TimeElapsedColumn())
    with Progress(*columns, console=complaints, transient=True) as bar:
        task = bar.add_task(verb)
        yield lambda step: bar.update(task, description=f"{verb}: {step}")


@contextmanager
def ends_on_request() -> Iterator[None]:
    """Let a polite request to end (SIGTERM) unwind as Ctrl-C does, so that a run says it failed."""
    asked = SystemExit(128 + signal.SIGTERM)
    came = False

    def end(*_: object) -> None:
        nonlocal came
        came = True
        raise asked

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Exception as error:
        # A library that was made to end may say so with an error of its own.
        if came:
            raise asked from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def answer(command: Callable[[], object]) -> None:
    """Run a command; an error we raise on purpose, or a stop, is one clear line, no traceback."""
    with _interrupts() as interrupted:
        try:
            command()
        except (KeyboardInterrupt, SystemExit, Exception) as error:
            # A library that was interrupted may say so with an error of its own.
            stopped = interrupted and not (isinstance(error, SystemExit) and not error.code)
            if stopped or isinstance(error, KeyboardInterrupt):
                complaints.print("Stopped. What was not finished was not kept; run it again.")
                sys.exit(STOPPED)
            told = _told(error)
            if told is None:
                raise
            complaints.print(f"[bold red]{type(error).__name__}[/]: ", end="")
            complaints.print(told, markup=False, highlight=False, soft_wrap=True)
            sys.exit(error.exit_code if isinstance(error, PerennialError) else 1)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Yield a list that an interrupt from the keyboard leaves its number in."""
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.default_int_handler(number, frame)

    # Whoever was told to ignore interrupts, or has a way of their own, keeps it.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield came
        return
    signal.signal(signal.SIGINT, remember)
    try:
        with _queries_end_too():
            yield came
    finally:
        if signal.getsignal(signal.SIGINT) is remember:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _queries_end_too() -> Iterator[None]:
    """End what DuckDB is asked as soon as a signal comes, though the main thread is inside it."""

    def listen() -> None:
        while hears.recv(1):
            # Only a command that asked the engine has loaded it.
            if (engine := sys.modules.get("features.engine")) is not None:
                engine.interrupt()

    hears, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        told.close()
        listener.join()
        hears.close()


def _told(error: BaseException) -> str | None:
    """Return what a person is told of an error; None of one that is a fault of ours."""
    if isinstance(error, PerennialError):
        return str(error)
    said = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, OSError) and error.errno in _OF_A_PLACE:
        return f"{said}. The command did not end. Name a place that can be written to."
    # Only a command that asked the engine has loaded it.
    engine = sys.modules.get("duckdb")
    if engine is not None and isinstance(error, engine.IOException):
        return (
            f"{said}. The command did not end. Check that the file is there and readable, that "
            "its folder can be written to, and that the disk is not full."
        )
    return None
