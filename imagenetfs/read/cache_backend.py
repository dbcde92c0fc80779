"""The read path through the block cache: which volume holds a file's bytes, and where they come
from.

A tar or npz is one volume, whole as it stands in the source; the members of a directory of loose
files share one, each from a block of its own on; a deflated array has one for what it unpacks to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.bypass import CacheMeter
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.cache.segment import BLOCK, SEGMENT
from imagenetfs.cache.volume import Identity, Origin, Volume
from imagenetfs.counters import MISSES, WAITING
from imagenetfs.errors import SourceChangedError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.columns import Array
from imagenetfs.index.container import Container
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.table_builder import FindBytes
from imagenetfs.read.backend import MIN_SPLICE_BYTES, FileExtent, archive_changed, file_changed
from imagenetfs.read.header_check import MemberHeader
from imagenetfs.read.recent_parts import RecentParts, part_of
from imagenetfs.source.source import REVALIDATE_SECONDS, Source, SourceFile
from imagenetfs.system.splice import splice_exactly

OpenSource = Callable[[bytes], SourceFile]
Changed = Callable[[bytes, int, int], SourceChangedError]


@dataclass(slots=True)
class FileOrigin:
    """A file of the source from ``start`` on in its volume; what it must be to be kept."""

    open: OpenSource
    path: bytes
    size: int
    mtime_ns: int
    inode: int | None = None
    start: int = 0
    changed: Changed = archive_changed

    def read(self, offset: int, length: int) -> bytes:
        """See :class:`imagenetfs.cache.volume.Origin`."""
        file = self.open(self.path)
        if file.size != self.size:
            raise self.changed(self.path, file.size, self.size)
        return file.read(offset - self.start, length)

    def is_same(self) -> bool:
        """Whether size, time of change and inode still are those of the identity, as the file has
        had them with its last read.
        """
        file = self.open(self.path)
        inode = file.identity[0] if self.inode is not None else None
        return (inode, file.size, file.mtime_ns) == (self.inode, self.size, self.mtime_ns)

    def forget(self, offset: int, length: int) -> None:
        """The kernel keeps what the cache keeps only once."""
        with contextlib.suppress(OSError):
            fd = self.open(self.path).fd
            os.posix_fadvise(fd, offset - self.start, length, os.POSIX_FADV_DONTNEED)


@dataclass(slots=True)
class HeaderCheckingOrigin:
    """The origin of a member that begins at ``start``: its header is verified if it is fetched with
    the bytes, and fetched with the member's first byte.
    """

    origin: FileOrigin
    start: int
    header: MemberHeader

    def read(self, offset: int, length: int) -> bytes:
        """See :class:`imagenetfs.cache.volume.Origin`. Raises SourceReplacedError too."""
        if self.header.is_verified():
            return self.origin.read(offset, length)
        head = self.header.length
        before = head if offset == self.start else 0
        data = self.origin.read(offset - before, before + length)
        at = self.start - head - (offset - before)
        if 0 <= at <= len(data) - head:
            self.header.verify(data[at : at + head])
        return data[before:]

    def is_same(self) -> bool:
        """See :class:`imagenetfs.cache.volume.Origin`."""
        return self.origin.is_same()

    def forget(self, offset: int, length: int) -> None:
        """See :class:`imagenetfs.cache.volume.Origin`."""
        self.origin.forget(offset, length)


@dataclass(slots=True)
class FilesVolume:
    """The volume of a directory's files: where the file of each row begins in it, in bytes."""

    volume: Volume
    starts: Array

    def origin(self, container: Container, row: int, open_file: OpenSource) -> FileOrigin:
        """Where the bytes of a row's file come from."""
        path, _, size = container.locate(row)
        start, mtime_ns = int(self.starts[row]), container.members.mtime_ns(row)
        return FileOrigin(open_file, path, size, mtime_ns, start=start, changed=file_changed)


class Volumes:
    """The volumes of a catalogue, made when they are first asked for; each process has its own."""

    def __init__(
        self,
        index: Index,
        source: Source,
        versions: Mapping[int, str],
        alike: Mapping[int, int] | None = None,
    ) -> None:
        """``versions``: to which version an archive belongs, for people. ``alike``: how many
        archives the split of one has.
        """
        self._index = index
        self._source = source
        self._versions = versions
        self._alike = alike or {}
        self._sizes: dict[int, int] = {}

    def twin(self, source: Source) -> Volumes:
        """The same volumes for a thread, by its own open files."""
        return Volumes(self._index, source, self._versions, self._alike)

    def show_waiting(self, waits: bool) -> None:
        """Be seen to wait for another process that reads the source."""
        self._source.meter[WAITING] = time.monotonic_ns() if waits else 0

    def _about(self, archive: int, inner: int = OUTER, **more: object) -> dict[str, object]:
        title = self._index.title(archive, inner)
        version = self._versions.get(archive, "")
        return {"source": str(self._source.path), "version": version, "archive": title, **more}

    def path(self, archive: int) -> bytes:
        """Where an archive stands in the source."""
        return self._index.archives[archive].file

    def of_archive(self, archive: int) -> tuple[Volume, FileOrigin]:
        """The volume of a tar or npz.

        Raises SourceChangedError where it is not what was indexed.
        """
        root = self._index.root(archive)  # one volume for all that lies in a file
        container = self._index.container(root)
        path, members = container.extent.path, container.members
        assert isinstance(members, MemberTable | ArrayTable)
        file = self._source.open(path)
        if file.size != container.file_size:
            raise archive_changed(path, file.size, container.file_size)
        sample = members.meta["sample"] if isinstance(members, MemberTable) else members.data.crc
        identity = Identity(path, file.size, file.mtime_ns, file.identity[0], sample)
        about = self._about(root, version=self._versions.get(archive, ""), size=file.size)
        origin = FileOrigin(self._source.open, path, file.size, file.mtime_ns, file.identity[0])
        expected = file.size if root != archive else self._expected(archive, file.size)
        return Volume(identity.key, file.size, about, expected=expected), origin

    def _expected(self, archive: int, size: int) -> int:
        """Bytes of all archives of its split, by those that have been opened: thousands are not
        asked for their sizes.
        """
        self._sizes[archive] = size
        mean = sum(self._sizes.values()) / len(self._sizes)
        return max(sum(self._sizes.values()), int(mean * self._alike.get(archive, 1)))

    def of_unpacked(self, archive: int) -> Volume:
        """The volume of what a deflated array unpacks to. Raises SourceChangedError as above."""
        container, array = self._index.container(archive), self._index.array(archive)
        path, size = container.extent.path, array.size
        file = self._source.open(path)
        if file.size != container.file_size:
            raise archive_changed(path, file.size, container.file_size)
        identity = Identity(path, file.size, file.mtime_ns, file.identity[0], array.crc, "unpacked")
        return Volume(identity.key, size, self._about(archive, size=size, unpacked=True))

    def of_files(self, archive: int, inner: int) -> FilesVolume:
        """The volume of the files of a directory, known by its listing."""
        container = self._index.container(archive, inner)
        members = container.members
        assert isinstance(members, MemberTable)
        sizes = members.columns["sizes"].astype(np.int64)
        ends = np.cumsum(-(-sizes // BLOCK) * BLOCK)
        status = self._source.status(container.extent.path)
        inode = status.st_ino if status is not None else 0
        size = int(ends[-1]) if len(ends) else 0
        identity = Identity(container.extent.path, size, 0, inode, _digest(members))
        about = self._about(archive, inner, size=int(sizes.sum()), files=len(members))
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])
        return FilesVolume(Volume(identity.key, size, about, apart=True), starts)


def _digest(members: MemberTable) -> int:
    """A digest of a listing: names, sizes, times of change."""
    digest = hashlib.sha256()
    for name, column in sorted(members.columns.items()):
        digest.update(name.encode() + b"\0" + column.tobytes())
    meta = {name: value for name, value in members.meta.items() if name != "unsettled"}
    digest.update(repr(sorted(meta.items())).encode())
    return int.from_bytes(digest.digest()[:8], "little")


class CachedArchives:
    """What the cache has of archives whose own tables are known: headers of the tars within them
    are read from there. See :class:`imagenetfs.index.container_builder.LocalArchives`.
    """

    def __init__(self, cache: BlockCache, index: Index) -> None:
        self._cache = cache
        self._index = index

    @contextlib.contextmanager
    def find(self, archive: int, file: SourceFile, part: ByteRange) -> Iterator[FindBytes | None]:
        """See :data:`imagenetfs.index.table_builder.LocalBytes`."""
        meta = self._index.meta(archive)
        if meta is None or "sample" not in meta or meta.get("file") != file.size:
            yield None
            return
        sample, inode = meta["sample"], file.identity[0]
        key = Identity(file.path, file.size, file.mtime_ns, inode, sample).key
        volume, cache = Volume(key, file.size, {}), self._cache.twin()
        try:
            # Opened before any thread reads; a segment that is made later is for the next scan.
            with contextlib.suppress(OSError):
                for at in range(part.start // SEGMENT * SEGMENT, part.end, SEGMENT):
                    cache.missing_ranges(volume, ByteRange.sized(max(at, part.start), 1))
            yield _finder(cache, volume) if volume.segments else None
        finally:
            cache.close()


def _finder(cache: BlockCache, volume: Volume) -> FindBytes:
    def find(offset: int, length: int) -> bytes | None:
        return cache.read_uncounted(volume, ByteRange(offset, offset + length))

    return find


@dataclass(slots=True)
class CachedExtent:
    """A member's bytes in the cache's file, to be handed on without a copy; should that fail, they
    are read as if they were not there. Offsets are the file's, ``shift`` more than the volume's.
    """

    cache: BlockCache
    fd: int
    shift: int
    volume: Volume
    member: ByteRange
    origin: Origin

    def read(self, offset: int, length: int) -> bytes:
        """See :class:`imagenetfs.read.backend.OpenFile`."""
        start = offset - self.shift
        wanted = ByteRange(start, start + length)
        return self.cache.read(self.volume, wanted, self.member, self.origin)

    def splice_to(self, pipe: int, offset: int, length: int) -> bool:
        """See :class:`imagenetfs.read.backend.OpenFile`."""
        return splice_exactly(self.fd, pipe, offset, length) == length


class CacheBackend:
    """:class:`imagenetfs.read.backend.ReadBackend` through the cache. Make it before forking."""

    def __init__(
        self,
        cache: BlockCache,
        volumes: Volumes,
        source: Source,
        revalidate: float = REVALIDATE_SECONDS,
    ) -> None:
        """``revalidate``: after so many seconds the source is asked again whether this user may
        still read a file, and whether it is the same.
        """
        self.cache = cache
        self.volumes = volumes
        self._source = source
        self._open = source.open
        self._revalidate = revalidate
        self._revalidate_at: dict[bytes, float] = {}
        self._archives: dict[int, tuple[Volume, FileOrigin]] = {}
        self._unpacked: dict[int, Volume] = {}
        self._files: dict[tuple[int, int], FilesVolume] = {}
        self.recent: RecentParts | None = None
        """Is told of misses."""

    def after_fork(self, meter: CacheMeter) -> None:
        """Descriptors of this process's own, and where it counts. Call once in each child."""
        self.cache.after_fork(meter, self.volumes.show_waiting)

    def twin(self, source: Source) -> CacheBackend:
        """Another one on the same cache for a thread, by its own open files and segments."""
        return CacheBackend(self.cache.twin(), self.volumes.twin(source), source, self._revalidate)

    def _archive(self, archive: int) -> tuple[Volume, FileOrigin]:
        known = self._archives.get(archive)
        if known is None:
            known = self._archives[archive] = self.volumes.of_archive(archive)
        return known

    def _directory(self, archive: int, inner: int) -> FilesVolume:
        known = self._files.get((archive, inner))
        if known is None:
            known = self._files[archive, inner] = self.volumes.of_files(archive, inner)
        return known

    def _check(self, path: bytes) -> None:
        """A hit asks nothing of the source, so that has to be done now and then."""
        self._source.check_unchanged(path)
        now = time.monotonic()
        if now >= self._revalidate_at.get(path, 0.0):
            self._source.check_access(path)
            self._revalidate_at[path] = now + self._revalidate

    def from_archive(
        self,
        archive: int,
        container: Container,
        wanted: ByteRange,
        member: ByteRange,
        header: MemberHeader | None = None,
    ) -> FileExtent | bytes:
        """See :class:`imagenetfs.read.backend.ReadBackend`."""
        volume, origin = self._archive(archive)
        self._check(origin.path)
        if volume.size != container.file_size:
            raise archive_changed(origin.path, volume.size, container.file_size)
        misses = self.cache.meter[MISSES]
        start = member.start
        checked = HeaderCheckingOrigin(origin, start, header) if header is not None else origin
        found = self._read(volume, wanted, member, checked)
        if self.recent is not None and self.cache.meter[MISSES] != misses:
            self.recent.note_read(part_of(archive, OUTER, container))
        if header is None:
            return found
        if not header.is_verified():  # it was cached, with the end of the member before it
            before, head = start - header.length, header.length
            block = self.cache.read_uncounted(volume, ByteRange(before, start))
            header.verify(block or origin.read(before, head))
        return found

    def check_access(self, path: bytes) -> None:
        """See :class:`imagenetfs.read.backend.ReadBackend`."""
        self._check(path)

    def from_file(
        self, archive: int, inner: int, container: Container, row: int, wanted: ByteRange
    ) -> FileExtent | bytes:
        """See :class:`imagenetfs.read.backend.ReadBackend`."""
        known = self._directory(archive, inner)
        self._check(container.extent.path)
        origin = known.origin(container, row, self._open)
        start = origin.start
        stored = ByteRange(start + wanted.start, start + wanted.end)
        misses = self.cache.meter[MISSES]
        found = self._read(known.volume, stored, ByteRange(start, start + origin.size), origin)
        if self.recent is not None and self.cache.meter[MISSES] != misses:
            self.recent.note_read(part_of(archive, inner, container))
        return found

    def _read(
        self, volume: Volume, wanted: ByteRange, member: ByteRange, origin: Origin
    ) -> FileExtent | bytes:
        cache, (start, end) = self.cache, wanted
        length = end - start
        located = cache.locate(volume, wanted) if length >= MIN_SPLICE_BYTES else None
        if located is None:
            return cache.read(volume, wanted, member, origin)
        fd, at = located
        return FileExtent(CachedExtent(cache, fd, at - start, volume, member, origin), at, length)

    def from_unpacked(
        self, archive: int, rows: ArrayTable, row: int, unpacked: InflatedArrays
    ) -> bytes:
        """See :class:`imagenetfs.read.backend.ReadBackend`."""
        self._check(self.volumes.path(archive))
        start = row * rows.row_bytes
        wanted = ByteRange(start, start + rows.row_bytes)
        data = None
        if not unpacked.has(archive):
            data = self._find_unpacked(archive, wanted, unpacked)
        return unpacked.read(archive, start, rows.row_bytes) if data is None else data

    def _find_unpacked(
        self, archive: int, wanted: ByteRange, unpacked: InflatedArrays
    ) -> bytes | None:
        """Bytes of an array in the cache, into which it is inflated; None where the cache does not
        take it.
        """
        volume = self._unpacked.get(archive)
        if volume is None:
            volume = self._unpacked[archive] = self.volumes.of_unpacked(archive)
        seen = unpacked.kept_at(archive)
        data = self.cache.read_if_cached(volume, wanted)
        if data is None and unpacked.keep(archive, seen):
            self.cache.refresh()
            data = self.cache.read_if_cached(volume, wanted)
        return data

    def announce(self, archive: int, container: Container, wanted: ByteRange) -> None:
        """See :class:`imagenetfs.read.backend.ReadBackend`."""
        self._announce(*self._archive(archive), wanted)

    def announce_file(self, archive: int, inner: int, container: Container, row: int) -> None:
        """See :class:`imagenetfs.read.backend.ReadBackend`."""
        known = self._directory(archive, inner)
        origin = known.origin(container, row, self._open)
        self._announce(known.volume, origin, ByteRange(origin.start, origin.start + origin.size))

    def _announce(self, volume: Volume, origin: FileOrigin, wanted: ByteRange) -> None:
        """A miss fetches whole blocks, or a range, so these are asked for."""
        if self.cache.holds(volume, wanted):
            return
        first, end = origin.start, origin.start + origin.size
        with contextlib.suppress(OSError):  # the miss itself sees to a disk that fails
            wanted = self.cache.read_around.around(volume, wanted) or wanted
        low, high = wanted.start // BLOCK * BLOCK, -(-wanted.end // BLOCK) * BLOCK
        blocks = ByteRange(max(low, first), min(high, end))
        origin.open(origin.path).hint(blocks.start - first, blocks.length)
