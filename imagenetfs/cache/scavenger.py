"""How many requests a stager has under way beside readers: it takes what they leave.

Delay-based, as LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus) is: as long as requests, the readers'
and its own, take no longer than alone, the window grows, by doubling at first and by a request a
round later on; where they queue it is cut. Below one request there are pauses between requests.
See docs/decisions/0025.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from imagenetfs.cache.source_pace import Delay
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

TARGET = 0.5
"""By how much longer than alone requests may take, as a part of that time."""

LEAST = 1 / 32
"""Requests under way: a source that is full all the time is tried still."""

_DEEPEST_CUT = 0.5
_LONGEST_PAUSE = 1.0
_POLL_SECONDS = 0.05


class CongestionWindow:
    """``size``: requests under way, up to ``most``; below one, the part of the time in which one
    is. By what :meth:`note` is told, and the clock.
    """

    def __init__(self, most: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._most = float(most)
        self._clock = clock
        self.size = 1.0
        self._is_starting = True
        self._cut_after = float("-inf")

    def restart(self) -> None:
        """What was learned is of another time."""
        self.size, self._is_starting = 1.0, True

    def note(self, delay: float, took: float) -> None:
        """A request of its own ended that took so many seconds; ``delay``: how much longer than
        alone requests take now, as a part of that time.
        """
        spare = 1.0 - delay / TARGET
        if spare >= 0.0:
            by_round = self.size if self._is_starting else min(self.size, 1.0 / self.size)
            self.size = min(self._most, self.size + spare * by_round)
            return
        self._is_starting = False
        now = self._clock.monotonic()
        if now > self._cut_after:  # once for all that were in the same queue
            self.size = max(LEAST, self.size * max(_DEEPEST_CUT, 1.0 + spare))
            self._cut_after = now + took


class Scavenger:
    """Lets the threads of a stager take turns, by a window."""

    def __init__(
        self,
        streams: int,
        delays_since: Callable[[int], Delay | None],
        stopping: threading.Event,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """``delays_since``: see :meth:`imagenetfs.cache.source_pace.SourcePace.delays_since`."""
        self._delays_since = delays_since
        self._stopping = stopping
        self._clock = clock
        self._window = CongestionWindow(streams, clock)
        self._changed = threading.Condition()
        self._under_way = 0
        self._looked_at = 0

    def restart(self) -> None:
        """There were no readers for a while."""
        with self._changed:
            self._window.restart()

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """A request is made within, when it is its turn; False where it shall stop."""
        with self._changed:
            while self._under_way >= max(1, int(self._window.size)):
                if self._stopping.is_set():
                    break
                self._changed.wait(_POLL_SECONDS)
            self._under_way += 1
        try:
            began = self._clock.monotonic()
            yield not self._stopping.is_set()
            self._pause(self._clock.monotonic() - began)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def _pause(self, took: float) -> None:
        with self._changed:
            found = self._delays_since(self._looked_at)
            self._looked_at = self._clock.monotonic_ns()
            if found is not None:
                self._window.note(found.mean, took)
            pause = took * (1.0 / self._window.size - 1.0)
        if pause > 0.0 and not self._stopping.is_set():
            self._clock.sleep(min(pause, _LONGEST_PAUSE))
