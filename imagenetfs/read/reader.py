"""From an inode and a range to bytes. The read path: locate, read, nothing else.

A row of an npz is made into its PNG on the way, a sparse member's holes into zeros; all else are
the source's own bytes, from the local cache where there is one
(:mod:`imagenetfs.read.cache_backend`), else from the source itself. They need not pass through this
process (:class:`imagenetfs.read.backend.FileExtent`).
"""

from __future__ import annotations

import stat
from collections.abc import Callable

from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.errors import ArchiveError, NoEntryError
from imagenetfs.formats import png
from imagenetfs.index.archives import Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.container import Container
from imagenetfs.index.index import Index
from imagenetfs.read.backend import FileExtent, ReadBackend, SourceBackend, bytes_of
from imagenetfs.read.header_check import HeaderVerifier
from imagenetfs.source.source import Source
from imagenetfs.tree.inode import fields

ReadExactly = Callable[[int, int], bytes]


class Reader:
    """Reads the content of members, of rows and of loose files."""

    def __init__(
        self,
        index: Index,
        source: Source,
        unpacked: InflatedArrays | None = None,
        reads: ReadBackend | None = None,
    ) -> None:
        """Without ``unpacked`` the rows of deflated arrays cannot be read;
        ``reads``: by itself the source.
        """
        self._index = index
        self._unpacked = unpacked
        self._reads = reads or SourceBackend(source)
        self._headers = HeaderVerifier(source)

    def read(self, inode: int, offset: int, length: int) -> bytes:
        """Exactly the bytes of [offset, offset + length) that lie within the content."""
        return bytes_of(self.find(inode, offset, length))

    def find(self, inode: int, offset: int, length: int) -> FileExtent | bytes:
        """The same bytes, or where they stand."""
        archive, inner, row = fields(inode)
        container = self._index.container(archive, inner)
        plain = container.plain
        if plain is None or row >= plain.rows:
            return self._find_any(inode, container, offset, length)
        start, size = plain.place(row)
        wanted = min(length, size - offset)
        if wanted <= 0:
            return b""
        at, end = start + offset, start + size
        look = self._headers.look_at(inode, container, row)
        return self._reads.from_archive(archive, container, at, wanted, start, end, look)

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
        wanted = min(length, size - offset)
        if wanted <= 0:
            return b""
        if container.extent.kind is Kind.DIRECTORY:
            return self._reads.from_file(archive, inner, container, row, offset, wanted)
        runs = members.sparse.get(row) if members.sparse else None
        if runs is None:
            at, end = start + offset, start + size
            look = self._headers.look_at(inode, container, row)
            return self._reads.from_archive(archive, container, at, wanted, start, end, look)

        def read_run(at: int, count: int) -> bytes:
            found = self._reads.from_archive(archive, container, at, count, at, at + count)
            return bytes_of(found)

        return _read_sparse(read_run, start, runs, offset, wanted)

    def _pixels(self, archive: int, row: int, container: Container, rows: ArrayTable) -> bytes:
        if rows.data.stored:
            start, size = rows.offset(row), rows.row_bytes
            end = start + size
            found = self._reads.from_archive(archive, container, start, size, start, end)
            return bytes_of(found)
        if self._unpacked is None:
            path = container.extent.path
            raise ArchiveError(f"{path!r} is compressed and has not been unpacked")
        return self._reads.from_unpacked(archive, rows, row, self._unpacked)


def _read_sparse(
    read: ReadExactly, start: int, runs: tuple[tuple[int, int], ...], offset: int, length: int
) -> bytes:
    """A range of a sparse member: its runs stand back to back from ``start``, the rest is zeros."""
    data, stored = bytearray(length), start
    for at, run in runs:
        low, high = max(at, offset), min(at + run, offset + length)
        if low < high:
            data[low - offset : high - offset] = read(stored + low - at, high - low)
        stored += run
    return bytes(data)
