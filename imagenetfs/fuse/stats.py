"""Shared statistics: one anonymous mapping in which a mount's processes write about themselves.

Page 0 belongs to the supervisor; then one row of counters (imagenetfs.counters) for each worker,
written by that worker alone and left as it is for the next worker of that number, so that sums stay
right; then the supervisor's facts and its samples; then each worker's ring buffer of texts that are
being read (status.json, log). Three rows more are the supervisor's, the indexer's, the stager's.

A counter costs one memory write. Nothing is locked; readers may see a sum that is a request old.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

from imagenetfs.counters import CACHE_VIEW, LATENCY_BUCKETS, ROW_WORDS, Counter
from imagenetfs.fuse.samples import BUFFER_BYTES, Sample, SampleBuffer
from imagenetfs.fuse.snapshots import AREA, SnapshotBuffer
from imagenetfs.limits import MAX_WORKERS

SUPERVISOR, INDEXER, STAGER = range(MAX_WORKERS, MAX_WORKERS + 3)
"""The rows of those that count too, but serve nothing."""
MAX_SPLITS = 1024

_ROWS = MAX_WORKERS + 3
_PAGE = 4096
_ROW_BYTES = 8 * ROW_WORDS
_FACTS_BYTES = 1 << 18


REQUESTS = (
    "lookup",
    "getattr",
    "read",
    "readdir",
    "statfs",
    "readlink",
    "xattr",
    "forget",
    "other",
)
"""The kinds of requests that are counted, in the order of their cells."""


class SharedStats:
    """Rows, facts and texts. Make it before forking."""

    def __init__(self) -> None:
        first_facts = _PAGE + _ROWS * _ROW_BYTES
        first_sample = first_facts + _FACTS_BYTES
        self._first_text = first_sample + -(-BUFFER_BYTES // _PAGE) * _PAGE
        # Shared memory is taken when it is written to; most of this never is.
        self._map = mmap.mmap(-1, self._first_text + MAX_WORKERS * AREA)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[:first_facts].cast("Q")
        self._touched = self._bytes[_PAGE // 2 : _PAGE // 2 + MAX_SPLITS]
        self._facts = self._bytes[first_facts:first_sample]
        rows = np.frombuffer(self._map, np.uint64, _ROWS * ROW_WORDS, _PAGE)
        self._rows = rows.reshape(_ROWS, ROW_WORDS)
        self.samples = SampleBuffer(self._bytes[first_sample : first_sample + BUFFER_BYTES])
        self.alarm: Callable[[], object] = lambda: None
        """Called, in any process, when the supervisor is to look at the statistics at once."""

    def row(self, worker: int) -> memoryview:
        """The row of worker number ``worker``, as a view of u64."""
        start = _PAGE // 8 + worker * ROW_WORDS
        return self._words[start : start + ROW_WORDS]

    def touch(self, split: int) -> None:
        """Say that a class of this split has been asked for; the first
        time, wake the supervisor.
        """
        if split < MAX_SPLITS and not self._touched[split]:
            self._touched[split] = 1
            self.alarm()

    def touched(self) -> list[int]:
        """The splits of which a class has been asked for."""
        return [split for split, flag in enumerate(bytes(self._touched)) if flag]

    # --- facts: what the supervisor says ----------------------------------------------------------

    def publish(self, facts: dict[str, Any]) -> None:
        """The supervisor's facts (JSON), for status.json."""
        data = json.dumps(facts).encode()
        while len(data) > _FACTS_BYTES - 8:  # thousands of warnings: the first ones tell enough
            kept = facts["warnings"][: len(facts["warnings"]) // 2]
            facts = {**facts, "warnings": kept}
            data = json.dumps(facts).encode()
        self._facts[8 : 8 + len(data)] = data
        self._facts[:8] = len(data).to_bytes(8, "little")

    def facts(self) -> dict[str, Any]:
        """What the supervisor published last; empty while it is writing."""
        length = int.from_bytes(self._facts[:8], "little")
        try:
            facts: dict[str, Any] = json.loads(bytes(self._facts[8 : 8 + length]))
        except ValueError:
            return {}
        return facts

    # --- sums -------------------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """All counters, summed over the workers and the background processes."""
        sums = self._rows.sum(axis=0).tolist()
        first = Counter.FIRST_REQUEST
        return {
            "requests": {name: sums[first + at] for at, name in enumerate(REQUESTS)},
            "images_read": sums[Counter.IMAGES],
            "bytes_served": sums[Counter.BYTES],
            "errors": sums[Counter.ERRORS],
            "source_requests": sums[Counter.SOURCE_REQUESTS],
            "source_bytes": sums[Counter.SOURCE_BYTES],
            "cache_hits": sums[Counter.CACHE_HITS],
            "cache_misses": sums[Counter.CACHE_MISSES],
            "cache_bytes": sums[Counter.CACHE_BYTES],
        }

    def cache_meter(self, worker: int) -> memoryview:
        """The words in which a worker's cache counts."""
        return self.row(worker)[CACHE_VIEW]

    def cache_trouble(self, now_ns: int) -> int:
        """The errno for which some worker's cache steps aside now (monotonic time); 0 for none."""
        for worker in range(_ROWS):
            row = self.row(worker)
            if row[Counter.CACHE_ASIDE_UNTIL] > now_ns:
                return int(row[Counter.CACHE_TROUBLE])
        return 0

    def total_requests(self) -> int:
        """All requests so far: whether the mount is in use."""
        first = Counter.FIRST_REQUEST
        return int(self._rows[:MAX_WORKERS, first : first + len(REQUESTS)].sum())

    def sample(self, now_ns: int) -> Sample:
        """The workers' sums of now (monotonic time)."""
        sums = self._rows[:MAX_WORKERS].sum(axis=0).tolist()
        own = self._rows[SUPERVISOR].tolist()
        requests, latency = Counter.FIRST_REQUEST, Counter.FIRST_LATENCY
        return Sample(
            at=now_ns,
            images=sums[Counter.IMAGES],
            bytes=sums[Counter.BYTES],
            requests=sum(sums[requests : requests + len(REQUESTS)]),
            errors=sums[Counter.ERRORS],
            source_requests=sums[Counter.SOURCE_REQUESTS],
            source_bytes=sums[Counter.SOURCE_BYTES],
            cache_hits=sums[Counter.CACHE_HITS],
            cache_misses=sums[Counter.CACHE_MISSES],
            cache_bytes=sums[Counter.CACHE_BYTES],
            worker_ns=own[Counter.WORKER_NS],
            busy_ns=own[Counter.BUSY_NS],
            source_ns=own[Counter.SOURCE_NS],
            disk_ns=own[Counter.DISK_NS],
            run_ns=own[Counter.RUN_NS],
            queued_ns=own[Counter.QUEUED_NS],
            most_busy=own[Counter.MOST_BUSY],
            spent_ns=sums[Counter.SOURCE_SPENT_NS],
            latency=tuple(sums[latency : latency + LATENCY_BUCKETS]),
        )

    # --- texts: one for all chunks of one reader --------------------------------------------------

    def _snapshots(self, worker: int) -> SnapshotBuffer:
        start = self._first_text + worker * AREA
        return SnapshotBuffer(self._bytes[start : start + AREA])

    def keep_text(self, worker: int, text: bytes) -> int:
        """Keep a text for its readers; returns their handle. The worker's oldest ones give way."""
        row = self.row(worker)
        row[Counter.TEXTS] += 1
        self._snapshots(worker).keep(row[Counter.TEXTS], text)
        return row[Counter.TEXTS] * MAX_WORKERS + worker

    def text(self, handle: int) -> bytes:
        """A kept text. Raises SourceChangedError where it has given way to newer ones."""
        return self._snapshots(handle % MAX_WORKERS).text(handle // MAX_WORKERS)
