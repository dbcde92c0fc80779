"""What to stage: from the names of versions and splits to byte ranges of the cache's volumes."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from imagenetfs.byte_range import ByteRange, ByteRanges
from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.fetcher import ChangedError
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.cache.inventory import list_volumes
from imagenetfs.cache.quota import QuotaExceededError
from imagenetfs.cache.stager import StageRange, stage_ranges
from imagenetfs.errors import (
    ArchiveError,
    ImagenetfsError,
    SourceChangedError,
    UsageError,
    did_you_mean,
)
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.member_table import MemberTable
from imagenetfs.read.cache_backend import FileOrigin, Volumes
from imagenetfs.read.recent_parts import Part, RecentParts
from imagenetfs.source.source import Source, SourceFile
from imagenetfs.tree.catalogue import Catalogue, archives_of
from imagenetfs.tree.class_listing import rows_below
from imagenetfs.tree.dataset import Split

STREAMS = 4
"""Requests under way at once, unless told otherwise."""

_MOST_AHEAD = 64
"""Stretches of one part that are staged ahead before it is looked what readers want now."""


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
    """A volume to stage: an archive from ``start`` on, or the files of a directory. In bytes."""

    archive: int
    inner: int
    size: int
    start: int = 0


class StagePlan:
    """All that belongs to some splits, in archive order but for what is read next as far as that is
    known (:attr:`recent`); ``total`` bytes, those of the shard alone.
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
        self._splits = splits
        self._items = [item for n in archives_of(splits) for item in self._items_of(n)]
        whole = sum(item.size for item in self._items)
        number, parts = shard
        self._low, self._high = whole * (number - 1) // parts, whole * number // parts
        self._files = _OwnFiles(catalogue.source)
        self._given: defaultdict[bytes, ByteRanges]
        self._ahead: _Ahead | None
        self._places: defaultdict[int, list[tuple[_Item, int]]]
        self.recent: RecentParts | None = None
        """What readers have come to: that is staged first."""
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
        roots = {self._index.root(item.archive) for item in self._items}
        titles = set(map(self._index.title, roots))
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
        elif entry.kind is Kind.ZIP:
            yield self._part_of_zip(archive)
        elif entry.depth:
            part = self._index.extent(archive)
            yield _Item(archive, OUTER, part.end - part.start, part.start)
        else:
            status = self._source.status(entry.path)
            yield _Item(archive, OUTER, status.st_size if status is not None else 0)

    def _part_of_zip(self, archive: int) -> _Item:
        """From the first to the last member of the splits: a zip may hold others too."""
        members = self._index.container(archive).members
        assert isinstance(members, MemberTable)
        backends = [s.backend for s in self._splits if archive in s.backend.archives]
        directories = {below for backend in backends for below in backend.directories(archive)}
        spans = [members.span(rows_below(members, below)) for below in directories]
        start = min((start for start, end in spans if end), default=0)
        return _Item(archive, OUTER, max(end for _, end in spans) - start, start)

    def __iter__(self) -> Iterator[StageRange]:
        """The stretches to fetch, each once, but for what cannot be read (:attr:`left_out`)."""
        self.left_out = {title: e for title, e in self.left_out.items() if is_final(e)}
        self._given = defaultdict(ByteRanges)
        self._ahead = _Ahead(self.recent) if self.recent is not None else None
        self._places = defaultdict(list)
        at = 0
        for item in self._items:
            self._places[item.archive].append((item, at))
            at += item.size
        at = 0
        for item in self._items:
            begin, at = at, at + item.size
            for piece in self._of(item, begin):
                yield from self._before()
                yield from self._anew(piece)

    def _of(self, item: _Item, begin: int) -> Iterator[StageRange]:
        """The stretches of what begins at this byte of all, in the shard."""
        title = self._index.title(item.archive)
        low, high = self._low - begin, self._high - begin
        if low >= item.size or high <= 0 or title in self.left_out:
            return
        try:
            yield from self._cut(item, low, high)
        except ImagenetfsError as error:
            self.left_out[title] = error

    def _before(self) -> Iterator[StageRange]:
        """The stretches that readers want sooner than the next one in archive order."""
        while self._ahead is not None and (part := self._ahead.next()) is not None:
            given = 0
            for item, begin in self._places.get(part.archive, ()):
                found = _part_of(item, part)
                if found is None:
                    continue
                for piece in self._of(found, begin + found.start - item.start):
                    for anew in self._anew(piece):
                        given += 1
                        yield anew
                    if given >= _MOST_AHEAD:
                        break
            if given >= _MOST_AHEAD:  # of something large: perhaps readers are elsewhere by now
                self._ahead.put_back(part)

    def _anew(self, piece: StageRange) -> Iterator[StageRange]:
        """What of a stretch was not given out yet."""
        given, whole = self._given[piece.volume.key], ByteRange(piece.start, piece.end)
        for start, end in given.gaps(whole):
            yield replace(piece, start=start, end=end)
        given.add(whole)

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
        place = members.data.place if isinstance(members, ArrayTable) else item.start
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


def _part_of(item: _Item, part: Part) -> _Item | None:
    """As much of an item as lies in a part; None where nothing does."""
    if part.archive != item.archive:
        return None
    if not part.end:  # the files of a directory
        return item if item.inner == part.inner else None
    start, end = max(part.start, item.start), min(part.end, item.start + item.size)
    return replace(item, start=start, size=end - start) if start < end else None


class _Ahead:
    """In which order parts are staged ahead: that in which something was missing last, then those
    that were listed.
    """

    def __init__(self, recent: RecentParts) -> None:
        self._recent = recent
        self._seen = 0
        self._listed: deque[Part] = deque()
        self._had: set[Part] = set()

    def next(self) -> Part | None:
        """The next one; each once, unless it is put back."""
        more, self._seen = self._recent.listed_since(self._seen)
        self._listed.extend(more)
        part = self._recent.read_last()
        while part is None or part in self._had:
            if not self._listed:
                return None
            part = self._listed.popleft()
        self._had.add(part)
        return part

    def put_back(self, part: Part) -> None:
        """There is more of it."""
        self._had.discard(part)
        self._listed.append(part)


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


def is_final(error: Exception) -> bool:
    """Whether it will be no better later on in this mount."""
    return isinstance(error, ChangedError | SourceChangedError | ArchiveError)
