"""From an inode and a range to bytes. The read path: locate, read, nothing else."""

from __future__ import annotations

import stat
from collections.abc import Callable

from imagenetfs.errors import NoEntryError, SourceChangedError
from imagenetfs.index.build import Container, Index
from imagenetfs.source.directory import Source
from imagenetfs.tree.inode import fields

ReadExactly = Callable[[int, int], bytes]


class Reader:
    """Reads the content of members and loose files."""

    def __init__(self, index: Index, source: Source) -> None:
        self._index = index
        self._source = source

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
        path, start, size = container.locate(row)
        wanted = min(length, size - offset)
        if wanted <= 0:
            return b""
        file = self._source.open(path)
        runs = container.members.sparse.get(row) if container.members.sparse else None
        if runs is not None:
            return _read_sparse(file.read, start, runs, offset, wanted)
        if start + size > file.size:
            raise SourceChangedError(
                f"{path!r} has {file.size:,} bytes now, too few for what was indexed; "
                "unmount and mount again to see what it holds now."
            )
        return file.read(start + offset, wanted)


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
