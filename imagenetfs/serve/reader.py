"""From an inode and a range to bytes. The read path: locate, read, nothing else.

A row of an npz is made into its PNG on the way, a sparse member's holes into zeros; all else are the source's
own bytes, which need not pass through this process (:class:`Piece`).
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import NamedTuple

from imagenetfs.cache.unpacked import Unpacked
from imagenetfs.errors import ArchiveError, NoEntryError, SourceChangedError
from imagenetfs.formats import png
from imagenetfs.index.archives import Kind
from imagenetfs.index.arrays import ArrayRows
from imagenetfs.index.build import Index
from imagenetfs.source.directory import Source, SourceFile
from imagenetfs.tree.inode import fields

ReadExactly = Callable[[int, int], bytes]


class Piece(NamedTuple):
    """Bytes that stand in a file as they are: ``length`` bytes at ``offset``."""

    file: SourceFile
    offset: int
    length: int

    def read(self) -> bytes:
        """Exactly these bytes, or SourceReadError."""
        return self.file.read(self.offset, self.length)


class Reader:
    """Reads the content of members, of rows and of loose files."""

    def __init__(self, index: Index, source: Source, unpacked: Unpacked | None = None) -> None:
        """Without ``unpacked`` the rows of deflated arrays cannot be read."""
        self._index = index
        self._source = source
        self._unpacked = unpacked

    def read(self, inode: int, offset: int, length: int) -> bytes:
        """Exactly the bytes of [offset, offset + length) that lie within the content."""
        found = self.find(inode, offset, length)
        return found.read() if isinstance(found, Piece) else found

    def find(self, inode: int, offset: int, length: int) -> Piece | bytes:
        """The same bytes, or where they stand."""
        archive, inner, row = fields(inode)
        container = self._index.container(archive, inner)
        members = container.members
        if row >= len(members):
            raise NoEntryError(f"no inode {inode}.")
        if not stat.S_ISREG(members.mode(row)):
            raise NoEntryError("this is no regular file.")
        if isinstance(members, ArrayRows):
            pixels = self._pixels(members, container.extent.path, inode, container.file_size)
            return png.encode(pixels, members.side)[offset : offset + length]
        path, start, size = container.locate(row)
        wanted = min(length, size - offset)
        if wanted <= 0:
            return b""
        file = self._source.open(path)
        runs = members.sparse.get(row) if members.sparse else None
        if runs is not None:
            return _read_sparse(file.read, start, runs, offset, wanted)
        if container.extent.kind is Kind.DIRECTORY:
            _check_loose(file, size)
        elif file.size != container.file_size:
            raise _another_size(path, file.size, container.file_size)
        return Piece(file, start + offset, wanted)

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


def _check_loose(file: SourceFile, size: int) -> None:
    if file.size != size:
        raise SourceChangedError(
            f"{file.path!r} has {file.size:,} bytes now, and had {size:,} when its directory was "
            "listed; touch the directory or clear the index, and mount again."
        )


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
