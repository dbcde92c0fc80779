"""Threads that walk tars together, each with one read under way: for sources that take no hints.

What they are to make of what they find, chains.py says.
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
"""Threads that one process bears: beyond that they wait for one another
more than for the source.
"""


class ThreadedScanner(ScanMerger):
    """Threads that walk tars together, whoever has nothing to do helping where most is left.

    Those who call :meth:`stitch` or :meth:`scan` are of the team; :meth:`fill` starts others. In
    all they are no more than ``pace.limit``, and each has one read under way.
    """

    def __init__(self, pace: AdaptiveConcurrency) -> None:
        super().__init__(pace)
        self._threads: list[threading.Thread] = []
        self._working = 0

    def scan(
        self, read_at: ReadAt, start: int, end: int, into: MemberColumns, hint: Hint | None = None
    ) -> int:
        """What ``tar.scan`` does, for one of the team; the others help when they have time."""
        split_policy = SplitPolicy()
        try:
            return self._do(self.scanning(Walk(read_at, end, into), start, split_policy))
        finally:
            with self._changed:  # whoever opened the file will close it now
                self._changed.wait_for(lambda: not split_policy.chains)

    # --- those who help ---------------------------------------------------------------------------

    def fill(self) -> None:
        """Start threads up to what the pace allows."""
        with self._changed:
            while not self._closed and self._working < self._pace.limit - 1:
                thread = threading.Thread(target=self._work, name="tar-chain", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads to be had: fewer will do
                    return
                self._threads.append(thread)
                self._working += 1

    def help(self) -> None:
        """Walk chains until the team is closed; for a thread that has nothing else to do."""
        while (chain := self._cut_when_possible(lambda: self._closed)) is not None:
            self._run(chain)

    def close(self, patience: float | None = None) -> None:
        """End all chains, and wait for the threads: for each to its end,
        or ``patience`` for all.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = None if patience is None else perf_counter() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - perf_counter()))
            while not thread.is_alive() and Path(f"/proc/self/task/{thread.native_id}").exists():
                sleep(0)  # Python is through with it, the kernel not quite; fork would see it

    def _work(self) -> None:
        """A thread: walk chain after chain, until the team is closed or the pace slows down."""
        while (chain := self._cut_when_possible(self._leaves)) is not None:
            self._run(chain)

    def _leaves(self) -> bool:
        """Whether a thread is to end, which is then no longer counted; the lock is held."""
        if self._closed or self._working >= self._pace.limit:
            self._working -= 1
            return True
        return False

    def _do(self, steps: Steps[T]) -> T:
        """Do it all, helping others while it waits for a chain."""
        while True:
            try:
                awaited = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            assert isinstance(awaited, ScanRange)
            self._help_until_done(awaited)

    def _help_until_done(self, chain: ScanRange) -> None:
        while (other := self._cut_when_possible(lambda: chain.done)) is not None:
            self._run(other)

    def _cut_when_possible(self, enough: Callable[[], bool]) -> ScanRange | None:
        """A chain cut off where most is left to walk, as soon as there is
        one; None if ``enough()``.
        """
        with self._changed:
            while not enough():
                chain = self._cut()
                if chain is not None:
                    return chain
                self._changed.wait()
        return None

    def _run(self, chain: ScanRange) -> None:
        try:
            finish(chain.explore(self._reader(chain)))
        finally:
            with self._changed:
                self._end(chain)

    def _reader(self, chain: ScanRange) -> ReadAt:
        """``read_at`` for one chain: timed, and ended when nobody needs it any more."""
        read_at, note = chain.read_at, self._pace.note

        def read(offset: int, length: int) -> bytes:
            if chain.cancelled or self._closed:
                raise Cancelled
            before = perf_counter()
            data = read_at(offset, length)
            if length == BLOCK and note(perf_counter() - before):
                self.fill()
            return data

        return read
