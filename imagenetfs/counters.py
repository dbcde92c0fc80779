"""The row of counters that each process of a mount has in shared memory (fuse/stats.py).

One enumeration says what its words mean. Source and cache know the words that they count in by
views: the source's are the row's first, the cache's lie beside each other.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

ROW_WORDS = 64
"""Unsigned integers of 64 bits in a row."""


class Counter(IntEnum):
    """The words of a row. Those that end in SINCE or UNTIL are monotonic times in nanoseconds, 0
    for none; CACHE_TROUBLE is an errno.
    """

    SOURCE_SINCE = 0
    SOURCE_REQUESTS = 1
    SOURCE_BYTES = 2
    LOCK_SINCE = 3
    PID = 4
    BUSY_SINCE = 5
    IMAGES = 6
    BYTES = 7
    ERRORS = 8
    FIRST_REQUEST = 9
    CACHE_HITS = 40
    CACHE_MISSES = 41
    CACHE_BYTES = 42
    CACHE_TROUBLE = 43
    CACHE_ASIDE_UNTIL = 44
    READ_SINCE = 45
    STOPPED_SINCE = 46
    TEXTS = 63


class CounterView(Protocol):
    """Integers to count in: a row of shared memory, a part of one, a list in a test."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


# Plain integers: an attribute of the enumeration costs more than the counting.
SINCE, REQUESTS, BYTES, WAITING = map(
    int, (Counter.SOURCE_SINCE, Counter.SOURCE_REQUESTS, Counter.SOURCE_BYTES, Counter.LOCK_SINCE)
)
"""The source's view: since when a read has been under way, what was asked of the source, and since
when this process has waited for another one to read it.
"""

SOURCE_WORDS = 4
"""The length of the source's view."""

CACHE_VIEW = slice(int(Counter.CACHE_HITS), Counter.CACHE_ASIDE_UNTIL + 1)
"""The cache's view of a row."""

CACHE_WORDS = CACHE_VIEW.stop - CACHE_VIEW.start

HITS, MISSES, SAVED, TROUBLE, BYPASS_UNTIL = (
    cell - CACHE_VIEW.start
    for cell in (
        Counter.CACHE_HITS,
        Counter.CACHE_MISSES,
        Counter.CACHE_BYTES,
        Counter.CACHE_TROUBLE,
        Counter.CACHE_ASIDE_UNTIL,
    )
)
"""Within the cache's view: reads that needed no origin, those that did, bytes that came from the
cache; the errno for which the cache was bypassed last, and until when.
"""
