"""How many requests to have under way at once: as many as the source answers no slower for."""

from __future__ import annotations

import threading

from imagenetfs.limits import DEFAULT_MAX_IN_FLIGHT

FIRST = 4
CEILING = DEFAULT_MAX_IN_FLIGHT
"""A hundred jobs that start together must not bring a file server down: where they share an index
one of them sends requests, and no more than are answered as quickly as a lone one.
"""


class AdaptiveConcurrency:
    """The number of requests that may be in flight, ``limit``, and what it follows from.

    It starts at 4 and doubles while the median latency stays below 1.5 times the latency of a lone
    request, up to the ceiling; it halves, down to 4, when the median exceeds 3 times that: the
    requests queue somewhere, and more of them would only make the queue longer. (The mean says so
    also when nothing ran for a moment, as on a virtual machine.) Any thread may call ``note``.
    """

    __slots__ = ("_alone", "_count", "_lock", "_seconds", "ceiling", "limit")

    def __init__(self, alone: float, ceiling: int = CEILING) -> None:
        """``alone``: seconds that one request takes when no other is under way."""
        self.ceiling = ceiling
        self.limit = min(FIRST, ceiling)
        self._alone = alone
        self._count = 0
        self._seconds: list[float] = []
        self._lock = threading.Lock()

    def note(self, seconds: float, count: int = 1) -> bool:
        """Take in how long ``count`` requests took, each. Whether the limit went up by it.

        The limit is looked at anew after eight requests for each that may be in flight.
        """
        with self._lock:
            self._count += count
            self._seconds.append(seconds)
            if self._count < 8 * self.limit:
                return False
            typical = sorted(self._seconds)[len(self._seconds) // 2]
            before = self.limit
            if typical < 1.5 * self._alone:
                self.limit = min(2 * before, self.ceiling)
            elif typical > 3 * self._alone:
                self.limit = max(before // 2, min(FIRST, self.ceiling))
            self._count, self._seconds = 0, []
            return self.limit > before


class FixedConcurrency(AdaptiveConcurrency):
    """A number of requests in flight that stays as it was given."""

    __slots__ = ()

    def __init__(self, limit: int) -> None:
        super().__init__(0.0, limit)
        self.limit = limit

    def note(self, seconds: float, count: int = 1) -> bool:
        """The latency does not matter here."""
        return False
