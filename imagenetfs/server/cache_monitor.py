"""The read cache of a mount: made before the workers are forked, watched
and kept by the supervisor.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory, holds_removed
from imagenetfs.cache.inflated_arrays import InflatedArrays, Keep
from imagenetfs.cache.quota import Limits
from imagenetfs.cache.volume_writer import Pieces
from imagenetfs.fuse.stats import REQUESTS, Counter, SharedStats
from imagenetfs.index.archives import Kind
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.read.cache_backend import CacheBackend, Volumes
from imagenetfs.server.child_process import Child
from imagenetfs.source.source import REVALIDATE_SECONDS
from imagenetfs.system.process import KEEPER
from imagenetfs.tree.catalogue import Catalogue, archives_of

log = logging.getLogger(__name__)

_TELL_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_IDLE_LOOK_SECONDS = 5.0
_KEEP_SECONDS = 10.0


def cache_backend(
    catalogue: Catalogue,
    directory: Path,
    limits: Limits,
    revalidate: float = REVALIDATE_SECONDS,
) -> CacheBackend:
    """Reads through the cache in a directory. Raises PlaceRefusedError, NoSpaceError."""
    cache = BlockCache(CacheDirectory(directory), limits)
    return CacheBackend(cache, volumes_of(catalogue), catalogue.source, revalidate)


def volumes_of(catalogue: Catalogue) -> Volumes:
    """The volumes of all archives, each with the version that it belongs to."""
    versions: dict[int, str] = {}
    for version in catalogue.versions:
        for number in archives_of(version.splits):
            versions.setdefault(number, version.name.decode())
    return Volumes(catalogue.index, catalogue.source, versions)


def inflated_arrays(catalogue: Catalogue, cached: CacheBackend | None) -> InflatedArrays:
    """A catalogue's deflated arrays, unpacked into the cache where there is one.

    Make it before forking.
    """
    keep: Keep | None = None
    if cached is not None:
        cache, volumes = cached.cache, cached.volumes

        def keep(archive: int, pieces: Pieces, moved: Callable[[], None]) -> None:
            cache.writer().write(volumes.of_unpacked(archive), pieces, moved)

    paths = catalogue.paths_of(Kind.NPZ)
    return InflatedArrays(catalogue.source, paths, catalogue.index.array, keep=keep)


class CacheHealthReporter:
    """Says in the log when the workers' caches step aside, a line a minute at
    most, and when they are back.
    """

    def __init__(self, stats: SharedStats, directory: Path, limits: Limits) -> None:
        self._stats = stats
        self._directory = directory
        self._limits = limits
        self._told = False
        self._next_look = self._next_line = 0.0

    def tick(self) -> None:
        """Call it now and then; looks at the board once a second."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
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

    def facts(self) -> dict[str, Any]:
        """What status.json says of the cache."""
        return {"directory": str(self._directory), "size": self._limits.size}


class CacheJanitor:
    """Does for idle workers what busy ones do for themselves while they read.

    A worker lets go of segments that were thrown out, and gives space back where other programs
    fill the disk, with its next request; until that comes it waits in the kernel. So every few
    seconds a child looks at the disk, which may hang if it is broken, and workers that sit idle on
    what is gone are told to leave: the pool puts others in their place.
    """

    def __init__(self, stats: SharedStats, cache: BlockCache) -> None:
        self._stats = stats
        self._cache = cache
        self._next_look = self._next_child = 0.0
        self._requests: dict[int, int] = {}
        self._reads = 0
        self._child: Child | None = None

    def tick(self, session_fd: int) -> None:
        """Call it now and then."""
        if self._child is not None and self._child.ended():
            self._child = None
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _IDLE_LOOK_SECONDS
        for pid in self._idle():
            if holds_removed(pid):
                os.kill(pid, signal.SIGTERM)
        if now >= self._next_child and self._child is None and not self._was_read():
            self._next_child = now + _KEEP_SECONDS
            try:
                self._child = Child(session_fd, self._keep_floor, "keeping the cache", KEEPER)
            except OSError as error:
                log.warning("the cache is not looked after: %s", error.strerror)

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
        self._cache.after_fork()
        try:
            self._cache.keep_floor()
        except OSError as error:
            log.debug("the disk of the cache cannot be looked at: %s", error.strerror)

    def kill(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child = None
