"""Champions asked by several processes at once, each about its own part of everybody.

What costs most of a batch's time holds Python's lock, so that threads take turns. Processes do not,
and parts have nothing to do with each other.
"""

import atexit
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Self, TypeVar

from programme.errors import NotReady, PerennialError
from programme.settings import Settings
from training.champions import Champions
from training.scores import RiskBands

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Work = Callable[[Champions, Item], Answer]

LOOK_SECONDS = 1.0
MEMORY_LEAST_MB = 256
# Of a process of the crew: whose champions it asks, and they, once they are loaded.
_told: list[tuple[Settings, RiskBands, dict[str, int]]] = []
_own: list[Champions] = []


class ProcessLost(PerennialError):
    """A process ended in the middle of its part."""

    def __init__(self) -> None:
        super().__init__(
            "A process ended in the middle of its part; most often the machine had no memory left. "
            "What was finished is kept. Run the command again, with fewer at once: "
            "PERENNIAL_THREADS=1"
        )


def shared_out(settings: Settings, processes: int) -> Settings:
    """Return the settings of one of several processes: one thread, and its part of the memory."""
    memory = max(MEMORY_LEAST_MB, settings.memory_limit_mb // processes)
    return settings.model_copy(update={"threads": 1, "memory_limit_mb": memory})


class Crew:
    """Several processes that have loaded the same champions, from its first work to its end.

    Parameters
    ----------
    champions : loaded already; where there is one process, or one thing to do, they are asked here
    settings : name the home from which the processes load the same
    """

    def __init__(self, champions: Champions, settings: Settings, processes: int) -> None:
        self.processes = processes
        self._champions, self._settings = champions, settings
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is None:
            return
        # Of what failed nobody waits for the rest, which takes minutes: it is begun anew next time.
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()

    def each(self, work: Work[Item, Answer], items: Sequence[Item]) -> Iterator[tuple[int, Answer]]:
        """Do some work for each of many items; yield place and answer, as they are done.

        Parameters
        ----------
        work : a function of a module, which other processes find by its name
        items : what pickles

        Raises
        ------
        ProcessLost : if a process was killed
        NotReady : if others are champions by now than those of this crew
        """
        if self.processes == 1 or len(items) <= 1:
            for place, item in enumerate(items):
                yield place, work(self._champions, item)
            return
        self._pool = self._pool or self._begun()
        begun = {self._pool.submit(_do, work, item): place for place, item in enumerate(items)}
        try:
            for done in as_completed(begun):
                yield begun[done], done.result()
        except BrokenProcessPool as error:
            raise ProcessLost from error

    def _begun(self) -> ProcessPoolExecutor:
        own = shared_out(self._settings, self.processes)
        return ProcessPoolExecutor(
            self.processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(own, self._champions.risk_bands, self._champions.versions, os.getpid()),
        )


def _begin(
    settings: Settings, risk_bands: RiskBands, versions: dict[str, int], parent: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who began us ends us
    # What DuckDB's binding finds to say when an interpreter ends is nothing to people.
    atexit.register(os._exit, 0)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _told.append((settings, risk_bands, versions))


def _do(work: Work[Item, Answer], item: Item) -> Answer:
    if not _own:
        settings, risk_bands, versions = _told[0]
        loaded = Champions.load(settings, risk_bands)
        if loaded.versions != versions:
            raise NotReady(
                f"The champions are {loaded.versions} by now, and were {versions} when this began. "
                "Nobody is scored by two. Run the command again."
            )
        _own.append(loaded)
    return work(_own[0], item)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
