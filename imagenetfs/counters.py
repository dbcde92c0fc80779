"""The row of counters that each process of a mount has in shared memory (fuse/stats.py).

One enumeration says what its words mean. Source and cache know the words that they count in by
views: the source's are the row's first, the cache's lie beside each other.

How long requests to the source take is a histogram: a request of ``t`` nanoseconds is counted in
bucket ``t.bit_length()``, so that bucket ``b`` holds those from 2^(b-1) to below 2^b. Each time
that there is has a bucket: nothing needs to be cut off. The sum of all times stands beside it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

ROW_WORDS = 128
"""Unsigned integers of 64 bits in a row."""

LATENCY_BUCKETS = 64
"""Of the histogram of the source's requests."""


class Counter(IntEnum):
    """The words of a row. Those that end in SINCE or UNTIL are monotonic times in nanoseconds, 0
    for none; CACHE_TROUBLE is an errno.

    Those that end in _NS are sums of time over all workers, which the supervisor keeps in its own
    row: how long there were workers, how long these had a request in hand, and of that, how long
    they waited for the source and for another disk; how long they ran on a CPU and waited for one.
    MOST_BUSY is the most that read an image, or waited, at one time in the last second: who asks
    for the mount's status is no reader.

    Those of PROGRESS are a background process's own: what it works at (a split's number and one),
    since when (monotonic, nanoseconds), how much is done of how much, and how much of that it did.
    """

    SOURCE_SINCE = 0
    SOURCE_REQUESTS = 1
    SOURCE_BYTES = 2
    LOCK_SINCE = 3
    FIRST_LATENCY = 4
    SOURCE_SPENT_NS = 68
    PID = 69
    BUSY_SINCE = 70
    IMAGES = 71
    BYTES = 72
    ERRORS = 73
    FIRST_REQUEST = 74
    CACHE_HITS = 96
    CACHE_MISSES = 97
    CACHE_BYTES = 98
    CACHE_TROUBLE = 99
    CACHE_ASIDE_UNTIL = 100
    READ_SINCE = 101
    STOPPED_SINCE = 102
    WORKER_NS = 103
    BUSY_NS = 104
    SOURCE_NS = 105
    DISK_NS = 106
    RUN_NS = 107
    QUEUED_NS = 108
    MOST_BUSY = 109
    PROGRESS_OF = 110
    PROGRESS_SINCE = 111
    PROGRESS_DONE = 112
    PROGRESS_TOTAL = 113
    PROGRESS_BROUGHT = 114
    TEXTS = 127


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

LATENCY = int(Counter.FIRST_LATENCY)
"""Where in the source's view the histogram of its requests begins."""

SPENT = int(Counter.SOURCE_SPENT_NS)
"""Where the sum of the times of these requests is, in nanoseconds."""

SOURCE_WORDS = SPENT + 1
"""The length of the source's view."""


def count_time(source: CounterView, took_ns: int) -> None:
    """Count how long a request took in the source's view: in the histogram, and in the sum."""
    source[SPENT] += took_ns
    source[LATENCY + took_ns.bit_length()] += 1


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
