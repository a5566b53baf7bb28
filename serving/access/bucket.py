"""A token bucket: so many requests a second over time, and a few at once."""

_NANO = 1_000_000_000


class Bucket:
    """What one key may still ask.

    Counted in whole billionths of a request on a clock of whole nanoseconds, so that rounding
    never lets one more through. One thread at a time.

    Parameters
    ----------
    per_second : requests that come in again each second
    burst : requests it holds when full, as it is at first
    """

    def __init__(self, per_second: int, burst: int, monotonic_ns: int) -> None:
        self.per_second = per_second
        self._full = burst * _NANO
        self._level = self._full
        self._at = monotonic_ns

    def take(self, monotonic_ns: int) -> int:
        """Let one request through: 0; or else the nanoseconds after which one would be."""
        if monotonic_ns > self._at:
            level = self._level + (monotonic_ns - self._at) * self.per_second
            self._level = min(self._full, level)
            self._at = monotonic_ns
        if self._level >= _NANO:
            self._level -= _NANO
            return 0
        return -((self._level - _NANO) // self.per_second)
