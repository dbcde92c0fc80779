"""Bytes of the source's files by where the index says they are: straight from the source,
uncached.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.errors import SourceChangedError
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.container import Container
from imagenetfs.read.header_check import HEADER, HeaderCheckedFile, MemberHeader
from imagenetfs.source.source import Source

MIN_SPLICE_BYTES = 16 * 1024
"""Bytes; fewer are copied sooner than handed from pipe to pipe."""


class SpliceSource(Protocol):
    """A file whose bytes can be handed on without passing through this process."""

    def splice_to(self, pipe: int, offset: int, length: int) -> bool:
        """Put exactly ``length`` bytes at ``offset`` into a pipe, without a copy; False where that
        fails: the pipe is of no use then.
        """
        ...


class OpenFile(SpliceSource, Protocol):
    """A file that is open for reading."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, or the project's own error."""
        ...


class FileExtent(NamedTuple):
    """Bytes that stand in a file as they are: ``length`` bytes at ``offset``."""

    file: OpenFile
    offset: int
    length: int

    def read(self) -> bytes:
        """Exactly these bytes, or the project's own error."""
        return self.file.read(self.offset, self.length)


def bytes_of(found: FileExtent | bytes) -> bytes:
    """The bytes themselves."""
    return found.read() if isinstance(found, FileExtent) else found


class ReadBackend(Protocol):
    """Where a reader has its bytes from: the source, or the cache in front of it."""

    def from_archive(
        self,
        archive: int,
        container: Container,
        wanted: ByteRange,
        member: ByteRange,
        header: MemberHeader | None = None,
    ) -> FileExtent | bytes:
        """The bytes ``wanted`` of a tar or npz, which lie in those of its ``member`` or row.

        ``header``: the member's, if it is to be verified; nothing is given out if it is wrong.
        """
        ...

    def check_access(self, path: bytes) -> None:
        """Raise what a read of the archive at a path would, for a caller that has its bytes."""
        ...

    def from_file(
        self, archive: int, inner: int, container: Container, row: int, wanted: ByteRange
    ) -> FileExtent | bytes:
        """The bytes ``wanted`` of the loose file of a row."""
        ...

    def from_unpacked(
        self, archive: int, rows: ArrayTable, row: int, unpacked: InflatedArrays
    ) -> bytes:
        """The bytes of one row of a deflated array."""
        ...

    def announce(self, archive: int, container: Container, wanted: ByteRange) -> None:
        """These bytes of a tar or npz will be read soon: have the source asked for them now, unless
        they are in the cache.
        """
        ...

    def announce_file(self, archive: int, inner: int, container: Container, row: int) -> None:
        """The same of the loose file of a row."""
        ...


def archive_changed(path: bytes, now: int, then: int) -> SourceChangedError:
    """What is said of an archive that has another size than when it was indexed."""
    return SourceChangedError(
        f"{os.fsdecode(path)} has {now:,} bytes now, and had {then:,} when it was indexed; "
        "unmount and mount again to see what it holds now.",
        path,
    )


def file_changed(path: bytes, now: int, then: int) -> SourceChangedError:
    """What is said of a loose file that has another size than in the listing."""
    return SourceChangedError(
        f"{os.fsdecode(path)} has {now:,} bytes now, and had {then:,} when its directory was "
        "listed; touch the directory or clear the index, and mount again.",
        path,
    )


class SourceBackend:
    """Reads from the source, exactly as asked."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def from_archive(
        self,
        archive: int,
        container: Container,
        wanted: ByteRange,
        member: ByteRange,
        header: MemberHeader | None = None,
    ) -> FileExtent:
        """See :class:`ReadBackend`."""
        path = container.extent.path
        file = self._source.open(path)
        if file.size != container.file_size:
            raise archive_changed(path, file.size, container.file_size)
        start, end = wanted
        if header is None:
            return FileExtent(file, start, end - start)
        if start == member.start and header.length <= HEADER:
            return FileExtent(HeaderCheckedFile(file, header), start, end - start)
        header.verify(file.read(member.start - header.length, header.length))
        return FileExtent(file, start, end - start)

    def check_access(self, path: bytes) -> None:
        """See :class:`ReadBackend`."""
        self._source.check_access(path)

    def from_file(
        self, archive: int, inner: int, container: Container, row: int, wanted: ByteRange
    ) -> FileExtent:
        """See :class:`ReadBackend`."""
        path, _, size = container.locate(row)
        file = self._source.open(path)
        if file.size != size:
            raise file_changed(path, file.size, size)
        return FileExtent(file, wanted.start, wanted.length)

    def from_unpacked(
        self, archive: int, rows: ArrayTable, row: int, unpacked: InflatedArrays
    ) -> bytes:
        """See :class:`ReadBackend`."""
        # The npz is revalidated as an archive whose bytes are read in place.
        self._source.check_access(unpacked.path(archive))
        return unpacked.read(archive, row * rows.row_bytes, rows.row_bytes)

    def announce(self, archive: int, container: Container, wanted: ByteRange) -> None:
        """See :class:`ReadBackend`."""
        self._source.open(container.extent.path).hint(wanted.start, wanted.length)

    def announce_file(self, archive: int, inner: int, container: Container, row: int) -> None:
        """See :class:`ReadBackend`."""
        path, _, size = container.locate(row)
        self._source.open(path).hint(0, size)
