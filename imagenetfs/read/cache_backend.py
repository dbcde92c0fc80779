"""The read path through the block cache: which volume a file's bytes are kept in,
and where they come from.

A tar or npz is one volume, whole as it stands in the source; the members of a directory of loose
files share one, each from a block of its own on; a deflated array has one for what it unpacks to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from imagenetfs.cache.block_cache import BlockCache, CacheMeter
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.cache.segment import BLOCK
from imagenetfs.cache.volume import Identity, Volume
from imagenetfs.errors import SourceChangedError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.columns import Array
from imagenetfs.index.container import Container
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.read.backend import MIN_SPLICE_BYTES, FileExtent, archive_changed, file_changed
from imagenetfs.read.header_check import HEADER, Look
from imagenetfs.source.source import REVALIDATE_SECONDS, WAITING, Source, SourceFile
from imagenetfs.system.splice import splice_exactly

OpenFile = Callable[[bytes], SourceFile]
Changed = Callable[[bytes, int, int], SourceChangedError]


@dataclass(slots=True)
class FileOrigin:
    """A file of the source from ``start`` on in its volume; what it must be to be kept."""

    open: OpenFile
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
        looked at them with its last read.
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
    """A member's origin that has the header before ``start`` looked at where
    it comes with the bytes.
    """

    origin: FileOrigin
    start: int
    look: Look
    looked: bool = False

    def read(self, offset: int, length: int) -> bytes:
        """See :class:`imagenetfs.cache.volume.Origin`."""
        before = HEADER if offset == self.start and not self.looked else 0
        data = self.origin.read(offset - before, before + length)
        at = self.start - HEADER - (offset - before)
        if not self.looked and 0 <= at <= len(data) - HEADER:
            self.look(data[at : at + HEADER])
            self.looked = True
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

    def origin(self, container: Container, row: int, open_file: OpenFile) -> FileOrigin:
        """Where the bytes of a row's file come from."""
        path, _, size = container.locate(row)
        start, mtime_ns = int(self.starts[row]), container.members.mtime_ns(row)
        return FileOrigin(open_file, path, size, mtime_ns, start=start, changed=file_changed)


class Volumes:
    """The volumes of a catalogue, made when they are first asked for; each process has its own."""

    def __init__(self, index: Index, source: Source, versions: Mapping[int, str]) -> None:
        """``versions``: to which version an archive belongs, for people."""
        self._index = index
        self._source = source
        self._versions = versions

    def show_waiting(self, waits: bool) -> None:
        """Be seen to wait for another process that reads the source."""
        self._source.meter[WAITING] = time.monotonic_ns() if waits else 0

    def _about(self, archive: int, inner: int = OUTER, **more: object) -> dict[str, object]:
        title = self._index.title(archive, inner)
        version = self._versions.get(archive, "")
        return {"source": str(self._source.path), "version": version, "archive": title, **more}

    def path(self, archive: int) -> bytes:
        """Where an archive stands in the source."""
        return self._index.archives[archive].path

    def of_archive(self, archive: int) -> tuple[Volume, FileOrigin]:
        """The volume of a tar or npz.

        Raises SourceChangedError where it is not what was indexed.
        """
        container = self._index.container(archive)
        path, members = container.extent.path, container.members
        assert isinstance(members, MemberTable | ArrayTable)
        file = self._source.open(path)
        if file.size != container.file_size:
            raise archive_changed(path, file.size, container.file_size)
        sample = members.meta["sample"] if isinstance(members, MemberTable) else members.data.crc
        identity = Identity(path, file.size, file.mtime_ns, file.identity[0], sample)
        about = self._about(archive, size=file.size)
        origin = FileOrigin(self._source.open, path, file.size, file.mtime_ns, file.identity[0])
        return Volume(identity.key, file.size, about), origin

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


@dataclass(slots=True)
class _Local:
    """A member's bytes in the cache's file, to be handed on without a copy; should that fail, they
    are read as if they were not there. Offsets are the file's, ``shift`` more than the volume's.
    """

    cache: BlockCache
    fd: int
    shift: int
    volume: Volume
    start: int
    end: int
    origin: FileOrigin | HeaderCheckingOrigin

    def read(self, offset: int, length: int) -> bytes:
        """See :class:`imagenetfs.read.backend.OpenFile`."""
        at = offset - self.shift
        return self.cache.read(self.volume, at, length, self.start, self.end, self.origin)

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
        self._look_at: dict[bytes, float] = {}
        self._archives: dict[int, tuple[Volume, FileOrigin]] = {}
        self._unpacked: dict[int, Volume] = {}
        self._files: dict[tuple[int, int], FilesVolume] = {}

    def after_fork(self, meter: CacheMeter) -> None:
        """Descriptors of this process's own, and where it counts. Call once in each child."""
        self.cache.after_fork(meter, self.volumes.show_waiting)

    def _check(self, path: bytes) -> None:
        """A hit asks nothing of the source, so that has to be done now and then."""
        self._source.check_unchanged(path)
        now = time.monotonic()
        if now >= self._look_at.get(path, 0.0):
            self._source.check_access(path)
            self._look_at[path] = now + self._revalidate

    def from_archive(
        self,
        archive: int,
        container: Container,
        offset: int,
        length: int,
        start: int,
        end: int,
        look: Look | None = None,
    ) -> FileExtent | bytes:
        """See :class:`Reads`."""
        known = self._archives.get(archive)
        if known is None:
            known = self._archives[archive] = self.volumes.of_archive(archive)
        volume, origin = known
        self._check(origin.path)
        if volume.size != container.file_size:
            raise archive_changed(origin.path, volume.size, container.file_size)
        if look is None:
            return self._read(volume, offset, length, start, end, origin)
        seen = HeaderCheckingOrigin(origin, start, look)
        found = self._read(volume, offset, length, start, end, seen)
        if not seen.looked:  # it was here, with the end of the member before it
            before = start - HEADER
            look(self.cache.peek(volume, before, HEADER) or origin.read(before, HEADER))
        return found

    def from_file(
        self, archive: int, inner: int, container: Container, row: int, offset: int, length: int
    ) -> FileExtent | bytes:
        """See :class:`Reads`."""
        known = self._files.get((archive, inner))
        if known is None:
            known = self._files[archive, inner] = self.volumes.of_files(archive, inner)
        self._check(container.extent.path)
        origin = known.origin(container, row, self._open)
        start, end = origin.start, origin.start + origin.size
        return self._read(known.volume, start + offset, length, start, end, origin)

    def _read(
        self,
        volume: Volume,
        offset: int,
        length: int,
        start: int,
        end: int,
        origin: FileOrigin | HeaderCheckingOrigin,
    ) -> FileExtent | bytes:
        cache = self.cache
        place = cache.locate(volume, offset, length) if length >= MIN_SPLICE_BYTES else None
        if place is None:
            return cache.read(volume, offset, length, start, end, origin)
        fd, at = place
        return FileExtent(_Local(cache, fd, at - offset, volume, start, end, origin), at, length)

    def from_unpacked(
        self, archive: int, rows: ArrayTable, row: int, unpacked: InflatedArrays
    ) -> bytes:
        """See :class:`Reads`."""
        self._check(self.volumes.path(archive))
        start, length = row * rows.row_bytes, rows.row_bytes
        data = None
        if not unpacked.has(archive):
            data = self._find_unpacked(archive, start, length, unpacked)
        return unpacked.read(archive, start, length) if data is None else data

    def _find_unpacked(
        self, archive: int, start: int, length: int, unpacked: InflatedArrays
    ) -> bytes | None:
        """Bytes of an array in the cache, where it is unpacked into; None
        where it does not take it.
        """
        volume = self._unpacked.get(archive)
        if volume is None:
            volume = self._unpacked[archive] = self.volumes.of_unpacked(archive)
        seen = unpacked.kept_at(archive)
        data = self.cache.find(volume, start, length)
        if data is None and unpacked.keep(archive, seen):
            self.cache.look_again()
            data = self.cache.find(volume, start, length)
        return data
