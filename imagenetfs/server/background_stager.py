"""Staging beside a running mount: a process that fills the cache while readers are quiet."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence

import trio

from imagenetfs.cache.bypass import BYPASS_SECONDS
from imagenetfs.cache.quota import QuotaExceededError
from imagenetfs.cache.stager import StageProgress, Stager
from imagenetfs.counters import Counter
from imagenetfs.errors import ImagenetfsError
from imagenetfs.fuse.progress import ProgressRow
from imagenetfs.fuse.stats import INDEXER, STAGER, SharedStats
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.read.cache_backend import CacheBackend
from imagenetfs.server.child_process import Children
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.stage_plan import StagePlan, is_final, splits_of
from imagenetfs.system.process import STAGER as STAGER_NAME
from imagenetfs.units import in_bytes

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0
_MOST_ENDS = 5
_TRY_AGAIN_SECONDS, _MOST_TRIES = 15.0, 60
"""Where the source cannot be read: for a quarter of an hour, a server's restart."""
_QUIET_SECONDS = 0.25
"""Readers that asked the source for something less than this ago are at work: a
training step lies between.
"""


class _Readers:
    """Whether a mount's workers ask the source for something, as their rows of the shared
    statistics have it; or the indexer, for whose tables listings wait.
    """

    def __init__(self, stats: SharedStats) -> None:
        self._stats = stats
        self._requests = -1
        self._busy_until = 0.0

    def are_busy(self) -> bool:
        """Whether they did so just now."""
        now, requests, waiting = time.monotonic(), 0, False
        for worker in range(MAX_WORKERS):
            row = self._stats.row(worker)
            requests += row[Counter.SOURCE_REQUESTS]
            waiting = waiting or row[Counter.SOURCE_SINCE] > 0
        requests += self._stats.row(INDEXER)[Counter.SOURCE_REQUESTS]
        if waiting or requests != self._requests:
            self._requests = requests
            self._busy_until = now + _QUIET_SECONDS
        return now < self._busy_until


class BackgroundStager:
    """Stages in a process of its own while the mount serves; yields to those who read."""

    def __init__(
        self, context: MountContext, cached: CacheBackend, names: Sequence[str], streams: int
    ) -> None:
        """Raises UsageError for a version or split that is not there."""
        self._splits = splits_of(context.catalogue, names)
        self._names = names
        self._context = context
        self._cached = cached
        self._streams = streams
        self._row = ProgressRow(context.stats.row(STAGER))

    async def run(self, children: Children) -> None:
        """Stage until it is done; anew where the process was killed, for what is there is not read
        again.
        """
        ends = 0
        while ends < _MOST_ENDS:
            try:
                child = await children.run(self._stage, "staging", STAGER_NAME, row=STAGER)
                ends = _MOST_ENDS if child.succeeded else ends + 1
            except OSError as error:
                log.warning("staging could not start: %s", error.strerror)
            finally:
                self._row.stop()
            if ends < _MOST_ENDS:
                await trio.sleep(_PAUSE_SECONDS)

    def _stage(self) -> None:
        began, title = time.monotonic(), ", ".join(self._names)
        plan = StagePlan(
            self._context.catalogue, self._cached.volumes, self._splits, self._context.inflated
        )
        plan.recent = self._context.recent
        log.info("staging %s: %d bytes", title, plan.total)
        self._tell_what_does_not_fit(plan.total, title)
        self._row.begin()
        progress = self._run(plan, title)
        self._row.update(progress.done, plan.total, progress.fetched)
        log.info(
            "staged %s: %d bytes are local, %d of them fetched in %.1f s",
            *(title, progress.done, progress.fetched, time.monotonic() - began),
        )

    def _tell_what_does_not_fit(self, total: int, title: str) -> None:
        """Say ahead in status that the cache will be full before all is there."""
        with contextlib.suppress(OSError):  # the disk's trouble is told by the cache
            room = self._cached.cache.quota.capacity()
            if total > room:
                self._context.catalogue.late_warnings.tell(
                    f"staging {title} cannot end: it has {in_bytes(total)}, and the cache has room "
                    f"for {in_bytes(room)}. The rest is read from the source; a larger "
                    "--cache-size, or a larger disk, takes it all."
                )

    def _run(self, plan: StagePlan, title: str) -> StageProgress:
        """Until it is done or the cache is full; where disk or source fail,
        every now and then again.
        """
        readers, told, tries = _Readers(self._context.stats), set[str](), 0
        while True:
            cache = self._cached.cache
            stager = Stager(cache, streams=self._streams, others_read=readers.are_busy)
            try:
                stager.run(plan, lambda now: self._row.update(now.done, plan.total, now.fetched))
            except QuotaExceededError:
                log.warning("staging %s stops: the cache is as large as it may be", title)
                return stager.progress
            except OSError:  # the log has it from the cache
                time.sleep(BYPASS_SECONDS)
                continue
            except ImagenetfsError:  # the source, again and again: what is left out says so
                pass
            left_out = {**plan.left_out, **stager.left_out}
            for archive, error in left_out.items():
                if archive not in told:
                    log.warning("%s is not all staged: %s", archive, error)
                    told.add(archive)
            tries = 0 if stager.progress.fetched else tries + 1
            if tries >= _MOST_TRIES or all(map(is_final, left_out.values())):
                return stager.progress
            time.sleep(_TRY_AGAIN_SECONDS)
