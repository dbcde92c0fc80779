"""The read cache of a mount as the supervisor watches it: its health, and its idle workers."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import trio

from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import holds_removed
from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import REQUESTS, SharedStats
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.server.child_process import Children
from imagenetfs.system.process import KEEPER

log = logging.getLogger(__name__)

_TELL_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_IDLE_LOOK_SECONDS = 5.0
_KEEP_SECONDS = 10.0


class CacheHealthReporter:
    """Says in the log when the workers' caches step aside, a line a minute at
    most, and when they are back.
    """

    def __init__(self, stats: SharedStats, directory: Path) -> None:
        self._stats = stats
        self._directory = directory
        self._told = False
        self._next_line = 0.0

    async def run(self) -> None:
        """Look once a second; never returns."""
        while True:
            self.look()
            await trio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Look at the shared statistics, and say what is to be said."""
        now = time.monotonic()
        trouble = self._stats.cache_trouble(time.monotonic_ns())
        if now < self._next_line or not (trouble or self._told):
            return
        self._next_line, self._told = now + _TELL_SECONDS, bool(trouble)
        if trouble:
            log.warning(
                "the cache in %s steps aside (%s): what it does not have is read from the source "
                "and not kept; it tries again every few seconds",
                self._directory,
                os.strerror(trouble),
            )
        else:
            log.info("the cache in %s keeps what is read again", self._directory)


class CacheJanitor:
    """Does for idle workers what busy ones do for themselves while they read.

    A worker lets go of segments that were evicted, and gives space back where other programs
    fill the disk, with its next request; until that comes it waits in the kernel. So every few
    seconds a child looks at the disk, which may hang if it is broken, and workers that sit idle on
    what is gone are told to leave: the pool puts others in their place.
    """

    def __init__(self, stats: SharedStats, cache: BlockCache) -> None:
        self._stats = stats
        self._cache = cache
        self._requests: dict[int, int] = {}
        self._reads = 0

    async def run(self, children: Children) -> None:
        """Look after idle workers and after the disk; never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._release_segments)
            nursery.start_soon(self._watch_disk, children)

    async def _release_segments(self) -> None:
        while True:
            for pid in self._idle():
                if holds_removed(pid):
                    os.kill(pid, signal.SIGTERM)
            await trio.sleep(_IDLE_LOOK_SECONDS)

    async def _watch_disk(self, children: Children) -> None:
        while True:
            if self._was_read():
                await trio.sleep(_IDLE_LOOK_SECONDS)
                continue
            again = trio.current_time() + _KEEP_SECONDS
            try:
                await children.run(self._keep_floor, "keeping the cache", KEEPER)
            except OSError as error:
                log.warning("the cache is not looked after: %s", error.strerror)
            await trio.sleep_until(again)

    def _was_read(self) -> bool:
        """Whether the cache was read since the last look, by a worker who saw to its disk then."""
        counters = self._stats.counters()
        before, self._reads = self._reads, counters["cache_hits"] + counters["cache_misses"]
        return self._reads != before

    def _idle(self) -> list[int]:
        """The processes of workers that have had no request since the last look."""
        found, first = [], Counter.FIRST_REQUEST
        for worker in range(MAX_WORKERS):
            row = self._stats.row(worker)
            requests = sum(row[first : first + len(REQUESTS)])
            idle = self._requests.get(worker) == requests and not row[Counter.BUSY_SINCE]
            self._requests[worker] = requests
            # Cleared when it is reaped, which this very process does: no other
            # can have its number yet.
            if idle and row[Counter.PID]:
                found.append(int(row[Counter.PID]))
        return found

    def _keep_floor(self) -> None:
        try:
            self._cache.keep_floor()
        except OSError as error:
            log.debug("the disk of the cache cannot be looked at: %s", error.strerror)
