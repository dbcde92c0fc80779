"""The pool of workers: how many there are, and that there are always enough.

As many as cores while they have work, more only while they wait for the source (up to the
ceiling), and one when nothing has been asked for a minute. The ceiling is for those that ask
something of the source: one that waits until another process has done so is not counted, lest all
wait for the same array, and neither is one that is stopped: others serve beside it. A worker that
dies is replaced at once; one that dies young again and again is replaced more and more slowly.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.server.child_process import DEATH_SECONDS
from imagenetfs.server.load_meter import LoadMeter
from imagenetfs.server.suspension import ActiveClock, StoppedWorkers
from imagenetfs.server.worker import RETIRED, SESSION_OVER
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.process import SYSTEM_PROCESSES, Processes

log = logging.getLogger(__name__)

_FREE = 2
"""How many workers shall not be waiting for the source."""

_WAITING_NS = 1_000_000
"""A read that has taken less is not worth another worker."""

_IDLE_SECONDS = 10.0
_QUIET_SECONDS = 60.0
_YOUNG_SECONDS = 1.0
_LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class _Worker:
    number: int
    pid: int
    born: float
    ended: bool = False


@dataclass(frozen=True, slots=True)
class _Load:
    """How many workers have a request in their hands, wait for the source or for another process,
    and are stopped.
    """

    busy: int
    waiting: int
    stopped: int


class WorkerPool:
    """Worker processes. ``fork(number)`` starts one and returns its pid (or raises OSError)."""

    def __init__(
        self,
        stats: SharedStats,
        fork: Callable[[int], int],
        *,
        cores: int,
        ceiling: int,
        deadline: float,
        clock: Clock = SYSTEM_CLOCK,
        processes: Processes = SYSTEM_PROCESSES,
    ) -> None:
        """``deadline``: seconds that a read, or anything else that is asked of the source at a
        time, may take before its worker is ended.
        """
        self._stats = stats
        self._fork = fork
        self._clock = clock
        self._processes = processes
        self._cores = min(cores, ceiling, MAX_WORKERS)
        self._ceiling = min(ceiling, MAX_WORKERS)
        self._deadline_ns = int(deadline * 1e9)
        self._workers: dict[int, _Worker] = {}
        self._wanted = min(_FREE, self._ceiling)
        self._busy: deque[tuple[float, int]] = deque()
        self._requests = 0
        self._last_use = self._clock.monotonic()
        self._failures = 0
        self._not_before = 0.0
        self._active = ActiveClock()
        self._stopped = StoppedWorkers(processes.is_stopped)
        self.load = LoadMeter(stats, processes.is_waiting)
        self.restarts = 0
        self.over = False

    @property
    def pids(self) -> list[int]:
        """The workers' process ids by worker number, 0 for none."""
        by_number = {worker.number: worker.pid for worker in self._workers.values()}
        return [by_number.get(number, 0) for number in range(max(by_number, default=-1) + 1)]

    @property
    def quiet_seconds(self) -> float:
        """How long nothing has been asked."""
        return self._clock.monotonic() - self._last_use

    def _numbers(self) -> dict[int, int]:
        return {pid: worker.number for pid, worker in self._workers.items()}

    def read_cpu_times(self) -> None:
        """See :meth:`LoadMeter.read_cpu_times`."""
        self.load.read_cpu_times(self._numbers())

    # --- births and deaths ------------------------------------------------------------------------

    def reap(self) -> bool:
        """Note which workers have ended; True where there was one.

        Sets ``over`` with the session.
        """
        changed = False
        for pid, worker in list(self._workers.items()):
            ended, status = self._processes.waitpid(pid, os.WNOHANG)
            if ended == 0:
                continue
            changed = True
            del self._workers[pid]
            self._clear(worker)
            code = os.waitstatus_to_exitcode(status)
            if code == SESSION_OVER:
                self.over = True
            elif code != RETIRED:
                self._died(worker, code)
        return changed

    def _clear(self, worker: _Worker) -> None:
        row = self._stats.row(worker.number)
        row[Counter.PID] = row[Counter.BUSY_SINCE] = row[Counter.SOURCE_SINCE] = row[
            Counter.LOCK_SINCE
        ] = 0
        row[Counter.READ_SINCE] = row[Counter.STOPPED_SINCE] = 0

    def _died(self, worker: _Worker, code: int) -> None:
        self.restarts += 1
        age = self._clock.monotonic() - worker.born
        # A kill -9 by a user is no failure of ours; a worker that crashes or ends by
        # itself is slowed down.
        own_fault = code != -signal.SIGKILL and age < _YOUNG_SECONDS
        self._failures = self._failures + 1 if own_fault else 0
        if self._failures:
            pause = min(_LONGEST_PAUSE, 0.05 * 2 ** min(self._failures, 8))
            self._not_before = self._clock.monotonic() + pause
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        log.warning(
            "worker %d ended %s after %.1f s; another takes its place", worker.pid, how, age
        )

    def fill(self) -> bool:
        """Start workers until there are as many as wanted; True where one was started."""
        changed = False
        while len(self._workers) < self._wanted and self._clock.monotonic() >= self._not_before:
            taken = {worker.number for worker in self._workers.values()}
            number = next(n for n in range(MAX_WORKERS) if n not in taken)
            try:
                pid = self._fork(number)
            except OSError as error:
                log.warning("no new worker could be started: %s", error.strerror)
                self._not_before = self._clock.monotonic() + 1.0
                break
            self._workers[pid] = _Worker(number, pid, self._clock.monotonic())
            changed = True
        return changed

    # --- how many ---------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Look at what the workers do and change their number; True while the mount is in use."""
        now, now_ns = self._clock.monotonic(), self._clock.monotonic_ns()
        self._last_use += self._active.tick(now_ns)
        self.load.look(self._numbers(), now_ns)
        if self._stopped.look(self._workers, now):
            self._note_stopped(now)
        requests = self._stats.total_requests()
        in_use = requests != self._requests
        self._requests = requests
        busy = waiting = parked = stopped = 0
        for worker in self._workers.values():
            row = self._stats.row(worker.number)
            if self._stopped.is_stopped(worker.pid, now):
                stopped += 1
                self._judge_stopped(worker, row, now_ns)
                continue
            since, for_another = row[Counter.SOURCE_SINCE], bool(row[Counter.LOCK_SINCE])
            busy += bool(row[Counter.BUSY_SINCE])
            parked += for_another
            if since and now_ns - since > _WAITING_NS and self._processes.is_waiting(worker.pid):
                # Asleep, but perhaps with the next request's wait: only the same read counts.
                if row[Counter.SOURCE_SINCE] != since:
                    continue
                waiting += not for_another
                # A read may ask for several things, and wait for others before: all of it counts.
                read_since = row[Counter.READ_SINCE]
                elapsed = self._active.elapsed_ns(since, now_ns)
                begun = read_since if elapsed > self._deadline_ns // 8 else 0
                elapsed = self._active.elapsed_ns(begun or since, now_ns)
                if elapsed > self._deadline_ns and not worker.ended:
                    self._end_stuck(worker, f"has waited {elapsed / 1e9:.0f} s for the source")
        if in_use or busy:
            self._last_use = now
        ceiling = min(self._ceiling + parked + stopped, MAX_WORKERS)
        load = _Load(busy, waiting + parked, stopped)
        self._grow(in_use, load, ceiling)
        self._shrink(now, load, ceiling)
        return in_use or busy > 0

    def _note_stopped(self, now: float) -> None:
        """Let status say which workers are stopped."""
        for worker in self._workers.values():
            stopped = self._stopped.is_stopped(worker.pid, now)
            since = int(self._stopped.since(worker.pid) * 1e9) if stopped else 0
            self._stats.row(worker.number)[Counter.STOPPED_SINCE] = since

    def _judge_stopped(self, worker: _Worker, row: memoryview, now_ns: int) -> None:
        """End one that was stopped with a request in its hands: its caller waits."""
        since = max(row[Counter.BUSY_SINCE], int(self._stopped.since(worker.pid) * 1e9))
        elapsed = self._active.elapsed_ns(since, now_ns)
        if row[Counter.BUSY_SINCE] and elapsed > self._deadline_ns and not worker.ended:
            self._end_stuck(worker, f"has been stopped for {elapsed / 1e9:.0f} s within a request")

    def _end_stuck(self, worker: _Worker, why: str) -> None:
        worker.ended = True  # in uninterruptible sleep it may live on until the server answers
        log.warning("worker %d %s; it is ended", worker.pid, why)
        self._processes.kill(worker.pid, signal.SIGKILL)

    def _grow(self, in_use: bool, load: _Load, ceiling: int) -> None:
        alive = len(self._workers) - load.stopped
        # too many of them wait for the source
        short = load.waiting > 0 and alive - load.waiting < _FREE
        crowded = load.busy >= alive and alive < self._cores
        woken = in_use and alive < _FREE  # the first request after a quiet minute
        left_alone = load.stopped > 0 and alive < (_FREE if self._is_in_use() else 1)
        if (short or crowded or woken or left_alone) and self._wanted <= len(self._workers):
            self._wanted = min(ceiling, len(self._workers) + 1)

    def _is_in_use(self) -> bool:
        return self._clock.monotonic() - self._last_use <= _QUIET_SECONDS

    def _shrink(self, now: float, load: _Load, ceiling: int) -> None:
        self._busy.append((now, load.busy))
        while self._busy[0][0] < now - _IDLE_SECONDS:
            self._busy.popleft()
        if not self._is_in_use():
            least = 1
        else:
            # Not one of those that began because others wait: another would begin at once.
            least = max(
                _FREE + load.waiting, self._cores, max(count for _, count in self._busy) + 1
            )
        least = min(least, ceiling)
        alive = len(self._workers) - load.stopped
        idle = alive > least and now - self._busy[0][0] > _IDLE_SECONDS * 0.9
        if alive and (idle or len(self._workers) > ceiling):
            self._wanted = min(self._wanted, len(self._workers) - 1)
            going = (w for w in self._workers.values() if not self._stopped.is_stopped(w.pid, now))
            newest = max(going, key=lambda worker: worker.number)
            self._processes.kill(newest.pid, signal.SIGTERM)

    # --- the end ----------------------------------------------------------------------------------

    def kill(self) -> None:
        """End all workers now, and wait for them as long as that makes sense."""
        for pid in self._workers:
            self._processes.kill(pid, signal.SIGKILL)
        deadline = self._clock.monotonic() + DEATH_SECONDS
        while self._workers:
            for pid in list(self._workers):
                if self._processes.waitpid(pid, os.WNOHANG)[0]:
                    del self._workers[pid]
            if self._clock.monotonic() > deadline:
                log.warning("workers that wait for the source are left to end when it answers")
                self._workers.clear()
            if self._workers:
                self._clock.sleep(0.01)

    def __len__(self) -> int:
        return len(self._workers)
