"""Processes that are stopped (SIGSTOP, a debugger, ``scontrol suspend``): single workers, and the
whole mount.

A worker that is stopped answers nothing, and no counter tells: only its state does. Where all are
stopped, the supervisor too, its next look comes much later than planned; that time counts for no
deadline.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

_LATE_NS = 2_000_000_000
"""A look that comes so much after the one before was held up: one is planned each half second."""

_MOST_GAPS = 64
_LOOK_SECONDS = 1.0
"""How often the workers' states are looked at, and how long a stop lasts that is taken for one: all
of a mount's processes do not go on in the same moment.
"""


class ActiveClock:
    """How long something has taken, without the time in which this process was suspended."""

    def __init__(self) -> None:
        self._last_ns = 0
        self._gaps: deque[tuple[int, int]] = deque(maxlen=_MOST_GAPS)

    def tick(self, now_ns: int) -> float:
        """To be called often: the seconds for which the process was suspended just now, mostly 0.

        Times are monotonic, in nanoseconds.
        """
        gap = now_ns - self._last_ns if self._last_ns else 0
        self._last_ns = now_ns
        if gap < _LATE_NS:
            return 0.0
        self._gaps.append((now_ns, gap))
        log.info("the server was suspended for %.0f s; deadlines are put off", gap / 1e9)
        return gap / 1e9

    def elapsed_ns(self, since_ns: int, now_ns: int) -> int:
        """From one time to another, less what lies in gaps."""
        lost = sum(min(gap, end - since_ns) for end, gap in self._gaps if end > since_ns)
        return now_ns - since_ns - lost


class StoppedWorkers:
    """Which processes have been stopped for longer than a moment."""

    def __init__(self, is_stopped_now: Callable[[int], bool]) -> None:
        """``is_stopped_now``: whether a process is stopped at this moment."""
        self._is_stopped_now = is_stopped_now
        self._since: dict[int, float] = {}
        self._next = 0.0
        self._told: set[int] = set()

    def look(self, pids: Iterable[int], now: float) -> bool:
        """Look at all of them, once a second; whether that was done now. ``now`` in seconds."""
        if now < self._next:
            return False
        self._next = now + _LOOK_SECONDS
        self._since = {pid: self._since.get(pid, now) for pid in pids if self._is_stopped_now(pid)}
        stopped = {pid for pid in self._since if self.is_stopped(pid, now)}
        for pid in stopped - self._told:
            log.warning("worker %d is stopped and answers nothing; others serve beside it", pid)
        for pid in self._told - self._since.keys():
            log.info("worker %d is not stopped any more", pid)
        self._told = stopped
        return True

    def is_stopped(self, pid: int, now: float) -> bool:
        """Whether it was stopped when looked at last, and long enough to count."""
        return now - self._since.get(pid, now) >= _LOOK_SECONDS

    def since(self, pid: int) -> float:
        """When it was first seen stopped, a monotonic time in seconds."""
        return self._since[pid]
