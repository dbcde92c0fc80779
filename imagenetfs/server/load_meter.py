"""How busy the workers are, for status: sums of time in the supervisor's row of the counters.

The workers pay nothing for it. With each look of the pool at its workers, what it finds counts for
the time since its last look; many looks make a mean. What the CPUs did for each worker, the kernel
knows (/proc/PID/schedstat).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import SUPERVISOR, SharedStats
from imagenetfs.system.process import cpu_times


class LoadMeter:
    """Watches the workers of a pool: their numbers by process."""

    def __init__(
        self,
        stats: SharedStats,
        is_waiting: Callable[[int], bool],
        times_of: Callable[[int], tuple[int, int] | None] = cpu_times,
    ) -> None:
        """``is_waiting(pid)``: whether a process sleeps in the kernel; ``times_of(pid)``: for how
        long it has had a CPU, and waited for one, in nanoseconds.
        """
        self._stats = stats
        self._own = stats.row(SUPERVISOR)
        self._is_waiting = is_waiting
        self._times_of = times_of
        self._looked_at: int | None = None
        self._times: dict[int, tuple[int, int]] = {}

    def look(self, workers: Mapping[int, int], now_ns: int) -> None:
        """See what the workers do now: for each process its number."""
        busy = in_source = on_disk = for_readers = 0
        for pid, number in workers.items():
            row = self._stats.row(number)
            since = row[Counter.BUSY_SINCE]
            if not since:
                continue
            busy += 1
            if row[Counter.SOURCE_SINCE] or row[Counter.LOCK_SINCE]:
                in_source += 1
                for_readers += 1
            # Asleep, but perhaps because that request is over: only the same one counts.
            elif self._is_waiting(pid) and row[Counter.BUSY_SINCE] == since:
                on_disk += 1
                for_readers += 1
            elif row[Counter.READ_SINCE]:
                for_readers += 1
        own = self._own
        own[Counter.MOST_BUSY] = max(own[Counter.MOST_BUSY], for_readers)
        before, self._looked_at = self._looked_at, now_ns
        if before is not None and now_ns > before:
            elapsed = now_ns - before
            own[Counter.WORKER_NS] += elapsed * len(workers)
            own[Counter.BUSY_NS] += elapsed * busy
            own[Counter.SOURCE_NS] += elapsed * in_source
            own[Counter.DISK_NS] += elapsed * on_disk

    def read_cpu_times(self, workers: Mapping[int, int]) -> None:
        """Add what the CPUs have done for each worker since this was called last."""
        found = {pid: times for pid in workers if (times := self._times_of(pid)) is not None}
        for pid, (running, queued) in found.items():
            before = self._times.get(pid, (0, 0))
            self._own[Counter.RUN_NS] += max(0, running - before[0])
            self._own[Counter.QUEUED_NS] += max(0, queued - before[1])
        self._times = found

    def start_anew(self) -> None:
        """Forget the most that was under way: a new sample begins."""
        self._own[Counter.MOST_BUSY] = 0
