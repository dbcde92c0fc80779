"""The scan engine: where an archive is cut into ranges, and which members of a speculative range
the confirmed walk adopts.

This is bookkeeping without I/O of its own. Which walk goes on when, the two back-ends say:
threaded_scanner.py (a thread for each walk) and readahead_scanner.py (one thread for all). The
rules are those of parallel_scan.py.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from imagenetfs.formats.tar.concurrency import AdaptiveConcurrency
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.formats.tar.speculation import LARGE, PROBE, ScanRange, SplitPolicy
from imagenetfs.formats.tar.walk import Steps, Walk, check_length

T = TypeVar("T")

OnOffset = Callable[[int], None]


class ScanMerger(ABC):
    """The ranges of some archives that are being walked, each of which may be cut in two for a
    walk that has nothing to do.
    """

    def __init__(self, concurrency: AdaptiveConcurrency) -> None:
        self._concurrency = concurrency
        self._changed = threading.Condition(threading.Lock())  # guards all of what follows
        self._open: list[ScanRange] = []  # what is being walked and may be cut
        self._closed = False

    @abstractmethod
    def _do(self, steps: Steps[T]) -> T:
        """Do all of it, walking other ranges while it waits; what it returns."""

    # --- the confirmed walk -----------------------------------------------------------------------

    def merge(
        self,
        walk: Walk,
        position: int,
        split_policy: SplitPolicy,
        progress: OnOffset = lambda offset: None,
    ) -> int:
        """Walk on from ``position`` to the archive's end, adopting the members of ranges."""
        return self._do(self.merging(walk, position, split_policy, progress))

    def scanning(self, walk: Walk, start: int, split_policy: SplitPolicy) -> Steps[int]:
        """What ``tar.scan`` does, step by step.

        Where it waits for a range, it yields that range.
        """
        check_length(start, walk.end)
        position, ended = yield from walk.steps(start, PROBE)
        span = max(BLOCK, (position - start) // PROBE)
        if ended or span >= LARGE:
            return position if ended else (yield from walk.steps(position))[0]
        split_policy.expect(span)
        return (yield from self.merging(walk, position, split_policy))

    def merging(
        self,
        walk: Walk,
        position: int,
        split_policy: SplitPolicy,
        progress: OnOffset = lambda offset: None,
    ) -> Steps[int]:
        """As :meth:`merge`, step by step."""
        since = len(walk.into)
        own = ScanRange(position, walk.end, walk, split_policy)
        try:
            while True:
                position, ended = yield from self._walk(own, position)
                progress(position)
                scan_range = own.following
                if ended or walk.overrides or scan_range is None:
                    break
                position, ended = yield from self._take(scan_range, position, walk, since)
                own = self._succeed(scan_range, position, walk)
                if ended:  # there the walk has said what it found behind the end
                    progress(position)
                    break
        finally:
            self._cancel(own)
        if ended:
            return position
        walk.stop = walk.end
        return (yield from walk.steps(position))[0]

    def _walk(self, own: ScanRange, position: int) -> Steps[tuple[int, bool]]:
        """Bring the confirmed walk to where its own range stops, if other walks do not cut it."""
        with self._changed:
            self._open.append(own)
            self._tell()
        try:
            return (yield from own.walk.steps(position))
        finally:
            with self._changed:
                self._open.remove(own)

    def _take(
        self, scan_range: ScanRange, position: int, walk: Walk, since: int
    ) -> Steps[tuple[int, bool]]:
        """Bring the confirmed walk through a range, or as far as the range is of any use."""
        confirmed, ended = walk.into.headers, False
        while position < scan_range.walk.stop and not ended and not walk.overrides:
            is_confirmed = scan_range.is_confirmed(position, confirmed, since)
            if scan_range.done and (position >= scan_range.landing or not scan_range.count):
                break
            if is_confirmed and not scan_range.done:
                yield scan_range
            elif is_confirmed and scan_range.give(position, walk.into):
                position, ended = scan_range.landing, scan_range.landing >= walk.end
            else:
                walk.stop = min(position + 1, walk.end)
                position, ended = yield from walk.steps(position)
        return position, ended

    def _succeed(self, scan_range: ScanRange, position: int, walk: Walk) -> ScanRange:
        """The confirmed walk's next range: what is left of this one, which is given up."""
        with self._changed:
            self._give_up(scan_range)
            own = ScanRange(position, scan_range.walk.stop, walk, scan_range.split_policy)
            own.following = scan_range.following
        return own

    def _cancel(self, scan_range: ScanRange) -> None:
        """End the ranges behind this one."""
        with self._changed:
            following = scan_range.following
            while following is not None:
                self._give_up(following)
                following = following.following

    def _give_up(self, scan_range: ScanRange) -> None:
        scan_range.cancelled = True
        if scan_range in self._open:
            self._open.remove(scan_range)

    # --- ranges: the lock is held -----------------------------------------------------------------

    def _cut(self) -> ScanRange | None:
        """A range cut off where most is left to walk; None where nothing is worth it."""
        longest = max(self._open, key=ScanRange.worth, default=None)
        if longest is None or longest.worth() < 2:
            return None
        scan_range = longest.cut()
        scan_range.split_policy.ranges += 1
        self._open.append(scan_range)
        return scan_range

    def _end(self, scan_range: ScanRange) -> None:
        """The walk of this range has ended."""
        scan_range.done = True
        scan_range.split_policy.ranges -= 1
        if scan_range in self._open:
            self._open.remove(scan_range)
        scan_range.split_policy.learn(scan_range)
        self._tell()

    def _tell(self) -> None:
        """There may be something new to cut, or to adopt."""
        self._changed.notify_all()
