"""What to stage, from the names of versions and splits; and the process that does
so beside a running mount.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from imagenetfs.cache.bypass import BYPASS_SECONDS
from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.fetcher import ChangedError
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.cache.inventory import list_volumes
from imagenetfs.cache.quota import QuotaExceededError
from imagenetfs.cache.stager import Progress, Stager, StageRange, stage_ranges
from imagenetfs.errors import (
    ArchiveError,
    ImagenetfsError,
    SourceChangedError,
    UsageError,
    did_you_mean,
)
from imagenetfs.fuse.stats import INDEXER, STAGER, Counter, SharedStats
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.read.cache_backend import CacheBackend, FileOrigin, Volumes
from imagenetfs.server.child_process import Child
from imagenetfs.source.source import Source, SourceFile
from imagenetfs.system.process import STAGER as STAGER_NAME
from imagenetfs.tree.catalogue import Catalogue, archives_of
from imagenetfs.tree.dataset import Split

log = logging.getLogger(__name__)

STREAMS = 4
"""Requests under way at once, unless told otherwise."""

_PAUSE_SECONDS = 5.0
_MOST_ENDS = 5
_TRY_AGAIN_SECONDS, _MOST_TRIES = 15.0, 60
"""Where the source cannot be read: for a quarter of an hour, a server's restart."""
_QUIET_SECONDS = 0.25
"""Readers that asked the source for something less than this ago are at work: a
training step lies between.
"""


def splits_of(catalogue: Catalogue, names: Sequence[str]) -> list[Split]:
    """The splits that VERSION or VERSION/SPLIT name.

    Raises UsageError for one that is not there.
    """
    versions = {version.name.decode(): version for version in catalogue.versions}
    chosen: list[Split] = []
    for name in names:
        version_name, _, split_name = name.partition("/")
        version = versions.get(version_name)
        if version is None:
            raise UsageError(
                f"There is no version {version_name}: there are {', '.join(versions)}."
                f"{did_you_mean(version_name, versions)}"
            )
        splits = {split.name.decode(): split for split in version.splits}
        if split_name and split_name not in splits:
            raise UsageError(
                f"{version_name} has no split {split_name}: it has {', '.join(splits)}."
                f"{did_you_mean(split_name, splits)}"
            )
        chosen += [splits[split_name]] if split_name else version.splits
    return chosen


@dataclass(frozen=True, slots=True)
class _Item:
    """A volume to stage: all of an archive, or the files of a directory. ``size`` in bytes."""

    archive: int
    inner: int
    size: int


class StagePlan:
    """All that belongs to some splits, in archive order; ``total`` bytes,
    those of the shard alone.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        volumes: Volumes,
        splits: Sequence[Split],
        unpacked: InflatedArrays,
        shard: tuple[int, int] = (1, 1),
    ) -> None:
        """``shard``: (I, N), the I-th of N parts alike in bytes.

        Raises the source's and the index's errors.
        """
        self._source = catalogue.source
        self._index = catalogue.index
        self._volumes = volumes
        self._unpacked = unpacked
        self._items = [item for n in archives_of(splits) for item in self._items_of(n)]
        whole = sum(item.size for item in self._items)
        number, parts = shard
        self._low, self._high = whole * (number - 1) // parts, whole * number // parts
        self._files = _OwnFiles(catalogue.source)
        self.left_out: dict[str, Exception] = {}
        """The archives of which nothing can be staged, and why; known when they were come to."""

    @property
    def total(self) -> int:
        """Bytes."""
        return self._high - self._low

    def kept(self, directory: CacheDirectory) -> int:
        """Bytes of it that a cache holds, by what its segments say; the source is not asked.

        Raises OSError.
        """
        source = str(self._source.path)
        titles = {self._index.title(item.archive) for item in self._items}
        there = (
            one.bytes
            for one in list_volumes(directory)
            if one.source == source and one.archive.partition(": ")[0] in titles
        )
        return min(sum(there), self.total)

    def _items_of(self, archive: int) -> Iterator[_Item]:
        entry = self._index.archives[archive]
        if entry.kind is Kind.DIRECTORY:
            for inner in (OUTER, *range(len(self._index.nested(archive)))):
                if self._index.extent(archive, inner).kind is Kind.DIRECTORY:
                    members = self._index.container(archive, inner).members
                    size = sum(members.size(row) for row in members.regular().tolist())
                    yield _Item(archive, inner, size)
        elif entry.kind is Kind.NPZ:
            yield _Item(archive, OUTER, self._index.array(archive).size)
        else:
            status = self._source.status(entry.path)
            yield _Item(archive, OUTER, status.st_size if status is not None else 0)

    def __iter__(self) -> Iterator[StageRange]:
        """The stretches to fetch, but for what cannot be read (:attr:`left_out`)."""
        at = 0
        self.left_out = {title: e for title, e in self.left_out.items() if _is_final(e)}
        for item in self._items:
            begin, at = at, at + item.size
            title = self._index.title(item.archive)
            if at <= self._low or begin >= self._high or title in self.left_out:
                continue
            try:
                yield from self._cut(item, self._low - begin, self._high - begin)
            except ImagenetfsError as error:
                self.left_out[title] = error

    def _cut(self, item: _Item, low: int, high: int) -> Iterator[StageRange]:
        """The stretches of an item that lie in its bytes [low, high)."""
        entry = self._index.archives[item.archive]
        if entry.kind is Kind.DIRECTORY:
            yield from self._of_files(item, low, high)
            return
        members = self._index.container(item.archive).members
        if isinstance(members, ArrayTable) and not members.data.stored:
            volume, unpacked = self._volumes.of_unpacked(item.archive), self._unpacked
            unpacked.keep(item.archive, unpacked.kept_at(item.archive))  # it is nothing for threads
            brought = unpacked.was_brought(item.archive)
            ends = max(0, low), min(high, item.size)
            yield from stage_ranges(volume, *ends, item.size, _NotTaken, brought)
            return
        volume, origin = self._volumes.of_archive(item.archive)
        place = members.data.place if isinstance(members, ArrayTable) else 0
        start, end = place + max(0, low), place + min(high, item.size)
        own = self._files.own(origin)
        yield from stage_ranges(volume, start, end, volume.size, own)

    def _of_files(self, item: _Item, low: int, high: int) -> Iterator[StageRange]:
        container = self._index.container(item.archive, item.inner)
        known = self._volumes.of_files(item.archive, item.inner)
        at = 0
        for row in container.members.regular().tolist():
            begin, at = at, at + container.members.size(row)
            if low <= begin < high:
                origin = known.origin(container, row, self._source.open)
                start, end = origin.start, origin.start + origin.size
                yield from stage_ranges(known.volume, start, end, end, self._files.own(origin))


class _NotTaken:
    """The origin of what a deflated array unpacks to, which the cache takes whole or not at all."""

    def read(self, offset: int, length: int) -> bytes:
        """See :class:`imagenetfs.cache.volume.Origin`."""
        raise QuotaExceededError

    def is_same(self) -> bool:
        """It cannot change."""
        return True

    def forget(self, offset: int, length: int) -> None:
        """Nothing to do."""


class _OwnFiles:
    """The source's files as threads open them: each keeps the last one, which no other thread
    reads.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._own = threading.local()

    def own(self, origin: FileOrigin) -> Callable[[], FileOrigin]:
        """The same origin, by the calling thread's own descriptor."""
        return lambda: replace(origin, open=self._open)

    def _open(self, path: bytes) -> SourceFile:
        own = self._own
        if getattr(own, "path", None) != path:
            if hasattr(own, "stack"):
                own.stack.close()
            own.stack, own.path = contextlib.ExitStack(), None
            own.file = own.stack.enter_context(self._source.opened(path))
            own.path = path
        file: SourceFile = own.file
        return file


def _is_final(error: Exception) -> bool:
    """Whether it will be no better later on in this mount."""
    return isinstance(error, ChangedError | SourceChangedError | ArchiveError)


class _Readers:
    """Whether a mount's workers ask the source for something, as their rows on the board have it;
    or the indexer, for whose tables those wait who list.
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
        self,
        catalogue: Catalogue,
        cached: CacheBackend,
        unpacked: InflatedArrays,
        stats: SharedStats,
        names: Sequence[str],
        streams: int,
    ) -> None:
        """Raises UsageError for a version or split that is not there."""
        self._splits = splits_of(catalogue, names)
        self._names = names
        self._catalogue = catalogue
        self._cached = cached
        self._unpacked = unpacked
        self._stats = stats
        self._streams = streams
        self._child: Child | None = None
        self._ends = 0
        self._not_before = 0.0

    @property
    def busy(self) -> bool:
        """Whether it is at work."""
        return self._child is not None

    def tick(self, session_fd: int) -> None:
        """Reap, and start: again after it was killed, for what is there is not read again."""
        if self._child is not None:
            if not self._child.ended():
                return
            self._ends = _MOST_ENDS if self._child.succeeded else self._ends + 1
            self._child = None
            self._not_before = time.monotonic() + _PAUSE_SECONDS
        if self._ends >= _MOST_ENDS or time.monotonic() < self._not_before:
            return
        try:
            self._child = Child(session_fd, self._stage, "staging", STAGER_NAME)
        except OSError as error:
            log.warning("staging could not start: %s", error.strerror)
            self._not_before = time.monotonic() + _PAUSE_SECONDS

    def _stage(self) -> None:
        self._catalogue.index.after_fork()
        self._unpacked.after_fork()
        self._catalogue.source.count_on(self._stats.row(STAGER))
        self._cached.after_fork(self._stats.cache_meter(STAGER))
        began, title = time.monotonic(), ", ".join(self._names)
        plan = StagePlan(self._catalogue, self._cached.volumes, self._splits, self._unpacked)
        log.info("staging %s: %d bytes", title, plan.total)
        progress = self._run(plan, title)
        log.info(
            "staged %s: %d bytes are local, %d of them fetched in %.1f s",
            *(title, progress.done, progress.fetched, time.monotonic() - began),
        )

    def _run(self, plan: StagePlan, title: str) -> Progress:
        """Until it is done or the cache is full; where disk or source fail,
        every now and then again.
        """
        readers, told, tries = _Readers(self._stats), set[str](), 0
        while True:
            cache = self._cached.cache
            stager = Stager(cache, streams=self._streams, others_read=readers.are_busy)
            try:
                stager.run(plan)
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
            if tries >= _MOST_TRIES or all(map(_is_final, left_out.values())):
                return stager.progress
            time.sleep(_TRY_AGAIN_SECONDS)

    def kill(self) -> None:
        """End it; what it fetched stays."""
        if self._child is not None:
            self._child.kill()
            self._child = None
