"""Threads that walk tars together, each with one read under way: for sources that heed no hints.

The rules by which their ranges are adopted are those of parallel_scan.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import TypeVar

from imagenetfs.formats.tar.concurrency import AdaptiveConcurrency
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.formats.tar.merge import ScanMerger
from imagenetfs.formats.tar.speculation import Cancelled, ScanRange, SplitPolicy
from imagenetfs.formats.tar.walk import Hint, MemberColumns, ReadAt, Steps, Walk, finish

T = TypeVar("T")

BEARABLE = 16
"""Threads that one process bears: more of them wait for one another more than for the source."""


class ThreadedScanner(ScanMerger):
    """Threads that walk tars together; a thread with nothing to do helps where most is left.

    The threads that call :meth:`merge` or :meth:`scan` count; :meth:`fill` starts others. In all
    they are no more than ``concurrency.limit``, and each has one read under way.
    """

    def __init__(self, concurrency: AdaptiveConcurrency) -> None:
        super().__init__(concurrency)
        self._threads: list[threading.Thread] = []
        self._working = 0

    def scan(
        self, read_at: ReadAt, start: int, end: int, into: MemberColumns, hint: Hint | None = None
    ) -> int:
        """What ``tar.scan`` does, in the calling thread; idle threads help."""
        split_policy = SplitPolicy()
        try:
            return self._do(self.scanning(Walk(read_at, end, into), start, split_policy))
        finally:
            with self._changed:  # the caller closes the file as soon as this returns
                self._changed.wait_for(lambda: not split_policy.ranges)

    # --- helping threads --------------------------------------------------------------------------

    def fill(self) -> None:
        """Start threads up to the limit."""
        with self._changed:
            while not self._closed and self._working < self._concurrency.limit - 1:
                thread = threading.Thread(target=self._work, name="tar-scan", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads to be had: fewer will do
                    return
                self._threads.append(thread)
                self._working += 1

    def help(self) -> None:
        """Walk ranges until the scanner is closed; for a thread that has nothing else to do."""
        while (scan_range := self._cut_when_possible(lambda: self._closed)) is not None:
            self._run(scan_range)

    def close(self, patience: float | None = None) -> None:
        """End all ranges, and wait for the threads: for each to its end, or for all of them
        ``patience`` seconds.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = None if patience is None else perf_counter() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - perf_counter()))
            while not thread.is_alive() and Path(f"/proc/self/task/{thread.native_id}").exists():
                sleep(0)  # Python has ended it, the kernel not quite; fork would see it

    def _work(self) -> None:
        """A thread: walk range after range, until the scanner is closed or the limit falls."""
        while (scan_range := self._cut_when_possible(self._leaves)) is not None:
            self._run(scan_range)

    def _leaves(self) -> bool:
        """Whether a thread is to end, which is then no longer counted; the lock is held."""
        if self._closed or self._working >= self._concurrency.limit:
            self._working -= 1
            return True
        return False

    def _do(self, steps: Steps[T]) -> T:
        """Do it all, helping other walks while it waits for a range."""
        while True:
            try:
                awaited = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            assert isinstance(awaited, ScanRange)
            self._help_until_done(awaited)

    def _help_until_done(self, scan_range: ScanRange) -> None:
        while (other := self._cut_when_possible(lambda: scan_range.done)) is not None:
            self._run(other)

    def _cut_when_possible(self, enough: Callable[[], bool]) -> ScanRange | None:
        """A range cut off where most is left to walk, as soon as there is one; None if
        ``enough()``.
        """
        with self._changed:
            while not enough():
                scan_range = self._cut()
                if scan_range is not None:
                    return scan_range
                self._changed.wait()
        return None

    def _run(self, scan_range: ScanRange) -> None:
        try:
            finish(scan_range.explore(self._reader(scan_range)))
        finally:
            with self._changed:
                self._end(scan_range)

    def _reader(self, scan_range: ScanRange) -> ReadAt:
        """``read_at`` for one range: timed, and ended when the range is not needed any more."""
        read_at, note = scan_range.read_at, self._concurrency.note

        def read(offset: int, length: int) -> bytes:
            if scan_range.cancelled or self._closed:
                raise Cancelled
            before = perf_counter()
            data = read_at(offset, length)
            if length == BLOCK and note(perf_counter() - before):
                self.fill()
            return data

        return read
