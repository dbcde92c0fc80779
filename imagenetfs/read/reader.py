"""From an inode and a range to bytes. The read path: locate, read, nothing else.

A row of an npz is made into its PNG on the way, a sparse member's holes into zeros, a deflated
member of a zip is inflated whole; all else are the source's own bytes, from the local cache where
there is one (:mod:`imagenetfs.read.cache_backend`), else from the source itself. They need not pass
through this process (:class:`imagenetfs.read.backend.FileExtent`).
"""

from __future__ import annotations

import copy
import stat
from collections.abc import Callable

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.errors import ArchiveError, NoEntryError
from imagenetfs.formats import png
from imagenetfs.formats.zip.inflate import is_inflated
from imagenetfs.index.archives import Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.container import Container
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.read.backend import FileExtent, ReadBackend, SourceBackend, bytes_of
from imagenetfs.read.header_check import HEADER, HeaderVerifier
from imagenetfs.read.inflated_members import InflatedMembers
from imagenetfs.read.plain_members import PlainMembers
from imagenetfs.source.source import Source
from imagenetfs.tree.inode import fields

ReadExactly = Callable[[ByteRange], bytes]


class Reader:
    """Reads the content of members, of rows and of loose files."""

    def __init__(
        self,
        index: Index,
        source: Source,
        unpacked: InflatedArrays | None = None,
        backend: ReadBackend | None = None,
    ) -> None:
        """Without ``unpacked`` the rows of deflated arrays cannot be read; ``backend``: by default
        the source.
        """
        self._index = index
        self._loaded = index.loaded  # saves a call with each read
        self._unpacked = unpacked
        self._backend = backend or SourceBackend(source)
        self._headers = HeaderVerifier(source)
        self._inflated = InflatedMembers()

    def plain_members(self, source: Source) -> PlainMembers | None:
        """Reads whole members in fewer steps, by the open files of this reader's source; None where
        there is a cache to be asked first.
        """
        if not isinstance(self._backend, SourceBackend):
            return None
        return PlainMembers(self._index, source, self._headers)

    def twin(self, source: Source, backend: ReadBackend | None) -> Reader:
        """Another reader of the same index for a thread, by that thread's own open files."""
        other = copy.copy(self)
        other._backend = backend or SourceBackend(source)
        other._headers = self._headers.twin(source)
        other._inflated = InflatedMembers()
        return other

    def announce(self, inode: int) -> None:
        """Have the source asked for a file's bytes now, which will be read soon; the caller does
        not wait for them. Raises what opening the file raises.
        """
        archive, inner, row = fields(inode)
        container = self._index.container(archive, inner)
        members = container.members
        if row >= len(members):
            return
        if isinstance(members, ArrayTable):
            if members.data.stored:
                start = members.offset(row)
                stored = ByteRange(start, start + members.row_bytes)
                self._backend.announce(archive, container, stored)
        elif container.extent.kind is Kind.DIRECTORY:
            self._backend.announce_file(archive, inner, container, row)
        else:
            _, start, size = container.locate(row)
            runs = members.sparse.get(row) if members.sparse else None
            packed = members.packed(row) if isinstance(members, MemberTable) else 0
            length = (packed or size) if runs is None else sum(length for _, length in runs)
            stored = ByteRange(max(0, start - HEADER), start + length)
            self._backend.announce(archive, container, stored)

    def read(self, inode: int, offset: int, length: int) -> bytes:
        """Exactly the bytes of [offset, offset + length) that lie within the content."""
        return bytes_of(self.find(inode, offset, length))

    def find(self, inode: int, offset: int, length: int) -> FileExtent | bytes:
        """The same bytes, or where they stand."""
        archive, inner, row = fields(inode)
        container = self._loaded.get((archive, inner)) or self._index.container(archive, inner)
        plain = container.plain
        if plain is None or row >= plain.rows:
            return self._find_any(inode, container, offset, length)
        member = plain.byte_range(row)
        start, end = member
        start += offset
        if start >= end or length <= 0:
            return b""
        wanted = ByteRange(start, min(start + length, end))
        header = self._headers.unverified(inode, container, row)
        return self._backend.from_archive(archive, container, wanted, member, header)

    def _find_any(
        self, inode: int, container: Container, offset: int, length: int
    ) -> FileExtent | bytes:
        """Whatever the container is, and whatever stands in it."""
        archive, inner, row = fields(inode)
        members = container.members
        if row >= len(members):
            raise NoEntryError(f"no inode {inode}.")
        if not stat.S_ISREG(members.mode(row)):
            raise NoEntryError("this is no regular file.")
        if isinstance(members, ArrayTable):
            pixels = self._pixels(archive, row, container, members)
            return png.encode(pixels, members.side)[offset : offset + length]
        _, start, size = container.locate(row)
        wanted = ByteRange(offset, min(offset + length, size))
        if wanted.length <= 0:
            return b""
        if container.extent.kind is Kind.DIRECTORY:
            return self._backend.from_file(archive, inner, container, row, wanted)
        if isinstance(members, MemberTable) and members.packed(row):
            return self._inflated_whole(inode, container, members)[wanted.start : wanted.end]
        runs = members.sparse.get(row) if members.sparse else None
        if runs is None:
            stored = ByteRange(start + wanted.start, start + wanted.end)
            header = self._headers.unverified(inode, container, row)
            return self._backend.from_archive(
                archive, container, stored, ByteRange(start, start + size), header
            )

        def read_run(run: ByteRange) -> bytes:
            return bytes_of(self._backend.from_archive(archive, container, run, run))

        return _read_sparse(read_run, start, runs, wanted)

    def _inflated_whole(self, inode: int, container: Container, members: MemberTable) -> bytes:
        """The content of a deflated member."""
        archive, _, row = fields(inode)
        found = self._inflated.find(inode)
        if found is not None:
            self._backend.check_access(container.extent.path)
            return found
        start, size = members.offset(row), members.size(row)
        stored = ByteRange(start, start + members.packed(row))
        packed = b""
        if is_inflated(stored.length, size):
            header = self._headers.unverified(inode, container, row)
            packed = bytes_of(
                self._backend.from_archive(archive, container, stored, stored, header)
            )
        try:
            return self._inflated.inflate(inode, packed, size, members.crc(row) or 0)
        except ArchiveError as error:
            self._headers.refuse_member(container, row, error.reason)

    def _pixels(self, archive: int, row: int, container: Container, rows: ArrayTable) -> bytes:
        if rows.data.stored:
            start = rows.offset(row)
            stored = ByteRange(start, start + rows.row_bytes)
            return bytes_of(self._backend.from_archive(archive, container, stored, stored))
        if self._unpacked is None:
            path = container.extent.path
            raise ArchiveError(f"{path!r} is compressed and has not been unpacked")
        return self._backend.from_unpacked(archive, rows, row, self._unpacked)


def _read_sparse(
    read: ReadExactly, start: int, runs: tuple[tuple[int, int], ...], wanted: ByteRange
) -> bytes:
    """A range of a sparse member: its runs stand back to back from ``start``, the rest is zeros."""
    data, stored = bytearray(wanted.length), start
    for at, run in runs:
        low, high = max(at, wanted.start), min(at + run, wanted.end)
        if low < high:
            shift = stored - at
            data[low - wanted.start : high - wanted.start] = read(
                ByteRange(low + shift, high + shift)
            )
        stored += run
    return bytes(data)
