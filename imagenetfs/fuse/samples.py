"""Samples of the shared counters, a second apart: the last minutes, in a ring buffer.

The supervisor alone writes it; a worker that is asked for status.json reads it. A sample holds sums
since the mount began, so that any two of them tell what happened between.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np

from imagenetfs.counters import LATENCY_BUCKETS

SAMPLES = 300
"""What the buffer holds: five minutes."""

_UNDER_WAY = 2
"""The oldest places may be written to while they are read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The sums of a mount's workers at a time, ``at`` (monotonic, nanoseconds).

    Those that end in ``_ns``, and ``most_busy``: see imagenetfs.counters.Counter. ``latency``: the
    histogram of the source's requests, ``spent_ns`` the sum of what they took.
    """

    at: int = 0
    images: int = 0
    bytes: int = 0
    requests: int = 0
    errors: int = 0
    source_requests: int = 0
    source_bytes: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_bytes: int = 0
    worker_ns: int = 0
    busy_ns: int = 0
    source_ns: int = 0
    disk_ns: int = 0
    run_ns: int = 0
    queued_ns: int = 0
    most_busy: int = 0
    spent_ns: int = 0
    latency: tuple[int, ...] = (0,) * LATENCY_BUCKETS


_PLAIN = len(fields(Sample)) - 1
SAMPLE_WORDS = _PLAIN + LATENCY_BUCKETS
BUFFER_BYTES = 8 * (1 + (SAMPLES + _UNDER_WAY) * SAMPLE_WORDS)


class SampleBuffer:
    """The last samples, in a part of a shared mapping."""

    def __init__(self, memory: memoryview) -> None:
        """``memory``: BUFFER_BYTES of zeros."""
        words = np.frombuffer(memory, dtype=np.uint64)
        self._count, self._rows = words[:1], words[1:].reshape(-1, SAMPLE_WORDS)

    def keep(self, sample: Sample) -> None:
        """Add a sample; the oldest one gives way."""
        *plain, latency = astuple(sample)
        count = int(self._count[0])
        self._rows[count % len(self._rows)] = (*plain, *latency)
        self._count[0] = count + 1

    def last(self, most: int = SAMPLES) -> list[Sample]:
        """The last samples, the newest last."""
        count = int(self._count[0])
        first = max(0, count - min(most, SAMPLES))
        rows = self._rows[[at % len(self._rows) for at in range(first, count)]].tolist()
        names = [field.name for field in fields(Sample)[:_PLAIN]]
        return [
            Sample(**dict(zip(names, row, strict=False)), latency=tuple(row[_PLAIN:]))
            for row in rows
        ]
