"""From an inode and a range to bytes. The read path: locate, read, nothing else.

A row of an npz is made into its PNG on the way; all else are the source's own bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Callable

from imagenetfs.cache.unpacked import Unpacked
from imagenetfs.errors import ArchiveError, NoEntryError, SourceChangedError
from imagenetfs.formats import png
from imagenetfs.index.archives import Kind
from imagenetfs.index.arrays import ArrayRows
from imagenetfs.index.build import Container, Index
from imagenetfs.source.directory import Source
from imagenetfs.tree.inode import fields

ReadExactly = Callable[[int, int], bytes]


class Reader:
    """Reads the content of members, of rows and of loose files."""

    def __init__(self, index: Index, source: Source, unpacked: Unpacked | None = None) -> None:
        """Without ``unpacked`` the rows of deflated arrays cannot be read."""
        self._index = index
        self._source = source
        self._unpacked = unpacked

    def check(self, inode: int) -> None:
        """Raise what a read would raise for an inode that is no file, before it is opened."""
        container, row = self._find(inode)
        if not stat.S_ISREG(container.members.mode(row)):
            raise NoEntryError("this is no regular file.")

    def _find(self, inode: int) -> tuple[Container, int]:
        archive, inner, row = fields(inode)
        container = self._index.container(archive, inner)
        if row >= len(container.members):
            raise NoEntryError(f"no inode {inode}.")
        return container, row

    def read(self, inode: int, offset: int, length: int) -> bytes:
        """Exactly the bytes of [offset, offset + length) that lie within the content."""
        container, row = self._find(inode)
        if container.extent.kind is not Kind.TAR:
            return self._read_other(container, inode, row, offset, length)
        path, start, size = container.locate(row)
        wanted = min(length, size - offset)
        if wanted <= 0:
            return b""
        file = self._source.open(path)
        runs = container.members.sparse.get(row) if container.members.sparse else None
        if runs is not None:
            return _read_sparse(file.read, start, runs, offset, wanted)
        if file.size != container.file_size:
            raise _another_size(path, file.size, container.file_size)
        return file.read(start + offset, wanted)

    def _read_other(
        self, container: Container, inode: int, row: int, offset: int, length: int
    ) -> bytes:
        members = container.members
        if isinstance(members, ArrayRows):
            path = container.extent.path
            picture = png.encode(
                self._pixels(members, path, inode, container.file_size), members.side
            )
            return picture[offset : offset + length]
        path, _, size = container.locate(row)
        wanted = min(length, size - offset)
        if wanted <= 0:
            return b""
        file = self._source.open(path)
        if file.size != size:
            raise SourceChangedError(
                f"{path!r} has {file.size:,} bytes now, and had {size:,} when its directory was "
                "listed; touch the directory or clear the index, and mount again."
            )
        return file.read(offset, wanted)

    def _pixels(self, rows: ArrayRows, path: bytes, inode: int, file_size: int) -> bytes:
        archive, _, row = fields(inode)
        if not rows.data.stored:
            if self._unpacked is None:
                raise ArchiveError(f"{path!r} is compressed and has not been unpacked")
            return self._unpacked.read(archive, row * rows.row_bytes, rows.row_bytes)
        file = self._source.open(path)
        if file.size != file_size:
            raise _another_size(path, file.size, file_size)
        return file.read(rows.offset(row), rows.row_bytes)


def _another_size(path: bytes, now: int, then: int) -> SourceChangedError:
    return SourceChangedError(
        f"{path!r} has {now:,} bytes now, and had {then:,} when it was indexed; "
        "unmount and mount again to see what it holds now."
    )


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
