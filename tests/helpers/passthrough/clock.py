"""The time a request takes: a latency of its own, and its place in one pipe that all share.

trio rounds a wait up to a whole millisecond, as epoll does; a timer descriptor does not.
"""

from __future__ import annotations

import ctypes
import heapq
import os
import time
from itertools import count

import trio

_libc = ctypes.CDLL(None, use_errno=True)
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE = 1


class _Timer(ctypes.Structure):
    """struct itimerspec: the interval, then when it first rings; seconds and nanoseconds each."""

    _fields_ = [("unused", ctypes.c_long * 2), ("at", ctypes.c_long * 2)]


class Clock:
    """Wakes sleepers to the tenth of a millisecond. :meth:`run` must be under way."""

    def __init__(self) -> None:
        self._fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._sleepers: list[tuple[float, int, trio.Event]] = []
        self._order = count()
        self._pipe_free_at = 0.0

    async def pass_through(self, latency: float, size: int, bandwidth: float) -> None:
        """Wait as long as a request takes that carries ``size`` bytes."""
        until = now = time.monotonic()
        if bandwidth and size:
            self._pipe_free_at = until = max(now, self._pipe_free_at) + size / bandwidth
        await self.sleep_until(until + latency)

    async def sleep_until(self, when: float) -> None:
        """Sleep until a monotonic time, in seconds."""
        if when <= time.monotonic():
            return
        event = trio.Event()
        heapq.heappush(self._sleepers, (when, next(self._order), event))
        if self._sleepers[0][2] is event:
            self._set(when)
        await event.wait()

    def _set(self, when: float) -> None:
        timer = _Timer()
        timer.at[0], timer.at[1] = divmod(int(when * 1e9), 10**9)
        _libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(timer), None)

    async def run(self) -> None:
        """Ring for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                os.read(self._fd, 8)
            except BlockingIOError:  # set anew meanwhile
                continue
            while self._sleepers and self._sleepers[0][0] <= time.monotonic():
                heapq.heappop(self._sleepers)[2].set()
            if self._sleepers:
                self._set(self._sleepers[0][0])
