"""One thread that keeps many reads under way, by announcing to the kernel what it will read.

posix_fadvise(POSIX_FADV_WILLNEED) sends the request for a page and does not wait for the answer. So
one thread takes turns over many walks: each reads what it announced a round ago, hops, and
announces its next header. A thread for each read costs three times as much, most of it Python's
lock. (A read that waits for such a page ends with its process; a process that is killed with reads
of io_submit under way stays until a dead server answers.)

It works where the source's file system keeps pages, as NFS does. Elsewhere a hint is ignored, which
:func:`readahead_works` finds out.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from time import perf_counter
from typing import TypeVar

from imagenetfs.formats.tar.concurrency import AdaptiveConcurrency
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.formats.tar.merge import ScanMerger
from imagenetfs.formats.tar.speculation import Cancelled, ScanRange, SplitPolicy
from imagenetfs.formats.tar.walk import Hint, MemberColumns, ReadAt, Steps, Walk

T = TypeVar("T")

_TRIED = 5  # reads by which it is found out whether hints are heeded
_ALONE = 3  # reads that they are compared with


def readahead_works(
    read_at: ReadAt,
    hint: Hint,
    start: int,
    end: int,
    now: Callable[[], float] = perf_counter,
) -> bool:
    """Whether reads that were announced together are there by the time that the first one is.

    They are at random offsets in bytes [start, end): bytes that were read before would tell
    nothing. Where reads bypass the kernel's pages, a hint is of no use and costs a request.
    """
    if end - start < BLOCK:
        return False

    def typical(count: int, announce: Hint) -> float:
        offsets = [random.randrange(start, end - BLOCK + 1) & -BLOCK for _ in range(count)]
        for offset in offsets:
            announce(offset, BLOCK)
        seconds = []
        for offset in offsets:
            before = now()
            read_at(offset, BLOCK)
            seconds.append(now() - before)
        return sorted(seconds)[count // 2]

    return typical(_ALONE, lambda offset, length: None) > 2 * typical(_TRIED, hint)


_NO_HOPS: Iterator[object] = iter(())


class _Turn:
    """One of the walks that take turns: its steps, its range, and the hops that it is at."""

    __slots__ = ("hops", "scan_range", "steps")

    def __init__(self, steps: Steps[object], scan_range: ScanRange | None = None) -> None:
        self.steps, self.scan_range = steps, scan_range
        self.hops = _NO_HOPS

    def close(self) -> None:
        """Have it end at its next turn."""
        self.hops = _NO_HOPS
        self.steps.close()


class ReadaheadScanner(ScanMerger):
    """Walks that take turns in one thread, ``concurrency.limit`` reads under way among them."""

    def __init__(self, concurrency: AdaptiveConcurrency) -> None:
        super().__init__(concurrency)
        self._walks: deque[_Turn] = deque()  # those that have announced a read, by turns
        self._ranges: dict[ScanRange, _Turn] = {}
        self._waiting: dict[ScanRange, _Turn] = {}
        self._jobs: Iterator[Steps[object]] = iter(())
        self._may_cut = False
        self._is_searching = False  # more than headers is under way

    def _do(self, steps: Steps[T]) -> T:
        results: list[T] = []

        def collect() -> Steps[None]:
            results.append((yield from steps))

        self.run([collect()])
        return results[0]

    def run(self, jobs: Iterable[Steps[object]] = ()) -> None:
        """Do all of these, several at a time, and cut ranges off where there are too few of
        them.

        What one of them raises ends all.
        """
        self._jobs = iter(jobs)
        self._may_cut = True
        try:
            while self._fill() and not self._closed:
                self._run_round()
        finally:
            for one in (*self._walks, *self._waiting.values(), *self._ranges.values()):
                one.close()
            self._walks.clear()
            self._waiting.clear()
            self._ranges.clear()

    def _fill(self) -> bool:
        """Have as many reads under way as are allowed; whether there are any."""
        while len(self._walks) < self._limit():
            steps, scan_range = self._next_job(), None
            if steps is None:
                scan_range = self._next_range()
                if scan_range is None:
                    break
                steps = scan_range.explore(scan_range.read_at)
            one = _Turn(steps, scan_range)
            if scan_range is not None:
                self._ranges[scan_range] = one
            self._go_on(one)
        return bool(self._walks)

    def _limit(self) -> int:
        """How many reads there may be under way."""
        return self._concurrency.limit

    def _next_job(self) -> Steps[object] | None:
        return next(self._jobs, None)

    def _next_range(self) -> ScanRange | None:
        """A range, if anything has changed since there was none: a search costs more than a hop."""
        if not self._may_cut:
            return None
        with self._changed:
            scan_range = self._cut()
        self._may_cut = scan_range is not None
        return scan_range

    def _run_round(self) -> None:
        """Let each walk read what it asked for, and ask for its next.

        This loop is what a hop costs here.
        """
        walks, count = self._walks, len(self._walks)
        are_hops, self._is_searching = not self._is_searching, False
        before = perf_counter()
        for _ in range(count):
            one = walks.popleft()
            try:
                next(one.hops)
            except StopIteration as end:
                self._go_on(one, end.value)
            except Exception as error:
                self._go_on(one, error=error)
            else:
                walks.append(one)
        if are_hops:  # from a read's announcement until its turn: a round
            self._concurrency.note(perf_counter() - before, count)

    def _go_on(self, one: _Turn, hopped: object = None, error: Exception | None = None) -> None:
        """Let one walk go on from what its last hops came to, until it asks for its next read."""
        while True:
            try:
                awaited = one.steps.throw(error) if error else one.steps.send(hopped)
            except StopIteration:
                self._over(one)
                return
            one.hops, hopped, error = _NO_HOPS, None, None
            if isinstance(awaited, ScanRange):
                self._waiting[awaited] = one
                return
            if awaited is None:
                self._is_searching = True
                break
            one.hops = awaited
            try:
                next(awaited)
                break
            except StopIteration as end:
                hopped = end.value
            except Exception as caught:
                error = caught
        self._walks.append(one)

    def _over(self, one: _Turn) -> None:
        """A walk has ended; the walk that waits for it goes on."""
        self._may_cut = True
        if one.scan_range is None:
            return
        self._ranges.pop(one.scan_range)
        with self._changed:
            self._end(one.scan_range)
        waiting = self._waiting.pop(one.scan_range, None)
        if waiting is not None:
            self._go_on(waiting)

    def _give_up(self, scan_range: ScanRange) -> None:
        super()._give_up(scan_range)
        if scan_range in self._ranges:
            self._ranges[scan_range].close()

    def _tell(self) -> None:
        self._may_cut = True


class _Job:
    """A scan that another thread waits for."""

    __slots__ = ("error", "landed", "over", "start", "walk")

    def __init__(self, walk: Walk, start: int) -> None:
        self.walk, self.start = walk, start
        self.landed = start
        self.error: Exception | None = None
        self.over = threading.Event()


class ReadaheadScannerThread(ReadaheadScanner):
    """The scanner in a thread of its own, which scans the tars of other threads.

    Close it before the threads that wait in it are joined.
    """

    def __init__(self, concurrency: AdaptiveConcurrency, callers: int) -> None:
        """``callers``: the threads that call :meth:`scan`, each of which may have a read of its own
        under way while it does not wait here.
        """
        super().__init__(concurrency)
        self._callers = callers
        self._scans: set[_Job] = set()  # what they wait for here
        self._asked: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="tar-readahead", daemon=True)
        self._thread.start()

    def scan(
        self, read_at: ReadAt, start: int, end: int, into: MemberColumns, hint: Hint | None = None
    ) -> int:
        """What ``tar.scan`` does; the calling thread waits.

        Raises Cancelled where the scanner is closed.
        """
        job = _Job(Walk(read_at, end, into, hint), start)
        with self._changed:
            if self._closed:
                raise Cancelled
            self._scans.add(job)
            self._asked.put(job)
        job.over.wait()
        with self._changed:
            self._scans.remove(job)
        if job.error is not None:
            raise job.error
        return job.landed

    def close(self) -> None:
        """End what is under way, and the thread."""
        self._asked.put(None)
        self._thread.join()

    def _serve(self) -> None:
        try:
            self.run()
        finally:
            with self._changed:
                self._closed = True
                for job in self._scans:
                    if not job.over.is_set():
                        job.error = Cancelled()
                        job.over.set()

    def _limit(self) -> int:
        return max(1, self._concurrency.limit - self._callers + len(self._scans))

    def _next_job(self) -> Steps[object] | None:
        """The next scan that was asked for; waits for one where there is nothing else to do."""
        if self._closed or (self._walks and self._asked.empty()):
            return None
        job = self._asked.get()
        if job is None:
            self._closed = True
            return None
        return self._scan(job)

    def _scan(self, job: _Job) -> Steps[None]:
        try:
            job.landed = yield from self.scanning(job.walk, job.start, SplitPolicy())
        except Exception as error:
            job.error = error
        job.over.set()
