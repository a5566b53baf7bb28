"""Admission: how much goes on at once, who waits, and who is asked to come back later.

A place is freed only when the work in it has ended, whatever became of its answer: work that
outlasts its answer must not let more and more of its kind begin.
"""

import asyncio
import time
from collections import deque
from math import ceil

RETRY_SECONDS_MAX = 30
# Over how many ends the rate of a lane is measured, and how old they may be.
_ENDS_KEPT, _END_AGE_SECONDS_MAX = 64, 10.0


class Lane:
    """One kind of work: so many at once, a short line behind them, and the rest turned away.

    For the event loop's thread alone.

    Parameters
    ----------
    at_once : how many places there are
    line : how many may wait for one
    patience_seconds : how long each of them waits before she is turned away
    """

    def __init__(self, name: str, *, at_once: int, line: int, patience_seconds: float) -> None:
        self.name = name
        self.at_once = at_once
        self.in_work = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._line_max = line
        self._patience_seconds = patience_seconds
        self._ends: deque[float] = deque(maxlen=_ENDS_KEPT)

    @property
    def in_line(self) -> int:
        """Return how many wait."""
        return sum(not place.done() for place in self._line)

    async def enter(self) -> bool:
        """Take a place, or wait for one; False: turned away. Whoever entered must `leave`."""
        if self.in_work < self.at_once:
            self.in_work += 1
            return True
        if len(self._line) >= self._line_max and self.in_line >= self._line_max:
            return False
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await place
        except BaseException as stopped:
            if place.done() and not place.cancelled():
                self._pass_on()  # it was given to her at the moment she stopped waiting
            place.cancel()
            if isinstance(stopped, TimeoutError):
                return False
            raise
        return True

    def leave(self) -> None:
        """Give a place back: whoever waits longest has it."""
        self._ends.append(time.monotonic())
        self._pass_on()

    def retry_after(self) -> int:
        """Return after how many whole seconds those ahead should be done, at the rate of late."""
        ahead = self.in_work + self.in_line
        now = time.monotonic()
        ends = [end for end in self._ends if now - end <= _END_AGE_SECONDS_MAX]
        if not ends or not ahead:
            return 1 if not ahead else RETRY_SECONDS_MAX
        per_second = max(len(ends) - 1, 1) / max(now - ends[0], 1e-3)
        return min(RETRY_SECONDS_MAX, max(1, ceil(ahead / per_second)))

    def _pass_on(self) -> None:
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_work -= 1


class Room:
    """Memory for bodies that are being read: together they never hold more than this."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0

    def take(self, more: int) -> bool:
        """Take room for so many bytes more; False: there is none."""
        if self.held + more > self.bytes_max:
            return False
        self.held += more
        return True

    def give_back(self, taken: int) -> None:
        """Give room back."""
        self.held -= taken
