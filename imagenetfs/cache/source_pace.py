"""How long requests to the source take, as all processes of a mount see it: how much a miss shall
fetch, and whether requests queue.

A request of n bytes takes latency + n / bandwidth where it has the source for itself. Both are told
by the quickest requests of late, small ones and large ones: what others do can only make a request
slower. Written without locks to memory that the processes share; a note that another overwrites is
one note less.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from imagenetfs.cache.segment import BLOCK
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

LARGEST_RANGE = 1 << 20
"""Bytes; while the source's bandwidth is not known yet, too. What network file systems, NFS and
FUSE, send at once at most: more would be several requests, one after the other.
"""

SMALLEST_RANGE = 4 * BLOCK
"""Bytes; a member with its neighbours' ends takes as much."""

_LARGE = 1 << 19
"""Bytes: smaller requests tell the latency, others the bandwidth."""

_PROBES = 4
"""Small requests that are made before anything is fetched in ranges; and large ones before
their size is changed, once in each window of time: one alone may have been late by chance.
"""

_LATENCIES = 3
"""So many times what goes through in a request's latency is worth a request."""

_FIXED = 13
"""Words that are not of a slot."""

_SLOTS = 256
_SLOT_WORDS = 4
_SINCE, _ENDED, _DELAY, _TIME = range(_SLOT_WORDS)
_AVERAGED = 8
"""About so many requests make up the mean of how many are under way."""

_STALE_NS = 10_000_000_000
"""What has been under way for so long is a killed process's, or waits for a dead server."""

_BASE_NS, _RECENT_NS = 600_000_000_000, 10_000_000_000
_FEMTO = 1_000_000
_MOST_NS = (1 << 44) - 1


@dataclass(frozen=True, slots=True)
class Delay:
    """How much longer than alone requests took that ended lately: ``least`` and ``mean`` by
    what the request alone would take, and how many requests these are.
    """

    least: float
    mean: float
    requests: int


class _Least:
    """The least value that was noted in this window of time and in the one before it.

    Words: the window's number, the least value in it and in the one before, how many were noted.
    """

    def __init__(self, words: memoryview, window_ns: int) -> None:
        self._words = words
        self._window_ns = window_ns

    def _turn(self, now_ns: int) -> None:
        words, window = self._words, now_ns // self._window_ns + 1
        if words[0] != window:
            follows = words[0] == window - 1
            words[2] = words[1] if follows else 0
            words[1] = 0
            words[3] = words[3] if follows and words[2] else 0
            words[0] = window

    def note(self, value: int, now_ns: int) -> None:
        self._turn(now_ns)
        words = self._words
        words[1] = min(words[1] or value, value)
        words[3] += 1

    def least(self, now_ns: int, least_notes: int = 1) -> int:
        """0 where too little was noted."""
        self._turn(now_ns)
        words = self._words
        if words[3] < least_notes:
            return 0
        return min(filter(None, words[1:3]), default=0)


class SourcePace:
    """Make it before forking: the processes forked after that share it, and their threads."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        whole = memoryview(mmap.mmap(-1, 8 * (_FIXED + _SLOTS * _SLOT_WORDS))).cast("Q")
        first, second, third = (whole[at : at + 4] for at in range(0, 12, 4))
        self._small = _Least(first, _BASE_NS)  # nanoseconds << 20 | bytes >> 9
        self._per_byte = _Least(second, _BASE_NS)  # femtoseconds
        self._recent_per_byte = _Least(third, _RECENT_NS)
        self._sharing = whole[12:13]  # the mean of late, in 256ths
        self._slots = whole[_FIXED:]

    @contextlib.contextmanager
    def request(self, length: int) -> Iterator[None]:
        """A request of so many bytes is made within; it counts if nothing is raised."""
        at = threading.get_native_id() % _SLOTS * _SLOT_WORDS
        slot = self._slots[at : at + _SLOT_WORDS]
        begin = self._clock.monotonic_ns()
        sharing = 1 + self._under_way(begin)
        slot[_SINCE] = begin
        try:
            yield
            now = self._clock.monotonic_ns()
            if now > begin:
                self._note(slot, length, min(now - begin, _MOST_NS), sharing, now)
        finally:
            slot[_SINCE] = 0

    def _under_way(self, now_ns: int) -> int:
        since = self._slots[_SINCE::_SLOT_WORDS].tolist()
        return sum(1 for begin in since if begin and now_ns - begin < _STALE_NS)

    def _note(self, slot: memoryview, length: int, took: int, sharing: int, now_ns: int) -> None:
        alone = self.alone_ns(length)
        mean = self._sharing[0]
        self._sharing[0] = max(0, mean + (256 * sharing - mean) // _AVERAGED)
        if length < _LARGE:
            self._small.note(took << 20 | length >> 9, now_ns)
        elif small := self._small.least(now_ns):
            small_took, small_length = small >> 20, (small & 0xFFFFF) << 9
            per_byte = max(1, (took - small_took) * _FEMTO // (length - small_length))
            self._per_byte.note(per_byte, now_ns)
            self._recent_per_byte.note(per_byte, now_ns)
        if alone:
            slot[_DELAY] = max(0, took - alone)
            slot[_TIME] = alone
            slot[_ENDED] = now_ns

    def _latency_ns(self, now_ns: int, per_byte: int) -> int:
        """0 where it is not known."""
        small = self._small.least(now_ns)
        took, length = small >> 20, (small & 0xFFFFF) << 9
        return max(took - length * per_byte // _FEMTO, took // 8)

    def alone_ns(self, length: int) -> int:
        """Nanoseconds that a request of so many bytes takes that has the source for itself; 0 where
        that is not known.
        """
        now = self._clock.monotonic_ns()
        per_byte = self._per_byte.least(now)
        latency = self._latency_ns(now, per_byte)
        return latency + length * per_byte // _FEMTO if latency and per_byte else 0

    @property
    def range_size(self) -> int:
        """Bytes that a miss shall fetch, a power of two: about as many as the source sends, as it
        is now, in some times the time that a request takes anyway; the less, the more requests
        there are that wait for each other. 0: the member alone, for what that takes is not known
        yet, or the source is full, or so slow that more would cost more than it saves.
        """
        now = self._clock.monotonic_ns()
        if not self._small.least(now, _PROBES):
            return 0
        per_byte = self._recent_per_byte.least(now, _PROBES)
        if not per_byte:
            return LARGEST_RANGE
        latency = self._latency_ns(now, per_byte)
        sharing = max(1.0, self._sharing[0] / 256)
        size = 1 << round(math.log2(_LATENCIES * latency * _FEMTO / per_byte / sharing + 1))
        return min(size, LARGEST_RANGE) if size >= SMALLEST_RANGE else 0

    def delays_since(self, then_ns: int) -> Delay | None:
        """Of the requests that ended after a moment, the last one of each thread; None where there
        is none.
        """
        slots = self._slots.tolist()
        found = [
            slots[at + _DELAY] / slots[at + _TIME]
            for at in range(0, len(slots), _SLOT_WORDS)
            if slots[at + _ENDED] > then_ns and slots[at + _TIME]
        ]
        return Delay(min(found), sum(found) / len(found), len(found)) if found else None
