"""Keeps a sample of the counters every second, for status: rates of now, a curve of minutes."""

from __future__ import annotations

import time

import trio

from imagenetfs.fuse.stats import SharedStats
from imagenetfs.server.worker_pool import WorkerPool

SAMPLE_SECONDS = 1.0


class ActivityRecorder:
    """The supervisor's task that does so."""

    def __init__(self, stats: SharedStats, pool: WorkerPool) -> None:
        self._stats = stats
        self._pool = pool

    async def run(self) -> None:
        """Record a sample a second; never returns."""
        while True:
            self.record(time.monotonic_ns())
            await trio.sleep(SAMPLE_SECONDS)

    def record(self, now_ns: int) -> None:
        """Record the counters of now (monotonic time)."""
        self._pool.read_cpu_times()
        self._stats.samples.keep(self._stats.sample(now_ns))
        self._pool.load.start_anew()
