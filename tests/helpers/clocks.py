"""Time that a test drives: nothing waits, and nothing depends on how fast the machine is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class FakeClock:
    """A clock (imagenetfs.system.clock) that moves by sleeps and by :meth:`advance` alone.

    ``pauses``: the seconds of every sleep. The time of day begins with the machine's, plus
    ``skew`` seconds.
    """

    def __init__(self, *, skew: float = 0.0) -> None:
        self._now = 1000.0
        self._wall = time.time() + skew - self._now
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._lock = threading.RLock()
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self._now

    def monotonic_ns(self) -> int:
        return round(self.monotonic() * 1e9)

    def time(self) -> float:
        return self._wall + self._now

    def time_ns(self) -> int:
        return round(self.time() * 1e9)

    def sleep(self, seconds: float, /) -> None:
        """Move on at once."""
        self.pauses.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let so much time pass; what is due by then happens in its order, at its time."""
        with self._lock:
            end = self._now + seconds
            while self._due and self._due[0][0] <= end:
                when, action = self._due.pop(0)
                self._now = max(self._now, when)
                action()
            self._now = max(self._now, end)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen in so many seconds, within the sleep that reaches them."""
        with self._lock:
            self._due.append((self._now + seconds, action))
            self._due.sort(key=lambda item: item[0])


class RushingClock(FakeClock):
    """Each look at it moves it on by ``step`` seconds: any wait is over when it is looked at."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._step = step

    def monotonic(self) -> float:
        self.advance(self._step)
        return self._now


class Lasting(FakeClock):
    """Time stands still, but a pause is one: a wait for others lasts as long as they take."""

    def sleep(self, seconds: float, /) -> None:
        time.sleep(seconds)
